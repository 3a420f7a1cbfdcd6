// The tables of lib/kernels/list_scan.h, for its dispatcher and their sources alone.
#pragma once

#include "lib/kernels/list_scan.h"

namespace rag {

const ListKernels& ScalarListKernels();
const ListKernels& Avx2ListKernels();
const ListKernels& Avx512ListKernels();

}  // namespace rag
