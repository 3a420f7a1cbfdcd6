// Recall against queries a second of our indexes and of hnswlib, on the same vectors in the same
// run: one pinned thread, the systems taking turns, median and spread over rounds.
//
//   bench_search [--base FILE --queries FILE] [--rows N] [--query-count N] [--rounds N] [--csv
//   FILE]
//
// FILE is idx3-ubyte (Fashion-MNIST, unpacked), bvecs or fvecs; without one the vectors are
// synthetic (clusters, 20,000 x 128).
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include "index/vector_index.h"
#include "lib/base/file.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"
#ifdef RAG_BENCH_HNSWLIB
#include "benchmarks/search/peer_hnswlib.h"
#endif

namespace rag::bench {
namespace {

constexpr size_t kK = 10;
constexpr size_t kM = 16;
constexpr size_t kEfConstruction = 200;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "bench_search: %s\n", message.c_str());
  std::exit(1);
}

template <class T>
T Take(Result<T> result) {
  if (!result.ok()) Fail(result.status().ToString());
  return std::move(result).value();
}

void Check(const Status& status) {
  if (!status.ok()) Fail(status.ToString());
}

double ResidentMb() {
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1e6;
}

uint32_t BigEndian(const char* bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

Matrix ReadVectors(const std::string& path, size_t limit) {
  const std::string bytes = Take(ReadFile(path, size_t{8} << 30));
  const auto ends_with = [&](std::string_view end) { return path.ends_with(end); };
  if (!ends_with(".bvecs") && !ends_with(".fvecs")) {
    if (bytes.size() < 16 || BigEndian(bytes.data()) != 2051)
      Fail("'" + path + "' is no idx3-ubyte");
    const size_t rows = std::min<size_t>(limit, BigEndian(bytes.data() + 4));
    const size_t cols = size_t{BigEndian(bytes.data() + 8)} * BigEndian(bytes.data() + 12);
    if (bytes.size() < 16 + rows * cols) Fail("'" + path + "' is cut");
    Matrix out(rows, cols);
    for (size_t i = 0; i < rows * cols; ++i) {
      out.data()[i] = static_cast<unsigned char>(bytes[16 + i]);
    }
    return out;
  }
  if (bytes.size() < 4) Fail("'" + path + "' is empty");
  int32_t dim = 0;
  std::memcpy(&dim, bytes.data(), 4);
  const size_t element = ends_with(".fvecs") ? 4 : 1;
  if (dim < 1 || dim > 65'535) Fail("'" + path + "' has no dimension");
  const size_t row_bytes = 4 + static_cast<size_t>(dim) * element;
  const size_t rows = std::min(limit, bytes.size() / row_bytes);
  Matrix out(rows, static_cast<size_t>(dim));
  for (size_t i = 0; i < rows; ++i) {
    const char* const from = bytes.data() + i * row_bytes + 4;
    for (size_t j = 0; j < out.cols(); ++j) {
      if (element == 4) {
        std::memcpy(&out.row(i)[j], from + j * 4, 4);
      } else {
        out.row(i)[j] = static_cast<unsigned char>(from[j]);
      }
    }
  }
  return out;
}

Matrix Synthetic(size_t rows, uint32_t seed) {
  constexpr size_t kDim = 128, kClusters = 200;
  std::mt19937 centre_random(1), random(seed);
  std::normal_distribution<float> normal;
  Matrix centres(kClusters, kDim), out(rows, kDim);
  for (size_t i = 0; i < kClusters * kDim; ++i) centres.data()[i] = normal(centre_random);
  for (size_t i = 0; i < rows; ++i) {
    const size_t centre = random() % kClusters;
    for (size_t j = 0; j < kDim; ++j) out.row(i)[j] = centres.row(centre)[j] + normal(random);
  }
  return out;
}

// One search of one system at one width.
struct System {
  std::string name;
  std::vector<size_t> widths;
  std::function<void(size_t query, size_t ef, std::vector<size_t>& labels)> search;
};

struct Measured {
  std::vector<double> rates;  // queries a second, one for each round
  double recall = 0;
};

void Main(const std::map<std::string, std::string>& flags) {
  const auto flag = [&](const std::string& name, const std::string& otherwise) {
    const auto at = flags.find(name);
    return at == flags.end() ? otherwise : at->second;
  };
  const size_t limit = std::strtoull(flag("--rows", "1000000000").c_str(), nullptr, 10);
  const size_t query_limit = std::strtoull(flag("--query-count", "1000").c_str(), nullptr, 10);
  const size_t rounds = std::strtoull(flag("--rounds", "5").c_str(), nullptr, 10);
  const Matrix base = flags.contains("--base") ? ReadVectors(flag("--base", ""), limit)
                                               : Synthetic(std::min<size_t>(limit, 20'000), 7);
  const Matrix queries = flags.contains("--queries")
                             ? ReadVectors(flag("--queries", ""), query_limit)
                             : Synthetic(query_limit, 8);
  if (base.cols() != queries.cols()) Fail("base and queries differ in dimension");

  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(::sched_getcpu(), &one);
  ::sched_setaffinity(0, sizeof(one), &one);
  const auto runtime = Take(Runtime::Create({.threads = 1}));
  std::printf(
      "%zu x %zu, %zu queries, k = %zu, L2, M = %zu, ef_construction = %zu, one thread, %s\n",
      base.rows(), base.cols(), queries.rows(), kK, kM, kEfConstruction,
      std::string(IsaName(runtime->isa())).c_str());

  std::vector<uint64_t> ids(base.rows());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = i;
  VectorIndexOptions options;
  options.dim = base.cols();
  options.metric = Metric::kL2;
  options.hnsw.m = kM;
  options.hnsw.ef_construction = kEfConstruction;

  std::vector<System> systems;
  const auto add_ours = [&](IndexKind kind, std::vector<size_t> widths) {
    options.kind = kind;
    std::shared_ptr<VectorIndex> index = Take(VectorIndex::Create(options, *runtime));
    const double memory = ResidentMb(), begin = Now();
    Check(index->Add(ids, base.view()));
    const std::string name(IndexKindName(kind));
    std::printf("%-8s build %7.1f s, memory %6.0f MB (resident %6.0f MB)\n", name.c_str(),
                Now() - begin, static_cast<double>(index->memory_bytes()) / 1e6,
                ResidentMb() - memory);
    systems.push_back({name, std::move(widths),
                       [index, &queries](size_t query, size_t ef, std::vector<size_t>& labels) {
                         const auto found = Take(
                             index->Search(MatrixView(queries.row(query).data(), 1, queries.cols()),
                                           {.k = kK, .ef_search = ef}));
                         labels.clear();
                         for (const Neighbor& neighbor : found[0]) labels.push_back(neighbor.id);
                       }});
  };
  const std::vector<size_t> widths = {10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400};
  add_ours(IndexKind::kFlat, {0});
  add_ours(IndexKind::kHnsw, widths);
#ifdef RAG_BENCH_HNSWLIB
  {
    const double memory = ResidentMb(), begin = Now();
    const auto peer = std::make_shared<PeerHnswlib>(base.cols(), base.rows(), kM, kEfConstruction);
    for (size_t i = 0; i < base.rows(); ++i) peer->Add(base.row(i).data(), i);
    std::printf("%-8s build %7.1f s, memory               (resident %6.0f MB)\n", "hnswlib",
                Now() - begin, ResidentMb() - memory);
    systems.push_back(
        {"hnswlib", widths, [peer, &queries](size_t query, size_t ef, std::vector<size_t>& labels) {
           peer->Search(queries.row(query).data(), kK, ef, labels);
         }});
  }
#endif
  std::fflush(stdout);

  // The flat index, whose exactness the tests compare with FAISS, is the ground truth.
  std::vector<std::unordered_set<size_t>> truth(queries.rows());
  std::vector<size_t> labels;
  for (size_t q = 0; q < queries.rows(); ++q) {
    systems[0].search(q, 0, labels);
    truth[q] = {labels.begin(), labels.end()};
  }

  std::vector<std::vector<Measured>> measured(systems.size());
  for (size_t s = 0; s < systems.size(); ++s) measured[s].resize(systems[s].widths.size());
  for (size_t round = 0; round <= rounds; ++round) {  // round 0 warms up
    for (size_t w = 0; w < widths.size(); ++w) {
      for (size_t s = 0; s < systems.size(); ++s) {
        if (w >= systems[s].widths.size()) continue;
        // Flat is slow and the same for each query: a few will do.
        const size_t count =
            systems[s].widths[w] == 0 ? std::min<size_t>(50, queries.rows()) : queries.rows();
        size_t hits = 0;
        const double begin = Now();
        for (size_t q = 0; q < count; ++q) {
          systems[s].search(q, systems[s].widths[w], labels);
          for (const size_t label : labels) hits += truth[q].contains(label) ? 1 : 0;
        }
        const double seconds = Now() - begin;
        Measured& point = measured[s][w];
        point.recall = static_cast<double>(hits) / static_cast<double>(count * kK);
        if (round > 0) point.rates.push_back(static_cast<double>(count) / seconds);
      }
    }
  }

  std::ofstream csv;
  if (flags.contains("--csv")) csv.open(flag("--csv", ""));
  if (csv.is_open()) csv << "system,ef,recall@10,qps_median,qps_min,qps_max\n";
  std::printf("%-8s %5s %9s %10s %10s %10s\n", "system", "ef", "recall@10", "QPS median", "min",
              "max");
  for (size_t s = 0; s < systems.size(); ++s) {
    for (size_t w = 0; w < systems[s].widths.size(); ++w) {
      std::vector<double>& rates = measured[s][w].rates;
      if (rates.empty()) continue;
      std::sort(rates.begin(), rates.end());
      std::printf("%-8s %5zu %9.4f %10.0f %10.0f %10.0f\n", systems[s].name.c_str(),
                  systems[s].widths[w], measured[s][w].recall, rates[rates.size() / 2],
                  rates.front(), rates.back());
      if (csv.is_open()) {
        csv << systems[s].name << ',' << systems[s].widths[w] << ',' << measured[s][w].recall << ','
            << rates[rates.size() / 2] << ',' << rates.front() << ',' << rates.back() << '\n';
      }
    }
  }

  // Queries a second at a recall, between the measured points.
  const auto at_recall = [&](size_t s, double recall) {
    const std::vector<Measured>& points = measured[s];
    for (size_t w = 1; w < points.size(); ++w) {
      const Measured &low = points[w - 1], &high = points[w];
      if (low.recall > recall || high.recall < recall || high.recall == low.recall) continue;
      const double share = (recall - low.recall) / (high.recall - low.recall);
      const double a = low.rates[low.rates.size() / 2], b = high.rates[high.rates.size() / 2];
      return a + share * (b - a);
    }
    return 0.0;
  };
  for (const double recall : {0.95, 0.97, 0.99}) {
    std::printf("QPS at recall %.2f:", recall);
    for (size_t s = 1; s < systems.size(); ++s) {
      std::printf("  %s %.0f", systems[s].name.c_str(), at_recall(s, recall));
    }
    if (systems.size() > 2 && at_recall(2, recall) > 0) {
      std::printf("  ratio %.2f", at_recall(1, recall) / at_recall(2, recall));
    }
    std::printf("\n");
  }

  // Opening a saved index of the size that a collection of 100,000 sentence embeddings has.
  constexpr size_t kRows = 100'000, kDim = 384;
  options.kind = IndexKind::kFlat;
  options.dim = kDim;
  std::mt19937 random(3);
  Matrix rows(kRows, kDim);
  for (size_t i = 0; i < kRows * kDim; ++i) {
    rows.data()[i] = static_cast<float>(random() % 1'000) - 500;
  }
  std::vector<uint64_t> row_ids(kRows);
  for (size_t i = 0; i < kRows; ++i) row_ids[i] = i;
  // The graph's shape is what matters to loading, not its quality: little is spent on it.
  for (const IndexKind kind : {IndexKind::kFlat, IndexKind::kHnsw}) {
    options.kind = kind;
    options.hnsw.ef_construction = 8;
    const std::string path = "/tmp/bench_search." + std::to_string(::getpid());
    {
      const auto index = Take(VectorIndex::Create(options, *runtime));
      Check(index->Add(row_ids, rows.view()));
      const double begin = Now();
      Check(index->Save(path, 1));
      std::printf("%s %zu x %zu: save %.3f s,", std::string(IndexKindName(kind)).c_str(), kRows,
                  kDim, Now() - begin);
    }
    std::vector<double> times;
    for (int i = 0; i < 5; ++i) {
      const double begin = Now();
      const auto loaded = Take(VectorIndex::Load(path, options, *runtime));
      times.push_back(Now() - begin);
    }
    std::sort(times.begin(), times.end());
    std::printf(" load (warm file) %.3f s\n", times[2]);
    ::unlink(path.c_str());
  }
}

}  // namespace
}  // namespace rag::bench

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];
  rag::bench::Main(flags);
}
