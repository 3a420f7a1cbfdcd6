// How fast this machine reads memory: what decoding can reach at most.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lib/base/pages.h"
#include "lib/runtime/runtime.h"

namespace rag::bench {

class MemoryRead {
 public:
  // Takes half a gigabyte, in huge pages where the system gives them: more than caches hold.
  // Errors: resource_exhausted.
  static Result<MemoryRead> Create(const Runtime& runtime);
  // Bytes a second that the threads of the runtime read together: the best of six passes over all
  // of it.
  double BytesPerSecond() const;

 private:
  MemoryRead(PageBuffer buffer, const Runtime& runtime)
      : buffer_(std::move(buffer)), runtime_(&runtime) {}
  double Pass(uint64_t (*sum_of)(const std::byte*)) const;

  PageBuffer buffer_;
  const Runtime* runtime_;
};

}  // namespace rag::bench
