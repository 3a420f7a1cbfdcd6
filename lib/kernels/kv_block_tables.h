// The tables of lib/kernels/kv_block.h, for its dispatcher and their sources alone.
#pragma once

#include "lib/kernels/kv_block.h"

namespace rag {

const KvBlockKernels& ScalarKvBlockKernels();
const KvBlockKernels& Avx2KvBlockKernels();
const KvBlockKernels& Avx512KvBlockKernels();

}  // namespace rag
