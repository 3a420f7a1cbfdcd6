// Random texts that a constraint allows, drawn token by token.
#pragma once

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "generate/constraint/token_constraint.h"
#include "lib/model/model_file.h"
#include "tests/support/support.h"

namespace rag::test {

// A vocabulary's tokens that an output may have, by the tokenizer alone.
struct WrittenToken {
  TokenId id;
  std::string bytes;
};
inline std::vector<WrittenToken> WrittenTokens(const Tokenizer& tokenizer) {
  std::vector<WrittenToken> tokens;
  for (size_t i = 0; i < tokenizer.vocab_size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    std::string bytes = tokenizer.TokenBytes(id);
    if (!tokenizer.IsSpecial(id) && !bytes.empty()) tokens.push_back({id, std::move(bytes)});
  }
  return tokens;
}

struct Vocabulary {
  explicit Vocabulary(std::unique_ptr<Tokenizer> loaded)
      : tokenizer(std::move(loaded)), table(*tokenizer), tokens(WrittenTokens(*tokenizer)) {}
  std::unique_ptr<Tokenizer> tokenizer;
  TokenTable table;
  std::vector<WrittenToken> tokens;
};

// Byte-level and SentencePiece vocabularies of 32 to 65 thousand tokens; empty without the data.
inline std::vector<std::unique_ptr<Vocabulary>> SharedVocabularies() {
  std::vector<std::unique_ptr<Vocabulary>> all;
  const auto folder = SharedData("tok-llamacpp");
  if (!folder) return all;
  for (const char* name : {"gpt-2", "llama-spm", "phi-3", "falcon"}) {
    const auto path = *folder / (std::string("ggml-vocab-") + name + ".gguf");
    auto file = GgufFile::Open(path.string());
    REQUIRE_OK(file);
    auto tokenizer = Tokenizer::FromGguf(*file);
    REQUIRE_OK(tokenizer);
    all.push_back(std::make_unique<Vocabulary>(std::move(tokenizer).value()));
  }
  return all;
}

// Of constraints that need not look at each other.
inline ConstraintMemory& AmpleMemory() {
  static ConstraintMemory memory(size_t{1} << 40);
  return memory;
}

// Draws uniformly among what may come next, so that odd tokens are as likely as others, until
// nothing may or, once the text is whole, by a coin. Fails where nothing may come though the text
// is not whole.
inline std::string DrawText(TokenConstraint& constraint, const std::vector<WrittenToken>& tokens,
                            std::mt19937& random, size_t budget) {
  constraint.Restart();
  std::string text;
  REQUIRE(constraint.shortest() <= budget);
  for (size_t left = budget; left > 0; --left) {
    if (constraint.finished() || (constraint.complete() && random() % 4 == 0)) break;
    const auto allowed_bits = constraint.Allowed(left);
    REQUIRE_OK(allowed_bits);
    const std::span<const uint64_t> bits = *allowed_bits;
    std::vector<std::string_view> allowed;
    for (const WrittenToken& token : tokens) {
      const auto id = static_cast<size_t>(token.id);
      if ((bits[id / 64] >> (id % 64) & 1) != 0) allowed.push_back(token.bytes);
    }
    if (allowed.empty()) {
      REQUIRE(constraint.complete());
      break;
    }
    const std::string_view bytes = allowed[random() % allowed.size()];
    REQUIRE(constraint.Advance(bytes));
    text += bytes;
  }
  INFO(text);
  REQUIRE(constraint.complete());
  return text;
}

// A table of the 256 bytes and a few longer pieces, without shared data.
inline std::unique_ptr<TokenConstraint> MustCompile(const OutputConstraint& constraint,
                                                    const TokenTable& table,
                                                    ConstraintMemory& memory = AmpleMemory()) {
  auto compiled = CompiledConstraint::Compile(constraint, table, memory);
  REQUIRE_OK(compiled);
  return std::make_unique<TokenConstraint>(std::move(compiled).value());
}

}  // namespace rag::test
