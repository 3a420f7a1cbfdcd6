// How far a long job is, for whoever looks meanwhile.
#pragma once

#include <atomic>
#include <cstdint>

namespace rag {

// Of a backup or a restore (in bytes), a vacuum or a tuning (in steps).
struct CareProgress {
  std::atomic<uint64_t> total{0};  // 0: not known yet
  std::atomic<uint64_t> done{0};
};

}  // namespace rag
