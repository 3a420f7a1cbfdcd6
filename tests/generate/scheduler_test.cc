// The order in which the batch serves its sequences.
#include "generate/scheduler.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <future>
#include <optional>
#include <thread>

#include "generate/cache_file.h"
#include "tests/generate/chat_model.h"
#include "tests/support/support.h"

namespace rag {
namespace {

// What happened, in order: (task, 's' started or 't' took logits).
struct Log {
  std::mutex mutex;
  std::vector<std::pair<int, char>> events;
  void Add(int task, char event) {
    std::lock_guard lock(mutex);
    events.emplace_back(task, event);
  }
  void Await(int task, char event) {
    for (;;) {
      {
        std::lock_guard lock(mutex);
        if (Find(task, event) < events.size()) return;
      }
      std::this_thread::yield();
    }
  }
  size_t Find(int task, char event) const {
    const auto found = std::find(events.begin(), events.end(), std::pair(task, event));
    return static_cast<size_t>(found - events.begin());
  }
};

class FakeTask final : public BatchTask {
 public:
  FakeTask(Log& log, int name, size_t prompt, size_t tokens, int priority = 0)
      : BatchTask(std::vector<TokenId>(prompt, 7 + name), priority),
        log_(log),
        name_(name),
        left_(tokens) {}
  void Start() override { log_.Add(name_, 's'); }
  Result<bool> Take(size_t, std::span<float>) override {
    if (gate_ != nullptr) gate_->wait();
    log_.Add(name_, 't');
    history_.push_back(9);
    return --left_ > 0;
  }
  // Take waits for it.
  void WaitFor(std::shared_future<void>& gate) { gate_ = &gate; }
  Status Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
    return status_;
  }

 private:
  Log& log_;
  const int name_;
  size_t left_;
  std::shared_future<void>* gate_ = nullptr;
};

struct Harness {
  explicit Harness(size_t max_sequences, size_t context = 1024) {
    test::WriteRandomModel(test::ChatModel(""), folder.file("tiny.gguf"));
    auto opened = GgufFile::Open(folder.file("tiny.gguf"));
    REQUIRE_OK(opened);
    file = std::make_unique<GgufFile>(std::move(opened).value());
    const auto config = ReadDecoderConfig(*file);
    REQUIRE_OK(config);
    auto read = ReadDecoderWeights(*file, *config);
    REQUIRE_OK(read);
    weights = std::move(read).value();
    const KvShape shape = {
        .layers = config->layers, .heads = config->kv_heads, .head_dim = config->head_dim};
    auto made = KvPool::Create(shape, 4 * KvPool::BlocksFor(context) * KvPool::BlockBytes(shape));
    REQUIRE_OK(made);
    pool = std::move(made).value();
    auto created = Decoder::Create(*config, weights, *pool, context,
                                   max_sequences + Decoder::kChunkTokens, *runtime);
    REQUIRE_OK(created);
    decoder = std::move(created).value();
    scheduler = std::make_unique<BatchScheduler>(*decoder, *pool, config->vocab_size, max_sequences,
                                                 *runtime);
  }
  std::shared_ptr<FakeTask> Submit(std::shared_ptr<FakeTask> task) {
    REQUIRE_OK(scheduler->Submit(task));
    return task;
  }

  test::TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime = test::MakeRuntime("", 2);
  std::unique_ptr<GgufFile> file;
  DecoderWeights weights;
  std::unique_ptr<KvPool> pool;
  std::unique_ptr<Decoder> decoder;
  Log log;
  std::unique_ptr<BatchScheduler> scheduler;
};

TEST_CASE("a long prompt holds up neither what is being generated nor a short prompt") {
  Harness harness(4);
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  const auto stream = std::make_shared<FakeTask>(harness.log, 1, 3, 60);
  stream->WaitFor(gate);
  harness.Submit(stream);
  harness.log.Await(1, 's');
  const auto long_prompt =
      harness.Submit(std::make_shared<FakeTask>(harness.log, 2, 20 * Decoder::kChunkTokens, 1));
  const auto short_prompt = harness.Submit(std::make_shared<FakeTask>(harness.log, 3, 10, 1));
  open.set_value();
  for (const auto& task : {stream, long_prompt, short_prompt}) REQUIRE_OK(task->Wait());
  const auto& events = harness.log.events;
  const auto begin = events.begin() + static_cast<ptrdiff_t>(harness.log.Find(2, 's'));
  const auto end = events.begin() + static_cast<ptrdiff_t>(harness.log.Find(2, 't'));
  REQUIRE(begin < end);
  // A token a step, while the prompt takes its 20 steps.
  CHECK(std::count(begin, end, std::pair(1, 't')) >= 19);
  CHECK(harness.log.Find(3, 't') < harness.log.Find(2, 't'));
}

TEST_CASE("of those that wait, a higher priority goes first, and then who came first") {
  Harness harness(1);
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  const auto blocker = std::make_shared<FakeTask>(harness.log, 0, 3, 2);
  blocker->WaitFor(gate);
  harness.Submit(blocker);
  harness.log.Await(0, 's');
  std::vector<std::shared_ptr<FakeTask>> tasks;
  const int priorities[] = {0, -1, 5, 0, 5};
  for (int i = 0; i < 5; ++i) {
    tasks.push_back(
        harness.Submit(std::make_shared<FakeTask>(harness.log, i + 1, 4, 2, priorities[i])));
  }
  open.set_value();
  for (const auto& task : tasks) REQUIRE_OK(task->Wait());
  std::vector<int> order;
  for (const auto& [task, event] : harness.log.events) {
    if (event == 's') order.push_back(task);
  }
  CHECK(order == std::vector<int>{0, 3, 5, 1, 4, 2});
}

TEST_CASE("more than can wait are refused, and those given up make room") {
  Harness harness(1);
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  const auto blocker = std::make_shared<FakeTask>(harness.log, 0, 3, 3);
  blocker->WaitFor(gate);
  harness.Submit(blocker);
  harness.log.Await(0, 's');
  std::vector<std::shared_ptr<FakeTask>> tasks;
  Status status;
  while (status.ok()) {
    REQUIRE(tasks.size() <= BatchScheduler::kMaxWaiting);
    tasks.push_back(std::make_shared<FakeTask>(harness.log, 1, 4, 1));
    status = harness.scheduler->Submit(tasks.back());
  }
  CHECK(status.code() == StatusCode::kUnavailable);
  tasks.pop_back();
  CHECK(tasks.size() == BatchScheduler::kMaxWaiting);
  for (const auto& task : tasks) task->GiveUp();
  open.set_value();
  for (const auto& task : tasks) CHECK(task->Wait().code() == StatusCode::kCancelled);
  REQUIRE_OK(blocker->Wait());
  REQUIRE_OK(harness.Submit(std::make_shared<FakeTask>(harness.log, 2, 4, 1))->Wait());
}

TEST_CASE("generations go on while the cache is being written") {
  constexpr size_t kContext = 128;
  Harness harness(2, kContext);
  const size_t capacity = harness.pool->capacity();
  std::string sound;
  std::optional<CacheSnapshot> snapshot;
  const auto write = [&] {
    const std::string path = harness.folder.file("kept.kv");
    const auto file = AtomicFile::Create(path, 0600);
    REQUIRE_OK(file);
    REQUIRE_OK(snapshot->Write(7, **file));
    REQUIRE_OK((*file)->Commit());
    snapshot.reset();
    return test::ReadAll(path);
  };
  const auto take = [&](PrefixTree& tree) {
    snapshot.emplace(tree, *harness.pool);
    return OkStatus();
  };
  const BatchScheduler::CacheWork take_work(take);
  const auto run = [&](int name) {
    return harness.Submit(std::make_shared<FakeTask>(harness.log, name, 40, 60));
  };
  REQUIRE_OK(run(0)->Wait());
  REQUIRE_OK(harness.scheduler->WithCache(take_work));
  sound = write();
  REQUIRE_OK(harness.scheduler->WithCache(take_work));
  // There is room beside what is lent: nothing waits for the writing, which has not begun.
  REQUIRE_OK(run(1)->Wait());
  CHECK(write() == sound);
  // And where there is none, they go on as room comes.
  for (int name = 2; harness.scheduler->activity().cache_used_blocks < capacity; ++name) {
    REQUIRE_OK(run(name)->Wait());
  }
  REQUIRE_OK(harness.scheduler->WithCache(take_work));
  const auto one = run(100);
  const auto other = run(101);
  write();
  REQUIRE_OK(one->Wait());
  REQUIRE_OK(other->Wait());
  CHECK(harness.pool->allocated_bytes() == capacity * harness.pool->block_bytes());
}

TEST_CASE("a scheduler that is closed ends what it has") {
  Harness harness(1, 4096);
  const auto running = harness.Submit(std::make_shared<FakeTask>(harness.log, 1, 3, 4'000));
  const auto waiting = harness.Submit(std::make_shared<FakeTask>(harness.log, 2, 3, 4'000));
  harness.scheduler.reset();
  CHECK(running->Wait().code() == StatusCode::kUnavailable);
  CHECK(waiting->Wait().code() == StatusCode::kUnavailable);
}

}  // namespace
}  // namespace rag
