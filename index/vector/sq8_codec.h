// Sq8Codec: learned 8-bit codes of vectors, compared in integers.
//
// A vector's projection y (its principal components, or the vector from the mean) becomes for each
// element one of 255 steps of one size: y ~ step * (c - 128). A query is projected likewise and
// rounded to 8 bits of a step of its own. Then
//   |q - x|^2 ~ |q - mean|^2 + |x - mean|^2 - 2 <y_q, y_x>
// where <y_q, y_x> is one integer product of bytes, and |x - mean|^2 stands in front of the code:
// a part of what the projection leaves out counts in it (kLeftOutWeight). Under inner product the
// mean is zero and the products alone are compared; cosine is L2 of normalized vectors.
#pragma once

#include <cstddef>
#include <memory>

#include "index/vector/node_codec.h"

namespace rag {

class Sq8Codec final : public NodeCodec {
 public:
  // As NodeCodec's, for kSq8 and kPca8.
  static std::unique_ptr<NodeCodec> Train(MatrixView sample, CodeKind kind, size_t dims,
                                          Metric metric, const Runtime& runtime);
  Sq8Codec(Metric metric, Projection projection, float step, const Runtime& runtime);

  bool compares_nodes() const override { return true; }
  double Encode(const float* vector, std::byte* code) const override;
  void PrepareQuery(const float* query, CodeQuery& out) const override;
  void PrepareNode(const std::byte* code, CodeQuery& out) const override { out.node = code; }
  void Distances(const CodeQuery& query, const std::byte* const* codes, size_t count,
                 float* out) const override;

 private:
  float scale() const override { return step_; }
  void PairDistances(const std::byte* from, const std::byte* const* codes, size_t count,
                     float* out) const;

  const VectorKernels* kernels_;
  float step_;
};

}  // namespace rag
