// LoraAdapter: an adapter bound to the projections of a loaded decoder.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
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

// The matrices of a model that an adapter can change.
class LoraTargets {
 public:
  // `weights` are not moved from now on.
  explicit LoraTargets(DecoderWeights& weights);

  // The projections of the matrix that `tensor` changes: of a fused one several, with its rows one
  // after another. Errors: invalid_argument naming the file, the tensor and the sizes when it is
  // not one of the model's or has other sizes.
  Result<std::span<const Projection* const>> Find(const LoraFile& file,
                                                  const LoraTensor& tensor) const;

 private:
  std::map<std::string, std::vector<const Projection*>> by_name_;
};

// A tensor of an adapter in f32.
struct LoraFactors {
  Matrix a;  // [rank, in]
  Matrix b;  // [out, rank]
};
// Errors: invalid_argument naming the file and the tensor when it holds a number that is not
// finite.
Result<LoraFactors> ReadFactors(const LoraFile& file, const LoraTensor& tensor);

// Immutable; keeps its matrices in f32, in memory of its own.
class LoraAdapter {
 public:
  // `weights` are not moved from now on. Errors: those of LoraTargets::Find and ReadFactors.
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

}  // namespace rag
