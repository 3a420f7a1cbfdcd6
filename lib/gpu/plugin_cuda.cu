// librag_cuda.so: exact search on one device. Scores are a matrix product over a tile of rows at a
// time, sorted by CUB for each query, and the tiles' best merged on the host.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <cub/cub.cuh>
#include <memory>
#include <mutex>
#include <numeric>
#include <vector>

#include "lib/gpu/plugin.h"

namespace {

// Scores of a tile: 256 MiB, and as much again three times for CUB's keys and values.
constexpr size_t kTileScores = size_t{64} << 20;

struct Failure {
  bool out_of_memory;
  const char* where;
  const char* what;
};

void Check(cudaError_t status, const char* where) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // so that a later call does not report this one
  throw Failure{status == cudaErrorMemoryAllocation, where, cudaGetErrorString(status)};
}

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t count) {
    Check(cudaMalloc(&data_, std::max<size_t>(1, count) * sizeof(T)), "allocating device memory");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* get() const { return data_; }

 private:
  T* data_ = nullptr;
};

struct DeviceMatrix {
  DeviceMatrix(size_t count, size_t dim)
      : count(count), dim(dim), rows(count * dim), norms(count) {}
  size_t count;
  size_t dim;
  DeviceArray<float> rows;   // [count, dim]
  DeviceArray<float> norms;  // [count] squared lengths
};

// One warp a row.
__global__ void SquaredNorms(const float* rows, size_t count, size_t dim, float* norms) {
  const size_t row = (static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const unsigned lane = threadIdx.x % 32;
  if (row >= count) return;
  float sum = 0;
  for (size_t i = lane; i < dim; i += 32) sum += rows[row * dim + i] * rows[row * dim + i];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  if (lane == 0) norms[row] = sum;
}

constexpr int kTile = 64;   // a block computes kTile x kTile scores
constexpr int kDepth = 16;  // of dim at a time in shared memory
constexpr int kEach = 4;    // a thread computes kEach x kEach of them

// scores [query_count, tile] of queries [query_count, dim] and rows [first_row, first_row + tile),
// ids the rows' numbers. Inner products, or under L2 negative squared distances. Sums are f32, in
// order of dim.
__global__ void __launch_bounds__(256)
    Scores(const float* queries, size_t query_count, const float* rows, size_t first_row,
           size_t tile, size_t dim, const float* row_norms, const float* query_norms, int l2,
           float* scores, uint32_t* ids) {
  __shared__ float query_part[kDepth][kTile + 1];
  __shared__ float row_part[kDepth][kTile + 1];
  const size_t block_row = static_cast<size_t>(blockIdx.x) * kTile;
  const size_t block_query = static_cast<size_t>(blockIdx.y) * kTile;
  const int x = static_cast<int>(threadIdx.x) % 16;
  const int y = static_cast<int>(threadIdx.x) / 16;
  float sums[kEach][kEach] = {};
  for (size_t depth = 0; depth < dim; depth += kDepth) {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += 256) {
      const int item = i / kDepth;
      const int d = i % kDepth;
      const bool inside = depth + d < dim;
      const size_t query = block_query + item;
      const size_t row = block_row + item;
      query_part[d][item] = inside && query < query_count ? queries[query * dim + depth + d] : 0.0f;
      row_part[d][item] = inside && row < tile ? rows[(first_row + row) * dim + depth + d] : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
#pragma unroll
      for (int a = 0; a < kEach; ++a) {
#pragma unroll
        for (int b = 0; b < kEach; ++b) {
          sums[a][b] += query_part[d][y + a * 16] * row_part[d][x + b * 16];
        }
      }
    }
    __syncthreads();
  }
  for (int a = 0; a < kEach; ++a) {
    for (int b = 0; b < kEach; ++b) {
      const size_t query = block_query + y + a * 16;
      const size_t row = block_row + x + b * 16;
      if (query >= query_count || row >= tile) continue;
      const float product = sums[a][b];
      scores[query * tile + row] =
          l2 ? 2 * product - row_norms[first_row + row] - query_norms[query] : product;
      ids[query * tile + row] = static_cast<uint32_t>(first_row + row);
    }
  }
}

unsigned Blocks(size_t items, size_t block) {
  return static_cast<unsigned>((items + block - 1) / block);
}

// Runs body, turning what it throws into the error.
template <class Body>
int Guarded(RagGpuError* error, const Body& body) {
  try {
    body();
    return 0;
  } catch (const Failure& failure) {
    error->out_of_memory = failure.out_of_memory ? 1 : 0;
    std::snprintf(error->message, sizeof(error->message), "%s: %s", failure.where, failure.what);
  } catch (const std::exception& exception) {
    std::snprintf(error->message, sizeof(error->message), "%s", exception.what());
  }
  return 1;
}

int OpenDevice(RagGpuInfo* info, RagGpuError* error) {
  return Guarded(error, [&] {
    int count = 0;
    Check(cudaGetDeviceCount(&count), "looking for a device");
    if (count == 0) throw Failure{false, "looking for a device", "there is none"};
    cudaDeviceProp properties;
    Check(cudaGetDeviceProperties(&properties, 0), "reading the device's properties");
    Check(cudaSetDevice(0), "choosing device 0");
    std::snprintf(info->name, sizeof(info->name), "%s", properties.name);
    info->memory_bytes = properties.totalGlobalMem;
    info->compute_capability = properties.major * 10 + properties.minor;
  });
}

int Upload(const float* rows, size_t count, size_t stride, size_t dim, void** matrix,
           RagGpuError* error) {
  return Guarded(error, [&] {
    auto made = std::make_unique<DeviceMatrix>(count, dim);
    if (count > 0) {
      Check(cudaMemcpy2D(made->rows.get(), dim * sizeof(float), rows, stride * sizeof(float),
                         dim * sizeof(float), count, cudaMemcpyHostToDevice),
            "copying rows to the device");
      SquaredNorms<<<Blocks(count * 32, 256), 256>>>(made->rows.get(), count, dim,
                                                     made->norms.get());
      Check(cudaGetLastError(), "computing norms");
      Check(cudaDeviceSynchronize(), "computing norms");
    }
    *matrix = made.release();
  });
}

void Release(void* matrix) { delete static_cast<DeviceMatrix*>(matrix); }

int TopK(void* handle, const float* queries, size_t query_count, size_t k, int l2,
         uint32_t* out_rows, float* out_scores, RagGpuError* error) {
  return Guarded(error, [&] {
    const auto& matrix = *static_cast<const DeviceMatrix*>(handle);
    const size_t dim = matrix.dim;
    const size_t tile_rows = std::min(matrix.count, std::max<size_t>(k, kTileScores / query_count));
    const size_t tile_scores = tile_rows * query_count;
    DeviceArray<float> device_queries(query_count * dim);
    DeviceArray<float> query_norms(query_count);
    DeviceArray<float> scores(tile_scores), sorted_scores(tile_scores);
    DeviceArray<uint32_t> ids(tile_scores), sorted_ids(tile_scores);
    DeviceArray<int> offsets(query_count + 1);
    Check(cudaMemcpy(device_queries.get(), queries, query_count * dim * sizeof(float),
                     cudaMemcpyHostToDevice),
          "copying queries to the device");
    SquaredNorms<<<Blocks(query_count * 32, 256), 256>>>(device_queries.get(), query_count, dim,
                                                         query_norms.get());
    Check(cudaGetLastError(), "computing norms");

    struct Best {
      float score;
      uint32_t row;
    };
    std::vector<std::vector<Best>> best(query_count);
    std::vector<float> host_scores(query_count * k);
    std::vector<uint32_t> host_ids(query_count * k);
    for (size_t first = 0; first < matrix.count; first += tile_rows) {
      const size_t tile = std::min(tile_rows, matrix.count - first);
      const size_t count = tile * query_count;
      const dim3 grid(Blocks(tile, kTile), Blocks(query_count, kTile));
      Scores<<<grid, 256>>>(device_queries.get(), query_count, matrix.rows.get(), first, tile, dim,
                            matrix.norms.get(), query_norms.get(), l2, scores.get(), ids.get());
      Check(cudaGetLastError(), "computing the scores");
      std::vector<int> host_offsets(query_count + 1);
      for (size_t i = 0; i <= query_count; ++i) host_offsets[i] = static_cast<int>(i * tile);
      Check(cudaMemcpy(offsets.get(), host_offsets.data(), host_offsets.size() * sizeof(int),
                       cudaMemcpyHostToDevice),
            "copying offsets");
      size_t scratch_bytes = 0;
      const auto sort = [&](void* scratch) {
        Check(cub::DeviceSegmentedSort::SortPairsDescending(
                  scratch, scratch_bytes, scores.get(), sorted_scores.get(), ids.get(),
                  sorted_ids.get(), static_cast<int>(count), static_cast<int>(query_count),
                  offsets.get(), offsets.get() + 1),
              "sorting the scores");
      };
      sort(nullptr);
      DeviceArray<char> scratch(scratch_bytes);
      sort(scratch.get());
      const size_t kept = std::min(k, tile);
      Check(cudaMemcpy2D(host_scores.data(), kept * sizeof(float), sorted_scores.get(),
                         tile * sizeof(float), kept * sizeof(float), query_count,
                         cudaMemcpyDeviceToHost),
            "copying scores back");
      Check(cudaMemcpy2D(host_ids.data(), kept * sizeof(uint32_t), sorted_ids.get(),
                         tile * sizeof(uint32_t), kept * sizeof(uint32_t), query_count,
                         cudaMemcpyDeviceToHost),
            "copying rows back");
      for (size_t q = 0; q < query_count; ++q) {
        for (size_t i = 0; i < kept; ++i) {
          best[q].push_back({host_scores[q * kept + i], host_ids[q * kept + i]});
        }
        const auto better = [](const Best& a, const Best& b) {
          return a.score != b.score ? a.score > b.score : a.row < b.row;
        };
        std::sort(best[q].begin(), best[q].end(), better);
        if (best[q].size() > k) best[q].resize(k);
      }
    }
    for (size_t q = 0; q < query_count; ++q) {
      for (size_t i = 0; i < k; ++i) {
        out_rows[q * k + i] = best[q][i].row;
        out_scores[q * k + i] = best[q][i].score;
      }
    }
  });
}

}  // namespace

extern "C" const RagGpuApi* rag_gpu_api() {
  static const RagGpuApi api = {kRagGpuApiVersion, OpenDevice, Upload, Release, TopK};
  return &api;
}
