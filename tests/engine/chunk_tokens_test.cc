// Chunks counted by a real tokenizer.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "engine/chunk.h"
#include "engine/parse.h"
#include "lib/tokenizer/tokenizer.h"
#include "tests/engine/check_document.h"
#include "tests/support/support.h"

namespace rag {

TEST_CASE("token counts are the tokenizer's own, but for words that are cut") {
  const auto data = test::SharedData("docs-k8s-en-ko");
  if (!data) RAG_SKIP("docs-k8s-en-ko is not there");
  const auto folder = test::DefaultEncoderFolder();
  if (!folder) RAG_SKIP("the default encoder is not set up");
  const auto tokenizer = Tokenizer::Load(folder->string());
  REQUIRE_OK(tokenizer);
  const EncodeOptions plain{.add_special_tokens = false};
  size_t chunks_seen = 0;
  size_t exact = 0;
  size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*data)) {
    if (entry.path().extension() != ".md" || ++files % 13 != 0) continue;
    const Result<ParsedFile> parsed = ParseFile(entry.path().string());
    REQUIRE_OK(parsed);
    const Document& document = parsed->documents.at(0);
    for (const ChunkStrategy strategy : {ChunkStrategy::kFixed, ChunkStrategy::kSentence,
                                         ChunkStrategy::kRecursive, ChunkStrategy::kStructure}) {
      ChunkOptions options;
      options.strategy = strategy;
      options.chunk_tokens = 128;
      options.overlap_tokens = 24;
      const auto chunks = ChunkDocument(document, options, tokenizer->get());
      REQUIRE_OK(chunks);
      test::CheckChunks(document, *chunks, options);
      for (const Chunk& chunk : *chunks) {
        const std::string text = document.text.substr(chunk.begin, chunk.end - chunk.begin);
        const auto counted = static_cast<int64_t>((*tokenizer)->Encode(text, plain).ids.size());
        const int64_t difference = std::abs(counted - static_cast<int64_t>(chunk.tokens));
        // A word that is cut in two has other pieces than the whole one.
        if (difference > 8) {
          INFO(entry.path() << " " << ChunkStrategyName(strategy) << ": " << text);
          CHECK(counted == chunk.tokens);
        }
        exact += difference == 0;
        ++chunks_seen;
      }
    }
  }
  CHECK(chunks_seen > 500);
  CHECK(exact * 100 >= chunks_seen * 90);
}

}  // namespace rag
