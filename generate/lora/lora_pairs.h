// The halves of an adapter's tensors, gathered into pairs.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "generate/lora/lora_file.h"
#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

class LoraPairs {
 public:
  // `where` is for errors; experts: of the model, 0 without.
  LoraPairs(std::string where, size_t experts) : where_(std::move(where)), experts_(experts) {}

  enum class Half { kA, kB };
  // The half of `weight` that the file calls `name`, [rows, cols] or [experts, rows, cols].
  Status Add(const std::string& weight, Half half, const std::string& name,
             const TensorView& tensor);

  // Every pair, with scale 1. Errors: invalid_argument naming a tensor whose other half is missing
  // or of another rank, and when there is none.
  Result<std::vector<LoraTensor>> Take();

 private:
  struct Part {
    std::string name;  // empty: missing
    TensorView tensor;
  };
  struct Pair {
    Part a;
    Part b;
  };
  Status Check(const Pair& pair) const;

  const std::string where_;
  const size_t experts_;
  std::map<std::string, Pair> pairs_;  // by weight
};

}  // namespace rag
