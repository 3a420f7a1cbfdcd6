// The default model against sentence-transformers on 560 real texts
// (tests/golden/embeddings/make_embeddings.py).
#include <sstream>

#include "tests/embed/encoder_support.h"

namespace rag::test {
namespace {

TEST_CASE("all-MiniLM-L6-v2 gives the reference's vectors for real texts of many languages") {
  const auto folder = DefaultEncoderFolder();
  if (!folder.has_value()) RAG_SKIP("the default model is not set up");
  std::vector<std::string> texts;
  std::vector<size_t> tokens;  // without truncation
  std::istringstream lines(ReadAll(Golden("embeddings/texts.jsonl")));
  const size_t step = 560 / Workload(560, 70, "texts for the encoder");
  std::vector<size_t> rows;  // of the golden vectors
  size_t row = 0;
  for (std::string line; std::getline(lines, line); ++row) {
    if (row % step != 0) continue;
    rows.push_back(row);
    const Result<Value> entry = ParseJson(line);
    REQUIRE_OK(entry);
    texts.push_back(entry->Find("text")->as_string());
    tokens.push_back(static_cast<size_t>(entry->Find("tokens")->as_int()));
  }
  REQUIRE(row == 560);
  const std::string halves = ReadAll(Golden("embeddings/vectors.f16"));

  const auto runtime = MakeRuntime();
  const auto encoder = Encoder::Load(folder->string(), *runtime);
  REQUIRE_OK(encoder);
  const EncoderInfo& info = (*encoder)->info();
  CHECK(info.model_type == "bert");
  CHECK(info.dim == 384);
  CHECK(info.layers == 6);
  CHECK(info.heads == 12);
  CHECK(info.max_tokens == 256);
  CHECK(info.pooling == std::vector{Pooling::kMean});
  CHECK(info.normalize);
  REQUIRE(halves.size() == row * info.dim * sizeof(uint16_t));

  const Embeddings embeddings = EncodeAll(**encoder, texts);
  size_t truncated_texts = 0;
  size_t truncated_tokens = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<float> expected(info.dim);
    for (size_t d = 0; d < info.dim; ++d) {
      uint16_t half;
      std::memcpy(&half, halves.data() + (rows[i] * info.dim + d) * sizeof(half), sizeof(half));
      expected[d] = HalfToFloat(half);
    }
    const size_t cut = tokens[i] > info.max_tokens ? tokens[i] - info.max_tokens : 0;
    INFO("text " << i << ": " << texts[i].substr(0, 200));
    CHECK(Cosine(embeddings.vectors.row(i), expected) >= 0.9999);
    CHECK(embeddings.truncated[i] == cut);
    truncated_texts += cut > 0;
    truncated_tokens += cut;
  }
  CHECK(truncated_texts > 20 / step);
  CHECK(embeddings.stats.truncated_texts == truncated_texts);
  CHECK(embeddings.stats.truncated_tokens == truncated_tokens);
}

}  // namespace
}  // namespace rag::test
