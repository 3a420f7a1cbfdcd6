#include "generate/prefix_tree.h"

#include <algorithm>
#include <unordered_set>

namespace rag {
namespace {

size_t Common(std::span<const TokenId> a, std::span<const TokenId> b) {
  const auto ends = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(ends.first - a.begin());
}

}  // namespace

PrefixTree::~PrefixTree() {
  while (Evict()) {
  }
}

PrefixTree::Node* PrefixTree::Enter(const CacheSpace& space) {
  const auto root = roots_.try_emplace(space).first;
  root->second.space = &root->first;
  ++root->second.pins;
  return &root->second;
}

void PrefixTree::Leave(Node* root) {
  --root->pins;
  DropRoot(root);
}

void PrefixTree::DropRoot(Node* root) {
  if (root->pins == 0 && root->children.empty()) roots_.erase(roots_.find(*root->space));
}

PrefixTree::Node* PrefixTree::Find(Node* parent, std::span<const TokenId> tokens) {
  Children& children = parent->children;
  const auto found = children.find(std::vector<TokenId>(tokens.begin(), tokens.end()));
  return found == children.end() ? nullptr : found->second.get();
}

std::optional<PrefixTree::Beginning> PrefixTree::FindBeginning(Node* parent,
                                                               std::span<const TokenId> tokens) {
  Children& children = parent->children;
  // In the order of the keys, what shares most with `tokens` stands next to their place.
  const auto after = children.lower_bound(std::vector<TokenId>(tokens.begin(), tokens.end()));
  Node* best = nullptr;
  size_t longest = 0;
  const auto consider = [&](Children::iterator at) {
    const size_t common = Common(at->first, tokens);
    if (common <= longest) return;
    longest = common;
    best = at->second.get();
  };
  if (after != children.end()) consider(after);
  if (after != children.begin()) consider(std::prev(after));
  if (best == nullptr) return std::nullopt;
  if (best->pins == 0) used_.splice(used_.begin(), used_, best->used);
  return Beginning{best->block, longest};
}

PrefixTree::Node* PrefixTree::Insert(Node* parent, std::span<const TokenId> tokens,
                                     KvPool::BlockId block) {
  Children& children = parent->children;
  std::vector<TokenId> key(tokens.begin(), tokens.end());
  auto after = children.lower_bound(key);
  if (after != children.end() && Common(after->first, tokens) == tokens.size()) {
    // The same, or for a begun block one that goes on with it.
    Node* node = after->second.get();
    if (node->pins == 0) used_.splice(used_.begin(), used_, node->used);
    return node;
  }
  if (after != children.begin()) {
    const auto before = std::prev(after);
    if (before->second->pins == 0 && Common(before->first, tokens) == before->first.size()) {
      Drop(before->second.get());
    }
  }
  Node* const added = Add(parent, std::move(key), block);
  used_.push_front(added);
  added->used = used_.begin();
  return added;
}

PrefixTree::Node* PrefixTree::Add(Node* parent, std::vector<TokenId> key, KvPool::BlockId block) {
  auto node = std::make_unique<Node>();
  Node* const added = node.get();
  added->tokens = &parent->children.emplace(std::move(key), std::move(node)).first->first;
  added->block = block;
  added->parent = parent;
  pool_.Share(block);
  ++size_;
  ++changes_;
  return added;
}

PrefixTree::Node* PrefixTree::Restore(Node* parent, std::span<const TokenId> tokens,
                                      KvPool::BlockId block) {
  std::vector<TokenId> key(tokens.begin(), tokens.end());
  if (parent->children.contains(key)) return nullptr;
  Node* const added = Add(parent, std::move(key), block);
  used_.push_back(added);
  added->used = std::prev(used_.end());
  return added;
}

std::vector<const PrefixTree::Node*> PrefixTree::Ordered(const CacheSpace& space) const {
  const auto root = roots_.find(space);
  if (root == roots_.end()) return {};
  std::vector<const Node*> nodes;
  std::unordered_set<const Node*> below = {&root->second};
  const auto add = [&](const Node* node) {
    nodes.push_back(node);
    below.insert(node);
  };
  const auto add_pinned = [&](const Node* parent) {
    for (const auto& [tokens, child] : parent->children) {
      if (child->pins > 0) add(child.get());
    }
  };
  add_pinned(&root->second);
  for (size_t i = 0; i < nodes.size(); ++i) add_pinned(nodes[i]);
  for (const Node* node : used_) {
    if (below.contains(node->parent)) add(node);
  }
  return nodes;
}

void PrefixTree::Pin(Node* node) {
  if (node->pins++ == 0) used_.erase(node->used);
}

void PrefixTree::Unpin(Node* node) {
  if (--node->pins != 0) return;
  used_.push_front(node);
  node->used = used_.begin();
}

void PrefixTree::Drop(Node* node) {
  pool_.Release(node->block);
  used_.erase(node->used);
  --size_;
  ++changes_;
  Node* const parent = node->parent;
  parent->children.erase(parent->children.find(*node->tokens));
  if (parent->space != nullptr) DropRoot(parent);
}

bool PrefixTree::Evict() {
  if (used_.empty()) return false;
  Drop(used_.back());
  return true;
}

}  // namespace rag
