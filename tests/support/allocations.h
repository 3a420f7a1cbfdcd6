// What a piece of a test costs: the most bytes of operator new that live at once, and the
// processor's time.
#pragma once

#include <cstddef>
#include <ctime>

#include "lib/runtime/runtime.h"

namespace rag::test {

// The sanitizers have an allocator of their own, and take their time.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kCountsAllocations = false;
inline constexpr double kSlowdown = 20;
#else
inline constexpr bool kCountsAllocations = true;
inline constexpr double kSlowdown = 1;
#endif

// Forgets the peak, and gives the bytes that live now.
size_t StartCountingBytes();
// The most bytes that lived at once since.
size_t PeakBytes();

struct Cost {
  size_t bytes = 0;    // more than before, at the most; 0 where allocations are not counted
  double seconds = 0;  // of processor time of all threads: a busy machine adds none
};

inline Cost MeasureCost(FunctionRef<void()> run) {
  const size_t before = StartCountingBytes();
  const std::clock_t start = std::clock();
  run();
  return {PeakBytes() - before, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC};
}

}  // namespace rag::test
