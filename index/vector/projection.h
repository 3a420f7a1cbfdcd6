// Projection: what codes are made of. A vector x becomes y = P (x - mean), P being nothing, the
// principal axes of a sample (turned within the space that they span, or not), or a rotation of
// all elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "index/vector/fast_rotation.h"
#include "lib/kernels/vectors.h"
#include "lib/tensor/tensor.h"

namespace rag {

class Projection {
 public:
  // More components are not chosen, only taken when asked for.
  static constexpr size_t kMostChosen = 508;

  // What ProjectQuery needs, kept between uses.
  struct Scratch {
    Matrix rounded;
    std::vector<const std::byte*> rows;
    std::vector<int32_t> dots;
    std::vector<float> centred;
  };

  Projection() = default;
  // y = x - mean; mean [dim].
  Projection(std::vector<float> mean, const Runtime& runtime);
  // The components of a sample [n, dim], n >= 1, that hold most of it: `dims` of them, or with 0 as
  // many as `filled` makes of those that hold enough.
  void LearnAxes(MatrixView sample, size_t dims, size_t (*filled)(size_t));
  // axes [1 .. dim, dim], orthonormal rows.
  void SetAxes(Matrix axes);
  // Turns the components at random, so that each holds as much as the others.
  void Mix();
  // A rotation of all elements, of which a file holds nothing.
  void Rotate();

  size_t dim() const { return mean_.size(); }
  size_t dims() const { return has_axes() ? axes_.rows() : dim(); }
  bool has_axes() const { return axes_.rows() != 0; }
  const std::vector<float>& mean() const { return mean_; }
  const Matrix& axes() const { return axes_; }
  size_t memory_bytes() const;

  // y [dims] of a vector; returns |x - mean|^2. scratch [dim].
  float Project(const float* vector, float* scratch, float* y) const;
  // The same with axes in 8-bit integers, whose rounding is far below that of codes.
  float ProjectQuery(const float* query, Scratch& scratch, float* y) const;

 private:
  const Runtime* runtime_ = nullptr;
  const Kernels* kernels_ = nullptr;
  const VectorKernels* vector_kernels_ = nullptr;
  std::vector<float> mean_;
  FastRotation rotation_;
  Matrix axes_;
  // The axes in the form of 8-bit codes: axes ~ rounded_steps_[i] * (u8 - 128).
  size_t rounded_bytes_ = 0;  // of a row
  Matrix rounded_axes_;
  std::vector<float> rounded_steps_;
};

// The mean of the rows of a sample [n, dim], n >= 1.
std::vector<float> MeanOf(MatrixView sample);

// Bytes of a code of 8-bit values in the form of lib/kernels/vectors.h.
size_t ByteCodeBytes(size_t values);

// x [n] in 8 bits behind the header of `out`, which has `bytes` then and is zero elsewhere: x ~
// step * i8. Returns the step; sum gets the sum of the i8.
float RoundTo8Bits(const float* x, size_t n, size_t bytes, Matrix& out, int32_t& sum);

}  // namespace rag
