// TokenTrie: tokens by their bytes, laid out for walks that leave out whole parts of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/tokenizer/tokenizer.h"

namespace rag {

class TokenTrie {
 public:
  struct Node {
    uint32_t end;          // of the nodes below, which follow: depth-first order
    uint32_t depth;        // bytes up to here, `byte` included
    uint32_t first_token;  // the next node's is the end of its tokens
    uint8_t byte;
  };
  struct Range {
    uint32_t begin = 0;
    uint32_t end = 0;
  };

  // Before all others: how many are going to be added.
  void Reserve(size_t nodes, size_t tokens);
  // A node after those that are there: `depth` is at most one more than the last one's.
  void Add(uint32_t depth, uint8_t byte);
  // A token that ends at the last node.
  void AddToken(TokenId id) { tokens_.push_back(id); }
  // Once, after all nodes; only then may nodes be asked for.
  void Finish();

  uint32_t size() const { return size_; }
  const Node& node(uint32_t index) const { return nodes_[index]; }
  std::span<const TokenId> tokens(uint32_t node) const {
    const uint32_t first = nodes_[node].first_token;
    return std::span(tokens_).subspan(first, nodes_[node + 1].first_token - first);
  }
  // Bytes of the longest token.
  size_t depth() const { return depth_; }
  size_t memory_bytes() const;

 private:
  void Close(size_t depth);

  uint32_t size_ = 0;
  std::vector<Node> nodes_;  // and one more when finished
  std::vector<TokenId> tokens_;
  std::vector<uint32_t> open_;  // the last node and those above it, while there may be more
  size_t depth_ = 0;
};

}  // namespace rag
