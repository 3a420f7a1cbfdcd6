#include "index/vector/rabitq_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace rag {
namespace {

// As in Sq8Codec.
constexpr float kLeftOutWeight = 0.5f;
// Codes that are compared at a time.
constexpr size_t kPiece = 64;
// The largest number that a query's element is rounded to beside codes of 4 bits, and of 1 bit.
constexpr int kByteSteps = 127;
constexpr int kPlaneSteps = (1 << (kQueryPlanes - 1)) - 1;

struct CodeHeader {
  float bias;
  float factor;
};
static_assert(sizeof(CodeHeader) == kShortHeader);

CodeHeader HeaderOf(const std::byte* code) {
  CodeHeader header;
  std::memcpy(&header, code, sizeof(header));
  return header;
}

// Where element i of a code of 4 bits stands, as lib/kernels/short_codes.h counts: the first line
// has its header below both halves.
constexpr size_t kFirstHalf = kShortAlign - kShortHeader;

size_t NibblePlace(size_t i) {
  if (i < kFirstHalf) return kShortHeader + i;
  if (i < 2 * kFirstHalf) return kShortAlign + kShortHeader + (i - kFirstHalf);
  return i + 2 * kShortHeader;
}

size_t CodeBytes(size_t dims, size_t bits) {
  const size_t places = bits == 1 ? kShortHeader * 8 + dims : 2 * kShortHeader + dims;
  const size_t line = kShortAlign * 8 / bits;
  return (places + line - 1) / line * kShortAlign;
}

// So many components fill the lines of a code of 4 bits.
size_t Filled(size_t dims) { return CodeBytes(dims, 4) * 2 - 2 * kShortHeader; }

}  // namespace

float RabitqRound(const float* y, size_t n, size_t bits, uint8_t* codes) {
  float squared = 0, largest = 0;
  for (size_t i = 0; i < n; ++i) {
    squared += y[i] * y[i];
    largest = std::max(largest, std::fabs(y[i]));
  }
  float dot = 0;
  if (bits == 1) {
    for (size_t i = 0; i < n; ++i) {
      codes[i] = y[i] >= 0 ? 1 : 0;
      dot += std::fabs(y[i]);
    }
    return dot > 0 ? squared / dot : 0;
  }
  // Shares of the largest element at which the outermost number stands. Where the elements are as
  // a rotation leaves them the best lies near 0.8; fewer dimensions and odd vectors spread it.
  constexpr float kShares[] = {1.0f, 0.93f, 0.86f, 0.79f, 0.72f, 0.65f, 0.57f, 0.48f};
  const auto round = [&](float share, auto&& each) {
    const float scale = largest > 0 ? 7.5f / (largest * share) : 0;
    for (size_t i = 0; i < n; ++i) {
      const float place = std::min(std::max(y[i] * scale + 8.0f, 0.0f), 15.0f);
      each(i, static_cast<int32_t>(place));
    }
  };
  float best = -1, best_share = 1;
  for (const float share : kShares) {
    float product = 0, length = 0;
    round(share, [&](size_t i, int32_t u) {
      const float odd = static_cast<float>(2 * u - 15);
      product += y[i] * odd;
      length += odd * odd;
    });
    const float cosine = product * product / length;
    if (cosine > best) {
      best = cosine;
      best_share = share;
      dot = product;
    }
  }
  round(best_share, [&](size_t i, int32_t u) { codes[i] = static_cast<uint8_t>(u); });
  return dot > 0 ? squared / dot : 0;
}

RabitqCodec::RabitqCodec(CodeKind kind, Metric metric, Projection projection, float mean_square,
                         const Runtime& runtime)
    : NodeCodec(metric, std::move(projection)),
      kernels_(GetShortCodeKernels(runtime.isa())),
      bits_(kind == CodeKind::kRabitq ? 1 : 4),
      mean_square_(mean_square) {
  code_bytes_ = CodeBytes(code_dims(), bits_);
  for (const float x : projection_.mean()) mean_dot_ += double{x} * x;
}

std::unique_ptr<NodeCodec> RabitqCodec::Train(MatrixView sample, CodeKind kind, size_t dims,
                                              Metric metric, const Runtime& runtime) {
  Projection projection(MeanOf(sample), runtime);
  if (HasAxes(kind)) {
    projection.LearnAxes(sample, dims, Filled);
    projection.Mix();
  } else {
    projection.Rotate();
  }
  const std::vector<float>& mean = projection.mean();
  double sum = 0;
  for (size_t i = 0; i < sample.rows; ++i) {
    for (size_t d = 0; d < mean.size(); ++d) {
      const double x = sample.row(i)[d] - mean[d];
      sum += x * x;
    }
  }
  const auto mean_square = static_cast<float>(sum / static_cast<double>(sample.rows));
  return std::make_unique<RabitqCodec>(kind, metric, std::move(projection), mean_square, runtime);
}

double RabitqCodec::Encode(const float* vector, std::byte* code) const {
  thread_local std::vector<float> scratch, y;
  thread_local std::vector<uint8_t> numbers;
  scratch.resize(dim());
  y.resize(code_dims());
  numbers.resize(code_dims());
  const float squared = projection_.Project(vector, scratch.data(), y.data());
  CodeHeader header;
  header.factor = RabitqRound(y.data(), y.size(), bits_, numbers.data());
  float kept = 0, rounded_off = 0;
  const float outermost = bits_ == 1 ? 1.0f : 15.0f;
  for (size_t i = 0; i < y.size(); ++i) {
    const float value = header.factor * (2.0f * static_cast<float>(numbers[i]) - outermost);
    kept += y[i] * y[i];
    rounded_off += (y[i] - value) * (y[i] - value);
  }
  const float left_out = projection_.has_axes() ? std::max(0.0f, squared - kept) : 0.0f;
  if (l2_) {
    header.bias = squared - (1 - kLeftOutWeight) * left_out;
  } else {
    header.bias = 0;
    for (size_t i = 0; i < dim(); ++i) header.bias -= projection_.mean()[i] * scratch[i];
  }
  std::memset(code, 0, code_bytes_);
  std::memcpy(code, &header, sizeof(header));
  for (size_t i = 0; i < y.size(); ++i) {
    if (bits_ == 1) {
      code[kShortHeader + i / 8] |= static_cast<std::byte>(numbers[i] << i % 8);
    } else {
      const size_t place = NibblePlace(i), within = place % (2 * kShortAlign);
      code[place / (2 * kShortAlign) * kShortAlign + within % kShortAlign] |=
          static_cast<std::byte>(numbers[i] << (within < kShortAlign ? 0 : 4));
    }
  }
  // Where there was nothing to learn from, everything else is new.
  const float scale = mean_square_ > 0 ? mean_square_ : squared;
  return scale > 0 ? static_cast<double>(rounded_off + left_out) / scale : 0.0;
}

void RabitqCodec::SetValues(float step, CodeQuery& out) const {
  const size_t bytes = bits_ == 1 ? code_bytes_ * kQueryPlanes : code_bytes_ * 2;
  if (out.values.cols() * sizeof(float) != bytes) out.values = Matrix(1, bytes / sizeof(float));
  auto* const values = reinterpret_cast<std::byte*>(out.values.data());
  std::memset(values, 0, bytes);
  const size_t n = code_dims();
  int32_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += out.rounded[i];
  if (bits_ == 1) {
    for (size_t first = 0; first < n; first += 64) {
      const size_t word = kShortHeader + first / 8;
      for (size_t plane = 0; plane < kQueryPlanes; ++plane) {
        uint64_t bits = 0;
        for (size_t i = first; i < std::min(n, first + 64); ++i) {
          bits |= static_cast<uint64_t>(out.rounded[i] >> plane & 1) << (i - first);
        }
        std::memcpy(values + word / kShortAlign * kShortAlign * kQueryPlanes + plane * kShortAlign +
                        word % kShortAlign,
                    &bits, sizeof(bits));
      }
    }
  } else {
    const size_t first = std::min(n, kFirstHalf), second = std::min(n, 2 * kFirstHalf);
    std::memcpy(values + NibblePlace(0), out.rounded.data(), first);
    std::memcpy(values + NibblePlace(kFirstHalf), out.rounded.data() + first, second - first);
    std::memcpy(values + NibblePlace(2 * kFirstHalf), out.rounded.data() + second, n - second);
  }
  out.factor = (l2_ ? 2.0f : 1.0f) * step;
  out.offset = static_cast<float>((bits_ == 1 ? 1 : 15) * sum);
}

void RabitqCodec::PrepareQuery(const float* query, CodeQuery& out) const {
  const size_t n = code_dims();
  out.projected.resize(n);
  out.rounded.resize(n);
  const float squared = projection_.ProjectQuery(query, out.projection, out.projected.data());
  if (l2_) {
    out.base = squared;
  } else {
    out.base = 0;
    for (size_t i = 0; i < dim(); ++i) out.base -= projection_.mean()[i] * query[i];
  }
  const int steps = bits_ == 1 ? kPlaneSteps : kByteSteps;
  float largest = 0;
  for (const float x : out.projected) largest = std::max(largest, std::fabs(x));
  const float step = largest > 0 ? largest / static_cast<float>(steps) : 1.0f;
  const float inverse = 1.0f / step;
  for (size_t i = 0; i < n; ++i) {
    const float places = out.projected[i] * inverse;
    out.rounded[i] =
        static_cast<int8_t>(static_cast<int32_t>(places + (places < 0 ? -0.5f : 0.5f)));
  }
  SetValues(step, out);
}

void RabitqCodec::PrepareNode(const std::byte* code, CodeQuery& out) const {
  const CodeHeader header = HeaderOf(code);
  const size_t n = code_dims();
  out.base = l2_ ? header.bias : header.bias - static_cast<float>(mean_dot_);
  if (bits_ == 1) {
    out.rounded.resize(n);
    for (size_t i = 0; i < n; ++i) {
      const int bit = std::to_integer<int>(code[kShortHeader + i / 8]) >> i % 8 & 1;
      out.rounded[i] = static_cast<int8_t>(2 * bit - 1);
    }
    SetValues(header.factor, out);
    return;
  }
  // Line by line as the code lies, since a node is compared with few others.
  const auto odd = [](int u) { return static_cast<int8_t>(2 * u - 15); };
  std::vector<int8_t>& values = out.rounded;
  values.resize(2 * code_bytes_);
  for (size_t line = 0; line < code_bytes_; line += kShortAlign) {
    int8_t* const to = values.data() + 2 * line;
    for (size_t j = 0; j < kShortAlign; ++j) {
      const int both = std::to_integer<int>(code[line + j]);
      to[j] = odd(both & 15);
      to[kShortAlign + j] = odd(both >> 4);
    }
  }
  // The numbers to the front, where SetValues finds them.
  const size_t first = std::min(n, kFirstHalf), second = std::min(n, 2 * kFirstHalf);
  std::memmove(values.data(), values.data() + NibblePlace(0), first);
  std::memmove(values.data() + first, values.data() + NibblePlace(kFirstHalf), second - first);
  std::memmove(values.data() + second, values.data() + NibblePlace(2 * kFirstHalf), n - second);
  SetValues(header.factor, out);
}

void RabitqCodec::Distances(const CodeQuery& query, const std::byte* const* codes, size_t count,
                            float* out) const {
  int32_t dots[kPiece];
  for (size_t first = 0; first < count; first += kPiece) {
    const size_t n = std::min(kPiece, count - first);
    if (bits_ == 1) {
      kernels_->bit_dots(reinterpret_cast<const std::byte*>(query.values.data()), codes + first, n,
                         code_bytes_, dots);
    } else {
      kernels_->nibble_dots(reinterpret_cast<const int8_t*>(query.values.data()), codes + first, n,
                            code_bytes_, dots);
    }
    for (size_t i = 0; i < n; ++i) {
      const CodeHeader header = HeaderOf(codes[first + i]);
      out[first + i] =
          query.base + header.bias -
          query.factor * header.factor * (2 * static_cast<float>(dots[i]) - query.offset);
    }
  }
}

}  // namespace rag
