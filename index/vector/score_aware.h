// The score-aware loss of product codes under inner product: Guo, Sun, Lindgren, Geng, Simcha,
// Chern and Kumar, "Accelerating Large-Scale Inference with Anisotropic Vector Quantization" (ICML
// 2020; arXiv 1908.10396).
//
// A query's score with x errs by <q, e>, e being what the code leaves out of x. Queries that x
// matters to point its way, so that the part of e along x costs more than the rest:
//   loss = |e|^2 + extra <e, x / |x|>^2, extra = (dim - 1) T^2 / (1 - T^2) - 1 (theorem 3.4, with
// all queries whose cosine with x is over T), never below 0.
// Codes are chosen by coordinate descent over the parts (section 4.2), entries solve their normal
// equations (theorem 4.2). We differ in updating one part at a time, with what the other parts
// leave along x as it stands then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/kernels/list_scan.h"
#include "lib/tensor/tensor.h"

namespace rag {

class ScoreAware {
 public:
  // The plain squared error.
  ScoreAware() = default;
  ScoreAware(double threshold, size_t dim);

  bool plain() const { return extra_ == 0; }

  // A product codebook: part p is dimensions [begins[p], begins[p + 1]); of them dimension d has
  // entries' values at values + d * entries.
  struct Codebook {
    std::span<const size_t> begins;  // [parts + 1]
    size_t entries = 0;
    const float* values = nullptr;
    const float* half_norms = nullptr;  // [parts][entries]
    size_t parts() const { return begins.size() - 1; }
  };

  static size_t ScratchFloats(size_t parts, size_t entries) { return 2 * parts * entries; }
  // codes [parts]: from a choice to one of less loss. row is x, residual [dim] what is coded of it.
  void Improve(const Codebook& book, const ListKernels& kernels, const float* residual,
               const float* row, uint8_t* codes, float* scratch) const;
  // Moves the entries, which are `values`, to where the loss of residuals [n, dim] of rows, coded
  // as codes [n][parts], is least. half_norms are the caller's to renew.
  void Update(const Codebook& book, std::span<float> values, MatrixView residuals, MatrixView rows,
              std::span<const uint8_t> codes) const;
  // The loss of one vector.
  double Loss(const float* residual, const float* decoded, const float* row, size_t dim) const;

 private:
  float extra_ = 0;
};

}  // namespace rag
