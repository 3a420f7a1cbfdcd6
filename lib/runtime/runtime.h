// Runtime: the machine as the library may use it: threads, instruction set, device, log. Made once
// by the application and passed to everything that computes; there is no global one.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/log.h"
#include "lib/base/status.h"

namespace rag {

struct Kernels;  // lib/kernels/kernels.h
class Gpu;       // lib/gpu/gpu.h

// Instruction sets with kernels of their own, weakest first. What has none for AMX (tiles of int8
// and bf16) runs AVX-512's there.
enum class Isa { kScalar, kAvx2, kAvx512, kAmx };
inline constexpr Isa kAllIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAmx};
std::string_view IsaName(Isa isa);  // "scalar", "avx2", "avx512", "amx"

// A borrowed callable (not owned, not copied): valid during the call it is passed to.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::decay_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT: implicit by design
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

// A fixed set of worker threads. Thread-safe: loops of different callers run one after another on
// the workers; a loop started inside a loop runs on the calling worker alone.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;  // >= 1; the calling thread counts as one
  // Processors that this process may run on (its affinity mask).
  static int AvailableProcessors();

  // Calls body(begin, end, worker) over disjoint ranges that cover [0, count), each of at most
  // `grain` items, on up to size() threads; worker is in [0, size()) and unique among the calls
  // that run at one time. Returns when all are done. The body must not throw.
  void ParallelFor(size_t count, size_t grain,
                   FunctionRef<void(size_t begin, size_t end, int worker)> body);
  // The same, or false at once, with nothing done, when another loop is running: for callers that
  // hold what that loop may be waiting for.
  bool TryParallelFor(size_t count, size_t grain,
                      FunctionRef<void(size_t begin, size_t end, int worker)> body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct RuntimeOptions {
  int threads = 0;         // 0: one for each processor this process may use
  std::string isa;         // an IsaName; empty: RAG_ISA, else the best there is
  std::string device;      // "cpu", "cuda", "auto"; empty: RAG_DEVICE, else "auto"
  LogSink* log = nullptr;  // not owned; outlives the Runtime
};

class Runtime {
 public:
  // Errors: invalid_argument for an unknown or, on this processor, unusable isa; unavailable when
  // device is "cuda" and there is none.
  static Result<std::unique_ptr<Runtime>> Create(const RuntimeOptions& options = {});
  ~Runtime();

  ThreadPool& pool() const;
  Isa isa() const;
  const Kernels& kernels() const;
  // The GPU that device "cuda" opened, else null ("auto" means the CPU until the rooms compute on
  // it; today they do not).
  const Gpu* gpu() const;
  // "cpu", or "cuda:0 NVIDIA H200" when a GPU is in use.
  const std::string& device_name() const;
  void Log(LogLevel level, std::string_view message) const;

 private:
  struct Impl;
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rag
