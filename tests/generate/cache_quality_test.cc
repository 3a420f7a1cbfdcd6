// What rounding keys and values costs: stories260K's next-token distributions against those of an
// f32 cache.
#include <catch2/catch.hpp>
#include <iostream>

#include "lib/base/value.h"
#include "tests/generate/divergence.h"
#include "tests/generate/lone_decoder.h"

namespace rag {
namespace {

// After each token of the first two stories.
std::vector<test::Distribution> Distributions(const std::filesystem::path& folder,
                                              const Runtime& runtime, DType type) {
  constexpr size_t kContext = 512;
  auto file = GgufFile::Open((folder / "stories260K.gguf").string());
  REQUIRE_OK(file);
  const auto config = ReadDecoderConfig(*file);
  REQUIRE_OK(config);
  const auto weights = ReadDecoderWeights(*file, *config);
  REQUIRE_OK(weights);
  test::LoneDecoder decoder(*config, *weights, kContext, runtime, type);
  const auto golden = ParseJson(test::ReadAll(test::Golden("stories_tokens.json")));
  REQUIRE_OK(golden);
  std::vector<test::Distribution> out;
  for (size_t story = 0; story < 2; ++story) {
    std::vector<TokenId> ids;
    for (const Value& id : golden->as_array()[story].Find("ids")->as_array()) {
      ids.push_back(static_cast<TokenId>(id.as_int()));
    }
    for (size_t begin = 0; begin < ids.size(); begin += test::LoneDecoder::kTokens) {
      const size_t count = std::min(test::LoneDecoder::kTokens, ids.size() - begin);
      REQUIRE_OK(decoder.Forward(std::span(ids).subspan(begin, count), begin));
      for (size_t row = 0; row < count; ++row) out.push_back(test::LogSoftmax(decoder.logits(row)));
    }
  }
  return out;
}

TEST_CASE("a rounded cache changes the distribution of the next token hardly") {
  const auto folder = test::SharedData("models/stories260K");
  if (!folder) RAG_SKIP("models/stories260K is not there");
  const auto runtime = test::MakeRuntime();
  const auto exact = Distributions(*folder, *runtime, DType::kF32);
  // Measured 7.5e-7 and 1.1e-3 nats a token; heads of 8 elements have a scale for each 8.
  for (const auto& [type, bound] : {std::pair(DType::kF16, 1e-5), std::pair(DType::kQ8_0, 2e-3),
                                    std::pair(DType::kQ4_0, 0.4)}) {
    const auto rounded = Distributions(*folder, *runtime, type);
    const double divergence = test::Divergence(exact, rounded);
    std::cout << GetDTypeInfo(type).name << ": " << divergence << " nats a token" << std::endl;
    CHECK(divergence >= -1e-9);
    CHECK(divergence < bound);
    CHECK_FALSE(rounded == exact);
  }
}

}  // namespace
}  // namespace rag
