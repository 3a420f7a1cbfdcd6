#include "generate/prompt_lookup.h"

#include <algorithm>

namespace rag {
namespace {

// Vocabularies have fewer than 2^21 tokens; where one had more, a guess could be a bad one.
uint64_t Key(std::span<const TokenId> tokens) {
  uint64_t key = 0;
  for (const TokenId token : tokens) key = key << 21 ^ static_cast<uint64_t>(token);
  return key;
}

}  // namespace

void PromptLookup::Learn(std::span<const TokenId> history) {
  if (guess_.empty()) return;
  const auto came = history.subspan(guessed_at_);
  const size_t right = static_cast<size_t>(
      std::mismatch(guess_.begin(), guess_.end(), came.begin(), came.end()).first - guess_.begin());
  length_.Learn(guess_.size(), right);
  guess_.clear();
}

void PromptLookup::Index(std::span<const TokenId> history) {
  for (; indexed_ + 1 < history.size(); ++indexed_) {
    const size_t end = indexed_ + 1;  // the token that follows
    if (end >= 2) after_two_[Key(history.subspan(end - 2, 2))] = static_cast<uint32_t>(end);
    if (end >= 3) after_three_[Key(history.subspan(end - 3, 3))] = static_cast<uint32_t>(end);
  }
}

std::vector<TokenId> PromptLookup::Guess(std::span<const TokenId> history, size_t most) {
  if (most_ == 0) return {};
  Learn(history);
  Index(history);
  if (length_.Pauses()) return {};
  if (history.size() < 3) return {};
  size_t from = 0;
  if (const auto found = after_three_.find(Key(history.last(3))); found != after_three_.end()) {
    from = found->second;
  } else if (const auto two = after_two_.find(Key(history.last(2))); two != after_two_.end()) {
    from = two->second;
  }
  if (from == 0) return {};
  const size_t count = std::min({length_.length(), most, history.size() - from});
  const auto follows = history.subspan(from, count);
  guess_.assign(follows.begin(), follows.end());
  guessed_at_ = history.size();
  return guess_;
}

}  // namespace rag
