// Perplexity of a real text beside llama.cpp's (tests/golden/perplexity/make_perplexity.py).
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "generate/generator.h"
#include "lib/base/value.h"
#include "tests/generate/gguf_rewrite.h"
#include "tests/generate/random_model.h"
#include "tests/support/support.h"

namespace rag::test {
namespace {

struct Text {
  std::string text;
  size_t context = 0;
  size_t chunks = 0;
};

// As llama.cpp's tool has it: stretches of `context` tokens, each with a beginning-of-text token in
// place of its first, of which the second half is scored.
double Perplexity(Generator& generator, const Text& text) {
  const std::vector<TokenId> tokens = generator.tokenizer().Encode(text.text).ids;
  REQUIRE(tokens.size() / text.context == text.chunks);
  double sum = 0;
  size_t count = 0;
  for (size_t chunk = 0; chunk < text.chunks; ++chunk) {
    const auto begin = tokens.begin() + static_cast<ptrdiff_t>(chunk * text.context);
    std::vector<TokenId> stretch(begin, begin + static_cast<ptrdiff_t>(text.context));
    stretch[0] = *generator.tokenizer().bos_id();
    const auto scores = generator.Score(stretch);
    REQUIRE_OK(scores);
    for (size_t i = text.context / 2; i + 1 < text.context; ++i) {
      sum -= static_cast<double>((*scores)[i]);
      ++count;
    }
  }
  return std::exp(sum / static_cast<double>(count));
}

double PerplexityOf(const std::string& path, const Text& text, bool mapped,
                    const Runtime& runtime) {
  const auto generator =
      Generator::Load(path, {.context_tokens = text.context, .mapped_weights = mapped}, runtime);
  REQUIRE_OK(generator);
  return Perplexity(**generator, text);
}

TEST_CASE(
    "a text's perplexity is no further from f32's than llama.cpp's, but for a thousandth, of every "
    "weight type") {
  const auto models = SharedData("models/stories260K");
  const auto texts = SharedData("tok-sentencepiece");
  if (!models || !texts) RAG_SKIP("no shared data");
  const auto golden = ParseJson(ReadAll(Golden("perplexity/perplexity.json")));
  REQUIRE_OK(golden);
  Text text;
  text.text = ReadAll(*texts / "botchan.txt")
                  .substr(0, static_cast<size_t>(golden->Find("text_bytes")->as_int()));
  text.context = static_cast<size_t>(golden->Find("context")->as_int());
  const std::string stories = (*models / "stories260K.gguf").string();
  const GgufDocument vocabulary = GgufDocument::Open(stories);
  const TemporaryFolder folder;
  const auto runtime = MakeRuntime();
  size_t compared = 0;
  for (const auto& [name, expected] : golden->Find("models")->as_object()) {
    std::string path = stories;
    DType type = DType::kF32;
    if (name != "stories260K") {
      while (GetDTypeInfo(type).name != name) type = static_cast<DType>(static_cast<int>(type) + 1);
      path = folder.file("model.gguf");
      WriteRandomModel({.type = type,
                        .width = 512,
                        .heads = 8,
                        .feed_forward = 768,
                        .layers = 4,
                        .vocabulary = 512},
                       path);
      GgufDocument document = GgufDocument::Open(path);
      for (const GgufDocument::Key& key : vocabulary.keys) {
        if (key.name.starts_with("tokenizer.")) document.keys.push_back(key);
      }
      std::ofstream(path, std::ios::binary) << document.Bytes();
    }
    text.chunks = static_cast<size_t>(expected.Find("chunks")->as_int());
    INFO(name);
    const double theirs = expected.Find("perplexity")->as_double();
    double exact = theirs;
    const bool rounds = GetDTypeInfo(type).block_size > 1;
    if (rounds) {
      RewriteGguf(path, folder.file("exact.gguf"));
      exact = PerplexityOf(folder.file("exact.gguf"), text, false, *runtime);
    }
    // Weights of random blocks make models in which rounded activations, ours or theirs, may count
    // for more than a thousandth.
    const double bound = rounds ? 1e-3 + std::fabs(theirs / exact - 1) : 5e-4;
    for (const bool mapped : {false, true}) {
      if (mapped && type != DType::kF32 && type != DType::kQ4_K) continue;
      const double ours = PerplexityOf(path, text, mapped, *runtime);
      INFO(ours << " where llama.cpp has " << theirs << " and f32 " << exact);
      std::cout << name << (mapped ? " mapped " : " packed ") << ours / theirs - 1 << " to "
                << "llama.cpp's, " << ours / exact - 1 << " to f32's, llama.cpp's "
                << theirs / exact - 1 << std::endl;
      CHECK(std::fabs(ours / exact - 1) <= bound);
      ++compared;
    }
  }
  CHECK(compared == 20);
}

}  // namespace
}  // namespace rag::test
