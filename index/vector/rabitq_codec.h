// RabitqCodec: codes of 1 bit or 4 bits an element with factors that correct them.
//
// After Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound
// for Approximate Nearest Neighbor Search" (SIGMOD 2024; arXiv 2405.12497), and Gao, Gou, Xu, Yang,
// Long and Wong, "Practical and Asymptotically Optimal Quantization of High-Dimensional Vectors in
// Euclidean Space for Approximate Nearest Neighbor Search" (arXiv 2409.09913) for several bits. A
// vector's random rotation y becomes the signs, or odd numbers up to 15, that point most in its
// direction, c; then for any query, whose rotation is q,
//   <q, y> ~ |y|^2 / <y, c> <q, c>,
// without bias and with an error of the order of |q| |y| / sqrt(dims). The factor stands with the
// code, and with it what no query changes: |x - mean|^2, or under inner product -<mean, x - mean>.
// The query is rounded to 4 bits for codes of 1 bit, and to 8 bits for those of 4, so that <q, c>
// is a sum of integers.
//
// We differ in this: all vectors are taken from one mean; a search for the best scale of 4 bits
// tries a few of them; and kPca4 rotates among the principal components, what they leave out
// counting as in Sq8Codec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "index/vector/node_codec.h"

namespace rag {

// codes [n] gets of y [n] the numbers u, 0 ... 2^bits - 1, whose odd numbers 2 u - (2^bits - 1) are
// about y times one factor; bits is 1 or 4. Returns |y|^2 / <y, odd numbers>, 0 for a zero vector.
float RabitqRound(const float* y, size_t n, size_t bits, uint8_t* codes);

class RabitqCodec final : public NodeCodec {
 public:
  // As NodeCodec's, for kRabitq, kSq4 and kPca4.
  static std::unique_ptr<NodeCodec> Train(MatrixView sample, CodeKind kind, size_t dims,
                                          Metric metric, const Runtime& runtime);
  // mean_square: the average of |x - mean|^2 over the sample.
  RabitqCodec(CodeKind kind, Metric metric, Projection projection, float mean_square,
              const Runtime& runtime);

  bool compares_nodes() const override { return bits_ > 1; }
  double Encode(const float* vector, std::byte* code) const override;
  void PrepareQuery(const float* query, CodeQuery& out) const override;
  void PrepareNode(const std::byte* code, CodeQuery& out) const override;
  void Distances(const CodeQuery& query, const std::byte* const* codes, size_t count,
                 float* out) const override;

 private:
  float scale() const override { return mean_square_; }
  // What the kernels take of out.rounded.
  void SetValues(float step, CodeQuery& out) const;

  const ShortCodeKernels* kernels_;
  const size_t bits_;
  double mean_dot_ = 0;  // |mean|^2
  const float mean_square_;
};

}  // namespace rag
