#include "lib/nn/logistic_regression.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

namespace rag {
namespace {

// Pairs that L-BFGS remembers.
constexpr size_t kMemory = 10;
constexpr size_t kRowGrain = 64;
constexpr double kArmijo = 1e-4;
constexpr int kMaxHalvings = 50;

using Vector = std::vector<double>;

double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// a += factor * b
void AddScaled(double factor, const Vector& b, Vector& a) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += factor * b[i];
}

// logits -> probabilities; returns log(sum(exp(logits))).
double Softmax(std::span<double> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double& logit : logits) sum += logit = std::exp(logit - largest);
  for (double& logit : logits) logit /= sum;
  return largest + std::log(sum);
}

// The loss and its gradient. Parameters: each class's weights and then its bias, one after another.
class Objective {
 public:
  Objective(MatrixView features, std::span<const uint32_t> labels, size_t classes, double c,
            const Runtime& runtime)
      : features_(features),
        labels_(labels),
        classes_(classes),
        penalty_(1 / (c * static_cast<double>(features.rows))),
        runtime_(runtime),
        probabilities_(features.rows * classes),
        losses_(features.rows) {}

  size_t parameters() const { return classes_ * (features_.cols + 1); }

  double Evaluate(const Vector& at, Vector& gradient) {
    const size_t dim = features_.cols;
    const size_t stride = dim + 1;
    const double scale = 1 / static_cast<double>(features_.rows);
    runtime_.pool().ParallelFor(features_.rows, kRowGrain, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) {
        const std::span<double> row(probabilities_.data() + i * classes_, classes_);
        for (size_t k = 0; k < classes_; ++k) row[k] = Logit(at.data() + k * stride, i);
        const double wanted = row[labels_[i]];
        losses_[i] = Softmax(row) - wanted;
        row[labels_[i]] -= 1;
      }
    });
    // By class, so that sums run in the same order whatever the threads.
    runtime_.pool().ParallelFor(classes_, 1, [&](size_t begin, size_t end, int) {
      for (size_t k = begin; k < end; ++k) {
        double* out = gradient.data() + k * stride;
        std::fill_n(out, stride, 0.0);
        for (size_t i = 0; i < features_.rows; ++i) {
          const double weight = probabilities_[i * classes_ + k] * scale;
          const std::span<const float> x = features_.row(i);
          for (size_t d = 0; d < dim; ++d) out[d] += weight * x[d];
          out[dim] += weight;
        }
        for (size_t d = 0; d < dim; ++d) out[d] += penalty_ * at[k * stride + d];
      }
    });
    double loss = 0;
    for (const double one : losses_) loss += one * scale;
    for (size_t k = 0; k < classes_; ++k) {
      for (size_t d = 0; d < dim; ++d) {
        loss += penalty_ / 2 * at[k * stride + d] * at[k * stride + d];
      }
    }
    return loss;
  }

 private:
  double Logit(const double* weights, size_t i) const {
    const std::span<const float> x = features_.row(i);
    double sum = weights[x.size()];
    for (size_t d = 0; d < x.size(); ++d) sum += weights[d] * x[d];
    return sum;
  }

  const MatrixView features_;
  const std::span<const uint32_t> labels_;
  const size_t classes_;
  const double penalty_;
  const Runtime& runtime_;
  Vector probabilities_;  // [n, classes], less the labels
  Vector losses_;         // [n]
};

// Liu & Nocedal 1989, algorithm 2.1 (the two loops): minus an approximate inverse Hessian times the
// gradient.
class History {
 public:
  void Add(Vector step, Vector change) {
    const double product = Dot(step, change);
    // Without curvature the pair says nothing.
    if (product <= 1e-12 * Dot(change, change)) return;
    if (pairs_.size() == kMemory) pairs_.pop_front();
    pairs_.push_back({std::move(step), std::move(change), product});
  }

  Vector Direction(const Vector& gradient) const {
    Vector direction = gradient;
    Vector alphas(pairs_.size());
    for (size_t i = pairs_.size(); i-- > 0;) {
      alphas[i] = Dot(pairs_[i].step, direction) / pairs_[i].product;
      AddScaled(-alphas[i], pairs_[i].change, direction);
    }
    if (pairs_.empty()) {
      const double norm = std::sqrt(Dot(gradient, gradient));
      for (double& value : direction) value /= std::max(norm, 1.0);
    } else {
      const Pair& last = pairs_.back();
      const double scale = last.product / Dot(last.change, last.change);
      for (double& value : direction) value *= scale;
    }
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const double beta = Dot(pairs_[i].change, direction) / pairs_[i].product;
      AddScaled(alphas[i] - beta, pairs_[i].step, direction);
    }
    for (double& value : direction) value = -value;
    return direction;
  }

 private:
  struct Pair {
    Vector step;
    Vector change;  // of the gradient
    double product;
  };
  std::deque<Pair> pairs_;
};

double LargestElement(const Vector& vector) {
  double largest = 0;
  for (const double value : vector) largest = std::max(largest, std::abs(value));
  return largest;
}

Status CheckTraining(MatrixView features, std::span<const uint32_t> labels, size_t classes,
                     const LogisticRegressionOptions& options) {
  if (features.rows == 0 || features.cols == 0) {
    return InvalidArgumentError("features of ", features.rows, " x ", features.cols);
  }
  if (labels.size() != features.rows) {
    return InvalidArgumentError(labels.size(), " labels for ", features.rows, " rows of features");
  }
  if (classes < 2) return InvalidArgumentError(classes, " classes, fewer than 2");
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= classes) {
      return InvalidArgumentError("label ", labels[i], " of row ", i, " is not below ", classes);
    }
    for (const float value : features.row(i)) {
      if (!std::isfinite(value)) {
        return InvalidArgumentError("row ", i, " of the features is not finite");
      }
    }
  }
  if (!(options.c > 0) || !std::isfinite(options.c) || !std::isfinite(1 / options.c)) {
    return InvalidArgumentError("c ", options.c, " is not a number above 0");
  }
  return OkStatus();
}

}  // namespace

std::vector<double> LogisticRegression::Predict(std::span<const float> x) const {
  std::vector<double> probabilities(bias.size());
  for (size_t k = 0; k < bias.size(); ++k) {
    probabilities[k] = bias[k];
    for (size_t d = 0; d < x.size(); ++d) {
      probabilities[k] += static_cast<double>(weights.row(k)[d]) * x[d];
    }
  }
  Softmax(probabilities);
  return probabilities;
}

Result<LogisticRegressionReport> TrainLogisticRegression(
    MatrixView features, std::span<const uint32_t> labels, size_t classes,
    const LogisticRegressionOptions& options, const Runtime& runtime, const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(CheckTraining(features, labels, classes, options));
  Objective objective(features, labels, classes, options.c, runtime);
  Vector at(objective.parameters());
  Vector gradient(at.size());
  Vector next(at.size());
  Vector next_gradient(at.size());
  History history;
  LogisticRegressionReport report;
  report.loss = objective.Evaluate(at, gradient);
  while (true) {
    report.converged = LargestElement(gradient) <= options.tolerance;
    if (report.converged || report.iterations == options.max_iterations) break;
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("training was cancelled");
    const Vector direction = history.Direction(gradient);
    const double slope = Dot(direction, gradient);
    double length = 1;
    double loss = 0;
    int halvings = 0;
    for (;; ++halvings, length /= 2) {
      next = at;
      AddScaled(length, direction, next);
      loss = objective.Evaluate(next, next_gradient);
      if (loss <= report.loss + kArmijo * length * slope || halvings == kMaxHalvings) break;
    }
    // As near as double precision comes.
    if (halvings == kMaxHalvings) break;
    Vector step = next;
    AddScaled(-1, at, step);
    Vector change = next_gradient;
    AddScaled(-1, gradient, change);
    history.Add(std::move(step), std::move(change));
    std::swap(at, next);
    std::swap(gradient, next_gradient);
    report.loss = loss;
    ++report.iterations;
  }
  report.model.weights = Matrix(classes, features.cols);
  report.model.bias.resize(classes);
  for (size_t k = 0; k < classes; ++k) {
    const double* row = at.data() + k * (features.cols + 1);
    std::transform(row, row + features.cols, report.model.weights.row(k).begin(),
                   [](double value) { return static_cast<float>(value); });
    report.model.bias[k] = static_cast<float>(row[features.cols]);
  }
  return report;
}

}  // namespace rag
