// What the kernel conformance tests share: every vector table that runs here against the scalar
// reference, on data that ends where its allocation does (so that the address sanitizer sees a read
// past it) and begins at any alignment.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "lib/kernels/kernels.h"
#include "tests/support/support.h"

namespace rag::test {

// Half a unit in the last place of 1.0f: the relative error of one rounding.
inline constexpr double kUnit = 0x1p-24;

// Around the widths of registers (8, 16), of unrolled loops and of panels.
inline constexpr size_t kAwkwardLengths[] = {0,   1,   2,   3,   7,   8,   9,   15,  16, 17,
                                             23,  31,  32,  33,  47,  48,  63,  64,  65, 96,
                                             127, 128, 129, 255, 384, 385, 768, 1000};

inline std::vector<const Kernels*> VectorTables() {
  std::vector<const Kernels*> tables;
  for (const Isa isa : kAllIsas) {
    if (isa == Isa::kScalar) continue;
    if (const Kernels* kernels = GetKernels(isa)) tables.push_back(kernels);
  }
  return tables;
}

inline const Kernels& Reference() { return *GetKernels(Isa::kScalar); }

// `size` floats that begin `offset` floats after an allocation's start and end at its end.
class Floats {
 public:
  Floats(size_t size, size_t offset = 0, float value = 0.0f)
      : storage_(size + offset, value), offset_(offset) {}
  Floats(size_t size, size_t offset, std::mt19937& random, float scale = 1.0f)
      : Floats(size, offset) {
    std::normal_distribution<float> normal(0.0f, scale);
    for (float& value : storage_) value = normal(random);
  }
  float* data() { return storage_.data() + offset_; }
  const float* data() const { return storage_.data() + offset_; }
  size_t size() const { return storage_.size() - offset_; }
  float& operator[](size_t i) { return storage_[offset_ + i]; }
  float operator[](size_t i) const { return storage_[offset_ + i]; }

 private:
  std::vector<float> storage_;
  size_t offset_;
};

}  // namespace rag::test

// Runs the body for every vector table as `kernels`.
#define FOR_EACH_VECTOR_TABLE(kernels)                                               \
  const auto rag_tables_ = ::rag::test::VectorTables();                              \
  if (rag_tables_.empty()) RAG_SKIP("this processor runs the scalar kernels alone"); \
  for (const ::rag::Kernels* kernels : rag_tables_)
