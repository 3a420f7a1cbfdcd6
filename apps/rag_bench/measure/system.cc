#include "apps/rag_bench/measure/system.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "apps/rag_bench/measure/machine.h"

namespace rag::bench {

Status System::Remove(std::span<const Row>) {
  return UnsupportedError("'", info().name, "' does not remove");
}

Status System::Add(std::span<const Row>) {
  return UnsupportedError("'", info().name, "' does not add to what was built");
}

Result<Reopened> System::Reopen(const std::string&) {
  return UnsupportedError("'", info().name, "' is not saved here");
}

Status TimeQueries(int threads, size_t queries, size_t k, const CancelToken& cancel,
                   const std::function<Status(size_t query, Row* out)>& search, Pass& pass) {
  pass.found.assign(queries * k, kNoRow);
  pass.latencies_us.assign(queries, 0);
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;  // guards error
  Status error;
  const auto work = [&] {
    for (size_t q = next++; q < queries && !failed; q = next++) {
      const double begin = Now();
      Status status =
          cancel.cancelled() ? CancelledError("stopped") : search(q, pass.found.data() + q * k);
      pass.latencies_us[q] = static_cast<float>((Now() - begin) * 1e6);
      if (status.ok()) continue;
      const std::lock_guard lock(mutex);
      if (!failed.exchange(true)) error = std::move(status);
    }
  };
  const double begin = Now();
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
  pass.seconds = Now() - begin;
  return error;
}

}  // namespace rag::bench
