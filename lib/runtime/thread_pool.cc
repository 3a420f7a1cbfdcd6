#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
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

// How long a thread that waits polls before it sleeps: a decoder step is some hundred short loops,
// and a futex wake takes about 50 us on a virtual machine. Twice what lies between a step's end and
// the next one's beginning (drawing a token), and nothing to an idle machine.
constexpr std::chrono::microseconds kPoll(200);
// From then on it offers its processor to others while it polls: a thread that it waits for may
// have lost its own to another process.
constexpr std::chrono::microseconds kPollAlone(20);
constexpr int kPausesPerLook = 16;  // at the clock
constexpr size_t kCacheLine = 64;

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
  explicit Impl(int threads)
      : size(threads),
        polls(threads <= AvailableProcessors()),
        shares(static_cast<size_t>(threads)) {
    workers.reserve(static_cast<size_t>(threads - 1));
    for (int worker = 1; worker < threads; ++worker) {
      workers.emplace_back([this, worker] { WorkerLoop(worker); });
    }
  }

  ~Impl() {
    stopping.store(true);
    Wake(idle);
    for (std::thread& worker : workers) worker.join();
  }

  // Threads that sleep until something changes.
  struct Sleepers {
    std::condition_variable wake;
    std::atomic<int> count{0};
  };

  // Returns once ready(), which reads atomics in the order of all (seq_cst), says so. Whoever makes
  // it so calls Wake after, and one of the two sees the other.
  template <class Ready>
  void Await(Sleepers& sleepers, Ready ready) {
    using Clock = std::chrono::steady_clock;
    if (polls) {
      const Clock::time_point start = Clock::now();
      for (;;) {
        for (int i = 0; i < kPausesPerLook; ++i) {
          if (ready()) return;
          Pause();
        }
        const Clock::duration waited = Clock::now() - start;
        if (waited > kPoll) break;
        if (waited > kPollAlone) ::sched_yield();
      }
    }
    std::unique_lock lock(mutex);
    sleepers.count.fetch_add(1);
    sleepers.wake.wait(lock, ready);
    sleepers.count.fetch_sub(1);
  }

  void Wake(Sleepers& sleepers) {
    if (sleepers.count.load() == 0) return;
    { std::lock_guard lock(mutex); }  // they have looked, or wait
    sleepers.wake.notify_all();
  }

  // Takes ranges until none are left: its own share's, then the others'.
  void Work(int worker) {
    struct Restore {
      ~Restore() { inside = outer; }  // also when the body throws
      const Inside outer;
    } const restore{std::exchange(inside, Inside{this, worker})};
    for (size_t i = 0; i < shares.size(); ++i) {
      Share& share = shares[(static_cast<size_t>(worker) + i) % shares.size()];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const size_t begin = share.next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= share.end) break;
        (*body)(begin, std::min(share.end, begin + grain), worker);
      }
    }
  }

  // False when another loop is running and it may not wait for it.
  bool Run(bool may_wait, size_t loop_count, size_t loop_grain,
           FunctionRef<void(size_t, size_t, int)> loop_body);

  // A loop's gate: how many workers are in it, whether more may enter, and its number.
  static constexpr uint64_t kInside = 1;
  static constexpr uint64_t kOpen = uint64_t{1} << 16;
  static constexpr uint64_t kNumber = uint64_t{1} << 17;
  static uint64_t Count(uint64_t gate) { return gate % kOpen; }

  // Enters the open loop if it is another than the last one that this worker entered.
  bool Enter(uint64_t& last) {
    uint64_t seen = gate.load();
    while ((seen & kOpen) != 0 && seen / kNumber != last) {
      if (gate.compare_exchange_weak(seen, seen + kInside)) {
        last = seen / kNumber;
        return true;
      }
    }
    return false;
  }

  void WorkerLoop(int worker) {
    uint64_t last = 0;
    for (;;) {
      bool entered = false;
      Await(idle, [&] { return stopping.load() || (entered = Enter(last)); });
      if (!entered) return;
      Work(worker);
      if (Count(gate.fetch_sub(kInside)) == 1) Wake(callers);
    }
  }

  const int size;
  const bool polls;       // false where threads outnumber the processors
  std::mutex loop_mutex;  // one loop at a time: held by the caller that runs it

  std::mutex mutex;  // of those that sleep
  Sleepers idle;     // workers
  Sleepers callers;
  std::atomic<bool> stopping{false};

  // The loop: written while the gate is closed and nobody inside.
  size_t grain = 1;
  const FunctionRef<void(size_t, size_t, int)>* body = nullptr;
  struct alignas(kCacheLine) Share {
    std::atomic<size_t> next{0};
    size_t end = 0;
  };
  std::vector<Share> shares;  // one for each worker
  alignas(kCacheLine) std::atomic<uint64_t> gate{0};

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
  loop_grain = std::clamp<size_t>(loop_grain, 1, loop_count);
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
  grain = loop_grain;
  body = &loop_body;
  // A share is neighbouring ranges, so that a worker reads on where it stopped.
  const size_t ranges = (loop_count - 1) / grain + 1;
  const size_t sharers = std::min(ranges, shares.size());
  const auto first_of = [&](size_t worker) {
    return std::min(loop_count, ranges * std::min(worker, sharers) / sharers * grain);
  };
  for (size_t worker = 0; worker < shares.size(); ++worker) {
    shares[worker].next.store(first_of(worker), std::memory_order_relaxed);
    shares[worker].end = first_of(worker + 1);
  }
  if (ranges == 1 || size == 1) {
    Work(0);
    return true;
  }
  gate.store((gate.load() / kNumber + 1) * kNumber + kOpen);
  Wake(idle);
  Work(0);
  // Those that have not come by now find nothing to do, and are not waited for.
  gate.fetch_sub(kOpen);
  Await(callers, [&] { return Count(gate.load()) == 0; });
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
