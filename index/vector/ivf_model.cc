#include "index/vector/ivf_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "index/vector/ivf_rotation.h"
#include "lib/kernels/kernels.h"

namespace rag {
namespace {

constexpr size_t kMaxLists = 65'536;
// Rows that a rotation is learned from.
constexpr size_t kRotationRows = 8'192;

}  // namespace

IvfModel::IvfModel(const VectorIndexOptions& options, const Runtime& runtime)
    : runtime_(runtime),
      metric_(options.metric),
      loss_(options.metric == Metric::kL2 ? ScoreAware()
                                          : ScoreAware(options.ivf.anisotropic, options.dim)),
      mean_(options.dim),
      codec_(IvfCodec::Shape(options.dim, options.ivf, loss_, runtime)) {
  if (codec_.layout().has_factors) spread_ = FastRotation(options.dim, runtime);
}

std::unique_ptr<IvfModel> IvfModel::Train(MatrixView sample, const VectorIndexOptions& options,
                                          size_t lists, const Runtime& runtime) {
  std::unique_ptr<IvfModel> model(new IvfModel(options, runtime));
  if (options.metric == Metric::kL2) {
    std::vector<double> sums(options.dim);
    for (size_t i = 0; i < sample.rows; ++i) {
      for (size_t d = 0; d < options.dim; ++d) sums[d] += sample.row(i)[d];
    }
    for (size_t d = 0; d < options.dim; ++d) {
      model->mean_[d] = static_cast<float>(sums[d] / static_cast<double>(sample.rows));
    }
  }
  Matrix rows = model->Transform(sample, true);
  model->centroids_ =
      TrainKMeans(rows.view(), {.clusters = lists, .seed = options.ivf.seed}, runtime);
  std::vector<uint32_t> nearest(rows.rows());
  std::vector<float> distances(rows.rows());
  model->centroids_.Nearest(rows.view(), nearest, distances);
  // The rows that the codebooks are learned from, before they are differences.
  Matrix whole;
  if (!model->loss_.plain() && model->codec_.has_parts()) whole = rows;
  double error = 0;
  for (size_t i = 0; i < rows.rows(); ++i) {
    error += distances[i];
    const float* const point = model->centroids_.points().row(nearest[i]).data();
    for (size_t d = 0; d < options.dim; ++d) rows.row(i)[d] -= point[d];
  }
  model->training_error_ = static_cast<float>(error / static_cast<double>(rows.rows()));
  if (options.ivf.rotate && model->codec_.has_parts()) {
    const size_t used = std::min(rows.rows(), kRotationRows);
    model->rotation_ =
        Centroids(LearnRotation({rows.data(), used, rows.cols()}, options.ivf, runtime), runtime);
    rows = model->Rotate(std::move(rows), true);
    whole = model->Rotate(std::move(whole), true);
    Matrix points = model->centroids_.points();
    model->centroids_ = Centroids(model->Rotate(std::move(points), true), runtime);
  }
  // The codebooks and the rotation take the first rows: the sample comes in no order.
  model->codec_ = IvfCodec::Train(rows.view(), whole.view(), options.ivf, model->loss_, runtime);
  return model;
}

size_t IvfModel::memory_bytes() const {
  return mean_.size() * sizeof(float) + spread_.memory_bytes() + rotation_.memory_bytes() +
         centroids_.memory_bytes() + codec_.memory_bytes();
}

Matrix IvfModel::Rotate(Matrix rows, bool parallel) const {
  if (rotation_.count() == 0) return rows;
  Matrix out(rows.rows(), rows.cols());
  const auto rotate = [&](size_t begin, size_t end, int) {
    rotation_.Closeness({rows.row(begin).data(), end - begin, rows.cols()}, true,
                        out.row(begin).data());
  };
  if (parallel) {
    runtime_.pool().ParallelFor(rows.rows(), 64, rotate);
  } else {
    rotate(0, rows.rows(), 0);
  }
  return out;
}

Matrix IvfModel::Transform(MatrixView rows, bool parallel) const {
  Matrix out(rows.rows, rows.cols);
  for (size_t i = 0; i < rows.rows; ++i) {
    const float* const from = rows.row(i).data();
    float* const to = out.row(i).data();
    for (size_t d = 0; d < rows.cols; ++d) to[d] = from[d] - mean_[d];
    spread_.Apply(to);
  }
  return Rotate(std::move(out), parallel);
}

void IvfModel::Place(const Matrix& rows, IvfEntries& entries, double& error) const {
  const size_t n = rows.rows(), dim = rows.cols();
  entries.lists.resize(n);
  std::vector<float> distances(n);
  centroids_.Nearest(rows.view(), entries.lists, distances);
  for (const float distance : distances) error += distance;
  if (!codec_.has_codes()) return;
  const size_t code_bytes = codec_.layout().code_bytes;
  entries.norms.resize(n);
  if (codec_.layout().has_factors) entries.factors.resize(n);
  entries.codes.resize(n * code_bytes);
  const Kernels& kernels = runtime_.kernels();
  const auto encode = [&](size_t begin, size_t end, int) {
    std::vector<float> residual(dim), decoded(dim), scratch(codec_.scratch_floats());
    for (size_t i = begin; i < end; ++i) {
      const float* const row = rows.row(i).data();
      const float* const point = centroids_.points().row(entries.lists[i]).data();
      for (size_t d = 0; d < dim; ++d) residual[d] = row[d] - point[d];
      const float factor =
          codec_.Encode(residual.data(), row, entries.codes.data() + i * code_bytes, decoded.data(),
                        scratch.data());
      if (codec_.layout().has_factors) {
        entries.factors[i] = factor;
        const float product = kernels.dot(point, decoded.data(), dim);
        entries.norms[i] = metric_ == Metric::kL2
                               ? kernels.dot(residual.data(), residual.data(), dim) + 2 * product
                               : product - kernels.dot(point, residual.data(), dim);
        continue;
      }
      entries.norms[i] = metric_ != Metric::kL2 ? 0
                                                : kernels.dot(decoded.data(), decoded.data(), dim) +
                                                      2 * kernels.dot(point, decoded.data(), dim);
    }
  };
  if (n < 8) {
    encode(0, n, 0);
  } else {
    runtime_.pool().ParallelFor(n, 64, encode);
  }
}

void IvfModel::Rank(MatrixView queries, float* out) const {
  centroids_.Closeness(queries, metric_ == Metric::kInnerProduct, out);
}

ListScan IvfModel::Prepare(const float* query, std::byte* table, float* scratch) const {
  const IvfCodec::Table made = codec_.MakeTable(query, table, scratch);
  const float weight = metric_ == Metric::kL2 ? 2 : 1;
  ListScan scan;
  scan.table = table;
  scan.scale = weight * made.scale;
  (codec_.layout().has_factors ? scan.offset : scan.base) =
      (codec_.layout().has_factors ? weight : -weight) * made.offset;
  return scan;
}

void IvfModel::Write(StreamWriter& out) const {
  out.PutOne<uint64_t>(lists());
  out.PutOne(training_error_);
  out.Put(std::span(mean_));
  out.Put(std::span(centroids_.points().data(), lists() * mean_.size()));
  out.PutOne<uint8_t>(rotation_.count() > 0 ? 1 : 0);
  out.Put(std::span(rotation_.points().data(), rotation_.count() * mean_.size()));
  codec_.Write(out);
}

std::unique_ptr<IvfModel> IvfModel::Read(StreamReader& in, const VectorIndexOptions& options,
                                         const Runtime& runtime) {
  std::unique_ptr<IvfModel> model(new IvfModel(options, runtime));
  uint64_t lists = 0;
  if (!in.GetOne(lists) || lists < 1 || lists > kMaxLists) return nullptr;
  if (lists * options.dim > in.rest() / sizeof(float)) return nullptr;
  float error = 0;
  Matrix points(lists, options.dim);
  if (!in.GetFinite(std::span(&error, 1)) || !in.GetFinite(model->mean_) ||
      !in.GetFinite(std::span(points.data(), lists * options.dim))) {
    return nullptr;
  }
  model->training_error_ = error;
  model->centroids_ = Centroids(std::move(points), runtime);
  uint8_t rotated = 0;
  if (!in.GetOne(rotated) || rotated > 1) return nullptr;
  if (rotated == 1) {
    if (options.dim * options.dim > in.rest() / sizeof(float)) return nullptr;
    Matrix rotation(options.dim, options.dim);
    if (!in.GetFinite(std::span(rotation.data(), options.dim * options.dim))) return nullptr;
    model->rotation_ = Centroids(std::move(rotation), runtime);
  }
  if (!model->codec_.Read(in)) return nullptr;
  return model;
}

}  // namespace rag
