#include "lib/kernels/weight_codes.h"

#include "lib/kernels/kernels.h"
#include "lib/kernels/weight_codes_tables.h"

namespace rag {

const WeightCodeKernels* GetWeightCodeKernels(Isa isa) {
  if (GetKernels(isa) == nullptr) return nullptr;  // it knows what the processor can run
  return isa == Isa::kScalar ? &ScalarWeightCodeKernels() : &Avx2WeightCodeKernels();
}

}  // namespace rag
