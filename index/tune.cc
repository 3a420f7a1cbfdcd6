#include "index/tune.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <utility>

#include "index/index_spec.h"
#include "index/recall.h"

namespace rag {
namespace {

constexpr size_t kMaxQueries = 200;
constexpr size_t kQueryShare = 10;
// Of two that are this near in speed, the one with less memory.
constexpr double kAsFast = 0.05;

constexpr size_t kGraphWidths[] = {10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1'024};
constexpr size_t kReranks[] = {5, 10, 20, 40};
constexpr size_t kProbes[] = {8, 16, 24, 32, 48, 64, 96, 128};

constexpr std::string_view kTried[] = {"flat",     "hnsw",       "hnsw:pca8",
                                       "hnsw:sq8", "hnsw:pca4",  "hnsw:rabitq",
                                       "ivf:pq4",  "ivf:rabitq", "ivf:sq8"};

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Sample {
  MatrixView base;
  MatrixView queries;
  std::vector<double> bounds;  // of each query: the score of its k-th nearest
  size_t rows = 0;             // of the index to be
};

Result<std::unique_ptr<VectorIndex>> Build(const Sample& sample, const VectorIndexOptions& options,
                                           const Runtime& runtime, const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<VectorIndex> index, VectorIndex::Create(options, runtime));
  std::vector<uint64_t> ids(sample.base.rows);
  std::iota(ids.begin(), ids.end(), uint64_t{0});
  RAG_RETURN_IF_ERROR(index->Add(ids, sample.base, cancel));
  return index;
}

struct Measured {
  double recall = 0;
  double queries_per_second = 0;
};

// One query at a time, as a collection asks them.
Result<Measured> Measure(const VectorIndex& index, const Sample& sample,
                         const SearchOptions& width) {
  size_t found = 0;
  const auto start = std::chrono::steady_clock::now();
  for (size_t q = 0; q < sample.queries.rows; ++q) {
    const MatrixView query(sample.queries.row(q).data(), 1, sample.queries.cols);
    RAG_ASSIGN_OR_RETURN(const auto results, index.Search(query, width));
    for (const Neighbor& neighbor : results[0]) {
      if (neighbor.score >= sample.bounds[q]) ++found;
    }
  }
  Measured out;
  out.queries_per_second =
      static_cast<double>(sample.queries.rows) / std::max(1e-9, SecondsSince(start));
  out.recall = static_cast<double>(found) / static_cast<double>(sample.queries.rows * width.k);
  return out;
}

// How much slower a search is among `rows` than in the sample.
double Slowdown(IndexKind kind, const Sample& sample) {
  const double more = static_cast<double>(sample.rows) / static_cast<double>(sample.base.rows);
  switch (kind) {
    case IndexKind::kFlat:
      return more;
    case IndexKind::kIvf:
      return std::sqrt(more);
    case IndexKind::kHnsw:
      break;
  }
  return 1 + std::log(more) / std::log(static_cast<double>(sample.base.rows));
}

size_t ForAll(size_t bytes, const Sample& sample) {
  return static_cast<size_t>(static_cast<double>(bytes) * static_cast<double>(sample.rows) /
                             static_cast<double>(sample.base.rows));
}

size_t RowBytes(const VectorIndexOptions& options) {
  switch (options.element) {
    case ElementType::kF32:
      return 4 * options.dim;
    case ElementType::kF16:
    case ElementType::kBF16:
      return 2 * options.dim;
    case ElementType::kBinary:
      return options.dim / 8;
    default:
      return options.dim;
  }
}

// A file that is gone when this is.
class ScratchFile {
 public:
  // A store clears away files of such a name when it is opened.
  explicit ScratchFile(const std::string& folder)
      : path_((folder.empty() ? std::filesystem::temp_directory_path()
                              : std::filesystem::path(folder)) /
              StrCat("tune.vectors.tmp.", static_cast<long long>(::getpid()), ".", ++made_)) {}
  ~ScratchFile() { ::unlink(path_.c_str()); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  static inline std::atomic<uint64_t> made_{0};  // two may be tuned at a time
  std::filesystem::path path_;
};

// Fills the trial with what `index` is and does at the least width that is enough.
Status Try(const VectorIndex& index, const Sample& sample, const TuneGoal& goal, TuneTrial& trial,
           const CancelToken* cancel) {
  trial.memory_bytes = ForAll(index.memory_bytes(), sample);
  trial.disk_bytes = ForAll(index.disk_bytes(), sample);
  trial.fits = goal.memory_bytes == 0 || trial.memory_bytes <= goal.memory_bytes;
  trial.measured = true;
  // Narrow widths first; of those that are enough, the fastest.
  for (const SearchOptions& width : TuneWidths(index.options(), goal.k)) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("tuning was cancelled");
    RAG_ASSIGN_OR_RETURN(Measured measured, Measure(index, sample, width));
    measured.queries_per_second /= Slowdown(index.options().kind, sample);
    const bool enough = measured.recall >= goal.recall;
    const bool better = enough && !trial.finds_enough
                            ? true
                            : enough == trial.finds_enough &&
                                  (enough ? measured.queries_per_second > trial.queries_per_second
                                          : measured.recall > trial.recall);
    if (!better) continue;
    trial.recall = measured.recall;
    trial.queries_per_second = measured.queries_per_second;
    trial.finds_enough = enough;
    SetWidth(width, trial.options);
    if (enough && index.options().kind != IndexKind::kIvf) break;  // wider ones are slower
  }
  trial.spec = FormatIndexSpec(trial.options);
  return OkStatus();
}

std::string Megabytes(size_t bytes) { return StrCat((bytes + (1 << 20) - 1) >> 20, " MB"); }

std::string Share(double value) {
  char text[16];
  std::snprintf(text, sizeof(text), "%.3f", value);
  return text;
}

Status NoneFound(const TuneReport& report) {
  const TuneTrial* best = nullptr;   // that fits
  const TuneTrial* least = nullptr;  // that finds enough
  for (const TuneTrial& trial : report.trials) {
    if (!trial.measured) continue;
    if (trial.fits && (best == nullptr || trial.recall > best->recall)) best = &trial;
    if (trial.finds_enough && (least == nullptr || trial.memory_bytes < least->memory_bytes)) {
      least = &trial;
    }
  }
  const TuneGoal& goal = report.goal;
  return FailedPreconditionError(
      "no index of ", report.rows, " vectors that was tried finds ", Share(goal.recall),
      goal.memory_bytes == 0 ? "" : StrCat(" within ", Megabytes(goal.memory_bytes)), ": ",
      best == nullptr ? "none fits" : StrCat(best->spec, " fits and finds ", Share(best->recall)),
      "; ",
      least == nullptr
          ? "none finds enough"
          : StrCat(least->spec, " finds enough and takes ", Megabytes(least->memory_bytes)));
}

void Pick(TuneReport& report) {
  const auto good = [](const TuneTrial& trial) { return trial.finds_enough && trial.fits; };
  double fastest = 0;
  for (const TuneTrial& trial : report.trials) {
    if (good(trial)) fastest = std::max(fastest, trial.queries_per_second);
  }
  size_t least = SIZE_MAX;
  for (size_t i = 0; i < report.trials.size(); ++i) {
    const TuneTrial& trial = report.trials[i];
    if (!good(trial) || trial.queries_per_second < (1 - kAsFast) * fastest) continue;
    if (trial.memory_bytes >= least) continue;
    least = trial.memory_bytes;
    report.picked = i;
  }
}

Status CheckGoal(const TuneGoal& goal) {
  if (!(goal.recall >= 0.5 && goal.recall <= 0.999)) {
    return InvalidArgumentError("a recall of ", goal.recall, " is not between 0.5 and 0.999");
  }
  if (goal.k < 1 || goal.k > 100) {
    return InvalidArgumentError("k is ", goal.k, ", not between 1 and 100");
  }
  return OkStatus();
}

}  // namespace

Result<std::optional<TuneGoal>> ParseTuneGoal(std::string_view text) {
  constexpr std::string_view kName = "auto";
  const size_t colon = std::min(text.find(':'), text.size());
  if (text.substr(0, colon) != kName) return std::optional<TuneGoal>();
  TuneGoal goal;
  for (size_t begin = colon + 1; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t equals = std::min(part.find('='), part.size());
    const std::string_view key = part.substr(0, equals);
    const std::string_view value = part.substr(std::min(part.size(), equals + 1));
    if (key == "memory") {
      RAG_ASSIGN_OR_RETURN(goal.memory_bytes, ParseByteCount(value));
      continue;
    }
    const char* const last = value.data() + value.size();
    std::from_chars_result read{value.data(), std::errc::invalid_argument};
    if (key == "recall") read = std::from_chars(value.data(), last, goal.recall);
    if (key == "k") read = std::from_chars(value.data(), last, goal.k);
    if (read.ec != std::errc() || read.ptr != last) {
      return InvalidArgumentError("'", part, "' in '", text,
                                  "' is none of recall=SHARE, memory=BYTES and k=NUMBER");
    }
  }
  RAG_RETURN_IF_ERROR(CheckGoal(goal).WithContext(StrCat("'", text, "'")));
  return std::optional(goal);
}

std::string FormatTuneGoal(const TuneGoal& goal) {
  return StrCat("auto:recall=", Share(goal.recall), ",k=", goal.k,
                goal.memory_bytes == 0 ? "" : StrCat(",memory=", goal.memory_bytes));
}

std::vector<SearchOptions> TuneWidths(const VectorIndexOptions& options, size_t k) {
  std::vector<SearchOptions> widths;
  const auto add = [&](size_t ef_search, size_t probes, size_t rerank) {
    SearchOptions width;
    width.k = k;
    width.ef_search = ef_search;
    width.probes = probes;
    width.rerank = rerank;
    widths.push_back(width);
  };
  switch (options.kind) {
    case IndexKind::kFlat:
      add(0, 0, 0);
      break;
    case IndexKind::kHnsw:
      add(2 * k, 0, 0);  // the least of a search by default (WidthOf)
      for (const size_t ef : kGraphWidths) {
        if (ef > 2 * k) add(ef, 0, 0);
      }
      break;
    case IndexKind::kIvf:
      for (const size_t rerank : kReranks) {
        for (const size_t probes : kProbes) add(0, probes, rerank);
      }
  }
  return widths;
}

void SetWidth(const SearchOptions& width, VectorIndexOptions& options) {
  if (width.ef_search != 0) options.hnsw.ef_search = width.ef_search;
  if (width.probes != 0) options.ivf.probes = width.probes;
  if (width.rerank != 0) options.ivf.rerank = width.rerank;
}

SearchOptions WidthOf(const VectorIndexOptions& options, size_t k) {
  SearchOptions width;
  width.k = k;
  if (options.kind == IndexKind::kHnsw) {
    width.ef_search = std::max(2 * k, options.hnsw.ef_search);
  }
  if (options.kind == IndexKind::kIvf) {
    width.probes = options.ivf.probes;
    width.rerank = options.ivf.rerank;
  }
  return width;
}

Result<TuneReport> TuneIndex(MatrixView rows, const TuneOptions& options, const Runtime& runtime,
                             CareProgress* progress, const CancelToken* cancel) {
  const TuneGoal& goal = options.goal;
  RAG_RETURN_IF_ERROR(CheckGoal(goal));
  if (rows.rows < kLeastTuneRows) {
    return FailedPreconditionError("a sample of ", rows.rows,
                                   " vectors is too small to tune an index; at least ",
                                   kLeastTuneRows, " are wanted");
  }
  Sample sample;
  const size_t queries = std::min(kMaxQueries, rows.rows / kQueryShare);
  sample.base = MatrixView(rows.data, rows.rows - queries, rows.cols, rows.stride);
  sample.queries = MatrixView(rows.row(sample.base.rows).data(), queries, rows.cols, rows.stride);
  sample.rows = std::max(options.rows, sample.base.rows);
  TuneReport report;
  report.goal = goal;
  report.rows = sample.rows;
  report.sample_rows = sample.base.rows;
  report.queries = queries;
  if (progress != nullptr) progress->total += std::size(kTried) + 1;

  // The base's own budget and place of rows are what is looked for here.
  VectorIndexOptions base = options.base;
  base.rows = RowPlace::kMemory;
  base.memory_budget_bytes = 0;
  {
    VectorIndexOptions exact = base;
    exact.kind = IndexKind::kFlat;
    RAG_ASSIGN_OR_RETURN(const auto index, Build(sample, exact, runtime, cancel));
    SearchOptions search;
    search.k = goal.k;
    RAG_ASSIGN_OR_RETURN(const auto truth, index->Search(sample.queries, search));
    for (const std::vector<Neighbor>& nearest : truth) {
      sample.bounds.push_back(RecallBound(nearest.back().score));
    }
    if (progress != nullptr) ++progress->done;
  }
  for (const std::string_view tried : kTried) {
    TuneTrial trial;
    RAG_ASSIGN_OR_RETURN(trial.options, ParseIndexSpec(tried, base));
    trial.spec = FormatIndexSpec(trial.options);
    const bool coded = tried.find(':') != std::string_view::npos;
    if (!VectorIndex::Create(trial.options, runtime).ok()) {
      // Codes that do not go with the metric.
      if (progress != nullptr) ++progress->done;
      continue;
    }
    const size_t vectors_bytes = sample.rows * RowBytes(trial.options);
    if (!coded && goal.memory_bytes != 0 && vectors_bytes > goal.memory_bytes) {
      trial.memory_bytes = vectors_bytes;
      report.trials.push_back(std::move(trial));
      if (progress != nullptr) ++progress->done;
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<VectorIndex> index,
                         Build(sample, trial.options, runtime, cancel));
    trial.build_seconds = SecondsSince(start);
    TuneTrial on_disk = trial;
    RAG_RETURN_IF_ERROR(Try(*index, sample, goal, trial, cancel));
    const bool fits = trial.fits;
    report.trials.push_back(std::move(trial));
    on_disk.options.rows = RowPlace::kDisk;
    if (!fits && coded && VectorIndex::Create(on_disk.options, runtime).ok()) {
      const ScratchFile file(options.base.folder);
      RAG_RETURN_IF_ERROR(index->Save(file.path(), 0));
      index.reset();
      RAG_ASSIGN_OR_RETURN(VectorIndex::Loaded loaded,
                           VectorIndex::Load(file.path(), on_disk.options, runtime));
      RAG_RETURN_IF_ERROR(Try(*loaded.index, sample, goal, on_disk, cancel));
      report.trials.push_back(std::move(on_disk));
    }
    if (progress != nullptr) ++progress->done;
  }
  const bool any = std::any_of(report.trials.begin(), report.trials.end(),
                               [](const auto& trial) { return trial.finds_enough && trial.fits; });
  if (!any) return NoneFound(report);
  Pick(report);
  return report;
}

}  // namespace rag
