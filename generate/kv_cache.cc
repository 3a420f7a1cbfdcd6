#include "generate/kv_cache.h"

#include <cstdint>
#include <cstdlib>

namespace rag {
namespace {

constexpr size_t kMaxBytes = size_t{256} << 30;

}  // namespace

void KvCache::Free::operator()(float* data) const { std::free(data); }

Result<KvCache> KvCache::Create(const KvShape& shape) {
  // ReadDecoderConfig bounds a token's bytes: 2^10 layers, 2^12 heads of 2^12 f32.
  const uint64_t token_bytes =
      uint64_t{2} * sizeof(float) * shape.layers * shape.heads * shape.head_dim;
  if (token_bytes == 0 || shape.context > kMaxBytes / token_bytes) {
    return ResourceExhaustedError("a cache of ", shape.context, " tokens of ", token_bytes,
                                  " bytes is over the limit of ", kMaxBytes, " bytes");
  }
  KvCache cache;
  cache.shape_ = shape;
  // calloc: pages of a large block are zero and untouched until they are written.
  cache.data_.reset(static_cast<float*>(std::calloc(token_bytes, shape.context)));
  if (cache.data_ == nullptr) {
    return ResourceExhaustedError("no memory for a cache of ", shape.context, " tokens (",
                                  token_bytes * shape.context, " bytes)");
  }
  return cache;
}

}  // namespace rag
