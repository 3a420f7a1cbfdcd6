// What our products of quantized weights cost beside f32 arithmetic with the same weights after
// dequantization (which equals the gguf package's bit for bit): the divergence of the next token's
// distributions, for every type, instruction set and layout.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "generate/quantize.h"
#include "lib/base/value.h"
#include "tests/generate/divergence.h"
#include "tests/generate/gguf_rewrite.h"
#include "tests/generate/lone_decoder.h"
#include "tests/generate/random_model.h"

namespace rag::test {
namespace {

constexpr double kBound = 1e-3;  // nats a token

constexpr DType kBlockTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0,
                                 DType::kQ5_1, DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,
                                 DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS,
                                 DType::kMXFP4};

// After each token of each text.
std::vector<Distribution> Distributions(const std::string& path,
                                        const std::vector<std::vector<TokenId>>& texts,
                                        const Runtime& runtime, bool packed) {
  const auto file = GgufFile::Open(path);
  REQUIRE_OK(file);
  const auto config = ReadDecoderConfig(*file);
  REQUIRE_OK(config);
  auto weights = ReadDecoderWeights(*file, *config);
  REQUIRE_OK(weights);
  if (packed) REQUIRE_OK(PackDecoderWeights(*file, runtime, *weights));
  size_t context = 0;
  for (const auto& text : texts) context = std::max(context, text.size());
  LoneDecoder decoder(*config, *weights, context, runtime);
  std::vector<Distribution> out;
  for (const auto& text : texts) {
    for (size_t begin = 0; begin < text.size(); begin += LoneDecoder::kTokens) {
      const size_t count = std::min(LoneDecoder::kTokens, text.size() - begin);
      REQUIRE_OK(decoder.Forward(std::span(text).subspan(begin, count), begin));
      for (size_t row = 0; row < count; ++row) out.push_back(LogSoftmax(decoder.logits(row)));
    }
  }
  return out;
}

// Of the exact distributions, nats.
double Entropy(const std::vector<Distribution>& exact) {
  double sum = 0;
  for (const Distribution& logs : exact) {
    for (const double log : logs) sum -= std::exp(log) * log;
  }
  return sum / static_cast<double>(exact.size());
}

// Compares the file with its dequantized self on every instruction set, packed and not; gives the
// largest divergence.
double LargestDivergence(const std::string& path, const std::string& exact_path,
                         const std::vector<std::vector<TokenId>>& texts, std::string& report) {
  RewriteGguf(path, exact_path);
  double largest = 0;
  for (const char* isa : {"scalar", "avx2", "avx512", "amx"}) {
    if (!Runtime::Create({.isa = isa}).ok()) continue;
    const auto runtime = MakeRuntime(isa);
    const auto exact = Distributions(exact_path, texts, *runtime, false);
    if (report.empty()) report = StrCat("entropy ", Entropy(exact), " nats");
    for (const bool packed : {false, true}) {
      if (packed && runtime->isa() < Isa::kAvx512) continue;
      const double divergence = Divergence(exact, Distributions(path, texts, *runtime, packed));
      report += StrCat(", ", isa, packed ? " packed " : " ", divergence);
      CHECK(divergence >= -1e-9);
      CHECK(divergence <= kBound);
      largest = std::max(largest, divergence);
    }
  }
  return largest;
}

TEST_CASE("every block type's products stay within a thousandth nat of f32's, random weights") {
  const TemporaryFolder folder;
  std::vector<TokenId> text;
  for (size_t i = 0; i < 96; ++i) {
    text.push_back(static_cast<TokenId>(Mix(uint64_t{254} << 32 | i) % 64));
  }
  WriteRandomModel({.type = DType::kF32}, folder.file("random.gguf"));
  for (const DType type : kBlockTypes) {
    const std::string path = folder.file("model.gguf");
    RewriteGguf(folder.file("random.gguf"), path, type);
    INFO(GetDTypeInfo(type).name);
    std::string report;
    LargestDivergence(path, folder.file("exact.gguf"), {text}, report);
    std::cout << GetDTypeInfo(type).name << ": " << report << std::endl;
  }
}

TEST_CASE("products of a trained model's quantized weights stay within a thousandth nat of f32's") {
  const auto data = SharedData("models/stories260K");
  if (!data) RAG_SKIP("models/stories260K is not there");
  const auto golden = ParseJson(ReadAll(Golden("stories_tokens.json")));
  REQUIRE_OK(golden);
  std::vector<std::vector<TokenId>> texts;
  for (size_t story = 0; story < 2; ++story) {
    std::vector<TokenId>& text = texts.emplace_back();
    for (const Value& id : golden->as_array()[story].Find("ids")->as_array()) {
      text.push_back(static_cast<TokenId>(id.as_int()));
    }
  }
  const TemporaryFolder folder;
  const auto runtime = MakeRuntime();
  // The model is 64 wide: too narrow for types of 256 elements.
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1}) {
    const std::string path = folder.file("model.gguf");
    REQUIRE_OK(QuantizeModel((*data / "stories260K.gguf").string(), path,
                             {.type = std::string(GetDTypeInfo(type).name)}, *runtime));
    INFO(GetDTypeInfo(type).name);
    std::string report;
    LargestDivergence(path, folder.file("exact.gguf"), texts, report);
    std::cout << "stories260K " << GetDTypeInfo(type).name << ": " << report << std::endl;
  }
}

}  // namespace
}  // namespace rag::test
