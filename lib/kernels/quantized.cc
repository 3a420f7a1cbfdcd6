#include "lib/kernels/quantized.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "lib/kernels/kernels.h"
#include "lib/kernels/packed.h"
#include "lib/kernels/quantized_blocks.h"
#include "lib/kernels/quantized_tables.h"

namespace rag {
namespace {

constexpr size_t kActivationGroup = 32;
// Tokens whose activations stay in the first-level cache while a block of weight rows passes:
// 16 rows of 2,048 bytes.
constexpr size_t kTokenTile = 16;
// Tiles of weight rows a worker takes at once, at most: several tiles of tokens read them from the
// second-level cache.
constexpr size_t kMaxGrain = 2;
constexpr size_t kPiecesPerThread = 8;  // so that a thread that starts late delays little

// Adding and removing 1.5 * 2^23 rounds |value| < 2^22 to the nearest integer, ties to even, in
// instructions that every processor has.
constexpr float kRounder = 12582912.0f;

struct Range {
  const Product* product;
  size_t begin;
  size_t end;
};

Activations8 From(Activations8 x, size_t first) {
  x.values += first * x.stride;
  x.scales += first * x.stride / kActivationGroup;
  x.sums16 += first * x.stride / kScaleGroup;
  x.sums32 += first * x.stride / kActivationGroup;
  return x;
}

bool IsPacked(const Product& product) {
  return product.packed != nullptr && !product.packed->empty();
}

// The range begins with a tile.
void RunPacked(const Range& range, size_t tokens, const Activations8& quantized) {
  const Product& product = *range.product;
  for (size_t first = 0; first < tokens; first += kTokenTile) {
    const Activations8 tile = From(quantized, first);
    for (size_t row = range.begin; row < range.end; row += kTileRows) {
      product.packed->Dot(row / kTileRows, tile, std::min(kTokenTile, tokens - first),
                          std::min(kTileRows, range.end - row),
                          product.out + first * product.out_stride + row, product.out_stride);
    }
  }
}

void RunRange(const QuantizedKernels& kernels, const Range& range, const MatrixView& x,
              const Activations8& quantized) {
  if (IsPacked(*range.product)) return RunPacked(range, x.rows, quantized);
  const TensorView& weights = *range.product->weights;
  const size_t cols = x.cols;
  const DTypeInfo& info = GetDTypeInfo(weights.type);
  const size_t row_bytes = cols / info.block_size * info.block_bytes;
  const size_t type = static_cast<size_t>(weights.type);
  const size_t out_stride = range.product->out_stride;
  for (size_t first = 0; first < x.rows; first += kTokenTile) {
    const size_t tokens = std::min(kTokenTile, x.rows - first);
    const bool blocks = kernels.block_dot[type] != nullptr;
    const Activations8 tile = blocks ? From(quantized, first) : quantized;
    for (size_t row = range.begin; row < range.end; ++row) {
      const std::byte* bytes = weights.bytes.data() + row * row_bytes;
      float* out = range.product->out + first * out_stride + row;
      if (blocks) {
        kernels.block_dot[type](bytes, cols, tile, tokens, out, out_stride);
      } else {
        kernels.float_dot[type](bytes, cols, x.data + first * x.stride, x.stride, tokens, out,
                                out_stride);
      }
    }
  }
}

}  // namespace

const QuantizedKernels* GetQuantizedKernels(Isa isa) {
  if (GetKernels(isa) == nullptr) return nullptr;  // it knows what the processor can run
  switch (isa) {
    case Isa::kScalar:
      return &ScalarQuantizedKernels();
    case Isa::kAvx2:
      return &Avx2QuantizedKernels();
    case Isa::kAvx512:
    case Isa::kAmx:
      return &Avx512QuantizedKernels();
  }
  return nullptr;
}

bool HasProduct(DType type) {
  return IsBlockType(type) || type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

void QuantizeRow(const float* x, size_t cols, size_t padded, int8_t* values, float* scales,
                 float* sums16, float* sums32) {
  for (size_t group = 0; group * kActivationGroup < padded; ++group) {
    const size_t begin = group * kActivationGroup;
    const size_t count = begin < cols ? std::min(kActivationGroup, cols - begin) : 0;
    float largest = 0;
    float poison = 0;  // NaN as soon as one element is infinite or NaN
    for (size_t i = 0; i < count; ++i) {
      largest = std::max(largest, std::fabs(x[begin + i]));
      poison += x[begin + i] * 0.0f;
    }
    // Below the smallest normal number 127 / largest could overflow.
    const bool usable = largest >= std::numeric_limits<float>::min() && !std::isnan(poison);
    const float inverse = usable ? 127.0f / largest : 0.0f;
    const float scale = usable ? largest / 127.0f : poison;
    int sums[2] = {0, 0};
    for (size_t i = 0; i < kActivationGroup; ++i) {
      const float scaled = usable && i < count ? x[begin + i] * inverse : 0.0f;
      const int value = std::bit_cast<int>(scaled + kRounder) - std::bit_cast<int>(kRounder);
      values[begin + i] = static_cast<int8_t>(value);
      sums[i / kScaleGroup] += value;
    }
    scales[group] = scale;
    sums16[2 * group] = scale * static_cast<float>(sums[0]);
    sums16[2 * group + 1] = scale * static_cast<float>(sums[1]);
    sums32[group] = scale * static_cast<float>(sums[0] + sums[1]);
  }
}

void ProductInput::Set(MatrixView x) {
  x_ = x;
  quantized_ = false;
}

const Activations8& ProductInput::Quantized(const Runtime& runtime) {
  if (quantized_) return view_;
  const size_t padded = (x_.cols + kMaxBlockElements - 1) / kMaxBlockElements * kMaxBlockElements;
  const size_t elements = padded * x_.rows;
  if (values_.size() < elements) {
    values_.resize(elements);
    scales_.resize(elements / kActivationGroup);
    sums16_.resize(elements / kScaleGroup);
    sums32_.resize(elements / kActivationGroup);
  }
  runtime.pool().ParallelFor(x_.rows, 1, [&](size_t begin, size_t end, int) {
    for (size_t row = begin; row < end; ++row) {
      const size_t at = row * padded;
      QuantizeRow(x_.data + row * x_.stride, x_.cols, padded, values_.data() + at,
                  scales_.data() + at / kActivationGroup, sums16_.data() + at / kScaleGroup,
                  sums32_.data() + at / kActivationGroup);
    }
  });
  view_ = {values_.data(), scales_.data(), sums16_.data(), sums32_.data(), padded};
  quantized_ = true;
  return view_;
}

void MatMul(const Runtime& runtime, ProductInput& input, std::span<const Product> products) {
  const QuantizedKernels& kernels = *GetQuantizedKernels(runtime.isa());
  // In tiles of rows, of which a product's last may be shorter.
  const auto tiles_of = [](const Product& product) {
    return (product.weights->shape[0] + kTileRows - 1) / kTileRows;
  };
  size_t tiles = 0;
  Activations8 quantized;
  for (const Product& product : products) {
    tiles += tiles_of(product);
    if (IsBlockType(product.weights->type)) quantized = input.Quantized(runtime);
  }
  const size_t pieces = static_cast<size_t>(runtime.pool().size()) * kPiecesPerThread;
  const size_t grain = std::clamp<size_t>(tiles / pieces, 1, kMaxGrain);
  runtime.pool().ParallelFor(tiles, grain, [&](size_t begin, size_t end, int) {
    size_t first = 0;  // of the product, in tiles of all products
    for (const Product& product : products) {
      const size_t last = first + tiles_of(product);
      if (begin < last && end > first) {
        const size_t from = (std::max(begin, first) - first) * kTileRows;
        const size_t to = (std::min(end, last) - first) * kTileRows;
        RunRange(kernels, {&product, from, std::min(to, product.weights->shape[0])}, input.x(),
                 quantized);
      }
      first = last;
    }
  });
}

}  // namespace rag
