// What a measurement says about the machine, and what it asks of it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace rag::bench {

// "AMD EPYC 9654 96-Core Processor" from /proc/cpuinfo; "unknown" where it does not say.
std::string ProcessorName();
// Keeps the calling thread, and those it starts, on the processor it is running on; returns which,
// or -1 when the system refuses.
int PinToOneProcessor();
// The processors that this process may run on, ascending.
std::vector<int> AllowedProcessors();
// Keeps the calling thread, and those it starts, on these; false when the system refuses.
bool PinTo(std::span<const int> processors);
// Resident set of this process after free memory was handed back to the system; 0 when unknown.
size_t ResidentBytes();
// The largest resident set that this process has had, or has had since ForgetPeakResidentBytes
// where the system can forget.
size_t PeakResidentBytes();
void ForgetPeakResidentBytes();
// Time of all threads, user and system: on a machine that others use too, it says more than the
// clock.
double ProcessorSeconds();
// Processes that wanted to run within the last minute; below 0 when unknown.
double LoadAverage();
// UTC, "2026-11-21T14:00:00Z".
std::string UtcNow();
// Seconds of a clock that never goes back.
double Now();

}  // namespace rag::bench
