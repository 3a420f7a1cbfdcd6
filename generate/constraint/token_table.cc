#include "generate/constraint/token_table.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "generate/constraint/character_runs.h"

namespace rag {
namespace {

CharacterRuns::Characters JsonCharacters() {
  CharacterRuns::Characters characters{.beyond_ascii = true};
  for (size_t character = 0x20; character < 0x80; ++character) {
    characters.ascii[character] = character != '"' && character != '\\';
  }
  return characters;
}

CharacterRuns::Characters LineCharacters() {
  CharacterRuns::Characters characters{.beyond_ascii = true};
  characters.ascii.set().reset('\n');
  return characters;
}

// Where a token's bytes lie among all tokens' bytes.
struct Spelling {
  uint64_t key;  // its first bytes as a number that sorts as they do
  uint32_t begin;
  uint32_t size;
  TokenId id;
  uint32_t shared = 0;  // bytes that it begins with as the token before it does
};

uint64_t KeyOf(std::string_view bytes) {
  uint64_t key = 0;
  for (size_t i = 0; i < sizeof(key); ++i) {
    key = key << 8 | (i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : 0);
  }
  return key;
}

}  // namespace

TokenTable::TokenTable(const Tokenizer& tokenizer, std::span<const TokenId> end_tokens)
    : vocab_size_(tokenizer.vocab_size()) {
  std::string text;
  std::vector<Spelling> tokens;
  tokens.reserve(vocab_size_);
  for (size_t i = 0; i < vocab_size_; ++i) {
    const TokenId id = static_cast<TokenId>(i);
    if (tokenizer.IsSpecial(id)) continue;
    if (std::binary_search(end_tokens.begin(), end_tokens.end(), id)) continue;
    const std::string bytes = tokenizer.TokenBytes(id);
    if (bytes.empty()) continue;
    tokens.push_back({KeyOf(bytes), static_cast<uint32_t>(text.size()),
                      static_cast<uint32_t>(bytes.size()), id});
    text += bytes;
  }
  const auto bytes_of = [&text](const Spelling& token) {
    return std::string_view(text).substr(token.begin, token.size);
  };
  std::sort(tokens.begin(), tokens.end(), [&](const Spelling& a, const Spelling& b) {
    if (a.key != b.key) return a.key < b.key;
    const int order = bytes_of(a).compare(bytes_of(b));
    return order != 0 ? order < 0 : a.id < b.id;
  });
  token_count_ = tokens.size();
  size_t nodes = 0;
  std::string_view before;
  for (Spelling& token : tokens) {
    const std::string_view bytes = bytes_of(token);
    const auto parting = std::mismatch(bytes.begin(), bytes.end(), before.begin(), before.end());
    token.shared = static_cast<uint32_t>(parting.first - bytes.begin());
    nodes += token.size - token.shared;
    before = bytes;
  }
  trie_.Reserve(nodes, tokens.size());
  for (const Spelling& token : tokens) {
    const std::string_view bytes = bytes_of(token);
    for (uint32_t at = token.shared; at < token.size; ++at) {
      trie_.Add(at + 1, static_cast<uint8_t>(bytes[at]));
    }
    trie_.AddToken(token.id);
    if (bytes.size() == 1) single_bytes_.set(static_cast<unsigned char>(bytes[0]));
  }
  trie_.Finish();
  for (uint32_t at = 0; at < trie_.size(); at = trie_.node(at).end) {
    beginning_with_[trie_.node(at).byte] = {at, trie_.node(at).end};
  }
  for (const auto& characters : {JsonCharacters(), LineCharacters()}) {
    common_runs_.push_back(std::make_unique<CharacterRuns>(trie_, vocab_size_, characters));
  }
}

TokenTable::~TokenTable() = default;

size_t TokenTable::memory_bytes() const {
  size_t bytes = sizeof(*this) + trie_.memory_bytes();
  for (const auto& runs : common_runs_) bytes += runs->memory_bytes();
  return bytes;
}

}  // namespace rag
