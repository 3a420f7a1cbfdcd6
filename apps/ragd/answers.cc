#include "apps/ragd/answers.h"

#include <exception>
#include <mutex>
#include <semaphore>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace rag {
namespace {

// Of all requests' answers after the first.
constexpr std::ptrdiff_t kAnswerThreads = 256;

// Nothing may leave a thread of its own.
Status RunCaught(size_t index, const std::function<Status(size_t)>& run) {
  try {
    return run(index);
  } catch (const std::exception& error) {
    return InternalError(error.what());
  }
}

}  // namespace

Status RunAnswers(size_t answers, const std::function<Status(size_t)>& run,
                  const std::function<void()>& on_failure) {
  std::mutex mutex;  // guards the next
  Status first;
  const auto run_one = [&](size_t i) {
    Status status = RunCaught(i, run);
    if (status.ok()) return;
    std::lock_guard lock(mutex);
    if (!first.ok()) return;
    first = std::move(status);
    on_failure();
  };
  static std::counting_semaphore<kAnswerThreads> free_threads(kAnswerThreads);
  const auto run_and_free = [&](size_t i) {
    run_one(i);
    free_threads.release();
  };
  // Where no thread is to be had, the rest come one after another.
  std::vector<std::jthread> others;
  others.reserve(answers);
  size_t started = 1;
  for (; started < answers && free_threads.try_acquire(); ++started) {
    try {
      others.emplace_back(run_and_free, started);
    } catch (const std::system_error&) {
      free_threads.release();
      break;
    }
  }
  run_one(0);
  for (size_t i = started; i < answers; ++i) run_one(i);
  others.clear();  // joins them
  return first;
}

}  // namespace rag
