// Element types, and borrowed and owned matrices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"

namespace rag {

// What a tensor's bytes hold. The block types are GGUF's (gguf specification, "Tensor types"): a
// block of `block_size` elements takes `block_bytes` bytes and a row is a whole number of blocks.
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kBool,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kMXFP4,
};
inline constexpr size_t kDTypeCount = static_cast<size_t>(DType::kMXFP4) + 1;

struct DTypeInfo {
  std::string_view name;  // "F32", "Q4_K"
  size_t block_size;      // elements
  size_t block_bytes;
};
const DTypeInfo& GetDTypeInfo(DType type);

// Bytes of a row of `elements`, which must be a multiple of the block size.
// Errors: invalid_argument when it is not; out_of_range on overflow.
Result<size_t> RowBytes(DType type, size_t elements);

// A read-only view of a tensor's bytes, row-major, outermost dimension first. Borrowed: whoever
// made it says how long the bytes live.
struct TensorView {
  DType type = DType::kF32;
  std::vector<size_t> shape;
  std::span<const std::byte> bytes;

  size_t elements() const;
};

// A tensor by its name.
using NamedTensorView = std::pair<std::string, TensorView>;

// Elements [offset, offset + out.size()) of the flattened tensor as f32, for every type of DType.
// For block types offset and out.size() must be multiples of the block size.
Status DequantizeTo(const TensorView& tensor, size_t offset, std::span<float> out);

// Borrowed row-major f32 matrix [rows, cols]; row i starts at data + i * stride (elements).
struct MatrixView {
  const float* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t stride = 0;

  MatrixView() = default;
  MatrixView(const float* data, size_t rows, size_t cols)
      : data(data), rows(rows), cols(cols), stride(cols) {}
  MatrixView(const float* data, size_t rows, size_t cols, size_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}
  std::span<const float> row(size_t i) const { return {data + i * stride, cols}; }
};

// Owned row-major f32 matrix [rows, cols], rows contiguous, storage aligned to 64 bytes.
class Matrix {
 public:
  Matrix() = default;
  Matrix(size_t rows, size_t cols);  // zeros
  ~Matrix();
  Matrix(Matrix&& other) noexcept;
  Matrix& operator=(Matrix&& other) noexcept;
  Matrix(const Matrix& other);
  Matrix& operator=(const Matrix& other);

  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  float* data() { return data_; }
  const float* data() const { return data_; }
  std::span<float> row(size_t i) { return {data_ + i * cols_, cols_}; }
  std::span<const float> row(size_t i) const { return {data_ + i * cols_, cols_}; }
  MatrixView view() const { return {data_, rows_, cols_}; }

 private:
  float* data_ = nullptr;
  size_t rows_ = 0;
  size_t cols_ = 0;
};

// IEEE 754 half and bfloat16 <-> f32, round to nearest even.
float HalfToFloat(uint16_t half);
uint16_t FloatToHalf(float value);
inline constexpr float kLargestHalf = 65504.0f;  // finite
float BFloat16ToFloat(uint16_t bits);
uint16_t FloatToBFloat16(float value);

}  // namespace rag
