// Perplexity of a real text beside llama.cpp's (tests/golden/perplexity/make_perplexity.py).
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "generate/generator.h"
#include "lib/base/value.h"
#include "tests/generate/gguf_document.h"
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

TEST_CASE("a text's perplexity is llama.cpp's to a thousandth, of every weight type") {
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
    if (name != "stories260K") {
      DType type = DType::kF32;
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
    for (const bool mapped : {false, true}) {
      const auto generator = Generator::Load(
          path, {.context_tokens = text.context, .mapped_weights = mapped}, *runtime);
      REQUIRE_OK(generator);
      const double theirs = expected.Find("perplexity")->as_double();
      const double ours = Perplexity(**generator, text);
      INFO(ours << " where llama.cpp has " << theirs);
      std::cout << name << (mapped ? " mapped " : " packed ") << ours / theirs - 1 << std::endl;
      CHECK(std::fabs(ours / theirs - 1) <= 1e-3);
      ++compared;
    }
  }
  CHECK(compared == 34);
}

}  // namespace
}  // namespace rag::test
