// The answers of one request, made side by side.
#pragma once

#include <cstddef>
#include <functional>

#include "lib/base/status.h"

namespace rag {

// Calls run(0) … run(answers - 1) on threads of their own, as many as may be had of those that all
// requests share, and the rest on the calling thread. What `run` throws is an internal error. Once
// one has failed, on_failure is called, by the thread of that one, to stop the others. Gives the
// first error in time, when all have returned.
Status RunAnswers(size_t answers, const std::function<Status(size_t)>& run,
                  const std::function<void()>& on_failure);

}  // namespace rag
