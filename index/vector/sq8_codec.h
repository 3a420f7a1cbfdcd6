// Sq8Codec: learned 8-bit codes of vectors, compared in integers.
//
// A vector x becomes y = P (x - mean), P being the sample's principal axes (or nothing), and each
// element of y one of 255 steps of one size: y ~ step * (c - 128). A query is projected likewise
// and rounded to 8 bits of a step of its own. Then
//   |q - x|^2 ~ |q - mean|^2 + |x - mean|^2 - 2 <y_q, y_x>
// where <y_q, y_x> is one integer product of bytes, and |x - mean|^2 stands in front of the code:
// a part of what the projection leaves out counts in it (kLeftOutWeight). Under inner product the
// mean is zero and the products alone are compared; cosine is L2 of normalized vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "index/vector_index.h"
#include "lib/kernels/vectors.h"

namespace rag {

class Sq8Codec {
 public:
  // A query in the form of the codes.
  class Query {
   public:
    Query() = default;

   private:
    friend class Sq8Codec;
    Matrix values_;   // int8, aligned; the code's bytes, zeros for the header and behind the end
    Matrix rounded_;  // the same of the centred query, for the projection
    std::vector<const std::byte*> rows_;
    std::vector<int32_t> dots_;
    std::vector<float> projected_;
    std::vector<float> centred_;
    float base_ = 0;
    float factor_ = 0;
  };

  // The largest dimension that principal components are sought in: their covariance takes the
  // square of it.
  static constexpr size_t kMaxPcaDim = 4'096;
  // Rows of a sample for that dimension: fewer are not learned from, more are not needed.
  static size_t MinSample(CodeKind kind, size_t dim);
  static size_t MaxSample(size_t dim);

  // sample [n, dim], n > 0, as Rows decodes them (normalized under cosine). kind is not kNone;
  // dims as HnswOptions::code_dims. Uses the pool when it is free.
  static Sq8Codec Train(MatrixView sample, CodeKind kind, size_t dims, Metric metric,
                        const Runtime& runtime);

  // Bytes of a code, a multiple of kCodeAlign.
  size_t code_bytes() const { return code_bytes_; }
  size_t code_dims() const { return dims_; }
  size_t memory_bytes() const;
  // The mean over the sample of |y_x - its code|^2 + what the projection leaves out, as a part of
  // |x - mean|^2.
  double trained_error() const { return trained_error_; }

  // vector [dim]; code [code_bytes()], aligned. Returns the error as trained_error() counts it.
  double Encode(const float* vector, std::byte* code) const;
  void PrepareQuery(const float* query, Query& out) const;

  // Distances on one scale: a query's to codes, and a code's to codes.
  void Distances(const Query& query, const std::byte* const* codes, size_t count, float* out) const;
  void PairDistances(const std::byte* from, const std::byte* const* codes, size_t count,
                     float* out) const;

  // For snapshots. Parse's errors: data_loss naming what is wrong.
  std::string Serialize() const;
  static Result<Sq8Codec> Parse(std::span<const std::byte> bytes, size_t dim, Metric metric,
                                const Runtime& runtime);

 private:
  Sq8Codec(size_t dim, Metric metric, const Runtime& runtime);
  void SetDims(size_t dims);
  // y [dims_] of a vector; returns |x - mean|^2. scratch [dim].
  float Project(const float* vector, float* scratch, float* y) const;
  // The same of a query in 8-bit integers, whose rounding is far below that of the codes.
  float ProjectQuery(const float* query, Query& out) const;
  void RoundAxes();

  size_t dim_;
  bool l2_;  // else inner product
  const Kernels* kernels_;
  const VectorKernels* vector_kernels_;
  size_t dims_ = 0;
  size_t code_bytes_ = 0;
  float step_ = 1;
  double trained_error_ = 0;
  std::vector<float> mean_;  // [dim]
  Matrix axes_;              // [dims, dim], orthonormal rows; empty: y = x - mean
  // The axes in the form of codes, for queries: axes ~ rounded_steps_[i] * (u8 - 128).
  size_t rounded_bytes_ = 0;  // of a row
  Matrix rounded_axes_;
  std::vector<float> rounded_steps_;
};

}  // namespace rag
