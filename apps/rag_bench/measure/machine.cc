#include "apps/rag_bench/measure/machine.h"

#include <malloc.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <fstream>

namespace rag::bench {

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

int PinToOneProcessor() {
  cpu_set_t one;
  CPU_ZERO(&one);
  const int processor = ::sched_getcpu();
  if (processor < 0) return -1;
  CPU_SET(processor, &one);
  return ::sched_setaffinity(0, sizeof(one), &one) == 0 ? processor : -1;
}

size_t ResidentBytes() {
  ::malloc_trim(0);
  size_t pages = 0;
  size_t resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace rag::bench
