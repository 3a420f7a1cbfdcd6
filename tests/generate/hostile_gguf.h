// What tests of malformed GGUF files share: each file is refused as said, at a bounded cost, or
// does no harm.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "generate/generator.h"
#include "tests/generate/gguf_document.h"
#include "tests/support/allocations.h"
#include "tests/support/support.h"

namespace rag::test {

// The bounds within which a malformed file is refused.
inline constexpr double kRefusalSeconds = 1.0;
inline constexpr size_t kRefusalBytes = size_t{64} << 20;

// The decoders of tests/golden/decoders that llama.cpp's converter wrote: every architecture.
inline const std::vector<std::string>& GoldenDecoders() {
  static const std::vector<std::string> kNames = {
      "bloom",  "gemma",   "gemma2", "gemma3",  "gpt2",    "gptneox", "gptneox_serial",
      "llama3", "mixtral", "mpt",    "olmo2",   "phi2",    "phi3",    "phi3_window",
      "qwen2",  "qwen3",   "smollm", "smollm3", "stablelm"};
  return kNames;
}

inline GgufDocument GoldenDecoder(const std::string& name) {
  return GgufDocument::Open(Golden("decoders/" + name + "/model.gguf"));
}

class HostileFiles {
 public:
  // What a file must lead to.
  struct Refusal {
    std::set<StatusCode> codes = {StatusCode::kInvalidArgument};
    std::vector<std::string> words;  // the message has one of them
  };

  // Bytes of a file that must be refused.
  void Refused(std::string_view bytes, const Refusal& refusal) {
    ++refused_;
    Write("model.gguf", bytes);
    CheckRefused("model.gguf", refusal);
  }
  void Refused(const GgufDocument& document, const Refusal& refusal) {
    Refused(document.Bytes(), refusal);
  }
  // With invalid_argument and one word. (A template, so that braces mean a Refusal.)
  template <class Text>
  requires std::is_convertible_v<Text, std::string>
  void Refused(const GgufDocument& document, const Text& word) {
    Refused(document, Refusal{.codes = {StatusCode::kInvalidArgument}, .words = {word}});
  }
  // The file that was written under this name.
  void CheckRefused(const std::string& name, const Refusal& refusal) {
    Status status;
    const Cost cost = MeasureCost([&] { status = Load(name).status(); });
    INFO(status.ToString());
    REQUIRE_FALSE(status.ok());
    CHECK(refusal.codes.count(status.code()) == 1);
    bool named = refusal.words.empty();
    std::string wanted;
    for (const std::string& word : refusal.words) {
      named |= status.message().find(word) != std::string::npos;
      wanted += " or '" + word + "'";
    }
    INFO("looking for " << wanted);
    CHECK(named);
    CHECK(status.message().find(folder_.file("")) != std::string::npos);
    CheckCost(cost);
  }
  // Loads, and gives log-probabilities of a few tokens: of `same` bit for bit, where given.
  std::vector<float> Harmless(const GgufDocument& document,
                              const std::vector<float>* same = nullptr) {
    ++harmless_;
    Write("model.gguf", document.Bytes());
    const auto generator = Load("model.gguf");
    REQUIRE_OK(generator);
    auto scores = (*generator)->Score(kTokens);
    REQUIRE_OK(scores);
    for (const float score : *scores) CHECK(std::isfinite(score));
    if (same != nullptr) CHECK(*scores == *same);
    return std::move(scores).value();
  }
  // Refused naming the file, or loads and runs: of damage at random.
  bool RefusedOrRuns(std::string_view bytes) {
    Write("model.gguf", bytes);
    Result<std::unique_ptr<Generator>> generator = Status(StatusCode::kInternal, "");
    const Cost cost = MeasureCost([&] { generator = Load("model.gguf"); });
    if (generator.ok()) {
      CHECK((*generator)->Score(kTokens).ok());
      return false;
    }
    const Status status = generator.status();
    INFO(status.ToString());
    CHECK((status.code() == StatusCode::kInvalidArgument ||
           status.code() == StatusCode::kUnsupported || status.code() == StatusCode::kDataLoss ||
           status.code() == StatusCode::kOutOfRange ||
           status.code() == StatusCode::kResourceExhausted));
    CHECK(status.message().find(folder_.file("model.gguf")) != std::string::npos);
    CheckCost(cost);
    return true;
  }

  Result<std::unique_ptr<Generator>> Load(const std::string& name) const {
    return Generator::Load(folder_.file(name), {.max_sequences = 1}, *runtime_);
  }
  void Write(const std::string& name, std::string_view bytes) const {
    std::ofstream out(folder_.file(name), std::ios::binary | std::ios::trunc);
    out << bytes;
    REQUIRE(out.good());
  }
  const TemporaryFolder& folder() const { return folder_; }
  const Runtime& runtime() const { return *runtime_; }
  size_t refused() const { return refused_; }
  size_t harmless() const { return harmless_; }

 private:
  static void CheckCost(const Cost& cost) {
    CHECK(cost.seconds < kRefusalSeconds * kSlowdown);
    CHECK(cost.bytes < kRefusalBytes);
  }

  static inline const std::vector<TokenId> kTokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 35};
  const TemporaryFolder folder_;
  const std::unique_ptr<Runtime> runtime_ = MakeRuntime("", 1);
  size_t refused_ = 0;
  size_t harmless_ = 0;
};

}  // namespace rag::test
