// Saved indexes: what comes back, what is refused, and damage.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "index/index_spec.h"
#include "index/vector/snapshot.h"
#include "index/vector_index.h"
#include "lib/base/hash.h"
#include "tests/index/vectors.h"

namespace rag::test {
namespace {

VectorIndexOptions Options(std::string_view spec) {
  VectorIndexOptions base;
  base.metric = Metric::kCosine;
  base.dim = 72;
  base.ivf.lists = 16;  // trained with 624 vectors
  auto options = ParseIndexSpec(spec, base);
  REQUIRE_OK(options);
  return *options;
}

#define FOR_EVERY_SPEC                                                                         \
  const auto runtime = MakeRuntime();                                                          \
  const std::string spec = GENERATE("flat", "hnsw", "hnsw:sq8", "hnsw:pca8", "hnsw:rabitq",    \
                                    "hnsw:sq4", "hnsw:pca4", "ivf", "ivf:none", "ivf:rabitq"); \
  INFO(spec)

void WriteAll(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST_CASE("a saved index finds the same when it is loaded") {
  FOR_EVERY_SPEC;
  const VectorIndexOptions options = Options(spec);
  const TemporaryFolder folder;
  const std::string path = folder.file("vectors");
  const size_t n = 3'000;
  const Matrix base = Clustered(n, options.dim, 1), queries = Clustered(40, options.dim, 2);
  const auto index = MakeIndex(options, *runtime);
  REQUIRE_OK(index->Add(Sequence(n, 10, 7), base.view()));
  REQUIRE(index->Remove(Sequence(500, 10, 14)).value() == 500);
  REQUIRE_OK(index->Save(path, 0xABCDEF0123456789));

  auto loaded = VectorIndex::Load(path, options, *runtime);
  REQUIRE_OK(loaded);
  REQUIRE(loaded->tag == 0xABCDEF0123456789);
  VectorIndex& copy = *loaded->index;
  REQUIRE(copy.size() == n - 500);
  REQUIRE_OK(copy.Verify());
  REQUIRE(Find(copy, queries.view(), {}) == Find(*index, queries.view(), {}));
  std::vector<float> stored(options.dim), expected(options.dim);
  REQUIRE_OK(copy.GetVector(17, stored));
  REQUIRE_OK(index->GetVector(17, expected));
  REQUIRE(stored == expected);

  // It goes on living: the free places are used, removal works.
  REQUIRE_OK(copy.Add(Sequence(500, 10, 14), Rows(base, 0, 500)));
  REQUIRE(copy.Remove(Sequence(300, 17, 14)).value() == 300);
  REQUIRE_OK(copy.Verify());
  REQUIRE(copy.size() == n - 300);
  REQUIRE_OK(copy.Save(path, 2));
  REQUIRE(VectorIndex::Load(path, options, *runtime)->tag == 2);
  REQUIRE(std::distance(std::filesystem::directory_iterator(folder.path()),
                        std::filesystem::directory_iterator()) == 1);
}

TEST_CASE("an empty index is saved and loaded") {
  FOR_EVERY_SPEC;
  const TemporaryFolder folder;
  const auto index = MakeIndex(Options(spec), *runtime);
  REQUIRE_OK(index->Save(folder.file("v"), 1));
  auto loaded = VectorIndex::Load(folder.file("v"), Options(spec), *runtime);
  REQUIRE_OK(loaded);
  REQUIRE(loaded->index->size() == 0);
  const Matrix base = Clustered(10, 72, 1);
  REQUIRE_OK(loaded->index->Add(Sequence(10), base.view()));
  REQUIRE_OK(loaded->index->Verify());
}

TEST_CASE("other options, other versions and other files are refused") {
  const auto runtime = MakeRuntime();
  const TemporaryFolder folder;
  const std::string path = folder.file("v");
  const VectorIndexOptions options = Options("hnsw");
  const auto index = MakeIndex(options, *runtime);
  const Matrix base = Clustered(100, 72, 1);
  REQUIRE_OK(index->Add(Sequence(100), base.view()));
  REQUIRE_OK(index->Save(path, 1));
  const auto code = [&](const VectorIndexOptions& asked) {
    return VectorIndex::Load(path, asked, *runtime).status().code();
  };
  const auto message = [&](const VectorIndexOptions& asked) {
    return VectorIndex::Load(path, asked, *runtime).status().message();
  };
  VectorIndexOptions asked = options;
  asked.kind = IndexKind::kFlat;
  REQUIRE(code(asked) == StatusCode::kFailedPrecondition);
  REQUIRE(message(asked) == StrCat("'", path, "' was saved with kind hnsw, not flat"));
  asked = options;
  asked.metric = Metric::kL2;
  REQUIRE(code(asked) == StatusCode::kFailedPrecondition);
  REQUIRE(message(asked) ==
          StrCat("'", path, "' was saved with metric ", MetricName(options.metric), ", not l2"));
  asked = options;
  asked.element = ElementType::kBF16;
  REQUIRE(message(asked) == StrCat("'", path, "' was saved with element type f32, not bf16"));
  asked = options;
  asked.hnsw.codes = CodeKind::kPca8;
  REQUIRE(message(asked) == StrCat("'", path, "' was saved with codes none, not pca8"));
  asked = options;
  asked.dim = 73;
  REQUIRE(code(asked) == StatusCode::kFailedPrecondition);
  asked = options;
  asked.hnsw.m = 8;
  REQUIRE(code(asked) == StatusCode::kFailedPrecondition);
  asked = options;
  asked.hnsw.ef_search = 10;  // no property of the graph
  REQUIRE(code(asked) == StatusCode::kOk);

  REQUIRE(VectorIndex::Load(folder.file("none"), options, *runtime).status().code() ==
          StatusCode::kNotFound);
  std::string bytes = ReadAll(path);
  SnapshotHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.version = kSnapshotVersion + 1;
  header.header_hash =
      Hash64(std::as_bytes(std::span(&header, 1)).first(offsetof(SnapshotHeader, header_hash)));
  std::memcpy(bytes.data(), &header, sizeof(header));
  WriteAll(path, bytes);
  REQUIRE(code(options) == StatusCode::kFailedPrecondition);
}

TEST_CASE("a changed, cut or extended file is refused") {
  FOR_EVERY_SPEC;
  const VectorIndexOptions options = Options(spec);
  const TemporaryFolder folder;
  const std::string path = folder.file("v");
  const auto index = MakeIndex(options, *runtime);
  const Matrix base = Clustered(200, options.dim, 1);
  REQUIRE_OK(index->Add(Sequence(200), base.view()));
  REQUIRE_OK(index->Save(path, 1));
  const std::string good = ReadAll(path);
  std::mt19937 random(5);
  const auto refused = [&](const std::string& bytes) {
    WriteAll(path, bytes);
    const auto loaded = VectorIndex::Load(path, options, *runtime);
    // A vector is looked at when it is read.
    const Status status = loaded.ok() ? loaded->index->Verify() : loaded.status();
    INFO(status.ToString());
    REQUIRE(status.code() == StatusCode::kDataLoss);
  };
  for (int i = 0; i < 500; ++i) {
    std::string bytes = good;
    // The head is small and matters most.
    const size_t at = random() % (i % 2 == 0 ? 400 : bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    refused(bytes);
  }
  for (int i = 0; i < 50; ++i) refused(good.substr(0, random() % good.size()));
  refused("");
  refused(good + "x");
}

// What checksums cannot catch: a file whose sums are right and whose content is not.
TEST_CASE("damage under a right checksum neither crashes nor leads out of bounds") {
  FOR_EVERY_SPEC;
  VectorIndexOptions options = Options(spec);
  const TemporaryFolder folder;
  const std::string path = folder.file("v");
  const size_t n = 1'100;
  const auto index = MakeIndex(options, *runtime);
  const Matrix base = Clustered(n, options.dim, 1);
  REQUIRE_OK(index->Add(Sequence(n), base.view()));
  REQUIRE_OK(index->Save(path, 1));
  const std::string good = ReadAll(path);
  std::mt19937 random(6);
  int accepted = 0;
  for (int i = 0; i < 400; ++i) {
    std::string bytes = good;
    SnapshotHeader header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    const size_t table = header.section_count * sizeof(SnapshotSection);
    const size_t body = sizeof(header) + table;
    // One to four bytes of the header, the table or the sections, then all sums anew.
    for (size_t j = 0, changes = 1 + random() % 4; j < changes; ++j) {
      const size_t places[] = {60, body, body + 14'000, bytes.size()};
      const size_t at = 12 + random() % (places[random() % 4] - 12);
      bytes[at] = static_cast<char>(random());
    }
    std::memcpy(&header, bytes.data(), sizeof(header));
    std::vector<SnapshotSection> sections(table / sizeof(SnapshotSection));
    std::memcpy(sections.data(), bytes.data() + sizeof(header), table);
    size_t at = body;
    for (SnapshotSection& section : sections) {
      at = (at + kSectionAlign - 1) / kSectionAlign * kSectionAlign;
      if (at > bytes.size() || section.bytes > bytes.size() - at) break;
      section.hash = Hash64(std::string_view(bytes).substr(at, section.bytes));
      at += section.bytes;
    }
    std::memcpy(bytes.data() + sizeof(header), sections.data(), table);
    header.table_hash = Hash64(std::string_view(bytes).substr(sizeof(header), table));
    header.header_hash =
        Hash64(std::as_bytes(std::span(&header, 1)).first(offsetof(SnapshotHeader, header_hash)));
    std::memcpy(bytes.data(), &header, sizeof(header));
    WriteAll(path, bytes);
    auto loaded = VectorIndex::Load(path, options, *runtime);
    if (!loaded.ok()) {
      REQUIRE((loaded.status().code() == StatusCode::kDataLoss ||
               loaded.status().code() == StatusCode::kFailedPrecondition));
      continue;
    }
    ++accepted;
    // The vectors' own checksums were not made anew: data_loss where one was hit.
    const SearchOptions search{.k = 10, .ef_search = 16};
    loaded->index->Search(Rows(base, 0, 5), search).status().Ignore();
    loaded->index->Remove(Sequence(50, random() % n)).status().Ignore();
    loaded->index->Add(Sequence(50, 2'000), Rows(base, 0, 50)).Ignore();
    loaded->index->Search(Rows(base, 0, 5), search).status().Ignore();
  }
  REQUIRE(accepted > 0);
}

}  // namespace
}  // namespace rag::test
