// The answers of one request, side by side: what one that fails does to the others.
#include "apps/ragd/answers.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

#include "lib/base/cancel.h"
#include "tests/support/support.h"

namespace rag {
namespace {

TEST_CASE("all answers are made") {
  std::vector<int> made(20);
  REQUIRE_OK(RunAnswers(
      made.size(),
      [&](size_t i) {
        ++made[i];
        return OkStatus();
      },
      [] { FAIL("none failed"); }));
  for (const int times : made) CHECK(times == 1);
}

TEST_CASE("an answer that fails or throws stops the others, and its error is given") {
  const bool throws = GENERATE(false, true);
  CancelToken cancel;
  std::atomic<int> failures{0};
  std::atomic<int> stopped{0};
  const auto run = [&](size_t i) -> Status {
    if (i == 1 && throws) throw std::runtime_error("thrown");
    if (i == 1) return DataLossError("failed");
    // They would go on for ever.
    while (!cancel.cancelled()) std::this_thread::yield();
    ++stopped;
    return CancelledError("stopped");
  };
  const Status status = RunAnswers(4, run, [&] {
    ++failures;
    cancel.Cancel();
  });
  CHECK(status.code() == (throws ? StatusCode::kInternal : StatusCode::kDataLoss));
  CHECK(status.message() == (throws ? "thrown" : "failed"));
  CHECK(stopped == 3);
  CHECK(failures == 1);
}

}  // namespace
}  // namespace rag
