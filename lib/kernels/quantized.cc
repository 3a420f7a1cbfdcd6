#include "lib/kernels/quantized.h"

#include <algorithm>
#include <cstring>

#include "lib/kernels/kernels.h"
#include "lib/kernels/packed.h"
#include "lib/kernels/quantized_blocks.h"
#include "lib/kernels/quantized_tables.h"

namespace rag {
namespace {

// Tokens whose activations stay in the first-level cache while a block of weight rows passes:
// 16 rows of 2,048 bytes.
constexpr size_t kTokenTile = 16;
// Tiles of weight rows a worker takes at once, at most: several tiles of tokens read them from the
// second-level cache.
constexpr size_t kMaxGrain = 2;
// And of few tokens, whose products read several tiles side by side (PackedMatrix::Dot).
constexpr size_t kMaxGrainOfFew = 8;
constexpr size_t kFewTokens = 4;

struct Range {
  const Product* product;
  size_t begin;
  size_t end;
};

Activations8 From(Activations8 x, size_t first) {
  const size_t groups = first * x.stride / kActivationGroup;
  x.values += first * x.stride;
  x.scales += groups;
  x.sums16 += 2 * groups;
  x.sums32 += groups;
  x.minus16 += 2 * groups;
  x.minus32 += groups;
  x.whole32 += groups;
  return x;
}

// Rows [first, first + count) of x as a panel.
void FillPanel(const Activations8& x, size_t first, size_t count, size_t cols, PanelBlock* panel) {
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = (first + i) * x.stride / kActivationGroup;
    for (size_t block = 0; block < cols / kActivationGroup; ++block) {
      const size_t group = begin + block;
      std::memcpy(panel[block].values[i], x.values + group * kActivationGroup, kActivationGroup);
      panel[block].scales[i] = x.scales[group];
      panel[block].sums32[i] = x.sums32[group];
    }
  }
}
void FillPanel(const Activations8& x, size_t first, size_t count, size_t cols, PanelGroup* panel) {
  for (size_t i = 0; i < count; ++i) {
    const size_t row = (first + i) * x.stride;
    for (size_t group = 0; group < cols / kMaxBlockElements; ++group) {
      const size_t begin = row + group * kMaxBlockElements;
      const size_t blocks = begin / kActivationGroup;
      for (size_t j = 0; j < 4; ++j) {
        std::memcpy(panel[group].values[j][i], x.values + begin + 64 * j, 64);
        std::memcpy(panel[group].whole32[j][i], x.whole32 + blocks + 2 * j, 2 * sizeof(int16_t));
      }
      panel[group].scales[i] = x.scales[blocks];
    }
  }
}

bool IsPacked(const Product& product) {
  return product.packed != nullptr && !product.packed->empty();
}

ScaleOf ScaleFor(const Product& product) {
  return IsPacked(product) ? product.packed->scale_of() : ScaleOf::k32;
}

// The range begins with a tile.
void RunPacked(const Range& range, size_t tokens, const ProductInput::Quantized8& x) {
  const Product& product = *range.product;
  const PackedMatrix& packed = *product.packed;
  const size_t in_panels = packed.takes_panels() ? PanelTokens(tokens) : 0;
  const auto rows_from = [&](size_t row) { return std::min(kTileRows, range.end - row); };
  for (size_t row = range.begin; row < range.end && in_panels > 0; row += kTileRows) {
    packed.DotPanels(row / kTileRows, x, in_panels, rows_from(row), product.out + row,
                     product.out_stride);
  }
  const size_t most = packed.token_tile();
  for (size_t first = in_panels; first < tokens; first += most) {
    packed.Dot(range.begin / kTileRows, From(x.rows, first), std::min(most, tokens - first),
               range.end - range.begin, product.out + first * product.out_stride + range.begin,
               product.out_stride);
  }
}

void RunRange(const QuantizedKernels& kernels, const Range& range, const MatrixView& x,
              const ProductInput::Quantized8& quantized) {
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
    const Activations8 tile = blocks ? From(quantized.rows, first) : quantized.rows;
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

// The most, or one above half of it that leaves the threads' shares more nearly equal.
size_t ChooseGrain(size_t tiles, size_t tokens, const Runtime& runtime) {
  const size_t threads = static_cast<size_t>(runtime.pool().size());
  const size_t share = (tiles + threads - 1) / threads;
  const size_t most = std::min(share, tokens <= kFewTokens ? kMaxGrainOfFew : kMaxGrain);
  const auto over = [&](size_t grain) { return (share + grain - 1) / grain * grain - share; };
  size_t best = most;
  for (size_t grain = most; 2 * grain > most; --grain) {
    if (over(grain) < over(best)) best = grain;
  }
  return best;
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

void ActivationRows::Resize(size_t rows, size_t cols) {
  stride_ = (cols + kMaxBlockElements - 1) / kMaxBlockElements * kMaxBlockElements;
  const size_t elements = rows * stride_;
  if (values_.size() >= elements) return;
  values_.resize(elements);
  scales_.resize(elements / kActivationGroup);
  sums16_.resize(elements / kScaleGroup);
  sums32_.resize(elements / kActivationGroup);
  minus16_.resize(elements / kScaleGroup);
  minus32_.resize(elements / kActivationGroup);
  whole32_.resize(elements / kActivationGroup);
}

ActivationRow ActivationRows::row(size_t i) {
  const size_t group = i * stride_ / kActivationGroup;
  return {values_.data() + i * stride_, scales_.data() + group,      sums16_.data() + 2 * group,
          sums32_.data() + group,       minus16_.data() + 2 * group, minus32_.data() + group,
          whole32_.data() + group};
}

Activations8 ActivationRows::view() const {
  return {values_.data(),  scales_.data(),  sums16_.data(),  sums32_.data(),
          minus16_.data(), minus32_.data(), whole32_.data(), stride_};
}

void ProductInput::Set(MatrixView x) {
  x_ = x;
  for (Form& form : forms_) form.made = false;
}

const ProductInput::Quantized8& ProductInput::Quantized(const Runtime& runtime, ScaleOf scale_of) {
  Form& form = forms_[static_cast<size_t>(scale_of)];
  if (form.made) return form.view;
  form.rows.Resize(x_.rows, x_.cols);
  const bool by_blocks = scale_of == ScaleOf::k32;
  const size_t unit = by_blocks ? kActivationGroup : kMaxBlockElements;
  const bool panels = GetPanelDot(runtime.isa()) != nullptr && x_.cols % unit == 0;
  const size_t in_panels = panels ? PanelTokens(x_.rows) : 0;
  const size_t units = x_.cols / unit;  // of a panel
  const size_t needed = (in_panels + kPanelTokens - 1) / kPanelTokens * units;
  if (by_blocks && form.blocks.size() < needed) form.blocks.resize(needed);
  if (!by_blocks && form.groups.size() < needed) form.groups.resize(needed);
  form.view = {form.rows.view(), form.blocks.data(), form.groups.data()};
  const QuantizedKernels& kernels = *GetQuantizedKernels(runtime.isa());
  // Panels whole, since the rows of one share lines of the cache.
  const size_t grain = in_panels > 0 ? kPanelTokens : 1;
  runtime.pool().ParallelFor(x_.rows, grain, [&](size_t begin, size_t end, int) {
    for (size_t row = begin; row < end; ++row) {
      kernels.quantize_row(x_.data + row * x_.stride, x_.cols, form.rows.stride(), scale_of,
                           form.rows.row(row));
    }
    if (begin >= in_panels) return;
    const size_t panel = begin / kPanelTokens * units;
    if (by_blocks) {
      FillPanel(form.view.rows, begin, end - begin, x_.cols, form.blocks.data() + panel);
    } else {
      FillPanel(form.view.rows, begin, end - begin, x_.cols, form.groups.data() + panel);
    }
  });
  form.made = true;
  return form.view;
}

void MatMul(const Runtime& runtime, ProductInput& input, std::span<const Product> products) {
  const QuantizedKernels& kernels = *GetQuantizedKernels(runtime.isa());
  // In tiles of rows, of which a product's last may be shorter.
  const auto tiles_of = [](const Product& product) {
    return (product.weights->shape[0] + kTileRows - 1) / kTileRows;
  };
  size_t tiles = 0;
  ProductInput::Quantized8 quantized[2];  // by ScaleOf
  for (const Product& product : products) {
    tiles += tiles_of(product);
    if (!IsBlockType(product.weights->type)) continue;
    const ScaleOf scale_of = ScaleFor(product);
    quantized[static_cast<size_t>(scale_of)] = input.Quantized(runtime, scale_of);
  }
  const size_t grain = ChooseGrain(tiles, input.x().rows, runtime);
  runtime.pool().ParallelFor(tiles, grain, [&](size_t begin, size_t end, int) {
    size_t first = 0;  // of the product, in tiles of all products
    for (const Product& product : products) {
      const size_t last = first + tiles_of(product);
      if (begin < last && end > first) {
        const size_t from = (std::max(begin, first) - first) * kTileRows;
        const size_t to = (std::min(end, last) - first) * kTileRows;
        RunRange(kernels, {&product, from, std::min(to, product.weights->shape[0])}, input.x(),
                 quantized[static_cast<size_t>(ScaleFor(product))]);
      }
      first = last;
    }
  });
}

}  // namespace rag
