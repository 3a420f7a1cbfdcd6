// Vectors on disk: the same results from less memory, and what happens when the disk fails.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "index/vector/snapshot.h"
#include "index/vector_index.h"
#include "lib/base/hash.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {
namespace fs = std::filesystem;

struct Variant {
  const char* name;
  IndexKind kind;
  CodeKind hnsw = CodeKind::kSq8;
  IvfCodes ivf = IvfCodes::kPq4;
};
constexpr Variant kSq8Graph{"hnsw sq8", IndexKind::kHnsw, CodeKind::kSq8};
constexpr Variant kPca8Graph{"hnsw pca8", IndexKind::kHnsw, CodeKind::kPca8};
constexpr Variant kSq4Graph{"hnsw sq4", IndexKind::kHnsw, CodeKind::kSq4};
constexpr Variant kBitGraph{"hnsw rabitq", IndexKind::kHnsw, CodeKind::kRabitq};
constexpr Variant kBitLists{"ivf rabitq", IndexKind::kIvf, CodeKind::kNone, IvfCodes::kRabitq};
constexpr Variant kSq8Lists{"ivf sq8", IndexKind::kIvf, CodeKind::kNone, IvfCodes::kSq8};
constexpr Variant kPq4Lists{"ivf pq4", IndexKind::kIvf, CodeKind::kNone, IvfCodes::kPq4};
constexpr Variant kPca4Graph{"hnsw pca4", IndexKind::kHnsw, CodeKind::kPca4};
constexpr Variant kRabitqGraph{"hnsw rabitq", IndexKind::kHnsw, CodeKind::kRabitq};
constexpr Variant kRabitqLists{"ivf rabitq", IndexKind::kIvf, CodeKind::kNone, IvfCodes::kRabitq};

#define FOR_EVERY_VARIANT                                                                   \
  const auto runtime = MakeRuntime();                                                       \
  const Variant variant = GENERATE(kSq8Graph, kPca8Graph, kSq4Graph, kSq8Lists, kPq4Lists); \
  INFO(variant.name)

VectorIndexOptions Options(const Variant& variant, size_t dim, const TemporaryFolder& folder) {
  VectorIndexOptions options;
  options.kind = variant.kind;
  options.dim = dim;
  options.hnsw.codes = variant.hnsw;
  options.hnsw.ef_construction = 60;
  options.ivf.codes = variant.ivf;
  options.ivf.lists = 20;
  options.rows = RowPlace::kDisk;
  options.folder = folder.path().string();
  return options;
}

VectorIndexOptions InMemory(VectorIndexOptions options) {
  options.rows = RowPlace::kMemory;
  return options;
}

VectorIndex::Loaded LoadIndex(const std::string& path, const VectorIndexOptions& options,
                              const Runtime& runtime) {
  auto loaded = VectorIndex::Load(path, options, runtime);
  REQUIRE_OK(loaded);
  return std::move(loaded).value();
}

// Whether a file without a name that this process has open in the folder holds the bytes.
bool NamelessFileHolds(const fs::path& folder, std::string_view bytes) {
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = fs::read_symlink(entry.path(), error).string();
    if (error || !target.starts_with(folder.string()) || !target.ends_with("(deleted)")) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string content((std::istreambuf_iterator<char>(in)), {});
    if (content.find(bytes) != std::string::npos) return true;
  }
  return false;
}

std::string BytesOf(std::span<const float> vector) {
  return {reinterpret_cast<const char*>(vector.data()), vector.size_bytes()};
}

// Of memory that no file backs.
size_t ResidentBytes() {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;) {
    size_t kib = 0;
    if (word == "RssAnon:" && in >> kib) return kib << 10;
  }
  return 0;
}

TEST_CASE("vectors on disk: the results of vectors in memory") {
  const auto runtime = MakeRuntime();
  const Variant variant =
      GENERATE(kSq8Graph, kPca8Graph, kPca4Graph, kRabitqGraph, kSq8Lists, kPq4Lists, kRabitqLists);
  INFO(variant.name);
  const Metric metric = GENERATE(Metric::kInnerProduct, Metric::kCosine, Metric::kL2);
  const ElementType element = GENERATE(ElementType::kF32, ElementType::kF16);
  // Rows are read alike for all codes: of these one metric and type will do.
  const bool once = variant.hnsw == CodeKind::kPca4 || variant.hnsw == CodeKind::kRabitq ||
                    variant.ivf == IvfCodes::kRabitq;
  if (once && (metric != Metric::kL2 || element != ElementType::kF32)) return;
  const TemporaryFolder folder;
  const size_t dim = 72, n = 5'000;
  VectorIndexOptions options = Options(variant, dim, folder);
  options.metric = metric;
  options.element = element;
  const Matrix base = Clustered(n, dim, 1), queries = Clustered(30, dim, 2);
  {
    const auto built = MakeIndex(InMemory(options), *runtime);
    REQUIRE_OK(built->Add(Sequence(n), base.view()));
    REQUIRE(built->Remove(Sequence(400, 3, 7)).value() == 400);
    REQUIRE_OK(built->Save(folder.file("v"), 1));
  }
  const auto memory = LoadIndex(folder.file("v"), InMemory(options), *runtime).index;
  const auto disk = LoadIndex(folder.file("v"), options, *runtime).index;
  REQUIRE(disk->disk_bytes() > 0);
  REQUIRE(memory->disk_bytes() == 0);
  REQUIRE(disk->memory_bytes() + n * dim * 2 <= memory->memory_bytes());
  const ModuloFilter some(3, 1, n);
  const ListFilter few(Sequence(40, 1, 11));
  for (const SearchOptions& search :
       {SearchOptions{.k = 10}, SearchOptions{.k = 10, .exact = true},
        SearchOptions{.k = 10, .filter = &some}, SearchOptions{.k = 10, .filter = &few},
        SearchOptions{.k = 300, .ef_search = 1'500, .probes = 20},
        SearchOptions{.k = 200, .min_score = metric == Metric::kL2 ? -30.0f : 0.4f}}) {
    REQUIRE(Find(*disk, queries.view(), search) == Find(*memory, queries.view(), search));
  }
  // The same changes lead to the same state.
  const auto one = MakeRuntime("", 1);
  const auto memory_alone = LoadIndex(folder.file("v"), InMemory(options), *one).index;
  const auto disk_alone = LoadIndex(folder.file("v"), options, *one).index;
  // Links of such a graph are chosen by the rows, each read from the disk.
  const size_t added = variant.hnsw == CodeKind::kRabitq ? 60 : 900;
  const Matrix more = Clustered(added, dim, 3);
  for (VectorIndex* index : {memory_alone.get(), disk_alone.get()}) {
    REQUIRE(index->Remove(Sequence(300, 1, 5)).ok());
    REQUIRE_OK(index->Add(Sequence(added, 2'000), more.view()));
    REQUIRE_OK(index->Verify());
  }
  REQUIRE(Find(*disk_alone, queries.view(), {}) == Find(*memory_alone, queries.view(), {}));
  std::vector<float> a(dim), b(dim);
  for (const uint64_t id : {uint64_t{2}, uint64_t{2'300}, uint64_t{4'990}}) {
    REQUIRE_OK(memory_alone->GetVector(id, a));
    REQUIRE_OK(disk_alone->GetVector(id, b));
    REQUIRE(a == b);
  }
}

TEST_CASE("vectors on disk: built there, saved, opened and changed") {
  FOR_EVERY_VARIANT;
  const TemporaryFolder folder, other;
  const size_t dim = 32, n = 6'000;
  const VectorIndexOptions options = Options(variant, dim, folder);
  const Matrix base = Clustered(n, dim, 5), queries = Clustered(40, dim, 6);
  auto index = MakeIndex(options, *runtime);
  for (size_t first = 0; first < n; first += 1'000) {
    REQUIRE_OK(index->Add(Sequence(1'000, first), Rows(base, first, 1'000)));
  }
  REQUIRE_OK(index->Verify());
  REQUIRE(index->disk_bytes() >= n * dim * sizeof(float));
  const SearchOptions wide{.k = 10, .ef_search = 100, .probes = 12, .rerank = 30};
  const auto recall = [&] {
    return Recall(Find(*index, queries.view(), wide),
                  Find(*index, queries.view(), {.k = 10, .exact = true}));
  };
  REQUIRE(recall() >= 0.97);
  // Nothing of it has a name before it is saved.
  REQUIRE(fs::is_empty(folder.path()));
  for (uint64_t round = 0; round < 3; ++round) {
    REQUIRE(index->Remove(Sequence(500, round * 500)).value() == 500);
    REQUIRE_OK(index->Add(Sequence(500, round * 500), Rows(base, round * 500, 500)));
    const auto before = Find(*index, queries.view(), {});
    REQUIRE_OK(index->Save(other.file("v"), round));
    REQUIRE(Find(*index, queries.view(), {}) == before);
    index = LoadIndex(other.file("v"), options, *runtime).index;
    REQUIRE(Find(*index, queries.view(), {}) == before);
    REQUIRE_OK(index->Verify());
  }
  REQUIRE(recall() >= 0.97);
  REQUIRE(fs::is_empty(folder.path()));
}

// Codes of one bit do not tell neighbours apart: links are chosen by vectors that are read from
// disk.
TEST_CASE("vectors on disk: built there under codes of one bit") {
  const auto runtime = MakeRuntime();
  const Variant variant = GENERATE(kBitGraph, kBitLists);
  INFO(variant.name);
  const TemporaryFolder folder;
  const size_t dim = 96, n = 3'000;
  const VectorIndexOptions options = Options(variant, dim, folder);
  const Matrix base = Clustered(n, dim, 15), queries = Clustered(40, dim, 16);
  const auto index = MakeIndex(options, *runtime);
  for (size_t first = 0; first < n; first += 500) {
    REQUIRE_OK(index->Add(Sequence(500, first), Rows(base, first, 500)));
  }
  REQUIRE(index->Remove(Sequence(200, 100)).value() == 200);
  REQUIRE_OK(index->Verify());
  REQUIRE(index->disk_bytes() >= n * dim * sizeof(float));
  const auto truth = Find(*index, queries.view(), {.k = 10, .exact = true});
  const SearchOptions wide{.k = 10, .ef_search = 100, .probes = 12, .rerank = 40};
  REQUIRE(Recall(Find(*index, queries.view(), wide), truth) >= 0.95);
}

TEST_CASE("vectors on disk: resident memory is that of codes and links") {
  const auto runtime = MakeRuntime();
  const TemporaryFolder folder;
  const size_t dim = 512, n = Workload(24'000, 0, "vectors");
  if (n == 0) RAG_SKIP("a sanitizer's own memory is counted with ours");
  VectorIndexOptions options = Options(kSq8Graph, dim, folder);
  options.hnsw.m = 8;
  options.hnsw.ef_construction = 20;
  const size_t row_bytes = n * dim * sizeof(float);
  constexpr size_t kStep = 1'000;
  const Matrix pool = Clustered(2 * kStep, dim, 5);
  // One buffer for all batches: the allocator would leave holes between others.
  Matrix some(kStep, dim);
  const std::vector<uint64_t> ids = Sequence(n);
  const size_t before = ResidentBytes();
  const auto index = MakeIndex(options, *runtime);
  for (size_t first = 0; first < n; first += kStep) {
    for (size_t i = 0; i < kStep; ++i) {
      const auto a = pool.row((first * 7 + i) % pool.rows()), b = pool.row(first / kStep + i);
      for (size_t d = 0; d < dim; ++d) some.row(i)[d] = a[d] + 0.5f * b[d];
    }
    REQUIRE_OK(index->Add(std::span(ids).subspan(first, kStep), some.view()));
  }
  const size_t built = ResidentBytes() - before;
  CAPTURE(built, index->memory_bytes(), row_bytes);
  REQUIRE(index->memory_bytes() < row_bytes / 2);
  // Batches, a walk's notes and the allocator's slack.
  REQUIRE(built < index->memory_bytes() + (size_t{12} << 20));
  Find(*index, pool.view(), {.k = 10, .ef_search = 100});
  Find(*index, Rows(pool, 0, 4), {.k = 10, .exact = true});
  REQUIRE_OK(index->Save(folder.file("v"), 1));
  REQUIRE(ResidentBytes() - before < index->memory_bytes() + (size_t{20} << 20));
}

TEST_CASE("vectors on disk: a removed vector's bytes are overwritten") {
  FOR_EVERY_VARIANT;
  const TemporaryFolder folder, other;
  const size_t dim = 32, n = 3'000;
  VectorIndexOptions options = Options(variant, dim, folder);
  options.metric = Metric::kL2;  // rows are what was added
  const Matrix base = Clustered(n, dim, 8);
  const auto index = MakeIndex(options, *runtime);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  const std::string one = BytesOf(base.row(77)), two = BytesOf(base.row(2'500));
  REQUIRE(NamelessFileHolds(folder.path(), one));
  REQUIRE(index->Remove(Sequence(1, 77)).value() == 1);
  REQUIRE_FALSE(NamelessFileHolds(folder.path(), one));
  REQUIRE(NamelessFileHolds(folder.path(), two));
  // Saved: what is saved is read from there, and what came before is in no file.
  REQUIRE_OK(index->Save(other.file("v"), 1));
  REQUIRE_FALSE(NamelessFileHolds(folder.path(), two));
  REQUIRE(ReadAll(other.file("v")).find(two) != std::string::npos);
  REQUIRE(ReadAll(other.file("v")).find(one) == std::string::npos);
  REQUIRE(index->Remove(Sequence(1, 2'500)).value() == 1);
  REQUIRE_OK(index->Save(other.file("v"), 2));
  REQUIRE(ReadAll(other.file("v")).find(two) == std::string::npos);
  REQUIRE_OK(index->Verify());
}

// The row of the slot in the saved file, its first byte changed.
void DamageRow(const std::string& path, size_t slot, size_t row_bytes) {
  std::string bytes = ReadAll(path);
  SnapshotHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  size_t at = sizeof(header) + header.section_count * sizeof(SnapshotSection);
  for (size_t i = 0; i <= kRowsSection; ++i) {
    SnapshotSection section;
    std::memcpy(&section, bytes.data() + sizeof(header) + i * sizeof(section), sizeof(section));
    at = (at + kSectionAlign - 1) / kSectionAlign * kSectionAlign;
    if (i < kRowsSection) at += section.bytes;
  }
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at + slot * row_bytes));
  file.put(static_cast<char>(bytes[at + slot * row_bytes] ^ 1));
}

TEST_CASE("a damaged vector in a file is an error, and no answer") {
  FOR_EVERY_VARIANT;
  const RowPlace place = GENERATE(RowPlace::kMemory, RowPlace::kDisk);
  const TemporaryFolder folder;
  const size_t dim = 32, n = 3'000, slot = 1'234;
  VectorIndexOptions options = Options(variant, dim, folder);
  options.rows = place;
  const Matrix base = Clustered(n, dim, 9);
  {
    const auto one = MakeRuntime("", 1);  // slots in the order of ids
    const auto index = MakeIndex(options, *one);
    REQUIRE_OK(index->Add(Sequence(n), base.view()));
    REQUIRE_OK(index->Save(folder.file("v"), 1));
  }
  DamageRow(folder.file("v"), slot, dim * sizeof(float));
  const auto index = LoadIndex(folder.file("v"), options, *runtime).index;
  // Until somebody looks at it, everything else is served.
  std::vector<float> vector(dim);
  REQUIRE_OK(index->GetVector(5, vector));
  const Status looked = index->GetVector(slot, vector);
  REQUIRE(looked.code() == StatusCode::kDataLoss);
  REQUIRE(looked.message().find(folder.file("v")) != std::string::npos);
  REQUIRE(index->Search(Rows(base, 0, 1), {}).status().code() == StatusCode::kDataLoss);
  REQUIRE(index->Save(folder.file("w"), 2).code() == StatusCode::kDataLoss);
  REQUIRE_FALSE(fs::exists(folder.file("w")));

  const auto searched = LoadIndex(folder.file("v"), options, *runtime).index;
  REQUIRE(searched->Search(Rows(base, slot, 1), {}).status().code() == StatusCode::kDataLoss);
  const auto scanned = LoadIndex(folder.file("v"), options, *runtime).index;
  REQUIRE(scanned->Search(Rows(base, 0, 1), {.exact = true}).status().code() ==
          StatusCode::kDataLoss);
  const auto verified = LoadIndex(folder.file("v"), options, *runtime).index;
  REQUIRE(verified->Verify().code() == StatusCode::kDataLoss);
}

TEST_CASE("codes that are other vectors' are found by verify") {
  const auto runtime = MakeRuntime();
  const CodeKind kind =
      GENERATE(CodeKind::kSq8, CodeKind::kPca8, CodeKind::kSq4, CodeKind::kPca4, CodeKind::kRabitq);
  INFO(CodeKindName(kind));
  const TemporaryFolder folder;
  VectorIndexOptions options;
  options.dim = 96;
  options.hnsw.codes = kind;
  const Matrix base = Clustered(2'000, options.dim, 11);
  {
    const auto index = MakeIndex(options, *runtime);
    REQUIRE_OK(index->Add(Sequence(2'000), base.view()));
    REQUIRE_OK(index->Verify());
    REQUIRE_OK(index->Save(folder.file("v"), 1));
  }
  // The first two codes change places, under right checksums.
  std::string bytes = ReadAll(folder.file("v"));
  SnapshotHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  std::vector<SnapshotSection> table(header.section_count);
  std::memcpy(table.data(), bytes.data() + sizeof(header), table.size() * sizeof(table[0]));
  SnapshotSection& codes = table.back();
  const size_t at = bytes.size() - codes.bytes, one = codes.bytes / 2'000;
  std::swap_ranges(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                   bytes.begin() + static_cast<std::ptrdiff_t>(at + one),
                   bytes.begin() + static_cast<std::ptrdiff_t>(at + one));
  codes.hash = Hash64(std::string_view(bytes).substr(at));
  header.table_hash = Hash64(std::as_bytes(std::span(table)));
  header.header_hash =
      Hash64(std::as_bytes(std::span(&header, 1)).first(offsetof(SnapshotHeader, header_hash)));
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + sizeof(header), table.data(), table.size() * sizeof(table[0]));
  std::ofstream(folder.file("v"), std::ios::binary) << bytes;
  const auto loaded = LoadIndex(folder.file("v"), options, *runtime).index;
  const Status verified = loaded->Verify();
  REQUIRE(verified.code() == StatusCode::kDataLoss);
  REQUIRE(verified.message().find("code of slot") != std::string::npos);
}

TEST_CASE("vectors on disk: a disk without room is an error that leaves the index whole") {
  const auto runtime = MakeRuntime();
  const TemporaryFolder folder;
  const size_t dim = 64, n = 4'000;
  const VectorIndexOptions options = Options(kSq8Graph, dim, folder);
  const Matrix base = Clustered(2 * n, dim, 10);
  const auto index = MakeIndex(options, *runtime);
  REQUIRE_OK(index->Add(Sequence(n), Rows(base, 0, n)));
  const auto before = Find(*index, Rows(base, 0, 10), {});
  // A limit on the size of files fails writes as a full disk does.
  rlimit old{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit tight = old;
  tight.rlim_cur = n * dim * sizeof(float) + 100'000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  const Status added = index->Add(Sequence(n, n), Rows(base, n, n));
  const Status saved = index->Save(folder.file("v"), 1);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &old) == 0);
  ::signal(SIGXFSZ, old_handler);
  REQUIRE(added.code() == StatusCode::kIoError);
  REQUIRE(saved.code() == StatusCode::kIoError);
  REQUIRE(fs::is_empty(folder.path()));
  REQUIRE(index->size() >= n);
  REQUIRE(index->size() < 2 * n);
  REQUIRE_OK(index->Verify());
  REQUIRE(Find(*index, Rows(base, 0, 10), {})[0][0] == before[0][0]);
  // With room again it goes on.
  REQUIRE_OK(index->Add(Sequence(n, n), Rows(base, n, n)));
  REQUIRE(index->size() == 2 * n);
  REQUIRE_OK(index->Verify());
}

TEST_CASE("vectors on disk want codes") {
  const auto runtime = MakeRuntime();
  const auto code = [&](auto change) {
    VectorIndexOptions options;
    options.dim = 32;
    options.rows = RowPlace::kDisk;
    change(options);
    return VectorIndex::Create(options, *runtime).status().code();
  };
  REQUIRE(code([](VectorIndexOptions& o) { o.kind = IndexKind::kFlat; }) ==
          StatusCode::kInvalidArgument);
  REQUIRE(code([](VectorIndexOptions&) {}) == StatusCode::kInvalidArgument);  // hnsw, no codes
  REQUIRE(code([](VectorIndexOptions& o) {
            o.kind = IndexKind::kIvf;
            o.ivf.codes = IvfCodes::kNone;
          }) == StatusCode::kInvalidArgument);
  REQUIRE(code([](VectorIndexOptions& o) {
            o.kind = IndexKind::kIvf;
            o.dim = 4;
          }) == StatusCode::kInvalidArgument);
  REQUIRE(code([](VectorIndexOptions& o) {
            o.kind = IndexKind::kIvf;
            o.ivf.codes = IvfCodes::kRabitq;
          }) == StatusCode::kInvalidArgument);
  REQUIRE(code([](VectorIndexOptions& o) { o.hnsw.codes = CodeKind::kRabitq; }) ==
          StatusCode::kInvalidArgument);
  REQUIRE(code([](VectorIndexOptions& o) { o.kind = IndexKind::kIvf; }) == StatusCode::kOk);
  REQUIRE(code([](VectorIndexOptions& o) { o.hnsw.codes = CodeKind::kPca8; }) == StatusCode::kOk);
}

TEST_CASE("an index with a budget of memory refuses more when it is used up") {
  const auto runtime = MakeRuntime();
  const IndexKind kind = GENERATE(IndexKind::kFlat, IndexKind::kHnsw, IndexKind::kIvf);
  VectorIndexOptions options;
  options.kind = kind;
  options.dim = 64;
  options.memory_budget_bytes = 1 << 20;
  const Matrix base = Clustered(8'000, options.dim, 12);
  const auto index = MakeIndex(options, *runtime);
  Status status;
  size_t first = 0;
  for (; first < base.rows() && status.ok(); first += 200) {
    status = index->Add(Sequence(200, first), Rows(base, first, 200));
  }
  REQUIRE(status.code() == StatusCode::kResourceExhausted);
  REQUIRE(status.message().find("budget") != std::string::npos);
  REQUIRE(index->memory_bytes() >= options.memory_budget_bytes);
  REQUIRE(index->memory_bytes() < 2 * options.memory_budget_bytes);
  REQUIRE_OK(index->Verify());
  REQUIRE(index->size() > 1'000);
  // The places of what is removed are filled again.
  REQUIRE(index->Remove(Sequence(200)).value() == 200);
  REQUIRE_OK(index->Add(Sequence(200), Rows(base, 0, 200)));
  Find(*index, Rows(base, 0, 5), {});
}

}  // namespace
}  // namespace rag::test
