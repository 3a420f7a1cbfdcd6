#include "lib/kernels/short_codes.h"

#include "lib/kernels/kernels.h"
#include "lib/kernels/short_codes_tables.h"

namespace rag {

const ShortCodeKernels* GetShortCodeKernels(Isa isa) {
  if (GetKernels(isa) == nullptr) return nullptr;  // it knows what the processor can run
  switch (isa) {
    case Isa::kScalar:
      return &ScalarShortCodeKernels();
    case Isa::kAvx2:
      return &Avx2ShortCodeKernels();
    case Isa::kAvx512:
    case Isa::kAmx:
      return &Avx512ShortCodeKernels();
  }
  return nullptr;
}

}  // namespace rag
