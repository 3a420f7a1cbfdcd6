// Rows: vectors as bytes of an element type, and the distance between them. Smaller is better; a
// score is the negative of a distance.
//
// A query is f32 [dim], normalized under cosine; under Hamming and Jaccard its bytes are packed
// bits like a row's. Rows of whole numbers under cosine are kept as they came, with the inverse of
// their length behind them; other types are kept normalized.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "index/vector_index.h"
#include "lib/kernels/kernels.h"
#include "lib/kernels/vectors.h"

namespace rag {

class Rows {
 public:
  Rows(size_t dim, Metric metric, ElementType element, const Runtime& runtime);

  size_t dim() const { return dim_; }
  Metric metric() const { return metric_; }
  ElementType element() const { return element_; }
  bool binary() const { return element_ == ElementType::kBinary; }
  bool f32() const { return element_ == ElementType::kF32; }
  // Of a row, a multiple of 64.
  size_t bytes() const { return bytes_; }
  // f32 places of a query.
  size_t query_floats() const;

  // What a vector must be. `what` and `row` name it. Errors: invalid_argument.
  Status Check(std::span<const float> vector, std::string_view what, size_t row) const;
  // Of queries, which any finite numbers may be (0 and 1 for binary rows).
  Status CheckQuery(std::span<const float> query, size_t row) const;
  // The vector, which passed Check, as a row.
  void Encode(std::span<const float> vector, std::byte* row) const;
  // out [dim]: the row's vector, normalized under cosine.
  void Decode(const std::byte* row, float* out) const;
  // out [query_floats()].
  void PrepareQuery(std::span<const float> query, float* out) const;
  // A row as a query that Distance takes: out [query_floats()].
  void AsQuery(const std::byte* row, float* out) const;
  // Whether a row's bytes are such a query as they lie.
  bool RowIsQuery() const { return f32() || binary(); }

  float Distance(const float* query, const std::byte* row) const {
    switch (form_) {
      case Form::kSum:
        return kernel_(query, row, dim_);
      case Form::kNegative:
        return -kernel_(query, row, dim_);
      default:
        return OtherDistance(query, row);
    }
  }

 private:
  enum class Form { kSum, kNegative, kScaled, kHamming, kJaccard };
  float OtherDistance(const float* query, const std::byte* row) const;

  const size_t dim_;
  const Metric metric_;
  const ElementType element_;
  const Kernels& float_kernels_;
  const VectorKernels& kernels_;
  Form form_;
  size_t element_bytes_ = 0;  // of the elements of a row
  size_t bytes_ = 0;
  VectorKernels::RowKernel kernel_ = nullptr;
};

}  // namespace rag
