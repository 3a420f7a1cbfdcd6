#include "index/vector/ivf_codec.h"

#include <algorithm>
#include <cmath>

#include "index/vector/ivf_kmeans.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

// Training rows for each entry of a codebook; FAISS uses as many at most.
constexpr size_t kRowsPerEntry = 256;
constexpr size_t kIterations = 20;
// Of choosing codes by the loss and entries by the codes, after k-means.
constexpr size_t kLossRounds = 6;
constexpr size_t kByteEntries = 256;
constexpr size_t kNibbleEntries = 16;
constexpr size_t kSignsPerPart = 4;

}  // namespace

IvfCodec IvfCodec::Shape(size_t dim, const IvfOptions& options, const ScoreAware& loss,
                         const Runtime& runtime) {
  IvfCodec codec;
  codec.loss_ = loss;
  codec.kernels_ = GetListKernels(runtime.isa());
  codec.dim_ = dim;
  IvfLayout& layout = codec.layout_;
  layout.kernels = codec.kernels_;
  const size_t least = options.codes == IvfCodes::kRabitq ? kLeastBitDim : kLeastCodedDim;
  switch (dim < least ? IvfCodes::kNone : options.codes) {
    case IvfCodes::kNone:
      break;
    case IvfCodes::kSq8:
      layout.form = ListForm::kRows;
      layout.code_bytes = dim;
      layout.units = (dim + kListAlign - 1) / kListAlign * kListAlign;
      codec.low_.resize(dim);
      codec.step_.resize(dim);
      break;
    case IvfCodes::kPq8:
      codec.parts_ = std::min(options.pq_bytes, dim);
      codec.entries_ = kByteEntries;
      layout.form = ListForm::kBytes;
      layout.code_bytes = codec.parts_;
      layout.units = codec.parts_;
      break;
    case IvfCodes::kPq4:
      codec.parts_ = std::min(2 * options.pq_bytes, dim);
      codec.entries_ = kNibbleEntries;
      layout.form = ListForm::kNibbles;
      layout.code_bytes = (codec.parts_ + 1) / 2;
      layout.units = (codec.parts_ + kPartsPerGroup - 1) / kPartsPerGroup;
      break;
    case IvfCodes::kRabitq:
      codec.parts_ = (dim + kSignsPerPart - 1) / kSignsPerPart;
      codec.entries_ = kNibbleEntries;
      layout.form = ListForm::kNibbles;
      layout.code_bytes = (codec.parts_ + 1) / 2;
      layout.units = (codec.parts_ + kPartsPerGroup - 1) / kPartsPerGroup;
      layout.has_factors = true;
      break;
  }
  for (size_t part = 0; codec.parts_ > 0 && part <= codec.parts_; ++part) {
    codec.begins_.push_back(part * dim / codec.parts_);
  }
  codec.codebooks_.resize(codec.parts_ > 0 ? dim * codec.entries_ : 0);
  codec.half_norms_.resize(codec.parts_ * codec.entries_);
  if (layout.has_factors) codec.SetSigns();
  return codec;
}

void IvfCodec::SetSigns() {
  for (size_t part = 0; part < parts_; ++part) {
    for (size_t d = Begin(part); d < Begin(part + 1); ++d) {
      for (size_t j = 0; j < entries_; ++j) {
        codebooks_[d * entries_ + j] = (j >> (d - Begin(part)) & 1) != 0 ? 1.0f : -1.0f;
      }
    }
  }
}

void IvfCodec::SetPartNorms() {
  for (size_t part = 0; part < parts_; ++part) {
    float* const norms = half_norms_.data() + part * entries_;
    std::fill_n(norms, entries_, 0.0f);
    for (size_t d = Begin(part); d < Begin(part + 1); ++d) {
      const float* const row = codebooks_.data() + d * entries_;
      for (size_t j = 0; j < entries_; ++j) norms[j] += 0.5f * row[j] * row[j];
    }
  }
}

void IvfCodec::TrainEntries(MatrixView residuals, uint64_t seed, const Runtime& runtime) {
  runtime.pool().ParallelFor(parts_, 1, [&](size_t first, size_t last, int) {
    for (size_t part = first; part < last; ++part) {
      const size_t begin = Begin(part), dims = Begin(part + 1) - begin;
      const MatrixView columns(residuals.data + begin, residuals.rows, dims, residuals.stride);
      const Centroids entries = TrainKMeans(
          columns, {.clusters = entries_, .iterations = kIterations, .seed = seed + part}, runtime);
      for (size_t j = 0; j < entries_; ++j) {
        // Where there were not as many rows the last one stands several times.
        const std::span<const float> point = entries.points().row(std::min(j, entries.count() - 1));
        for (size_t d = 0; d < dims; ++d) codebooks_[(begin + d) * entries_ + j] = point[d];
      }
    }
  });
  SetPartNorms();
}

void IvfCodec::ImproveEntries(MatrixView residuals, MatrixView rows, const Runtime& runtime) {
  std::vector<uint8_t> codes(residuals.rows * parts_);
  for (size_t round = 0; round < kLossRounds; ++round) {
    runtime.pool().ParallelFor(residuals.rows, 64, [&](size_t begin, size_t end, int) {
      std::vector<float> scratch(scratch_floats());
      for (size_t i = begin; i < end; ++i) {
        Choose(residuals.row(i).data(), rows.row(i).data(), codes.data() + i * parts_,
               scratch.data());
      }
    });
    loss_.Update(book(), codebooks_, residuals, rows, codes);
    SetPartNorms();
  }
}

IvfCodec IvfCodec::Train(MatrixView residuals, MatrixView rows, const IvfOptions& options,
                         const ScoreAware& loss, const Runtime& runtime) {
  IvfCodec codec = Shape(residuals.cols, options, loss, runtime);
  for (size_t d = 0; d < codec.low_.size(); ++d) {
    float low = residuals.row(0)[d], high = low;
    for (size_t i = 1; i < residuals.rows; ++i) {
      low = std::min(low, residuals.row(i)[d]);
      high = std::max(high, residuals.row(i)[d]);
    }
    codec.low_[d] = low;
    codec.step_[d] = (high - low) / 255;
  }
  if (codec.parts_ == 0 || codec.layout_.has_factors) return codec;
  const size_t used = std::min(residuals.rows, kRowsPerEntry * codec.entries_);
  residuals.rows = rows.rows = used;
  codec.TrainEntries(residuals, options.seed, runtime);
  if (!codec.loss_.plain()) codec.ImproveEntries(residuals, rows, runtime);
  return codec;
}

size_t IvfCodec::memory_bytes() const {
  return (low_.size() + step_.size() + codebooks_.size() + half_norms_.size()) * sizeof(float);
}

float IvfCodec::Encode(const float* residual, const float* row, std::byte* code, float* decoded,
                       float* scratch) const {
  for (size_t d = 0; d < low_.size(); ++d) {
    const float place = step_[d] > 0 ? (residual[d] - low_[d]) / step_[d] : 0;
    const float rounded = std::clamp(std::nearbyint(place), 0.0f, 255.0f);
    code[d] = static_cast<std::byte>(rounded);
    decoded[d] = low_[d] + step_[d] * rounded;
  }
  if (parts_ > 0) std::fill_n(code, layout_.code_bytes, std::byte{0});
  if (layout_.has_factors) return EncodeSigns(residual, code, decoded);
  if (parts_ == 0) return 1;
  thread_local std::vector<uint8_t> codes;
  codes.resize(parts_);
  Choose(residual, row, codes.data(), scratch);
  for (size_t part = 0; part < parts_; ++part) {
    const size_t entry = codes[part];
    if (entries_ == kByteEntries) {
      code[part] = static_cast<std::byte>(entry);
    } else {
      code[part / 2] |= static_cast<std::byte>(entry << (part % 2 * 4));
    }
    for (size_t d = Begin(part); d < Begin(part + 1); ++d) {
      decoded[d] = codebooks_[d * entries_ + entry];
    }
  }
  return 1;
}

void IvfCodec::Choose(const float* residual, const float* row, uint8_t* codes,
                      float* scratch) const {
  for (size_t part = 0; part < parts_; ++part) {
    const size_t begin = Begin(part);
    kernels_->products(residual + begin, codebooks_.data() + begin * entries_,
                       Begin(part + 1) - begin, entries_, scratch);
    const float* const norms = half_norms_.data() + part * entries_;
    size_t best = 0;
    for (size_t j = 1; j < entries_; ++j) {
      if (scratch[j] - norms[j] > scratch[best] - norms[best]) best = j;
    }
    codes[part] = static_cast<uint8_t>(best);
  }
  if (!loss_.plain()) loss_.Improve(book(), *kernels_, residual, row, codes, scratch);
}

float IvfCodec::EncodeSigns(const float* residual, std::byte* code, float* decoded) const {
  float squared = 0, ones = 0;
  for (size_t d = 0; d < dim_; ++d) {
    squared += residual[d] * residual[d];
    ones += std::abs(residual[d]);
  }
  const float factor = ones > 0 ? squared / ones : 0;
  for (size_t part = 0; part < parts_; ++part) {
    const size_t begin = Begin(part);
    for (size_t d = begin; d < Begin(part + 1); ++d) {
      const bool positive = residual[d] >= 0;
      if (positive) code[part / 2] |= static_cast<std::byte>(1 << (d - begin + part % 2 * 4));
      decoded[d] = positive ? factor : -factor;
    }
  }
  return factor;
}

size_t IvfCodec::table_bytes() const {
  switch (layout_.form) {
    case ListForm::kRows:
      return layout_.units;
    case ListForm::kBytes:
      return layout_.units * kByteEntries;
    case ListForm::kNibbles:
      return layout_.units * kPartsPerGroup * kNibbleEntries;
  }
  return 0;
}

IvfCodec::Table IvfCodec::MakeTable(const float* query, std::byte* table, float* scratch) const {
  Table out;
  if (!low_.empty()) {
    float largest = 0;
    for (size_t d = 0; d < dim_; ++d) {
      out.offset += query[d] * low_[d];
      largest = std::max(largest, std::abs(query[d] * step_[d]));
    }
    out.scale = largest / 127;
    const float inverse = largest > 0 ? 127 / largest : 0;
    for (size_t d = 0; d < dim_; ++d) {
      const float value = std::nearbyint(query[d] * step_[d] * inverse);
      table[d] = static_cast<std::byte>(static_cast<int8_t>(value));
    }
    std::fill(table + dim_, table + layout_.units, std::byte{0});
    return out;
  }
  for (size_t part = 0; part < parts_; ++part) {
    const size_t begin = Begin(part);
    kernels_->products(query + begin, codebooks_.data() + begin * entries_, Begin(part + 1) - begin,
                       entries_, scratch + part * entries_);
  }
  // One step for all parts, so that their entries can be added.
  float* const lows = scratch + parts_ * entries_;
  const float widest = kernels_->spans(scratch, parts_, entries_, lows);
  for (size_t part = 0; part < parts_; ++part) out.offset += lows[part];
  out.scale = widest / 255;
  kernels_->narrow(scratch, lows, widest > 0 ? 255 / widest : 0, parts_, entries_, table);
  std::fill(table + parts_ * entries_, table + table_bytes(), std::byte{0});
  return out;
}

void IvfCodec::Write(StreamWriter& out) const {
  out.Put(std::span(low_));
  out.Put(std::span(step_));
  if (!layout_.has_factors) out.Put(std::span(codebooks_));
}

bool IvfCodec::Read(StreamReader& in) {
  if (!in.GetFinite(low_) || !in.GetFinite(step_)) return false;
  if (layout_.has_factors) return true;
  if (!in.GetFinite(codebooks_)) return false;
  SetPartNorms();
  return true;
}

}  // namespace rag
