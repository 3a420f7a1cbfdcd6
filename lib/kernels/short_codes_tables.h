// The tables of lib/kernels/short_codes.h, for its dispatcher and their sources alone.
#pragma once

#include "lib/kernels/short_codes.h"

namespace rag {

const ShortCodeKernels& ScalarShortCodeKernels();
const ShortCodeKernels& Avx2ShortCodeKernels();
const ShortCodeKernels& Avx512ShortCodeKernels();

}  // namespace rag
