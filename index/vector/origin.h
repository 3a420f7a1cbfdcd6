// Origin: what a walk measures distances from, a query or a node, over codes where there are any
// and over the stored vectors else. Keeps its memory between uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/vector/node_codes.h"
#include "index/vector/slots.h"

namespace rag {

class Origin {
 public:
  // codes may be null. They and the query stay valid until the next call.
  void SetQuery(const Slots& slots, const NodeCodes* codes, const float* query);
  // The distances between nodes lie on the scale of a query's over the same codes.
  void SetNode(const Slots& slots, const NodeCodes* codes, uint32_t slot);

  // out [count]. Later vectors are fetched while earlier ones are compared.
  void To(const uint32_t* slots, size_t count, float* out) const;
  // Begins to fetch what To will read.
  void Fetch(const uint32_t* slots, size_t count) const;
  float To(uint32_t slot) const {
    float distance;
    To(&slot, 1, &distance);
    return distance;
  }

 private:
  const Slots* slots_ = nullptr;
  const NodeCodes* codes_ = nullptr;  // null: the stored vectors are compared
  const float* query_ = nullptr;
  std::vector<float> decoded_;
  mutable RowBatch batch_;
  CodeQuery coded_;
};

}  // namespace rag
