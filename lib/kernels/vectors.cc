#include "lib/kernels/vectors.h"

#include "lib/kernels/kernels.h"
#include "lib/kernels/vectors_tables.h"

namespace rag {

const VectorKernels* GetVectorKernels(Isa isa) {
  if (GetKernels(isa) == nullptr) return nullptr;  // it knows what the processor can run
  switch (isa) {
    case Isa::kScalar:
      return &ScalarVectorKernels();
    case Isa::kAvx2:
      return &Avx2VectorKernels();
    case Isa::kAvx512:
    case Isa::kAmx:
      return &Avx512VectorKernels();
  }
  return nullptr;
}

}  // namespace rag
