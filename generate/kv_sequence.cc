#include "generate/kv_sequence.h"

#include <algorithm>

namespace rag {
namespace {

constexpr size_t kBlock = KvPool::kBlockTokens;

}  // namespace

KvSequence::~KvSequence() {
  Clear();
  tree_.Leave(root_);
}

std::optional<KvPool::BlockId> KvSequence::Take(Await await) {
  bool awaits = false;
  for (;;) {
    if (const auto id = pool_.Take()) return id;
    const size_t owed = pool_.owed();
    if (await == Await::kNothing) {
      if (owed > 0 || !tree_.Evict()) return std::nullopt;
      continue;
    }
    // What was evicted here and is lent comes free by itself: nothing else need go for it. Other
    // blocks that are owed may be written last, so they are waited for where nothing else can go.
    awaits = awaits || !tree_.Evict() || pool_.owed() > owed;
    if (awaits && !pool_.AwaitLent()) return std::nullopt;
  }
}

void KvSequence::Adopt(PrefixTree::Node* node) {
  tree_.Pin(node);
  path_.push_back(node);
}

size_t KvSequence::MatchBlocks(std::span<const TokenId> history) {
  const size_t before = size_;
  if (size_ % kBlock != 0) return 0;
  // Reserved for a pass that was given up.
  for (; blocks_.size() > path_.size(); blocks_.pop_back()) pool_.Release(blocks_.back());
  const size_t limit = history.size() - 1;
  while (size_ + kBlock <= limit) {
    PrefixTree::Node* node = tree_.Find(last(), history.subspan(size_, kBlock));
    if (node == nullptr) break;
    Adopt(node);
    blocks_.push_back(node->block);
    size_ += kBlock;
  }
  return size_ - before;
}

size_t KvSequence::CopyBeginning(std::span<const TokenId> history) {
  const size_t limit = history.size() - 1;
  if (size_ % kBlock != 0 || size_ >= limit) return 0;
  const auto wanted = history.subspan(size_, std::min(kBlock, limit - size_));
  const auto beginning = tree_.FindBeginning(last(), wanted);
  if (!beginning) return 0;
  pool_.Share(beginning->block);  // taking the copy may evict it
  const auto copy = Take(Await::kNothing);
  if (copy) {
    pool_.Copy(beginning->block, *copy);
    blocks_.push_back(*copy);
    size_ += beginning->tokens;
  }
  pool_.Release(beginning->block);
  return copy ? beginning->tokens : 0;
}

bool KvSequence::Reserve(size_t tokens, Await await) {
  while (blocks_.size() < KvPool::BlocksFor(size_ + tokens)) {
    const auto id = Take(await);
    if (!id) return false;
    blocks_.push_back(*id);
  }
  return true;
}

void KvSequence::Commit(std::span<const TokenId> history, size_t tokens) {
  size_ += tokens;
  for (size_t i = path_.size(); (i + 1) * kBlock <= size_; ++i) {
    PrefixTree::Node* node = tree_.Insert(last(), history.subspan(i * kBlock, kBlock), blocks_[i]);
    Adopt(node);
    // The tree's share is enough; another sequence may have written the same before.
    pool_.Release(blocks_[i]);
    blocks_[i] = node->block;
  }
}

void KvSequence::Publish(std::span<const TokenId> history) {
  const size_t begin = path_.size() * kBlock;
  if (begin < size_)
    tree_.Insert(last(), history.subspan(begin, size_ - begin), blocks_[path_.size()]);
}

void KvSequence::Clear() {
  for (; blocks_.size() > path_.size(); blocks_.pop_back()) pool_.Release(blocks_.back());
  for (; !path_.empty(); path_.pop_back()) tree_.Unpin(path_.back());
  blocks_.clear();
  size_ = 0;
}

}  // namespace rag
