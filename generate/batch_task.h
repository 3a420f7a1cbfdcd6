// BatchTask: a sequence in the batch, and the thread that waits for what becomes of it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "generate/lora/lora_adapter.h"
#include "lib/base/status.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// The scheduler owns everything but what is said to be the waiting thread's; a task that is given
// up stays alive until the scheduler has let go of it.
class BatchTask {
 public:
  using Clock = std::chrono::steady_clock;

  // priority: those with a higher one go first. adapters: always in one order.
  explicit BatchTask(std::vector<TokenId> history, int priority = 0,
                     std::vector<LoraUse> adapters = {})
      : history_(std::move(history)), priority_(priority), adapters_(std::move(adapters)) {}
  virtual ~BatchTask() = default;

  // --- the scheduler's thread, and one worker of its pool at a time ---
  // The tokens to run; Take may add one to them.
  std::span<const TokenId> history() const { return history_; }
  int priority() const { return priority_; }
  std::span<const LoraUse> adapters() const { return adapters_; }
  // Whether the logits of every token are wanted, and not only the last one's.
  virtual bool wants_all() const { return false; }
  // At most `most` tokens that may come next, to be run together with the last one, guessed from
  // the history. Those that Take adds too need no step of their own.
  virtual std::vector<TokenId> Draft(size_t /*most*/) { return {}; }
  // Tokens that a draft may have at most; 0 where none is wanted.
  virtual size_t DraftRoom() const { return 0; }
  // So many of a draft's came true.
  virtual void Guessed(size_t /*tokens*/) {}
  // The logits after the token at `position`, in order. False: nothing more is to be run.
  virtual Result<bool> Take(size_t position, std::span<float> logits) = 0;
  // Its first tokens are about to be run.
  virtual void Start() {}
  // So many more need not be run, since the cache holds them.
  virtual void FoundInCache(size_t /*tokens*/) {}

  // --- any thread ---
  // Nobody waits for it any more.
  void GiveUp() { given_up_.store(true, std::memory_order_relaxed); }
  bool given_up() const { return given_up_.load(std::memory_order_relaxed); }
  // No thread touches it after this but the one that waits.
  void End(Status status);

 protected:
  std::vector<TokenId> history_;
  const int priority_;
  const std::vector<LoraUse> adapters_;
  std::mutex mutex_;  // guards what follows, and what a subclass gives to who waits
  std::condition_variable changed_;
  bool ended_ = false;
  Status status_;

 private:
  std::atomic<bool> given_up_{false};
};

// Log-probability of each token after the first.
class ScoreTask final : public BatchTask {
 public:
  ScoreTask(std::span<const TokenId> tokens, std::vector<LoraUse> adapters)
      : BatchTask({tokens.begin(), tokens.end()}, 0, std::move(adapters)) {}

  bool wants_all() const override { return true; }
  Result<bool> Take(size_t position, std::span<float> logits) override;

  Result<std::vector<float>> Wait();

 private:
  std::vector<float> scores_;
};

}  // namespace rag
