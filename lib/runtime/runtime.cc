#include "lib/runtime/runtime.h"

#include <cstdlib>

#include "lib/kernels/kernels.h"

namespace rag {
namespace {

constexpr Isa kAllIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};
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
  return InvalidArgumentError("unknown isa '", name, "'; known are scalar, avx2 and avx512");
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
  }
  return "unknown";
}

struct Runtime::Impl {
  Impl(int threads, Isa isa, LogSink* log)
      : pool(threads), isa(isa), kernels(GetKernels(isa)), log(log) {}

  ThreadPool pool;
  const Isa isa;
  const Kernels* const kernels;
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
  if (device == "cuda") {
    return UnavailableError("device 'cuda' was asked for, and this build has no GPU backend");
  }
  const int threads = options.threads > 0 ? options.threads : ThreadPool::AvailableProcessors();
  return std::unique_ptr<Runtime>(new Runtime(std::make_unique<Impl>(threads, isa, options.log)));
}

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runtime::~Runtime() = default;

ThreadPool& Runtime::pool() const { return impl_->pool; }
Isa Runtime::isa() const { return impl_->isa; }
const Kernels& Runtime::kernels() const { return *impl_->kernels; }
const std::string& Runtime::device_name() const { return impl_->device_name; }

void Runtime::Log(LogLevel level, std::string_view message) const {
  if (impl_->log != nullptr) impl_->log->Write(level, message);
}

}  // namespace rag
