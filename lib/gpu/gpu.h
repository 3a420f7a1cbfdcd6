// Gpu: what a CUDA device does for the library, behind an interface that needs no CUDA header.
//
// The backend is a plugin (librag_cuda.so, built when a CUDA toolkit is found), opened at run time:
// the same programs run on a machine without a driver or a GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct GpuInfo {
  std::string name;  // "NVIDIA H200"
  size_t memory_bytes = 0;
  int compute_capability = 0;  // 90 for 9.0
};

struct GpuCandidate {
  uint32_t row = 0;
  float score = 0;
};

// Rows that lie in the device's memory. Used by one thread at a time.
class GpuMatrix {
 public:
  virtual ~GpuMatrix() = default;
  virtual size_t rows() const = 0;
  virtual size_t cols() const = 0;
  // For each query of queries [n, cols] f32 the k rows (fewer when there are fewer) of the largest
  // inner product, or with `l2` of the smallest squared distance (score = its negative), best
  // first. Sums are f32: candidates to be scored again where the order of near ties matters.
  // Errors: invalid_argument (shapes), resource_exhausted (device memory), internal (a CUDA error).
  virtual Result<std::vector<std::vector<GpuCandidate>>> TopK(MatrixView queries, size_t k,
                                                              bool l2) const = 0;
};

class Gpu {
 public:
  // Opens device 0. Errors: unavailable, saying whether the plugin, the driver or the device is
  // missing.
  static Result<std::unique_ptr<Gpu>> Open();
  virtual ~Gpu() = default;
  virtual const GpuInfo& info() const = 0;
  // Copies rows [n, dim] f32 to the device. Errors: resource_exhausted naming the bytes.
  virtual Result<std::unique_ptr<GpuMatrix>> Upload(MatrixView rows) const = 0;
};

}  // namespace rag
