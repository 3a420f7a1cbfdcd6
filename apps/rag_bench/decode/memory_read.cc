#include "apps/rag_bench/decode/memory_read.h"

#include <atomic>
#include <cstdint>
#include <cstring>

#include "apps/rag_bench/measure/machine.h"

namespace rag::bench {
namespace {

// A range is read as several streams side by side, which processors fetch faster than one: 1.4
// times on Sapphire Rapids. Their distance is no power of two, since such lines share a place in
// caches.
constexpr size_t kStreams = 8;
constexpr size_t kStreamBytes = size_t{36} << 10;
constexpr size_t kRanges = 1800;
constexpr size_t kBytes = kRanges * kStreams * kStreamBytes;  // 531 million
constexpr size_t kWords = 16;  // added up side by side, so that no addition waits for another

uint64_t Sum(const std::byte* range) {
  uint64_t sums[kWords] = {};
  for (size_t at = 0; at < kStreamBytes; at += sizeof(sums)) {
    for (size_t stream = 0; stream < kStreams; ++stream) {
      uint64_t words[kWords];
      std::memcpy(words, range + stream * kStreamBytes + at, sizeof(words));
      for (size_t i = 0; i < kWords; ++i) sums[i] += words[i];
    }
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum += part;
  return sum;
}

}  // namespace

Result<MemoryRead> MemoryRead::Create(const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(PageBuffer buffer, PageBuffer::Allocate(kBytes));
  std::memset(buffer.data(), 1, buffer.size());  // until then all pages may be one page of zeros
  return MemoryRead(std::move(buffer), runtime);
}

double MemoryRead::BytesPerSecond() const {
  std::atomic<uint64_t> sum{0};
  const double start = Now();
  runtime_->pool().ParallelFor(kRanges, 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      sum.fetch_add(Sum(buffer_.data() + i * kStreams * kStreamBytes), std::memory_order_relaxed);
    }
  });
  const double seconds = Now() - start;
  // The sum is looked at, so that it is made; every byte is 1.
  return sum.load() == 0 ? 0 : static_cast<double>(kBytes) / seconds;
}

}  // namespace rag::bench
