// Late interaction against PyLate (tests/golden/late_interaction/make_late_interaction.py).
#include "embed/late_interaction.h"

#include <algorithm>
#include <random>

#include "embed/max_sim.h"
#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

constexpr size_t kDim = 16;

std::vector<std::string> GoldenTexts(const std::string& key) {
  const Result<Value> json = ParseJson(ReadAll(Golden("rerankers/pairs.json")));
  REQUIRE_OK(json);
  std::vector<std::string> texts;
  for (const Value& text : json->Find(key)->as_array()) texts.push_back(text.as_string());
  return texts;
}

std::string Folder(const std::string& name) { return Golden("late_interaction/" + name); }

// The token vectors of the first query and passages.
void CheckVectors(const std::string& name, const LateInteraction& model) {
  const std::vector<float> expected = ReadHalves(Folder(name) + "/vectors.f16");
  const std::vector<std::string> queries = GoldenTexts("queries");
  const std::vector<std::string> passages = GoldenTexts("passages");
  std::vector<Matrix> ours;
  const auto add = [&](const std::string& text, TextRole role) {
    const std::string_view view = text;
    Result<TokenVectors> vectors = model.Encode({&view, 1}, role);
    REQUIRE_OK(vectors);
    ours.push_back(std::move(vectors->texts.front()));
  };
  add(queries[0], TextRole::kQuery);
  for (size_t i = 0; i < 4; ++i) add(passages[i], TextRole::kDocument);
  size_t at = 0;
  for (const Matrix& text : ours) {
    REQUIRE(text.cols() == kDim);
    for (size_t i = 0; i < text.rows(); ++i, at += kDim) {
      REQUIRE(at + kDim <= expected.size());
      CHECK(Cosine(text.row(i), std::span(expected).subspan(at, kDim)) >= 0.9999);
    }
  }
  CHECK(at == expected.size());
}

void CheckModel(const std::string& name, size_t max_tokens) {
  const std::vector<std::string> queries = GoldenTexts("queries");
  const std::vector<std::string> passages = GoldenTexts("passages");
  const std::vector<std::string_view> views(passages.begin(), passages.end());
  const std::string bytes = ReadAll(Folder(name) + "/scores.f32");
  std::vector<float> expected(bytes.size() / sizeof(float));
  std::memcpy(expected.data(), bytes.data(), expected.size() * sizeof(float));
  REQUIRE(expected.size() == queries.size() * passages.size());
  for (const Isa isa : kAllIsas) {
    if (GetKernels(isa) == nullptr) continue;
    const auto runtime = MakeRuntime(std::string(IsaName(isa)));
    const auto model = LateInteraction::Load(Folder(name), *runtime, Precision::kF32);
    REQUIRE_OK(model);
    CHECK((*model)->info().max_tokens == max_tokens);
    CHECK((*model)->info().late_interaction);
    CheckVectors(name, **model);
    const size_t count = isa == Isa::kScalar ? 3 : queries.size();
    for (size_t q = 0; q < count; ++q) {
      INFO(name << " " << IsaName(isa) << " query '" << queries[q] << "'");
      const Result<RerankScores> scored = (*model)->Score(queries[q], views);
      REQUIRE_OK(scored);
      const std::span<const float> want(expected.data() + q * views.size(), views.size());
      for (size_t i = 0; i < views.size(); ++i) {
        INFO("passage " << i << ": " << scored->scores[i] << " and " << want[i]);
        // Sums of some 30 cosines, each off by the rounding of a few layers in another order.
        CHECK(std::abs(scored->scores[i] - want[i]) <= 1e-3f);
      }
      CHECK(Order(scored->scores) == Order(want));
    }
  }
}

TEST_CASE("PyLate's model scores as the reference does") { CheckModel("pylate", 100); }
TEST_CASE("ModernBERT with two dense layers and seen expansions scores as the reference does") {
  CheckModel("modernbert", 150);
}
TEST_CASE("A model without prefixes and expansion scores as the reference does") {
  CheckModel("plain", 60);
}
TEST_CASE("Stanford's model scores as the reference does") { CheckModel("stanford", 120); }

TEST_CASE("A late interaction folder is a reranker") {
  const auto runtime = MakeRuntime();
  const auto reranker = Reranker::Load(Folder("stanford"), *runtime);
  REQUIRE_OK(reranker);
  const auto model = LateInteraction::Load(Folder("stanford"), *runtime, Precision::kF32);
  REQUIRE_OK(model);
  const std::string_view passages[] = {"the right to rest", "everyone has a name", ""};
  const Result<RerankScores> a = (*reranker)->Score("rest", passages);
  const Result<RerankScores> b = (*model)->Score("rest", passages);
  REQUIRE_OK(a);
  REQUIRE_OK(b);
  CHECK(a->scores == b->scores);
  CHECK((*reranker)->Score("rest", {})->scores.empty());
  CancelToken cancel;
  cancel.Cancel();
  CHECK((*reranker)->Score("rest", passages, &cancel).status().code() == StatusCode::kCancelled);
}

TEST_CASE("Token vectors in bf16 and int8 are near") {
  const auto runtime = MakeRuntime();
  const std::vector<std::string> passages = GoldenTexts("passages");
  const std::vector<std::string_view> views(passages.begin(), passages.end());
  const auto exact = LateInteraction::Load(Folder("pylate"), *runtime, Precision::kF32);
  REQUIRE_OK(exact);
  const Result<RerankScores> want = (*exact)->Score("the right to rest", views);
  REQUIRE_OK(want);
  for (const Precision precision : {Precision::kBf16, Precision::kInt8}) {
    const auto model = LateInteraction::Load(Folder("pylate"), *runtime, precision);
    REQUIRE_OK(model);
    const Result<RerankScores> scored = (*model)->Score("the right to rest", views);
    REQUIRE_OK(scored);
    for (size_t i = 0; i < views.size(); ++i) {
      // For each of the query's 24 tokens; random weights of 24 columns average little out.
      const float error = precision == Precision::kBf16 ? 0.01f : 0.04f;
      CHECK(std::abs(scored->scores[i] - want->scores[i]) <= 24 * error);
    }
  }
}

TEST_CASE("MaxSim is the sum of the largest products, in every table") {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (const Isa isa : kAllIsas) {
    const Kernels* kernels = GetKernels(isa);
    if (kernels == nullptr) continue;
    for (const size_t dim : {1, 7, 96, 128}) {
      for (const size_t asked : {1, 5, 32, 33}) {
        for (const size_t rows : {0, 1, 63, 64, 65, 200}) {
          Matrix query(asked, dim);
          Matrix passage(rows, dim);
          for (size_t i = 0; i < asked * dim; ++i) query.data()[i] = normal(random);
          for (size_t i = 0; i < rows * dim; ++i) passage.data()[i] = normal(random);
          double expected = 0;
          for (size_t i = 0; i < asked && rows > 0; ++i) {
            double best = -1e30;
            for (size_t j = 0; j < rows; ++j) {
              double product = 0;
              for (size_t d = 0; d < dim; ++d) {
                product += static_cast<double>(query.row(i)[d]) * passage.row(j)[d];
              }
              best = std::max(best, product);
            }
            expected += best;
          }
          const float score = MaxSimQuery(*kernels, query.view()).Score(passage.view());
          INFO(IsaName(isa) << " " << asked << " x " << rows << " x " << dim);
          CHECK(score == Approx(expected).epsilon(1e-5).margin(1e-4));
        }
      }
    }
  }
}

TEST_CASE("A late interaction folder that cannot be used is refused, naming file and key") {
  struct Refusal {
    std::string model, file, from, to;
    std::vector<std::string> words;
  };
  const Refusal refusals[] = {
      {"pylate",
       "config_sentence_transformers.json",
       "\"query_length\": 24",
       "\"query_length\": 2000",
       {"config_sentence_transformers.json", "2000", "200"}},
      {"pylate",
       "config_sentence_transformers.json",
       "\"query_prefix\": \"[Q] \"",
       "\"query_prefix\": \"[Query] \"",
       {"tokenizer", "[Query] "}},
      {"pylate",
       "1_Dense/config.json",
       "\"in_features\": 24",
       "\"in_features\": 25",
       {"1_Dense", "in_features", "25", "24"}},
      {"stanford",
       "artifact.metadata",
       "\"doc_maxlen\": 120",
       "\"doc_maxlen\": \"120\"",
       {"artifact.metadata", "doc_maxlen", "string"}},
  };
  const auto runtime = MakeRuntime();
  for (const Refusal& refusal : refusals) {
    const TemporaryFolder copy;
    std::filesystem::copy(Folder(refusal.model), copy.path() / "model",
                          std::filesystem::copy_options::recursive);
    const auto path = copy.path() / "model" / refusal.file;
    std::string text = ReadAll(path);
    const size_t at = text.find(refusal.from);
    INFO(refusal.file << " has no " << refusal.from);
    REQUIRE(at != std::string::npos);
    WriteText(path, text.replace(at, refusal.from.size(), refusal.to));
    const auto model = Reranker::Load((copy.path() / "model").string(), *runtime);
    REQUIRE_FALSE(model.ok());
    INFO(model.status().ToString());
    for (const std::string& word : refusal.words) {
      INFO("looking for " << word);
      CHECK(model.status().message().find(word) != std::string::npos);
    }
  }
}

TEST_CASE("Token vectors are unpacked as they were packed, to half a step of each row's scale") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const size_t rows : {0, 1, 7}) {
    Matrix vectors(rows, 128);
    for (size_t i = 0; i < rows * 128; ++i) vectors.data()[i] = normal(random);
    const std::string bytes = PackTokenVectors(vectors.view());
    CHECK(bytes.size() == 12 + rows * 132);
    Matrix read;
    REQUIRE(UnpackTokenVectors(bytes, read));
    REQUIRE(read.rows() == rows);
    for (size_t i = 0; i < rows; ++i) {
      float largest = 0;
      for (const float value : vectors.row(i)) largest = std::max(largest, std::abs(value));
      for (size_t j = 0; j < 128; ++j) {
        CHECK(std::abs(read.row(i)[j] - vectors.row(i)[j]) <= largest / 254 * 1.0001f);
      }
    }
    for (size_t size = 0; size < bytes.size(); size += 17) {
      CHECK_FALSE(UnpackTokenVectors(std::string_view(bytes).substr(0, size), read));
    }
    CHECK_FALSE(UnpackTokenVectors(bytes + "x", read));
  }
  Matrix zero(1, 4), read;
  REQUIRE(UnpackTokenVectors(PackTokenVectors(zero.view()), read));
  CHECK(read.row(0)[0] == 0);
}

Result<std::vector<float>> Kept(const LateInteraction& model, const std::string& query,
                                const std::vector<Matrix>& passages) {
  return model.ScoreVectors(query, passages.size(),
                            [&](size_t i) -> Result<Matrix> { return passages[i]; });
}

TEST_CASE("Packed token vectors score as the passages do, within their rounding") {
  const auto runtime = MakeRuntime();
  const auto model = LateInteraction::Load(Folder("pylate"), *runtime, Precision::kF32);
  REQUIRE_OK(model);
  const std::vector<std::string> passages = GoldenTexts("passages");
  const std::vector<std::string_view> views(passages.begin(), passages.end());
  const Result<TokenVectors> vectors = (*model)->Encode(views, TextRole::kDocument);
  REQUIRE_OK(vectors);
  std::vector<Matrix> packed(passages.size());
  for (size_t i = 0; i < passages.size(); ++i) {
    REQUIRE(UnpackTokenVectors(PackTokenVectors(vectors->texts[i].view()), packed[i]));
  }
  const std::string query = GoldenTexts("queries").front();
  const Result<RerankScores> read = (*model)->Score(query, views);
  const Result<std::vector<float>> kept = Kept(**model, query, packed);
  const Result<std::vector<float>> exact = Kept(**model, query, vectors->texts);
  REQUIRE_OK(read);
  REQUIRE_OK(kept);
  REQUIRE_OK(exact);
  const size_t tokens = (*model)->Encode({&views[0], 1}, TextRole::kQuery)->texts[0].rows();
  for (size_t i = 0; i < passages.size(); ++i) {
    CHECK((*exact)[i] == Approx(read->scores[i]).margin(1e-5));
    CHECK(std::abs((*kept)[i] - read->scores[i]) <=
          static_cast<double>(tokens) * std::sqrt(kDim) / 254);
  }
  CHECK(*kept != *exact);
  std::vector<Matrix> wrong(1);
  wrong[0] = Matrix(1, kDim + 1);
  CHECK(Kept(**model, query, wrong).status().code() == StatusCode::kInvalidArgument);
  // Equal files have equal names; another precision gives other vectors.
  const auto again = LateInteraction::Load(Folder("pylate"), *runtime, Precision::kF32);
  const auto rounded = LateInteraction::Load(Folder("pylate"), *runtime, Precision::kBf16);
  const auto other = LateInteraction::Load(Folder("stanford"), *runtime, Precision::kF32);
  CHECK((*model)->info().fingerprint == (*again)->info().fingerprint);
  CHECK((*model)->info().fingerprint != (*rounded)->info().fingerprint);
  CHECK((*model)->info().fingerprint != (*other)->info().fingerprint);
}

}  // namespace
}  // namespace rag::test
