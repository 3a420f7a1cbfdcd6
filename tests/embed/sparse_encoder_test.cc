// Learned sparse vectors against sentence-transformers (tests/golden/sparse/make_sparse.py).
#include "embed/sparse_encoder.h"

#include <tuple>

#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

constexpr size_t kTexts = 16;

std::vector<SparseVector> EncodeGolden(const FamilyFolder& folder, const Runtime& runtime,
                                       TextRole role = TextRole::kDocument) {
  const auto encoder = SparseEncoder::Load(folder.path().string(), runtime);
  REQUIRE_OK(encoder);
  std::vector<std::string> texts = FamilyTexts();
  texts.resize(kTexts);
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  Result<SparseEmbeddings> embeddings = (*encoder)->Encode(views, role);
  REQUIRE_OK(embeddings);
  CHECK(embeddings->truncated.size() == kTexts);
  CHECK(embeddings->stats.texts == kTexts);
  CHECK(embeddings->stats.tokens > kTexts);
  return std::move(embeddings->vectors);
}

void CheckVectors(const std::vector<SparseVector>& vectors, const std::filesystem::path& path) {
  const Result<Value> expected = ParseJson(ReadAll(path));
  REQUIRE_OK(expected);
  REQUIRE(expected->as_array().size() == kTexts);
  size_t entries = 0;
  for (size_t i = 0; i < kTexts; ++i) {
    INFO("text " << i);
    // What one of the two rounds to nothing is missing in the other.
    std::vector<float> want(2'000);
    std::vector<float> ours(2'000);
    for (const Value& entry : expected->as_array()[i].as_array()) {
      want[static_cast<size_t>(entry.as_array()[0].as_int())] =
          static_cast<float>(entry.as_array()[1].as_double());
    }
    for (const SparseVector::Entry& entry : vectors[i].entries) {
      CHECK(entry.weight > 0);
      ours[static_cast<size_t>(entry.token)] = entry.weight;
    }
    for (size_t j = 0; j < want.size(); ++j) {
      if (std::abs(ours[j] - want[j]) > 1e-4f * std::max(1.0f, want[j])) {
        FAIL("token " << j << ": " << ours[j] << " and " << want[j]);
      }
    }
    entries += vectors[i].entries.size();
  }
  CHECK(entries > kTexts);
}

TEST_CASE("Sparse vectors are the reference's") {
  for (const std::string isa : {"scalar", ""}) {
    const auto runtime = MakeRuntime(isa);
    for (const std::string name : {"bert", "distilbert", "xlm-roberta"}) {
      const FamilyFolder folder(name, "sparse");
      const std::vector<SparseVector> vectors = EncodeGolden(folder, *runtime);
      INFO(name);
      CheckVectors(vectors, folder.path() / "expected.json");
    }
  }
}

// tests/golden/sparse/router with its tokenizer in both its parts.
class RouterFolder : public FamilyFolder {
 public:
  RouterFolder() : FamilyFolder("router", "sparse") {
    for (const char* part : {"document_0_MLMTransformer", "query_0_SparseStaticEmbedding"}) {
      std::filesystem::copy(path() / "tokenizer.json", path() / part / "tokenizer.json");
    }
    std::filesystem::remove(path() / "tokenizer.json");
  }
};

TEST_CASE("A router's network may lie beside it, under no name") {
  const auto runtime = MakeRuntime();
  const RouterFolder folder;
  const std::filesystem::path network = folder.path() / "document_0_MLMTransformer";
  for (const auto& file : std::filesystem::directory_iterator(network)) {
    std::filesystem::copy(file.path(), folder.path() / file.path().filename());
  }
  std::filesystem::remove_all(network);
  for (int i = 0; i < 2; ++i) {
    folder.Replace("router_config.json", "\"document_0_MLMTransformer\"", "\"\"");
  }
  CheckVectors(EncodeGolden(folder, *runtime), folder.path() / "expected.json");
  CheckVectors(EncodeGolden(folder, *runtime, TextRole::kQuery),
               folder.path() / "expected_queries.json");
}

TEST_CASE("A router's further routes and rules are refused") {
  const auto runtime = MakeRuntime();
  for (const auto& [from, to, word] :
       {std::tuple{"\"query\": [", "\"image\": [], \"query\": [", "image"},
        std::tuple{"\"route_mappings\": {", "\"route_mappings\": {\"(None, 'text')\": \"query\"",
                   "route_mappings"},
        std::tuple{"\"route_mappings\": {}", "\"route_mappings\": 3", "route_mappings"}}) {
    const RouterFolder folder;
    folder.Replace("router_config.json", from, to);
    const Status status = SparseEncoder::Load(folder.path().string(), *runtime).status();
    INFO(status.ToString());
    CHECK((status.code() == StatusCode::kUnsupported ||
           status.code() == StatusCode::kInvalidArgument));
    CHECK(status.message().find("router_config.json") != std::string::npos);
    CHECK(status.message().find(word) != std::string::npos);
  }
}

TEST_CASE("Queries of a router are looked up, with the reference's weights") {
  const auto runtime = MakeRuntime();
  const RouterFolder folder;
  CheckVectors(EncodeGolden(folder, *runtime), folder.path() / "expected.json");
  const auto queries = [&] { return EncodeGolden(folder, *runtime, TextRole::kQuery); };
  const std::vector<SparseVector> looked_up = queries();
  CheckVectors(looked_up, folder.path() / "expected_queries.json");
  const auto load = [&] { return SparseEncoder::Load(folder.path().string(), *runtime); };
  const auto encoder = load();
  REQUIRE_OK(encoder);
  CHECK((*encoder)->info().looks_up_queries);

  // The weights by piece, as OpenSearch publishes them too.
  const std::filesystem::path part = folder.path() / "query_0_SparseStaticEmbedding";
  Value::Object pieces{{"no piece of the vocabulary", 5.0}};
  for (const SparseVector& vector : looked_up) {
    for (const SparseVector::Entry& entry : vector.entries) {
      pieces.Set((*encoder)->tokenizer().Piece(static_cast<TokenId>(entry.token)), entry.weight);
    }
  }
  WriteText(part / "idf.json", ToJson(Value(std::move(pieces))));
  WriteText(part / "config.json", R"({"frozen": true, "path": "idf.json"})");
  CheckVectors(queries(), folder.path() / "expected_queries.json");
  const auto by_piece = load();
  REQUIRE_OK(by_piece);
  CHECK((*by_piece)->info().fingerprint != (*encoder)->info().fingerprint);

  const auto refused = [&](StatusCode code, const std::string& word) {
    const Status status = load().status();
    INFO(status.ToString());
    CHECK(status.code() == code);
    CHECK(status.message().find(word) != std::string::npos);
  };
  WriteText(part / "idf.json", R"({"a": "b"})");
  refused(StatusCode::kInvalidArgument, "idf.json");
  WriteText(part / "config.json", R"({"path": "../idf.json"})");
  refused(StatusCode::kInvalidArgument, "../idf.json");
  WriteText(part / "config.json", "{}");
  folder.Replace("router_config.json", "\"query_0_SparseStaticEmbedding\"\n", "\"nobody\"\n");
  refused(StatusCode::kUnsupported, "query");
  folder.Replace("router_config.json", "\"query\": [", "\"question\": [");
  refused(StatusCode::kInvalidArgument, "'query'");
}

TEST_CASE("A product of sparse vectors sums what they share") {
  const SparseVector a{{{1, 2.0f}, {5, 3.0f}, {9, 1.0f}}};
  const SparseVector b{{{0, 7.0f}, {5, 2.0f}, {9, 4.0f}, {11, 1.0f}}};
  CHECK(DotProduct(a, b) == 10.0f);
  CHECK(DotProduct(b, a) == 10.0f);
  CHECK(DotProduct(a, {}) == 0.0f);
  const auto runtime = MakeRuntime();
  const std::vector<SparseVector> vectors = EncodeGolden(FamilyFolder("bert", "sparse"), *runtime);
  for (const SparseVector& vector : vectors) {
    for (size_t i = 1; i < vector.entries.size(); ++i) {
      CHECK(vector.entries[i - 1].token < vector.entries[i].token);
    }
  }
}

TEST_CASE("Equal files have equal fingerprints, and every change another") {
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("bert", "sparse");
  const auto load = [&](Precision precision = Precision::kF32) {
    const auto encoder = SparseEncoder::Load(folder.path().string(), *runtime, precision);
    REQUIRE_OK(encoder);
    CHECK((*encoder)->info().vocab == 600);
    return (*encoder)->info().fingerprint;
  };
  const std::string first = load();
  CHECK(first.starts_with("splade-bert-600-"));
  CHECK(load() == first);
  CHECK(load(Precision::kBf16) != first);
  folder.Replace("1_SpladePooling/config.json", "\"max\"", "\"sum\"");
  CHECK(load() != first);
}

TEST_CASE("A sparse encoder's folder that cannot be used is refused") {
  const auto runtime = MakeRuntime();
  const FamilyFolder folder("distilbert", "sparse");
  const Status dense = Encoder::Load(folder.path().string(), *runtime).status();
  CHECK(dense.code() == StatusCode::kUnsupported);
  CHECK(dense.message().find("SpladePooling") != std::string::npos);
  folder.Replace("1_SpladePooling/config.json", "\"max\"", "\"mean\"");
  const Status pooling = SparseEncoder::Load(folder.path().string(), *runtime).status();
  CHECK(pooling.code() == StatusCode::kUnsupported);
  CHECK(pooling.message().find("mean") != std::string::npos);
  const FamilyFolder headless("electra");
  CHECK(SparseEncoder::Load(headless.path().string(), *runtime)
            .status()
            .message()
            .find("ElectraModel") != std::string::npos);
  const FamilyFolder bert("bert", "rerankers");
  CHECK(SparseEncoder::Load(bert.path().string(), *runtime)
            .status()
            .message()
            .find("BertForSequenceClassification") != std::string::npos);
}

}  // namespace
}  // namespace rag::test
