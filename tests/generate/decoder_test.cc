// The forward pass against numpy's, for every weight type: tests/golden/make_llama_logits.py.
#include "generate/decoder.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "lib/base/value.h"
#include "tests/generate/lone_decoder.h"
#include "tests/generate/random_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

constexpr size_t kTokens = 70;  // more than one Forward takes

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,    DType::kBF16,   DType::kQ8_0,
                            DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0,   DType::kQ5_1,
                            DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,   DType::kQ5_K,
                            DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};

std::vector<TokenId> RandomTokens() {
  std::vector<TokenId> tokens;
  for (size_t i = 0; i < kTokens; ++i) {
    tokens.push_back(static_cast<TokenId>(test::Mix(uint64_t{255} << 32 | i) % 64));
  }
  return tokens;
}

struct Loaded {
  std::unique_ptr<GgufFile> file;
  std::unique_ptr<DecoderWeights> weights;
  std::unique_ptr<test::LoneDecoder> decoder;
};

Loaded Load(const test::RandomModel& model, const std::string& path, const Runtime& runtime,
            DType cache_type = DType::kF32) {
  test::WriteRandomModel(model, path);
  Loaded loaded;
  auto file = GgufFile::Open(path);
  REQUIRE_OK(file);
  loaded.file = std::make_unique<GgufFile>(std::move(file).value());
  const auto config = ReadDecoderConfig(*loaded.file);
  REQUIRE_OK(config);
  auto weights = ReadDecoderWeights(*loaded.file, *config);
  REQUIRE_OK(weights);
  loaded.weights = std::make_unique<DecoderWeights>(std::move(weights).value());
  loaded.decoder = std::make_unique<test::LoneDecoder>(*config, *loaded.weights, model.context,
                                                       runtime, cache_type);
  return loaded;
}

std::vector<float> Copy(std::span<const float> values) { return {values.begin(), values.end()}; }

// Logits after token 3 and after the last, in Forwards of at most `chunk` tokens.
std::vector<std::vector<float>> Run(test::LoneDecoder& decoder, size_t chunk) {
  const auto tokens = RandomTokens();
  std::vector<std::vector<float>> out;
  for (size_t begin = 0; begin < kTokens; begin += chunk) {
    const size_t count = std::min(chunk, kTokens - begin);
    REQUIRE_OK(decoder.Forward(std::span(tokens).subspan(begin, count), begin));
    for (const size_t wanted : {size_t{3}, kTokens - 1}) {
      if (wanted >= begin && wanted < begin + count) {
        out.push_back(Copy(decoder.logits(wanted - begin)));
      }
    }
  }
  return out;
}

double Largest(const Value::Array& values) {
  double largest = 0;
  for (const Value& value : values) largest = std::max(largest, std::fabs(value.as_double()));
  return largest;
}

double LargestDifference(const Value::Array& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    largest = std::max(largest, std::fabs(a[i].as_double() - static_cast<double>(b[i])));
  }
  return largest;
}

// How far the reference with 8-bit activations is from the exact one, at most.
double RoundingEffect(const Value& entry) {
  const Value* rounded = entry.Find("logits8");
  double largest = 0;
  for (size_t i = 0; rounded != nullptr && i < rounded->as_array().size(); ++i) {
    const Value::Array& expected = rounded->as_array()[i].as_array();
    const Value::Array& exact = entry.Find("logits")->as_array()[i].as_array();
    for (size_t j = 0; j < exact.size(); ++j) {
      largest = std::max(largest, std::fabs(expected[j].as_double() - exact[j].as_double()));
    }
  }
  return largest;
}

void CheckAgainstReference(const std::string& isa) {
  const auto golden = ParseJson(test::ReadAll(test::Golden("llama_logits.json")));
  REQUIRE_OK(golden);
  const auto runtime = test::MakeRuntime(isa);
  const test::TemporaryFolder folder;
  size_t index = 0;
  for (const DType type : kTypes) {
    INFO(GetDTypeInfo(type).name);
    const Loaded loaded =
        Load({.type = type, .index = index++}, folder.file("model.gguf"), *runtime);
    const auto logits = Run(*loaded.decoder, test::LoneDecoder::kTokens);
    const Value& entry = *golden->Find("types")->Find(GetDTypeInfo(type).name);
    const double effect = RoundingEffect(entry);
    for (size_t i = 0; i < 2; ++i) {
      const Value::Array& exact = entry.Find("logits")->as_array()[i].as_array();
      const Value* rounded = entry.Find("logits8");
      if (rounded == nullptr) {
        // f32 arithmetic: two layers of sums of 256 terms, each with the relative error of 256
        // roundings at worst; measured 1e-6.
        CHECK(LargestDifference(exact, logits[i]) <= 2 * 256 * 0x1p-24 * Largest(exact));
        continue;
      }
      // Rounding activations to 8 bits is a noise: where f32 rounding moves one of them over the
      // border of a step, what follows rounds differently too. So ours and the reference's logits
      // are two samples around the exact ones, and lie within the sum of their distances from them,
      // for which the reference's largest is the measure.
      const Value::Array& expected = rounded->as_array()[i].as_array();
      CHECK(LargestDifference(expected, logits[i]) <= 2 * effect);
    }
  }
}

TEST_CASE("logits of every weight type equal numpy's, scalar") { CheckAgainstReference("scalar"); }

TEST_CASE("logits of every weight type equal numpy's, avx2") {
  if (GetQuantizedKernels(Isa::kAvx2) == nullptr) RAG_SKIP("this processor has no AVX2");
  CheckAgainstReference("avx2");
}

TEST_CASE("logits of every weight type equal numpy's, avx512") {
  if (GetQuantizedKernels(Isa::kAvx512) == nullptr) RAG_SKIP("this processor has no AVX-512 VNNI");
  CheckAgainstReference("avx512");
}

TEST_CASE("logits are the same whether tokens come together or one by one, bit for bit") {
  const test::TemporaryFolder folder;
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    if (!Runtime::Create({.isa = isa}).ok()) continue;
    INFO(isa);
    const auto runtime = test::MakeRuntime(isa);
    for (const DType type : kTypes) {
      // The scalar table is slow, and takes all block types by one function.
      if (runtime->isa() == Isa::kScalar && type != DType::kF16 && type != DType::kQ4_K) continue;
      INFO(GetDTypeInfo(type).name);
      const Loaded loaded = Load({.type = type}, folder.file("model.gguf"), *runtime);
      const auto together = Run(*loaded.decoder, test::LoneDecoder::kTokens);
      CHECK(Run(*loaded.decoder, 1) == together);
      CHECK(Run(*loaded.decoder, 7) == together);
    }
  }
}

TEST_CASE("a cancelled forward pass says so") {
  const auto runtime = test::MakeRuntime();
  const test::TemporaryFolder folder;
  const Loaded loaded = Load({}, folder.file("model.gguf"), *runtime);
  const auto tokens = RandomTokens();
  const auto always = [] { return true; };
  const Decoder::Cancelled cancelled(always);
  CHECK(loaded.decoder->Forward({tokens.data(), 1}, 0, &cancelled).code() ==
        StatusCode::kCancelled);
}

TEST_CASE("a token whose weights are damaged does not reach those before it") {
  const test::TemporaryFolder folder;
  const auto runtime = test::MakeRuntime();
  constexpr size_t kPoison = 12;
  std::vector<TokenId> tokens;
  for (TokenId i = 0; i < 20; ++i) tokens.push_back(i + 3);
  for (const DType type : {DType::kF32, DType::kQ8_0}) {
    for (const DType cache : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_0}) {
      INFO(GetDTypeInfo(type).name << ", cache " << GetDTypeInfo(cache).name);
      const auto rows = [&](bool damaged) {
        test::RandomModel model = {.type = type};
        if (damaged) {
          model.damage = test::PoisonToken(model, static_cast<size_t>(tokens[kPoison]));
        }
        const Loaded loaded = Load(model, folder.file("m.gguf"), *runtime, cache);
        REQUIRE_OK(loaded.decoder->Forward(tokens, 0));
        std::vector<std::vector<float>> out;
        for (size_t i = 0; i < tokens.size(); ++i) out.push_back(Copy(loaded.decoder->logits(i)));
        return out;
      };
      const auto sound = rows(false);
      const auto damaged = rows(true);
      for (size_t i = 0; i < tokens.size(); ++i) {
        INFO("token " << i);
        CHECK((damaged[i] == sound[i]) == (i < kPoison));
        CHECK(std::isnan(damaged[i][0]) == (i >= kPoison));
      }
    }
  }
}

}  // namespace
}  // namespace rag
