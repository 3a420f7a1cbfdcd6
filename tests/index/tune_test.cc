// The index that reaches a goal: what is picked, and that it does reach it.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "index/index_spec.h"
#include "index/tune.h"
#include "tests/index/store_support.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

// Embeddings of SciFact's abstracts; those after the first `from` are queries of nobody.
std::optional<Matrix> Sentences() {
  const auto folder = SharedData("ann-scifact-minilm");
  if (!folder) return std::nullopt;
  return ToMatrix(ReadTexmex<float>(*folder / "base_128.fvecs"));
}

TuneOptions Options(const Matrix& rows, double recall, size_t memory_bytes = 0) {
  TuneOptions options;
  options.goal.recall = recall;
  options.goal.memory_bytes = memory_bytes;
  options.base.dim = rows.cols();
  return options;
}

TEST_CASE("tune: what is picked finds as much as was asked for, among other vectors") {
  const auto rows = Sentences();
  if (!rows) RAG_SKIP("ann-scifact-minilm is not there");
  const auto runtime = MakeRuntime();
  const double recall = GENERATE(0.8, 0.97);
  const size_t held = rows->rows() - 400;
  const auto report = TuneIndex(Rows(*rows, 0, held), Options(*rows, recall), *runtime);
  REQUIRE_OK(report);
  REQUIRE(report->queries == 200);
  REQUIRE(report->sample_rows == held - 200);
  const TuneTrial& picked = report->trials[report->picked];
  REQUIRE(picked.recall >= recall);
  REQUIRE(picked.fits);
  for (const TuneTrial& trial : report->trials) {
    INFO(trial.spec << " " << trial.recall << " " << trial.queries_per_second);
    REQUIRE(trial.measured);
    if (trial.options.kind == IndexKind::kFlat) REQUIRE(trial.recall == 1);
    if (!trial.finds_enough) continue;
    REQUIRE(picked.queries_per_second >= 0.95 * trial.queries_per_second);
  }
  // The text says what the options say.
  VectorIndexOptions parsed = *ParseIndexSpec(picked.spec);
  REQUIRE(FormatIndexSpec(parsed) == FormatIndexSpec(picked.options));
  const auto index = MakeIndex(picked.options, *runtime);
  REQUIRE_OK(index->Add(Sequence(held), Rows(*rows, 0, held)));
  const auto truth = Find(*index, Rows(*rows, held, 400), {.k = 10, .exact = true});
  const SearchOptions width = WidthOf(picked.options, 10);
  // What was measured is what a search by default does.
  if (picked.options.kind == IndexKind::kHnsw) {
    REQUIRE(width.ef_search == picked.options.hnsw.ef_search);
  }
  // Of 4,000 neighbours, so that chance is some thousandths.
  REQUIRE(Recall(Find(*index, Rows(*rows, held, 400), width), truth) >= recall - 0.03);
}

TEST_CASE("tune: no width is tried that no search has") {
  VectorIndexOptions options;
  for (const size_t k : {1, 10, 600, 5'000}) {
    const std::vector<SearchOptions> widths = TuneWidths(options, k);
    REQUIRE_FALSE(widths.empty());
    for (const SearchOptions& width : widths) {
      VectorIndexOptions tuned = options;
      SetWidth(width, tuned);
      REQUIRE(WidthOf(tuned, k).ef_search == width.ef_search);
    }
  }
}

TEST_CASE("tune: a budget is kept, with vectors on disk where they do not fit") {
  const auto rows = Sentences();
  if (!rows) RAG_SKIP("ann-scifact-minilm is not there");
  const auto runtime = MakeRuntime();
  const TemporaryFolder folder;
  const size_t vectors = rows->rows() * rows->cols() * sizeof(float);
  TuneOptions options = Options(*rows, 0.9, vectors * 9 / 10);
  options.base.folder = folder.path().string();
  const auto report = TuneIndex(rows->view(), options, *runtime);
  REQUIRE_OK(report);
  const TuneTrial& picked = report->trials[report->picked];
  REQUIRE(picked.options.rows == RowPlace::kDisk);
  REQUIRE(picked.memory_bytes <= options.goal.memory_bytes);
  REQUIRE(picked.recall >= 0.9);
  REQUIRE(picked.disk_bytes >= vectors / 2);
  REQUIRE(std::filesystem::is_empty(folder.path()));
  // Flat and the plain graph were not even tried.
  REQUIRE_FALSE(report->trials[0].measured);
  // The index keeps to it. (A fifth more: what grows by doubling.)
  const auto index = MakeIndex(picked.options, *runtime);
  REQUIRE_OK(index->Add(Sequence(rows->rows()), rows->view()));
  REQUIRE(index->memory_bytes() <= options.goal.memory_bytes * 6 / 5);

  // Ten times as many want ten times as much.
  options.rows = 10 * rows->rows();
  const auto none = TuneIndex(rows->view(), options, *runtime);
  REQUIRE(none.status().code() == StatusCode::kFailedPrecondition);
  REQUIRE(none.status().message().find("MB") != std::string::npos);
}

TEST_CASE("tune: goals that cannot be, samples that say nothing, and being stopped") {
  const auto runtime = MakeRuntime();
  const Matrix rows = Clustered(1'200, 16, 1);
  REQUIRE(TuneIndex(Rows(rows, 0, 900), Options(rows, 0.9), *runtime).status().code() ==
          StatusCode::kFailedPrecondition);
  REQUIRE(TuneIndex(rows.view(), Options(rows, 1.5), *runtime).status().code() ==
          StatusCode::kInvalidArgument);
  CancelToken cancel;
  cancel.Cancel();
  REQUIRE(TuneIndex(rows.view(), Options(rows, 0.9), *runtime, nullptr, &cancel).status().code() ==
          StatusCode::kCancelled);
  const auto tiny = TuneIndex(rows.view(), Options(rows, 0.9, 1'000), *runtime);
  REQUIRE(tiny.status().code() == StatusCode::kFailedPrecondition);
  REQUIRE(tiny.status().message().find("none fits") != std::string::npos);
}

TEST_CASE("tune: the goal's text") {
  REQUIRE_FALSE(ParseTuneGoal("hnsw:m=8")->has_value());
  REQUIRE(**ParseTuneGoal("auto") == TuneGoal());
  const TuneGoal goal = **ParseTuneGoal("auto:recall=0.98,memory=512mb,k=20");
  REQUIRE(goal.recall == 0.98);
  REQUIRE(goal.memory_bytes == size_t{512} << 20);
  REQUIRE(goal.k == 20);
  REQUIRE(**ParseTuneGoal(FormatTuneGoal(goal)) == goal);
  for (const char* text : {"auto:recall", "auto:recall=2", "auto:memory=lots", "auto:m=3",
                           "auto:k=0", "auto:recall=0.9x"}) {
    REQUIRE(ParseTuneGoal(text).status().code() == StatusCode::kInvalidArgument);
  }
}

constexpr size_t kTunedDim = 96;

std::vector<DocumentInput> Batch(const Matrix& rows, size_t first, size_t count) {
  std::vector<DocumentInput> documents;
  for (size_t i = first; i < first + count; ++i) {
    documents.push_back(Document(StrCat("d", i), 0, "word"));
    documents.back().chunks[0].vector.assign(rows.row(i).begin(), rows.row(i).end());
  }
  return documents;
}

TEST_CASE("tune: a collection gets another index, and keeps it") {
  const TemporaryFolder folder;
  StoreOptions store_options;
  store_options.sync_writes = false;
  const size_t n = 6'000;
  const Matrix rows = Clustered(n, kTunedDim, 3, 400);
  TuneGoal goal;
  goal.recall = 0.9;
  std::string spec;
  {
    Opened opened(folder.file("db"), store_options);
    CollectionConfig config = Config("c", kTunedDim);
    config.vectors.kind = IndexKind::kFlat;
    const auto collection = opened.Create(config);
    for (size_t first = 0; first < n; first += 1'000) {
      REQUIRE_OK(collection->ReplaceMany(Batch(rows, first, 1'000)));
    }
    // Only measured: nothing changes.
    const auto measured = collection->Tune(goal, /*apply=*/false);
    REQUIRE_OK(measured);
    REQUIRE(FormatIndexSpec(collection->config().vectors) == "flat");
    // A budget below the vectors asks for codes.
    goal.memory_bytes = n * kTunedDim * sizeof(float) * 19 / 20;
    const CollectionConfig& before = collection->config();
    CareProgress progress;
    const auto report = collection->Tune(goal, /*apply=*/true, &progress);
    REQUIRE_OK(report);
    REQUIRE(progress.done == progress.total);
    REQUIRE(before.vectors.kind == IndexKind::kFlat);  // what was handed out stays
    const CollectionConfig& after = collection->config();
    REQUIRE(after.goal == goal);
    REQUIRE(after.tuned_chunks == n);
    spec = FormatIndexSpec(after.vectors);
    REQUIRE(after.vectors.kind != IndexKind::kFlat);
    REQUIRE(after.vectors.rows == RowPlace::kDisk);
    REQUIRE(after.vectors.kind == report->trials[report->picked].options.kind);
    RequireSound(*collection);
    const auto recall = collection->MeasureRecall(200, 10);
    REQUIRE_OK(recall);
    REQUIRE(recall->recall >= 0.87);
    REQUIRE_OK(opened.store->Close());
  }
  Opened again(folder.file("db"), store_options);
  const auto collection = again.Open("c");
  REQUIRE(FormatIndexSpec(collection->config().vectors) == spec);
  REQUIRE(collection->config().goal == goal);
  REQUIRE(collection->Stats()->replayed == 0);
  RequireSound(*collection);
}

TEST_CASE("tune: a goal out of reach is tried again when the collection has grown") {
  const TemporaryFolder folder;
  StoreOptions store_options;
  store_options.sync_writes = false;
  TuneGoal goal;
  goal.recall = 0.9;
  goal.memory_bytes = 1'000;
  const size_t n = 1'200;
  const Matrix rows = Clustered(n, kTunedDim, 3, 100);
  {
    Opened opened(folder.file("db"), store_options);
    CollectionConfig config = Config("c", kTunedDim);
    config.goal = goal;
    const auto collection = opened.Create(config);
    REQUIRE_OK(collection->ReplaceMany(Batch(rows, 0, n)));
    const std::string before = FormatIndexSpec(collection->config().vectors);
    // Measuring alone notes nothing, and neither does another goal.
    TuneGoal other = goal;
    other.memory_bytes = 2'000;
    for (const auto& [asked, apply] : {std::pair(goal, false), std::pair(other, true)}) {
      REQUIRE(collection->Tune(asked, apply).status().code() == StatusCode::kFailedPrecondition);
      REQUIRE(collection->config().tuned_chunks == 0);
    }
    REQUIRE(collection->Tune(goal, true).status().code() == StatusCode::kFailedPrecondition);
    REQUIRE(collection->config().tuned_chunks == n);
    REQUIRE(FormatIndexSpec(collection->config().vectors) == before);
    REQUIRE_OK(opened.store->Close());
  }
  Opened again(folder.file("db"), store_options);
  REQUIRE(again.Open("c")->config().tuned_chunks == n);
}

TEST_CASE("tune: writes and searches go on beside it") {
  const TemporaryFolder folder;
  StoreOptions store_options;
  store_options.sync_writes = false;
  Opened opened(folder.file("db"), store_options);
  CollectionConfig config = Config("c", kTunedDim);
  config.vectors.kind = IndexKind::kFlat;
  const auto collection = opened.Create(config);
  const size_t n = 3'000, more = 2'000;
  const Matrix rows = Clustered(n + more, kTunedDim, 4, 300);
  REQUIRE_OK(collection->ReplaceMany(Batch(rows, 0, n)));
  std::atomic<bool> tuned{false};
  std::atomic<int> failures{0};
  size_t written = n;
  std::thread writer([&] {
    for (size_t i = n; i < n + more && (!tuned || i < n + 100); ++i) {
      if (!collection->ReplaceMany(Batch(rows, i, 1)).ok()) ++failures;
      if (i % 3 == 0 && !collection->Remove(StrCat("d", i - n)).ok()) ++failures;
      const auto found = collection->SearchVectors(rows.row(i), 1, nullptr, 200);
      if (!found.ok() || found->empty()) ++failures;
      written = i + 1;
    }
  });
  TuneGoal goal;
  goal.memory_bytes = (n + more) * kTunedDim * sizeof(float);
  goal.recall = 0.8;
  const auto report = collection->Tune(goal, /*apply=*/true);
  tuned = true;
  writer.join();
  REQUIRE_OK(report);
  REQUIRE(failures == 0);
  RequireSound(*collection);
  REQUIRE(collection->config().vectors.kind != IndexKind::kFlat);
  const auto last = collection->SearchVectors(rows.row(written - 1), 1, nullptr, 200);
  REQUIRE_OK(last);
  REQUIRE(collection->GetChunk((*last)[0].id)->document_key == StrCat("d", written - 1));

  CancelToken cancel;
  cancel.Cancel();
  const std::string spec = FormatIndexSpec(collection->config().vectors);
  goal.memory_bytes = 0;
  REQUIRE(collection->Tune(goal, true, nullptr, &cancel).status().code() == StatusCode::kCancelled);
  REQUIRE(FormatIndexSpec(collection->config().vectors) == spec);
}

}  // namespace
}  // namespace rag::test
