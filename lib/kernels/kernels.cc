#include "lib/kernels/kernels.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "lib/kernels/tables.h"

namespace rag {
namespace {

// Everything that cmake/rooms.cmake lets the compiler use in the files of an instruction set.
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
}

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512vbmi");
}

// Linux lets a process use tiles once it has asked (Documentation/arch/x86/xstate.rst), since their
// state does not fit into the signal frames that programs of old reserve; threads that run already
// may use them then too.
bool MayUseTiles() {
#if defined(SYS_arch_prctl)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  static const bool kGranted = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return kGranted;
#else
  return false;
#endif
}

bool HasAmx() {
  return HasAvx512() && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
         __builtin_cpu_supports("amx-bf16") && MayUseTiles();
}

}  // namespace

const Kernels* GetKernels(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return &ScalarKernels();
    case Isa::kAvx2:
      return HasAvx2() ? &Avx2Kernels() : nullptr;
    case Isa::kAvx512:
      return HasAvx512() ? &Avx512Kernels() : nullptr;
    case Isa::kAmx:
      return HasAmx() ? &AmxKernels() : nullptr;
  }
  return nullptr;
}

void Activate(const Kernels& kernels, Activation activation, float* x, size_t n) {
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kGelu:
      return kernels.gelu(x, n);
    case Activation::kGeluTanh:
      return kernels.gelu_tanh(x, n);
    case Activation::kSilu:
      return kernels.silu(x, n);
  }
}

size_t AttentionScratch(size_t kv_count, size_t head_dim) {
  // The scalar table keeps one row of scores, the others a block of them, of keys and of values.
  return std::max({kv_count, SimdAttentionFloats(head_dim), AmxAttentionFloats(head_dim)});
}

}  // namespace rag
