#include "lib/runtime/runtime.h"

#include <cstdlib>

#include "lib/gpu/gpu.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

constexpr int kMaxThreads = 1024;

std::string ValueOrEnvironment(const std::string& value, const char* variable) {
  if (!value.empty()) return value;
  const char* found = std::getenv(variable);
  return found == nullptr ? "" : found;
}

Result<Isa> ChooseIsa(const std::string& name) {
  if (name.empty()) {
    Isa best = Isa::kScalar;
    for (const Isa isa : kAllIsas) {
      if (GetKernels(isa) != nullptr) best = isa;
    }
    return best;
  }
  for (const Isa isa : kAllIsas) {
    if (name != IsaName(isa)) continue;
    if (GetKernels(isa) == nullptr) {
      return InvalidArgumentError("isa '", name, "' cannot run on this processor or build");
    }
    return isa;
  }
  return InvalidArgumentError("unknown isa '", name, "'; known are scalar, avx2, avx512 and amx");
}

}  // namespace

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAmx:
      return "amx";
  }
  return "unknown";
}

struct Runtime::Impl {
  Impl(int threads, Isa isa, std::unique_ptr<Gpu> device, LogSink* log)
      : pool(threads), isa(isa), kernels(GetKernels(isa)), gpu(std::move(device)), log(log) {
    if (gpu != nullptr) device_name = StrCat("cuda:0 ", gpu->info().name);
  }

  ThreadPool pool;
  const Isa isa;
  const Kernels* const kernels;
  const std::unique_ptr<Gpu> gpu;
  LogSink* const log;
  std::string device_name = "cpu";
};

Result<std::unique_ptr<Runtime>> Runtime::Create(const RuntimeOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return InvalidArgumentError("threads ", options.threads, " is not between 0 and ", kMaxThreads);
  }
  RAG_ASSIGN_OR_RETURN(const Isa isa, ChooseIsa(ValueOrEnvironment(options.isa, "RAG_ISA")));
  const std::string device = ValueOrEnvironment(options.device, "RAG_DEVICE");
  if (!device.empty() && device != "auto" && device != "cpu" && device != "cuda") {
    return InvalidArgumentError("unknown device '", device, "'; known are auto, cpu and cuda");
  }
  std::unique_ptr<Gpu> gpu;
  if (device == "cuda") {
    Result<std::unique_ptr<Gpu>> opened = Gpu::Open();
    if (!opened.ok()) return std::move(opened).status().WithContext("device 'cuda' was asked for");
    gpu = std::move(opened).value();
  }
  const int threads = options.threads > 0 ? options.threads : ThreadPool::AvailableProcessors();
  return std::unique_ptr<Runtime>(
      new Runtime(std::make_unique<Impl>(threads, isa, std::move(gpu), options.log)));
}

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runtime::~Runtime() = default;

ThreadPool& Runtime::pool() const { return impl_->pool; }
Isa Runtime::isa() const { return impl_->isa; }
const Kernels& Runtime::kernels() const { return *impl_->kernels; }
const Gpu* Runtime::gpu() const { return impl_->gpu.get(); }
const std::string& Runtime::device_name() const { return impl_->device_name; }

void Runtime::Log(LogLevel level, std::string_view message) const {
  if (impl_->log != nullptr) impl_->log->Write(level, message);
}

}  // namespace rag
