// Many sequences through a transformer: in batches of alike lengths, on all threads.
#pragma once

#include <cstddef>
#include <span>

#include "embed/transformer.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Takes the last hidden states [length, hidden] of sequences[index]; called once for each, from any
// of the pool's threads.
using SequenceConsumer = FunctionRef<void(size_t index, MatrixView states)>;

// Runs all sequences, the longest first. Errors: cancelled; some of the sequences were then not
// given to `consume`.
Status RunSequences(const Transformer& transformer, const Runtime& runtime,
                    std::span<const TokenSequence> sequences, SequenceConsumer consume,
                    const CancelToken* cancel);

}  // namespace rag
