// Logistic regression: a linear layer with a softmax, trained on vectors that stay as they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

struct LogisticRegressionOptions {
  double c = 1.0;  // how little large weights cost: the inverse of the L2 penalty, > 0
  size_t max_iterations = 1'000;
  double tolerance = 1e-8;  // ends when no element of the gradient is larger
};

struct LogisticRegression {
  Matrix weights;           // [classes, dim] f32
  std::vector<float> bias;  // [classes]

  // x [dim] -> probabilities of the classes, which sum to 1.
  std::vector<double> Predict(std::span<const float> x) const;
};

struct LogisticRegressionReport {
  LogisticRegression model;
  size_t iterations = 0;
  bool converged = false;  // within max_iterations
  double loss = 0;         // the mean cross-entropy and the penalty, as minimized
};

// Minimizes sum_i cross-entropy(softmax(W x_i + b), y_i) + |W|^2 / (2 c) over W [classes, dim] and
// b, which is not penalized, as scikit-learn's LogisticRegression does for three classes or more
// (with two it has one row of weights, here there are two). L-BFGS (Liu & Nocedal 1989) in double
// precision, with a backtracking line search (Armijo's condition). features [n, dim], labels [n]
// below `classes`. The result does not depend on the number of threads. Errors: invalid_argument
// naming a size, a label or an option that cannot be, or a feature that is not finite; cancelled.
Result<LogisticRegressionReport> TrainLogisticRegression(MatrixView features,
                                                         std::span<const uint32_t> labels,
                                                         size_t classes,
                                                         const LogisticRegressionOptions& options,
                                                         const Runtime& runtime,
                                                         const CancelToken* cancel = nullptr);

}  // namespace rag
