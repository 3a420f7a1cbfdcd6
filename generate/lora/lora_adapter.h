// LoraAdapter: an adapter bound to the projections of a loaded decoder.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "generate/decoder_weights.h"
#include "generate/lora/lora_file.h"
#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

// What an adapter adds to one projection: scale * up^T (down x).
struct LoraMatrix {
  std::shared_ptr<const Matrix> down;  // [rank, in]; shared by the projections of a fused tensor
  Matrix up;                           // [rank, out]
  float scale = 1;
};

// Immutable; keeps its matrices in f32, in memory of its own.
class LoraAdapter {
 public:
  // `weights` are not moved from now on. Errors: invalid_argument naming the file, the tensor and
  // the sizes when a matrix is not one of the model's or has other sizes, or holds a number that is
  // not finite.
  static Result<std::unique_ptr<LoraAdapter>> Bind(const LoraFile& file, DecoderWeights& weights);

  // Null where it adds nothing.
  const LoraMatrix* Find(const Projection& projection) const {
    const auto found = matrices_.find(&projection);
    return found == matrices_.end() ? nullptr : &found->second;
  }
  size_t rank() const { return rank_; }  // the largest
  size_t parameters() const { return parameters_; }

 private:
  std::unordered_map<const Projection*, LoraMatrix> matrices_;
  size_t rank_ = 0;
  size_t parameters_ = 0;
};

// A loaded adapter in a sequence: its products are multiplied by `scale`.
struct LoraUse {
  const LoraAdapter* adapter = nullptr;
  float scale = 1;

  bool operator==(const LoraUse&) const = default;
};

// Errors: as LoraAdapter::Bind, for a matrix [rows, cols] of the model.
Status CheckLoraShape(const LoraFile& file, const LoraTensor& tensor, size_t rows, size_t cols);

}  // namespace rag
