#include "apps/rag_bench/decode/memory_read.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "apps/rag_bench/measure/machine.h"

namespace rag::bench {
namespace {

// A range is read as several streams side by side, which some processors fetch faster than one: 1.4
// times on Sapphire Rapids; Zen 5 likes one better. Their distance is no power of two, since such
// lines share a place in caches. How many are best changes with what a processor's neighbours do.
constexpr size_t kStreamBytes = size_t{36} << 10;
constexpr size_t kMostStreams = 8;
constexpr size_t kRanges = 1800;
constexpr size_t kRangeBytes = kMostStreams * kStreamBytes;
constexpr size_t kBytes = kRanges * kRangeBytes;  // 531 million
constexpr int kPasses = 3;                        // with each number of streams

using Words = uint64_t __attribute__((vector_size(32)));
constexpr size_t kSums = 4;  // added up side by side, so that no addition waits for another

// Wide loads: half-width ones keep one thread a fifth below what it can fetch.
template <size_t kStreams>
__attribute__((target_clones("default", "avx2", "avx512f"))) uint64_t Sum(const std::byte* range) {
  Words sums[kSums] = {};
  for (const std::byte* end = range + kRangeBytes; range != end; range += kStreams * kStreamBytes) {
    for (size_t at = 0; at < kStreamBytes; at += sizeof(sums)) {
      for (size_t stream = 0; stream < kStreams; ++stream) {
        for (size_t i = 0; i < kSums; ++i) {
          Words words;
          std::memcpy(&words, range + stream * kStreamBytes + at + i * sizeof(words),
                      sizeof(words));
          sums[i] += words;
        }
      }
    }
  }
  uint64_t sum = 0;
  for (const Words& part : sums) sum += part[0] + part[1] + part[2] + part[3];
  return sum;
}

}  // namespace

Result<MemoryRead> MemoryRead::Create(const Runtime& runtime) {
  RAG_ASSIGN_OR_RETURN(PageBuffer buffer, PageBuffer::Allocate(kBytes));
  std::memset(buffer.data(), 1, buffer.size());  // until then all pages may be one page of zeros
  return MemoryRead(std::move(buffer), runtime);
}

double MemoryRead::Pass(uint64_t (*sum_of)(const std::byte*)) const {
  std::atomic<uint64_t> sum{0};
  const double start = Now();
  runtime_->pool().ParallelFor(kRanges, 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      sum.fetch_add(sum_of(buffer_.data() + i * kRangeBytes), std::memory_order_relaxed);
    }
  });
  const double seconds = Now() - start;
  // The sum is looked at, so that it is made; every byte is 1.
  return sum.load() == 0 ? 0 : static_cast<double>(kBytes) / seconds;
}

double MemoryRead::BytesPerSecond() const {
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    best = std::max({best, Pass(Sum<1>), Pass(Sum<4>), Pass(Sum<8>)});
  }
  return best;
}

}  // namespace rag::bench
