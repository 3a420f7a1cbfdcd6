// KvSequence: where the cache holds the tokens of one sequence.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "generate/kv_pool.h"
#include "generate/prefix_tree.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Whole blocks are the tree's, shared with whatever begins alike; the last one, which is written
// to, is the sequence's own. Keys and values depend on the tokens and the space alone, bit for bit,
// so it does not matter who computed them. Used by the pool's thread; `history` is always the
// sequence's tokens from their beginning, at least size().
class KvSequence {
 public:
  // Whether blocks that are lent are waited for.
  enum class Await { kLent, kNothing };

  // Both outlive the sequence, which shares blocks with those of its space.
  KvSequence(KvPool& pool, PrefixTree& tree, const CacheSpace& space = {})
      : pool_(pool), tree_(tree), root_(tree.Enter(space)) {}
  ~KvSequence();
  KvSequence(const KvSequence&) = delete;
  KvSequence& operator=(const KvSequence&) = delete;

  size_t size() const { return size_; }  // tokens held
  std::span<const KvPool::BlockId> blocks() const { return blocks_; }

  // Where size() is the end of a block, takes over the whole blocks that the tree holds after it;
  // never the last token of the history, whose logits are wanted. Gives the tokens gained.
  size_t MatchBlocks(std::span<const TokenId> history);
  // Copies the block that is the same at its beginning for the longest, where a block for it is
  // there without waiting. Gives the tokens gained.
  size_t CopyBeginning(std::span<const TokenId> history);
  // Makes room for `tokens` more, evicting what nobody stands on, and waiting for what is evicted
  // to be given back where it is lent, or for whatever is lent where nothing can be evicted; false
  // when that does not suffice. kNothing: gives false instead of waiting, and evicts nothing while
  // what was evicted before is lent.
  bool Reserve(size_t tokens, Await await = Await::kLent);
  // `tokens` more were written; whole blocks become the tree's.
  void Commit(std::span<const TokenId> history, size_t tokens);
  // Lets others begin with the begun block. It can still be written to: they copy it.
  void Publish(std::span<const TokenId> history);
  void Clear();

 private:
  PrefixTree::Node* last() const { return path_.empty() ? root_ : path_.back(); }
  std::optional<KvPool::BlockId> Take(Await await);
  void Adopt(PrefixTree::Node* node);

  KvPool& pool_;
  PrefixTree& tree_;
  PrefixTree::Node* const root_;
  std::vector<KvPool::BlockId> blocks_;  // the path's, then its own
  std::vector<PrefixTree::Node*> path_;  // pinned
  size_t size_ = 0;
};

}  // namespace rag
