// IvfCodec: residuals as short codes, and a query as the tables that scans of them use.
//
// Product quantization follows Jégou, Douze and Schmid, "Product quantization for nearest neighbor
// search" (IEEE TPAMI 2011), with the tables of a query in 8 bits as in the fast scans that
// lib/kernels/list_scan.h names. RaBitQ (Gao and Long, see rabitq_codec.h) is a product code here
// whose parts are four dimensions, whose entries are their signs, and whose vectors have a factor
// each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "index/vector/ivf_lists.h"
#include "index/vector/ivf_stream.h"
#include "index/vector/score_aware.h"
#include "index/vector_index.h"
#include "lib/base/status.h"

namespace rag {

// Shorter vectors are compared as fast as their codes, which say too little about them.
inline constexpr size_t kLeastCodedDim = 8;
// The error of a bit for each dimension falls with the root of the dimension.
inline constexpr size_t kLeastBitDim = 64;

class IvfCodec {
 public:
  IvfCodec() = default;
  // residuals [n, dim], n >= 1, of rows, which count where the loss of product codes is not plain.
  // kNone makes a codec without codes.
  static IvfCodec Train(MatrixView residuals, MatrixView rows, const IvfOptions& options,
                        const ScoreAware& loss, const Runtime& runtime);
  // One that has still to be read.
  static IvfCodec Shape(size_t dim, const IvfOptions& options, const ScoreAware& loss,
                        const Runtime& runtime);

  const IvfLayout& layout() const { return layout_; }
  bool has_codes() const { return layout_.units > 0; }
  // Whether the codes are product codes, whose parts a rotation can make alike.
  bool has_parts() const { return parts_ > 0 && !layout_.has_factors; }
  size_t memory_bytes() const;

  // Floats of scratch that the two below use.
  size_t scratch_floats() const { return 2 * parts_ * (entries_ + 1); }
  // The residual of a row. code [layout().code_bytes]; decoded [dim] gets what the code stands for.
  // Returns the vector's factor, which is 1 where the layout has none.
  float Encode(const float* residual, const float* row, std::byte* code, float* decoded,
               float* scratch) const;
  struct Table {
    float scale = 0;
    float offset = 0;
  };
  size_t table_bytes() const;
  // <query, decoded> is about factor * (offset + scale * sum), the sum that a scan with `table`
  // finds.
  // table [table_bytes()], aligned to kListAlign.
  Table MakeTable(const float* query, std::byte* table, float* scratch) const;

  void Write(StreamWriter& out) const;
  // Into one that Shape made. False when the stream ends too early or a number is not finite.
  bool Read(StreamReader& in);

 private:
  size_t Begin(size_t part) const { return begins_[part]; }
  ScoreAware::Codebook book() const {
    return {begins_, entries_, codebooks_.data(), half_norms_.data()};
  }
  // codes [parts]: the entries nearest to the residual's parts, and from them to what the loss
  // wants.
  void Choose(const float* residual, const float* row, uint8_t* codes, float* scratch) const;
  void TrainEntries(MatrixView residuals, uint64_t seed, const Runtime& runtime);
  void ImproveEntries(MatrixView residuals, MatrixView rows, const Runtime& runtime);
  void SetPartNorms();
  void SetSigns();
  float EncodeSigns(const float* residual, std::byte* code, float* decoded) const;

  const ListKernels* kernels_ = nullptr;
  size_t dim_ = 0;
  IvfLayout layout_;
  // Scalar codes: value = low + step * code.
  std::vector<float> low_, step_;
  // Product codes: for part p, [its dimensions][entries] from entries * Begin(p) on.
  size_t parts_ = 0;
  size_t entries_ = 0;
  std::vector<size_t> begins_;  // where each part begins, and dim
  ScoreAware loss_;
  std::vector<float> codebooks_;
  std::vector<float> half_norms_;  // [parts][entries]
};

}  // namespace rag
