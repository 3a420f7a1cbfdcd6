// A bounded queue of jobs and the threads that do them.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace rag {

// Thread-safe.
class WorkerPool {
 public:
  // At most `threads` jobs run and `queue` jobs wait at one time.
  WorkerPool(size_t threads, size_t queue);
  ~WorkerPool();  // Stop()

  // False when it is full or stopped; the job is dropped then. Jobs must not throw.
  bool Submit(std::function<void()> job);
  // Drops what waits and returns when what runs is done.
  void Stop();
  size_t waiting() const;

 private:
  void Work();

  const size_t capacity_;  // running and waiting
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;  // guarded by mutex_
  size_t running_ = 0;                      // guarded by mutex_
  bool stopping_ = false;                   // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace rag
