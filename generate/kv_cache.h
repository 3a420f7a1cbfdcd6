// The keys and values of the tokens seen so far, for every layer.
#pragma once

#include <cstddef>
#include <memory>

#include "lib/base/status.h"

namespace rag {

struct KvShape {
  size_t layers = 0;
  size_t heads = 0;
  size_t head_dim = 0;
  size_t context = 0;  // tokens
};

// f32 [layers][keys, values][heads][context][head_dim]: a head's keys are contiguous, so attention
// streams them. The memory is taken from the system as it is first written.
class KvCache {
 public:
  // Errors: resource_exhausted when it would take more than 256 GiB or the system refuses.
  static Result<KvCache> Create(const KvShape& shape);

  float* keys(size_t layer, size_t head) { return At(layer, 0, head); }
  float* values(size_t layer, size_t head) { return At(layer, 1, head); }
  const KvShape& shape() const { return shape_; }

 private:
  struct Free {
    void operator()(float* data) const;
  };
  float* At(size_t layer, size_t kind, size_t head) {
    return data_.get() +
           ((layer * 2 + kind) * shape_.heads + head) * shape_.context * shape_.head_dim;
  }

  KvShape shape_;
  std::unique_ptr<float, Free> data_;
};

}  // namespace rag
