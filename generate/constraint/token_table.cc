#include "generate/constraint/token_table.h"

#include <algorithm>

namespace rag {

TokenTable::TokenTable(const Tokenizer& tokenizer) : vocab_size_(tokenizer.vocab_size()) {
  std::vector<std::pair<std::string, TokenId>> tokens;
  for (size_t i = 0; i < vocab_size_; ++i) {
    const TokenId id = static_cast<TokenId>(i);
    if (tokenizer.IsSpecial(id)) continue;
    std::string bytes = tokenizer.TokenBytes(id);
    if (!bytes.empty()) tokens.emplace_back(std::move(bytes), id);
  }
  std::sort(tokens.begin(), tokens.end());
  std::string_view before;
  for (const auto& [bytes, id] : tokens) {
    const auto [end, ignored] =
        std::mismatch(bytes.begin(), bytes.end(), before.begin(), before.end());
    common_.push_back(static_cast<uint32_t>(end - bytes.begin()));
    begins_.push_back(static_cast<uint32_t>(text_.size()));
    ids_.push_back(id);
    text_ += bytes;
    before = bytes;
    if (bytes.size() == 1) single_bytes_.set(static_cast<unsigned char>(bytes[0]));
  }
  begins_.push_back(static_cast<uint32_t>(text_.size()));
}

}  // namespace rag
