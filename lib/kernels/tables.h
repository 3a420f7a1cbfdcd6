// The tables of lib/kernels, for its dispatcher alone.
#pragma once

#include "lib/kernels/kernels.h"

namespace rag {

const Kernels& ScalarKernels();

}  // namespace rag
