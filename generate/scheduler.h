// BatchScheduler: many sequences, one forward pass a step (continuous batching, Yu et al. 2022,
// "Orca", section 3; chunked prefill after Agrawal et al. 2024, "Sarathi-Serve", section 4).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "generate/batch_task.h"
#include "generate/decoder.h"
#include "generate/draft_model.h"
#include "generate/generator.h"
#include "generate/kv_sequence.h"

namespace rag {

// A thread of its own runs the decoder. Each step takes one token of every sequence that is
// generating, and up to Decoder::kChunkTokens of those whose prompts are not yet run: the first of
// them gets at least half, so that it gets on, and the one with the least left the rest, so that a
// short prompt does not wait for a long one. Where no prompt waits, tasks may draft what comes
// next, and a draft model does where they do not. A sequence whose next block another one is about
// to write waits for that. When the cache is full and nothing can be evicted, the last sequence
// gives its blocks up and waits; it goes on later, with what the cache has kept of it. Blocks that
// are lent (CacheSnapshot) are waited for, but not for a guess.
class BatchScheduler {
 public:
  // Requests that wait at most.
  static constexpr size_t kMaxWaiting = 1024;

  // `decoder`, whose max_tokens is at least max_sequences + kChunkTokens, and `pool`, which holds
  // at least one context, outlive the scheduler, and so does `draft`, which has been started; null
  // for none. vocab_size: logits that a task gets.
  BatchScheduler(Decoder& decoder, KvPool& pool, size_t vocab_size, size_t max_sequences,
                 const Runtime& runtime, DraftModel* draft = nullptr);
  // Ends what still runs with unavailable.
  ~BatchScheduler();

  // Thread-safe. The task's End is called once it is over, unless this fails. Its history fits in
  // the context for as long as Take goes on. Errors: unavailable when kMaxWaiting wait.
  Status Submit(std::shared_ptr<BatchTask> task);

  GeneratorActivity activity() const;

  // Calls `work` between two steps and waits for it; the batch waits meanwhile. Thread-safe.
  // Errors: unavailable when the scheduler ends before.
  using CacheWork = FunctionRef<Status(PrefixTree& tree)>;
  Status WithCache(const CacheWork& work);

 private:
  // Keys and values depend on the adapters.
  static CacheSpace SpaceOf(const BatchTask& task);

  struct Job {
    const CacheWork* work;
    std::promise<Status> done;
  };
  struct Waiting {
    std::shared_ptr<BatchTask> task;
    uint64_t order;
    bool started = false;
    bool preempted = false;
  };
  struct Running {
    Running(Waiting from, KvPool& pool, PrefixTree& tree)
        : task(std::move(from.task)),
          order(from.order),
          started(from.started),
          resumed(from.preempted),
          cache(pool, tree, SpaceOf(*task)) {}
    size_t pending() const { return task->history().size() - cache.size(); }

    std::shared_ptr<BatchTask> task;
    uint64_t order;
    bool started;
    const bool resumed;  // after it was preempted
    bool published = false;
    KvSequence cache;
    std::unique_ptr<DraftModel::Sequence> draft;  // where there is a draft model
  };
  struct Planned {
    Running* running;
    size_t tokens;               // of the history, from the cache's size on
    std::vector<TokenId> draft;  // that token and the draft's; empty: none
  };
  // Rows of logits that a task is to take.
  struct Ready {
    const Planned* planned;
    size_t row;
    size_t rows;
    size_t position;
    size_t taken = 0;
    Result<bool> outcome = true;
  };

  void Run();
  void Reap();
  void Admit();
  void Enqueue(Waiting waiting);
  static void Found(Running& running, size_t tokens);
  bool IsRunning(const Running* running) const;
  std::vector<Planned> Plan();
  void PlanPrompts(std::vector<Planned>& plan);
  bool Add(Running& running, size_t tokens, std::vector<Planned>& plan);
  void AddDrafts(std::vector<Planned>& plan);
  static bool NobodyWaits(const std::vector<Planned>& plan);  // for what the plan gives
  static size_t UseDraft(Planned& planned, std::vector<TokenId> draft);
  void FollowDrafts(std::vector<Planned>& plan, size_t most);
  void Preempt(std::vector<Planned>& plan);
  void Step();
  std::vector<Ready> Commit(const std::vector<Planned>& plan);
  static void PublishOnce(Running& running);
  void Take(Ready& ready);
  void End(Running* running, const Status& status);
  void Report();

  Decoder& decoder_;
  KvPool& pool_;
  DraftModel* const draft_;
  const size_t vocab_size_;
  const size_t max_sequences_;
  const Runtime& runtime_;

  mutable std::mutex mutex_;  // guards what follows, up to activity_
  std::condition_variable wake_;
  std::vector<Waiting> arrived_;
  std::vector<Job> jobs_;
  bool stopping_ = false;
  size_t waiting_count_ = 0;
  uint64_t next_order_ = 0;
  GeneratorActivity activity_;

  // The thread's own. Both in the order in which sequences go first.
  PrefixTree tree_;
  std::vector<Waiting> waiting_;
  std::vector<std::unique_ptr<Running>> running_;

  std::thread thread_;  // last: it uses everything above
};

}  // namespace rag
