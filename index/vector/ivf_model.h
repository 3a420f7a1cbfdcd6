// IvfModel: what a training finds. Vectors and queries are moved by the rows' mean (L2), which
// leaves the tables of a query less to span, and rotated (OPQ); a vector belongs to the list of its
// nearest centroid and is coded as its difference to it.
//
// With x ~ c + r, c the centroid and r what the code stands for,
//   L2: |q - x|^2 - |q|^2 ~ (|c|^2 - 2 <q, c>) + (|r|^2 + 2 <c, r>) - 2 <q, r>
//   inner product: -<q, x> ~ -<q, c> - <q, r>
// the first term is a list's, the second is kept with each vector, and <q, r> comes from tables
// that depend on the query alone, not on the list. RaBitQ's estimate r of the difference d has no
// length of its own worth the name, and errs with the length of what it is multiplied with: there
//   L2: ... + (|d|^2 + 2 <c, r>) - 2 <q, r>
//   inner product: -<q, c> + (<c, r> - <c, d>) - <q, r>,
// so that only <q - c, d> is estimated; and vectors and queries are rotated at random.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "index/vector/fast_rotation.h"
#include "index/vector/ivf_codec.h"
#include "index/vector/ivf_kmeans.h"
#include "index/vector/ivf_lists.h"

namespace rag {

class IvfModel {
 public:
  // sample [n, dim], n >= 1: rows as Slots holds them. There may come out fewer lists than asked.
  static std::unique_ptr<IvfModel> Train(MatrixView sample, const VectorIndexOptions& options,
                                         size_t lists, const Runtime& runtime);

  size_t lists() const { return centroids_.count(); }
  const IvfCodec& codec() const { return codec_; }
  // The mean squared distance of the training's rows to their centroids.
  float training_error() const { return training_error_; }
  size_t memory_bytes() const;

  // Rows [n, dim] as the centroids see them; `parallel`: on the pool's threads.
  Matrix Transform(MatrixView rows, bool parallel) const;
  // Fills lists, norms and codes of `entries` for transformed rows, and the sum of their squared
  // distances to the centroids.
  void Place(const Matrix& rows, IvfEntries& entries, double& error) const;
  // out [queries, lists]: the larger, the sooner a list is scanned.
  void Rank(MatrixView queries, float* out) const;
  // A list's term of the distance, from its rank.
  float Base(size_t list, float rank) const {
    if (metric_ == Metric::kL2) return -2 * rank;
    return metric_ == Metric::kCosine ? -rank - 0.5f * centroids_.squared_norm(list) : -rank;
  }
  // What a scan needs of a query; the list's term is still to be added to `base`.
  ListScan Prepare(const float* query, std::byte* table, float* scratch) const;

  void Write(StreamWriter& out) const;
  // Null when the stream does not fit the options.
  static std::unique_ptr<IvfModel> Read(StreamReader& in, const VectorIndexOptions& options,
                                        const Runtime& runtime);

 private:
  IvfModel(const VectorIndexOptions& options, const Runtime& runtime);
  Matrix Rotate(Matrix rows, bool parallel) const;

  const Runtime& runtime_;
  const Metric metric_;
  const ScoreAware loss_;
  std::vector<float> mean_;  // zeros unless L2
  FastRotation spread_;      // for codes of signs
  Centroids rotation_;       // its rows; none: no rotation
  Centroids centroids_;
  IvfCodec codec_;
  float training_error_ = 0;
};

}  // namespace rag
