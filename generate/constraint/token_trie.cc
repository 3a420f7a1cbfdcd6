#include "generate/constraint/token_trie.h"

#include <algorithm>

namespace rag {

void TokenTrie::Reserve(size_t nodes, size_t tokens) {
  nodes_.reserve(nodes + 1);
  tokens_.reserve(tokens);
}

// The last node and those above it, from `depth` on, have all that is below them.
void TokenTrie::Close(size_t depth) {
  for (size_t i = depth - 1; i < open_.size(); ++i) {
    nodes_[open_[i]].end = size_;
  }
  open_.resize(depth - 1);
}

void TokenTrie::Add(uint32_t depth, uint8_t byte) {
  Close(depth);
  depth_ = std::max<size_t>(depth_, depth);
  open_.push_back(size_++);
  nodes_.push_back({.end = 0,
                    .depth = depth,
                    .first_token = static_cast<uint32_t>(tokens_.size()),
                    .byte = byte});
}

void TokenTrie::Finish() {
  Close(1);
  nodes_.push_back(
      {.end = 0, .depth = 0, .first_token = static_cast<uint32_t>(tokens_.size()), .byte = 0});
  nodes_.shrink_to_fit();
  tokens_.shrink_to_fit();
}

size_t TokenTrie::memory_bytes() const {
  return nodes_.capacity() * sizeof(Node) + tokens_.capacity() * sizeof(TokenId);
}

}  // namespace rag
