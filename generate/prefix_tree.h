// PrefixTree: cached blocks by the tokens that they hold and all those before them, and by what
// else they depend on.
//
// A radix tree whose edges are blocks (after SGLang's RadixAttention, Zheng et al. 2024, section
// 3): a node is a whole block, or the begun last block of some text, which is a leaf. What no
// sequence stands on is evicted, least recently used first, leaves before what they stand on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "generate/kv_pool.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// What keys and values depend on besides the tokens: equal for sequences that may share blocks.
using CacheSpace = std::vector<uint64_t>;

// Used by one thread at a time.
class PrefixTree {
 public:
  struct Node;
  using Children = std::map<std::vector<TokenId>, std::unique_ptr<Node>>;
  struct Node {
    KvPool::BlockId block = 0;
    Node* parent = nullptr;
    const std::vector<TokenId>* tokens = nullptr;  // the key in the parent's children
    Children children;
    size_t pins = 0;                    // sequences that stand on it
    std::list<Node*>::iterator used;    // its place in used_, while it has no pins; not of a root
    const CacheSpace* space = nullptr;  // of a root, which holds no block
  };

  // `pool` outlives the tree, which holds a share of each of its blocks.
  explicit PrefixTree(KvPool& pool) : pool_(pool) {}
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  // The root of a space. It stays until as many calls of Leave.
  Node* Enter(const CacheSpace& space);
  void Leave(Node* root);

  // The whole block below `parent` that holds exactly `tokens`; null: none.
  Node* Find(Node* parent, std::span<const TokenId> tokens);
  struct Beginning {
    KvPool::BlockId block;
    size_t tokens;  // of it that are the same; at least 1
  };
  // The block below `parent` that shares the longest beginning with `tokens`.
  std::optional<Beginning> FindBeginning(Node* parent, std::span<const TokenId> tokens);

  // 1 to kBlockTokens tokens below `parent`, which is pinned or entered. What is there already
  // stays, and a begun block that the new one goes on with is dropped. Gives the node that holds
  // them.
  Node* Insert(Node* parent, std::span<const TokenId> tokens, KvPool::BlockId block);

  // For a copy that is kept elsewhere. A space's nodes in an order in which each stands behind its
  // parent: the pinned ones, then the most recently used first. Restore takes them in that order,
  // below a root that is entered and nodes that it gave and that are not pinned; null when what it
  // is to add is there.
  std::vector<const Node*> Ordered(const CacheSpace& space) const;
  Node* Restore(Node* parent, std::span<const TokenId> tokens, KvPool::BlockId block);
  // Grows with every node that comes or goes, of whatever space.
  size_t changes() const { return changes_; }

  // A pinned node stays. A sequence pins from the root on and unpins in the opposite order.
  void Pin(Node* node);
  void Unpin(Node* node);

  // Drops the least recently used node; false when all are pinned.
  bool Evict();
  size_t size() const { return size_; }
  size_t evictable() const { return used_.size(); }

 private:
  // Adds a node that is in no list of the used.
  Node* Add(Node* parent, std::vector<TokenId> key, KvPool::BlockId block);
  void Drop(Node* node);
  void DropRoot(Node* root);  // where nothing needs it

  KvPool& pool_;
  std::map<CacheSpace, Node> roots_;
  // Without pins, the most recently used first. A sequence pins a whole path, so a child stands
  // behind its parent: the last one is a leaf.
  std::list<Node*> used_;
  size_t size_ = 0;
  size_t changes_ = 0;
};

}  // namespace rag
