#include "generate/constraint/token_table.h"

#include <algorithm>

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

}  // namespace

TokenTable::TokenTable(const Tokenizer& tokenizer, std::span<const TokenId> end_tokens)
    : vocab_size_(tokenizer.vocab_size()) {
  std::vector<std::pair<std::string, TokenId>> tokens;
  for (size_t i = 0; i < vocab_size_; ++i) {
    const TokenId id = static_cast<TokenId>(i);
    if (tokenizer.IsSpecial(id)) continue;
    if (std::binary_search(end_tokens.begin(), end_tokens.end(), id)) continue;
    std::string bytes = tokenizer.TokenBytes(id);
    if (!bytes.empty()) tokens.emplace_back(std::move(bytes), id);
  }
  std::sort(tokens.begin(), tokens.end());
  std::string_view before;
  for (const auto& [bytes, id] : tokens) {
    begins_.push_back(static_cast<uint32_t>(text_.size()));
    ids_.push_back(id);
    text_ += bytes;
    const auto parting = std::mismatch(bytes.begin(), bytes.end(), before.begin(), before.end());
    for (auto at = parting.first; at != bytes.end(); ++at) {
      const auto depth = static_cast<uint32_t>(at - bytes.begin() + 1);
      trie_.Add(depth, static_cast<uint8_t>(*at));
    }
    trie_.AddToken(id);
    before = bytes;
    if (bytes.size() == 1) single_bytes_.set(static_cast<unsigned char>(bytes[0]));
  }
  begins_.push_back(static_cast<uint32_t>(text_.size()));
  trie_.Finish();
  for (uint32_t at = 0; at < trie_.size(); at = trie_.node(at).end) {
    beginning_with_[trie_.node(at).byte] = {at, trie_.node(at).end};
  }
  for (const auto& characters : {JsonCharacters(), LineCharacters()}) {
    common_runs_.push_back(std::make_unique<CharacterRuns>(trie_, vocab_size_, characters));
  }
}

TokenTable::~TokenTable() = default;

}  // namespace rag
