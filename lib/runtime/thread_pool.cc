#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "lib/runtime/runtime.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rag {
namespace {

// How long an idle worker polls before it sleeps. A decoder step runs hundreds of short loops, and
// a futex wake costs about 50 us on a virtual machine against some microseconds of work a loop.
constexpr int kSpins = 2'000;

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// The loop of which this thread is running a piece.
struct Inside {
  const void* pool = nullptr;
  int worker = 0;
};
thread_local Inside inside;

}  // namespace

struct ThreadPool::Impl {
  explicit Impl(int threads) : size(threads) {
    workers.reserve(static_cast<size_t>(threads - 1));
    for (int worker = 1; worker < threads; ++worker) {
      workers.emplace_back([this, worker] { WorkerLoop(worker); });
    }
  }

  ~Impl() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  // Takes ranges until none are left.
  void Work(int worker) {
    struct Restore {
      ~Restore() { inside = outer; }  // also when the body throws
      const Inside outer;
    } const restore{std::exchange(inside, Inside{this, worker})};
    for (;;) {
      const size_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) break;
      (*body)(begin, std::min(count, begin + grain), worker);
    }
  }

  // False when another loop is running and it may not wait for it.
  bool Run(bool may_wait, size_t loop_count, size_t loop_grain,
           FunctionRef<void(size_t, size_t, int)> loop_body);

  void WorkerLoop(int worker) {
    uint64_t seen = 0;
    for (;;) {
      int spins = 0;
      while (generation.load(std::memory_order_acquire) == seen) {
        if (++spins < kSpins) {
          Pause();
          continue;
        }
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
        break;
      }
      seen = generation.load(std::memory_order_acquire);
      if (stopping) return;
      Work(worker);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard lock(mutex);
        done.notify_one();
      }
    }
  }

  const int size;
  std::mutex loop_mutex;  // one loop at a time: guards everything below but the atomics' hand-over

  std::mutex mutex;  // guards the sleep of workers (wake) and of the caller (done)
  std::condition_variable wake;
  std::condition_variable done;
  std::atomic<uint64_t> generation{0};  // a new loop, or the end
  std::atomic<int> running{0};          // workers that have not finished the loop
  bool stopping = false;                // written before generation moves

  // The loop; written before generation moves, read by workers after.
  size_t count = 0;
  size_t grain = 1;
  const FunctionRef<void(size_t, size_t, int)>* body = nullptr;
  std::atomic<size_t> next{0};

  std::vector<std::thread> workers;  // last: they use everything above
};

int ThreadPool::AvailableProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>(std::max(1, threads))) {}
ThreadPool::~ThreadPool() = default;
int ThreadPool::size() const { return impl_->size; }

bool ThreadPool::Impl::Run(bool may_wait, size_t loop_count, size_t loop_grain,
                           FunctionRef<void(size_t, size_t, int)> loop_body) {
  if (loop_count == 0) return true;
  loop_grain = std::max<size_t>(1, loop_grain);
  if (inside.pool == this) {
    // A loop in a loop: its worker does it alone, since the others may be waiting for this one.
    for (size_t begin = 0; begin < loop_count; begin += loop_grain) {
      loop_body(begin, std::min(loop_count, begin + loop_grain), inside.worker);
    }
    return true;
  }
  std::unique_lock loop_lock(loop_mutex, std::defer_lock);
  if (may_wait) {
    loop_lock.lock();
  } else if (!loop_lock.try_lock()) {
    return false;
  }
  count = loop_count;
  grain = loop_grain;
  body = &loop_body;
  next.store(0, std::memory_order_relaxed);
  if (count <= grain || size == 1) {
    Work(0);
    return true;
  }
  running.store(size - 1, std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex);
    generation.fetch_add(1, std::memory_order_release);
  }
  wake.notify_all();
  Work(0);
  int spins = 0;
  while (running.load(std::memory_order_acquire) != 0) {
    if (++spins < kSpins) {
      Pause();
      continue;
    }
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return running.load(std::memory_order_acquire) == 0; });
  }
  return true;
}

void ThreadPool::ParallelFor(size_t count, size_t grain,
                             FunctionRef<void(size_t, size_t, int)> body) {
  impl_->Run(true, count, grain, body);
}

bool ThreadPool::TryParallelFor(size_t count, size_t grain,
                                FunctionRef<void(size_t, size_t, int)> body) {
  return impl_->Run(false, count, grain, body);
}

}  // namespace rag
