// The C interface between lib/gpu/gpu.cc and the plugin librag_cuda.so.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct RagGpuError {
  int out_of_memory;
  char message[256];
};

struct RagGpuInfo {
  char name[256];
  size_t memory_bytes;
  int compute_capability;
};

struct RagGpuApi {
  uint32_t version;
  // Each returns 0, or another number with the error filled.
  int (*open)(RagGpuInfo* info, RagGpuError* error);
  int (*upload)(const float* rows, size_t count, size_t stride, size_t dim, void** matrix,
                RagGpuError* error);
  void (*release)(void* matrix);
  // queries [query_count, dim] contiguous; out_rows and out_scores [query_count, k].
  int (*top_k)(void* matrix, const float* queries, size_t query_count, size_t k, int l2,
               uint32_t* out_rows, float* out_scores, RagGpuError* error);
};

// The plugin's one symbol.
const RagGpuApi* rag_gpu_api();
}

inline constexpr uint32_t kRagGpuApiVersion = 1;
