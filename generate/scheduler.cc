#include "generate/scheduler.h"

#include <algorithm>
#include <bit>

namespace rag {
namespace {

constexpr size_t kBlock = KvPool::kBlockTokens;

// Whether a goes before b.
template <class A, class B>
bool Before(const A& a, const B& b) {
  if (a.task->priority() != b.task->priority()) return a.task->priority() > b.task->priority();
  return a.order < b.order;
}

// Whether what `later` has to run next is what `earlier` is about to write to the cache: the next
// whole block, or all but the last token.
bool Follows(const BatchTask& later, size_t done, const BatchTask& earlier, size_t earlier_done) {
  if (later.wants_all() || done % kBlock != 0 || earlier_done < done) return false;
  if (!std::equal(later.adapters().begin(), later.adapters().end(), earlier.adapters().begin(),
                  earlier.adapters().end())) {
    return false;
  }
  const auto a = later.history();
  const auto b = earlier.history();
  const size_t needed = std::min(done + kBlock, a.size() - 1);
  return needed > done && b.size() >= needed &&
         std::equal(a.begin(), a.begin() + static_cast<ptrdiff_t>(needed), b.begin());
}

}  // namespace

CacheSpace BatchScheduler::SpaceOf(const BatchTask& task) {
  CacheSpace space;
  for (const LoraUse& use : task.adapters()) {
    space.push_back(reinterpret_cast<uintptr_t>(use.adapter));
    space.push_back(std::bit_cast<uint32_t>(use.scale));
  }
  return space;
}

BatchScheduler::BatchScheduler(Decoder& decoder, KvPool& pool, size_t vocab_size,
                               size_t max_sequences, const Runtime& runtime, DraftModel* draft)
    : decoder_(decoder),
      pool_(pool),
      draft_(draft),
      vocab_size_(vocab_size),
      max_sequences_(max_sequences),
      runtime_(runtime),
      tree_(pool) {
  activity_.cache_max_bytes = pool.capacity() * pool.block_bytes();
  if (draft != nullptr) {
    activity_.cache_max_bytes += draft->pool().capacity() * draft->pool().block_bytes();
  }
  thread_ = std::thread([this] { Run(); });
}

BatchScheduler::~BatchScheduler() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Status BatchScheduler::Submit(std::shared_ptr<BatchTask> task) {
  {
    std::lock_guard lock(mutex_);
    if (waiting_count_ >= kMaxWaiting) {
      return UnavailableError(waiting_count_, " generations are waiting already");
    }
    ++waiting_count_;
    arrived_.push_back({std::move(task), next_order_++});
  }
  wake_.notify_one();
  return OkStatus();
}

Status BatchScheduler::WithCache(const CacheWork& work) {
  Job job = {&work, {}};
  std::future<Status> done = job.done.get_future();
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return UnavailableError("the generator is closed");
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
  return done.get();
}

GeneratorActivity BatchScheduler::activity() const {
  std::lock_guard lock(mutex_);
  return activity_;
}

void BatchScheduler::Report() {
  std::lock_guard lock(mutex_);
  waiting_count_ = waiting_.size() + arrived_.size();
  activity_.running = running_.size();
  activity_.waiting = waiting_count_;
  activity_.cache_bytes = pool_.allocated_bytes();
  size_t standing = 0;
  for (const auto& running : running_) {
    standing += running->cache.blocks().size();
    if (running->draft != nullptr) standing += running->draft->blocks();
  }
  activity_.cache_sequence_blocks = standing;
  activity_.cache_used_blocks = pool_.used();
  activity_.cache_kept_blocks = tree_.size();
  if (draft_ == nullptr) return;
  activity_.cache_bytes += draft_->pool().allocated_bytes();
  activity_.cache_used_blocks += draft_->pool().used();
  activity_.cache_kept_blocks += draft_->tree().size();
}

void BatchScheduler::Run() {
  for (;;) {
    std::vector<Waiting> arrived;
    std::vector<Job> jobs;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] {
        return stopping_ || !arrived_.empty() || !jobs_.empty() || !waiting_.empty() ||
               !running_.empty();
      });
      if (stopping_) break;
      arrived.swap(arrived_);
      jobs.swap(jobs_);
    }
    for (Job& job : jobs) job.done.set_value((*job.work)(tree_));
    for (Waiting& waiting : arrived) Enqueue(std::move(waiting));
    Reap();
    Admit();
    Report();
    Step();
    Report();
  }
  const Status status = UnavailableError("the generator is closed");
  while (!running_.empty()) End(running_.back().get(), status);
  for (const Waiting& waiting : waiting_) waiting.task->End(status);
  std::lock_guard lock(mutex_);
  for (const Waiting& waiting : arrived_) waiting.task->End(status);
  for (Job& job : jobs_) job.done.set_value(status);
}

void BatchScheduler::Enqueue(Waiting waiting) {
  const auto place =
      std::upper_bound(waiting_.begin(), waiting_.end(), waiting, Before<Waiting, Waiting>);
  waiting_.insert(place, std::move(waiting));
}

void BatchScheduler::Reap() {
  const Status status = CancelledError("generation was cancelled");
  for (size_t i = running_.size(); i-- > 0;) {
    if (running_[i]->task->given_up()) End(running_[i].get(), status);
  }
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (!waiting.task->given_up()) return false;
    waiting.task->End(status);
    return true;
  });
}

void BatchScheduler::Admit() {
  while (!waiting_.empty() && running_.size() < max_sequences_) {
    // What those that run have yet to take of it is not there for others.
    size_t promised = 0;
    for (const auto& other : running_) {
      const size_t needed = KvPool::BlocksFor(other->task->history().size());
      promised += needed - std::min(needed, other->cache.blocks().size());
    }
    const auto room = [&] {
      const size_t free = pool_.capacity() - pool_.used() + tree_.evictable();
      return free - std::min(free, promised);
    };
    if (!running_.empty() && room() <= running_.size()) break;
    auto running = std::make_unique<Running>(waiting_.front(), pool_, tree_);
    if (!running->task->wants_all()) running->cache.MatchBlocks(running->task->history());
    // Room for the rest of its history, and for a block of each that runs.
    const size_t wanted = KvPool::BlocksFor(running->task->history().size()) -
                          running->cache.blocks().size() + running_.size();
    if (!running_.empty() && wanted > room()) break;
    waiting_.erase(waiting_.begin());
    Found(*running, running->cache.size());
    const auto place =
        std::upper_bound(running_.begin(), running_.end(), running,
                         [](const auto& a, const auto& b) { return Before(*a, *b); });
    running_.insert(place, std::move(running));
  }
}

void BatchScheduler::Found(Running& running, size_t tokens) {
  if (tokens > 0 && !running.resumed) running.task->FoundInCache(tokens);
}

bool BatchScheduler::IsRunning(const Running* running) const {
  return std::any_of(running_.begin(), running_.end(),
                     [&](const auto& other) { return other.get() == running; });
}

// The last sequence gives its blocks up.
void BatchScheduler::Preempt(std::vector<Planned>& plan) {
  Running& last = *running_.back();
  std::erase_if(plan, [&](const Planned& planned) { return planned.running == &last; });
  last.cache.Publish(last.task->history());
  Enqueue({last.task, last.order, last.started, /*preempted=*/true});
  running_.pop_back();
  std::lock_guard lock(mutex_);
  ++activity_.preemptions;
}

// Gives false when `running` was preempted or ended itself.
bool BatchScheduler::Add(Running& running, size_t tokens, std::vector<Planned>& plan) {
  while (!running.cache.Reserve(tokens)) {
    if (running_.size() == 1) {
      End(&running, ResourceExhaustedError("no memory for the cache of keys and values"));
      return false;
    }
    const bool itself = running_.back().get() == &running;
    Preempt(plan);
    if (itself) return false;
  }
  if (!running.started) {
    running.started = true;
    running.task->Start();
  }
  plan.push_back({&running, tokens, {}});
  return true;
}

std::vector<BatchScheduler::Planned> BatchScheduler::Plan() {
  std::vector<Planned> plan;
  for (size_t i = 0; i < running_.size(); ++i) {
    if (running_[i]->pending() == 1) Add(*running_[i], 1, plan);
  }
  const size_t decoding = plan.size();
  PlanPrompts(plan);
  if (plan.size() == decoding) {
    AddDrafts(plan);
  } else {
    FollowDrafts(plan, 0);
  }
  return plan;
}

void BatchScheduler::AddDrafts(std::vector<Planned>& plan) {
  size_t left = Decoder::kChunkTokens;
  for (Planned& planned : plan) {
    Running& running = *planned.running;
    left -= UseDraft(planned, running.task->Draft(left));
  }
  FollowDrafts(plan, left);
}

// Gives the tokens that are run for it. No other sequence gives blocks up or waits for a guess.
size_t BatchScheduler::UseDraft(Planned& planned, std::vector<TokenId> draft) {
  KvSequence& cache = planned.running->cache;
  if (draft.empty() || !cache.Reserve(1 + draft.size(), KvSequence::Await::kNothing)) return 0;
  planned.draft = std::move(draft);
  planned.draft.insert(planned.draft.begin(), planned.running->task->history().back());
  return planned.draft.size() - 1;
}

// The draft model follows what is planned, and guesses up to `most` tokens in all for those that
// have no guess yet.
void BatchScheduler::FollowDrafts(std::vector<Planned>& plan, size_t most) {
  if (draft_ == nullptr) return;
  std::vector<DraftModel::Item> items;
  std::vector<Planned*> planned_of;
  for (Planned& planned : plan) {
    Running& running = *planned.running;
    const size_t room = running.task->DraftRoom();
    if (room == 0) continue;
    if (running.draft == nullptr) running.draft = draft_->NewSequence();
    const size_t wanted = planned.draft.empty() ? std::min(room, most) : 0;
    most -= std::min(most, std::min(wanted, draft_->most()));
    items.push_back({running.draft.get(), running.task->history(), wanted, {}});
    planned_of.push_back(&planned);
  }
  if (items.empty()) return;
  const auto nobody_waits = [&] { return NobodyWaits(plan); };
  draft_->Run(items, Decoder::Cancelled(nobody_waits));
  for (size_t i = 0; i < items.size(); ++i) UseDraft(*planned_of[i], std::move(items[i].guess));
}

bool BatchScheduler::NobodyWaits(const std::vector<Planned>& plan) {
  return std::all_of(plan.begin(), plan.end(),
                     [](const Planned& planned) { return planned.running->task->given_up(); });
}

void BatchScheduler::PlanPrompts(std::vector<Planned>& plan) {
  std::vector<Running*> prompts;
  for (const auto& running : running_) {
    if (running->pending() > 1) prompts.push_back(running.get());
  }
  if (prompts.size() > 1) {
    const auto shortest = std::min_element(
        prompts.begin() + 1, prompts.end(),
        [](const Running* a, const Running* b) { return a->pending() < b->pending(); });
    std::rotate(prompts.begin() + 1, shortest, shortest + 1);
  }
  size_t left = Decoder::kChunkTokens;
  const size_t decoding = plan.size();
  for (size_t i = 0; i < prompts.size() && left > 0; ++i) {
    if (!IsRunning(prompts[i])) continue;
    Running& running = *prompts[i];
    const bool matches = !running.task->wants_all();
    if (matches) Found(running, running.cache.MatchBlocks(running.task->history()));
    const auto follows = [&](const Planned& planned) {
      return Follows(*running.task, running.cache.size(), *planned.running->task,
                     planned.running->cache.size());
    };
    if (std::any_of(plan.begin() + static_cast<ptrdiff_t>(decoding), plan.end(), follows)) continue;
    if (matches) Found(running, running.cache.CopyBeginning(running.task->history()));
    const bool shares = i == 0 && prompts.size() > 1;
    const size_t tokens = std::min(running.pending(), shares ? left / 2 : left);
    const size_t before = plan.size();
    if (Add(running, tokens, plan)) left -= tokens;
    // Preempted sequences of the first loop are gone from the plan: then no more is added.
    if (plan.size() != before + 1) return;
  }
  if (left == 0 || plan.size() == decoding || !IsRunning(prompts[0])) return;
  Planned& first = plan[decoding];
  const size_t more = std::min(left, first.running->pending() - first.tokens);
  if (first.running == prompts[0] &&
      first.running->cache.Reserve(first.tokens + more, KvSequence::Await::kNothing)) {
    first.tokens += more;
  }
}

std::vector<BatchScheduler::Ready> BatchScheduler::Commit(const std::vector<Planned>& plan) {
  std::vector<Ready> ready;
  size_t row = 0;
  for (const Planned& planned : plan) {
    Running& running = *planned.running;
    const size_t position = running.cache.size();
    if (!planned.draft.empty()) {
      ready.push_back({&planned, row, planned.draft.size(), position});
      row += planned.draft.size();
      continue;
    }
    running.cache.Commit(running.task->history(), planned.tokens);
    const bool complete = running.pending() == 0;
    if (complete) PublishOnce(running);
    if (running.task->wants_all()) {
      ready.push_back({&planned, row, planned.tokens, position});
    } else if (complete) {
      ready.push_back({&planned, row, 1, running.cache.size() - 1});
    } else {
      continue;
    }
    row += ready.back().rows;
  }
  return ready;
}

// The prompt's begun block.
void BatchScheduler::PublishOnce(Running& running) {
  if (running.published) return;
  running.published = true;
  running.cache.Publish(running.task->history());
}

// A draft's row counts as far as the tokens before it are those that were drawn.
void BatchScheduler::Take(Ready& ready) {
  BatchTask& task = *ready.planned->running->task;
  const std::vector<TokenId>& draft = ready.planned->draft;
  while (ready.taken < ready.rows && ready.outcome.ok() && *ready.outcome) {
    const size_t i = ready.taken;
    if (i > 0 && !draft.empty() && draft[i] != task.history().back()) break;
    ready.outcome =
        task.Take(ready.position + i, decoder_.logits(ready.row + i).first(vocab_size_));
    ++ready.taken;
  }
}

void BatchScheduler::Step() {
  const std::vector<Planned> plan = Plan();
  if (plan.empty()) return;
  std::vector<DecoderChunk> chunks;
  for (const Planned& planned : plan) {
    const Running& running = *planned.running;
    using Logits = DecoderChunk::Logits;
    const bool drafted = !planned.draft.empty();
    chunks.push_back(
        {.tokens = drafted ? std::span<const TokenId>(planned.draft)
                           : running.task->history().subspan(running.cache.size(), planned.tokens),
         .position = running.cache.size(),
         .blocks = running.cache.blocks(),
         .logits = drafted || running.task->wants_all()  ? Logits::kAll
                   : planned.tokens == running.pending() ? Logits::kLast
                                                         : Logits::kNone,
         .adapters = running.task->adapters()});
  }
  const auto nobody_waits = [&] { return NobodyWaits(plan); };
  const Decoder::Cancelled cancelled(nobody_waits);
  if (!decoder_.Forward(chunks, &cancelled).ok()) return;  // Reap takes them out

  std::vector<Ready> ready = Commit(plan);
  runtime_.pool().ParallelFor(ready.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) Take(ready[i]);
  });
  for (const Ready& item : ready) {
    Running* const running = item.planned->running;
    if (!item.planned->draft.empty()) {
      running->cache.Commit(running->task->history(), item.taken);
      PublishOnce(*running);
      running->task->Guessed(item.taken - 1);
    }
    if (!item.outcome.ok()) {
      End(running, item.outcome.status());
    } else if (!*item.outcome) {
      End(running, OkStatus());
    }
  }
}

void BatchScheduler::End(Running* running, const Status& status) {
  const auto found = std::find_if(running_.begin(), running_.end(),
                                  [&](const auto& other) { return other.get() == running; });
  const std::shared_ptr<BatchTask> task = running->task;
  running->cache.Publish(task->history());
  running_.erase(found);
  Report();
  task->End(status);
}

}  // namespace rag
