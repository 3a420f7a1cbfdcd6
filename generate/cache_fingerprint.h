// What the bits of cached keys and values depend on, as a number.
#pragma once

#include <cstdint>

#include "generate/decoder.h"
#include "generate/kv_pool.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/runtime/runtime.h"

namespace rag {

// Equal numbers: the same tokens have the same keys and values, bit for bit. A hash of all metadata
// and all of every tensor, of the cache's shape and type, of the instruction set and the weights'
// place, and of what a probe gives: the keys, values and logits of some tokens, which would tell
// another context's rotary factors or a later version's arithmetic. Takes about a tenth of a second
// a gigabyte, and a forward pass. Errors: resource_exhausted when the pool has no block.
Result<uint64_t> CacheFingerprint(const GgufFile& file, Decoder& decoder, KvPool& pool,
                                  bool mapped_weights, const Runtime& runtime);

}  // namespace rag
