#include "lib/gpu/gpu.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <utility>

#include "lib/gpu/plugin.h"

namespace rag {
namespace {

constexpr size_t kMaxQueries = 65'536;
constexpr const char* kPlugin = "librag_cuda.so";

Status FromPlugin(const RagGpuError& error) {
  if (error.out_of_memory != 0) return ResourceExhaustedError("GPU: ", error.message);
  return InternalError("GPU: ", error.message);
}

class PluginMatrix final : public GpuMatrix {
 public:
  PluginMatrix(const RagGpuApi& api, void* handle, size_t rows, size_t cols)
      : api_(api), handle_(handle), rows_(rows), cols_(cols) {}
  ~PluginMatrix() override { api_.release(handle_); }

  size_t rows() const override { return rows_; }
  size_t cols() const override { return cols_; }

  Result<std::vector<std::vector<GpuCandidate>>> TopK(MatrixView queries, size_t k,
                                                      bool l2) const override {
    if (queries.cols != cols_ || queries.rows > kMaxQueries || k == 0) {
      return InvalidArgumentError("GPU search of ", queries.rows, " queries of dim ", queries.cols,
                                  " for k = ", k, " over rows of dim ", cols_);
    }
    std::vector<std::vector<GpuCandidate>> found(queries.rows);
    k = std::min(k, rows_);
    if (k == 0 || queries.rows == 0) return found;
    std::vector<float> contiguous(queries.rows * cols_);
    for (size_t i = 0; i < queries.rows; ++i) {
      std::copy_n(queries.row(i).data(), cols_, contiguous.data() + i * cols_);
    }
    std::vector<uint32_t> rows(queries.rows * k);
    std::vector<float> scores(queries.rows * k);
    RagGpuError error{};
    if (api_.top_k(handle_, contiguous.data(), queries.rows, k, l2 ? 1 : 0, rows.data(),
                   scores.data(), &error) != 0) {
      return FromPlugin(error);
    }
    for (size_t i = 0; i < queries.rows; ++i) {
      found[i].resize(k);
      for (size_t j = 0; j < k; ++j) found[i][j] = {rows[i * k + j], scores[i * k + j]};
    }
    return found;
  }

 private:
  const RagGpuApi& api_;
  void* handle_;
  size_t rows_;
  size_t cols_;
};

class PluginGpu final : public Gpu {
 public:
  PluginGpu(const RagGpuApi& api, GpuInfo info) : api_(api), info_(std::move(info)) {}

  const GpuInfo& info() const override { return info_; }

  Result<std::unique_ptr<GpuMatrix>> Upload(MatrixView rows) const override {
    if (rows.rows > std::numeric_limits<uint32_t>::max()) {
      return InvalidArgumentError("GPU: ", rows.rows, " rows are more than 2^32 - 1");
    }
    void* handle = nullptr;
    RagGpuError error{};
    if (api_.upload(rows.data, rows.rows, rows.stride, rows.cols, &handle, &error) != 0) {
      return FromPlugin(error);
    }
    return std::unique_ptr<GpuMatrix>(new PluginMatrix(api_, handle, rows.rows, rows.cols));
  }

 private:
  const RagGpuApi& api_;
  GpuInfo info_;
};

// $RAG_CUDA_PLUGIN, else beside the program or in ../lib from it, else on the loader's path.
void* OpenPlugin() {
  if (const char* given = std::getenv("RAG_CUDA_PLUGIN")) return ::dlopen(given, RTLD_NOW);
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    for (const char* folder : {".", "../lib"}) {
      const std::filesystem::path candidate = program.parent_path() / folder / kPlugin;
      if (std::filesystem::exists(candidate, error)) return ::dlopen(candidate.c_str(), RTLD_NOW);
    }
  }
  return ::dlopen(kPlugin, RTLD_NOW);
}

}  // namespace

Result<std::unique_ptr<Gpu>> Gpu::Open() {
  // Never closed again: CUDA does not survive being unloaded.
  void* library = OpenPlugin();
  if (library == nullptr) {
    const char* reason = ::dlerror();
    return UnavailableError("no GPU backend: ", reason == nullptr ? kPlugin : reason);
  }
  const auto entry = reinterpret_cast<decltype(&rag_gpu_api)>(::dlsym(library, "rag_gpu_api"));
  if (entry == nullptr || entry()->version != kRagGpuApiVersion) {
    return UnavailableError("no GPU backend: ", kPlugin, " is of another version of rag");
  }
  RagGpuInfo info{};
  RagGpuError error{};
  if (entry()->open(&info, &error) != 0) return UnavailableError("no GPU: ", error.message);
  return std::unique_ptr<Gpu>(
      new PluginGpu(*entry(), GpuInfo{info.name, info.memory_bytes, info.compute_capability}));
}

}  // namespace rag
