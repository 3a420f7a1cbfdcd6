#include "lib/kernels/list_scan.h"

#include "lib/kernels/kernels.h"
#include "lib/kernels/list_scan_tables.h"

namespace rag {

const ListKernels* GetListKernels(Isa isa) {
  if (GetKernels(isa) == nullptr) return nullptr;  // it knows what the processor can run
  switch (isa) {
    case Isa::kScalar:
      return &ScalarListKernels();
    case Isa::kAvx2:
      return &Avx2ListKernels();
    case Isa::kAvx512:
    case Isa::kAmx:
      return &Avx512ListKernels();
  }
  return nullptr;
}

}  // namespace rag
