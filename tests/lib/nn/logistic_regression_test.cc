// Logistic regression against scikit-learn's
// (tests/golden/logistic_regression/make_logistic_regression.py).
#include "lib/nn/logistic_regression.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <string>

#include "lib/base/value.h"
#include "tests/support/support.h"

namespace rag::test {
namespace {

struct Case {
  Matrix features;
  Matrix probes;
  std::vector<uint32_t> labels;
  size_t classes = 0;
  double c = 1;
  Value expected;
};

Matrix ReadRows(const Value& rows) {
  Matrix matrix(rows.as_array().size(), rows.as_array().front().as_array().size());
  for (size_t i = 0; i < matrix.rows(); ++i) {
    for (size_t j = 0; j < matrix.cols(); ++j) {
      matrix.row(i)[j] = static_cast<float>(rows.as_array()[i].as_array()[j].as_double());
    }
  }
  return matrix;
}

std::vector<Case> Cases() {
  const Result<Value> json = ParseJson(ReadAll(Golden("logistic_regression/cases.json")));
  REQUIRE_OK(json);
  std::vector<Case> cases;
  for (const Value& row : json->as_array()) {
    Case& made = cases.emplace_back();
    made.features = ReadRows(*row.Find("features"));
    made.probes = ReadRows(*row.Find("probes"));
    for (const Value& label : row.Find("labels")->as_array()) {
      made.labels.push_back(static_cast<uint32_t>(label.as_int()));
    }
    made.classes = static_cast<size_t>(row.Find("classes")->as_int());
    made.c = row.Find("c")->as_double();
    made.expected = row;
  }
  return cases;
}

TEST_CASE("Weights and probabilities are scikit-learn's") {
  const auto runtime = MakeRuntime();
  for (const Case& one : Cases()) {
    const auto report = TrainLogisticRegression(one.features.view(), one.labels, one.classes,
                                                {.c = one.c}, *runtime);
    REQUIRE_OK(report);
    CHECK(report->converged);
    CHECK(report->iterations > 3);
    const Matrix weights = ReadRows(*one.expected.Find("weights"));
    const Matrix probabilities = ReadRows(*one.expected.Find("probabilities"));
    INFO(one.classes << " classes, c " << one.c);
    for (size_t k = 0; k < one.classes; ++k) {
      for (size_t d = 0; d < weights.cols(); ++d) {
        CHECK(report->model.weights.row(k)[d] == Approx(weights.row(k)[d]).margin(2e-3));
      }
    }
    for (size_t i = 0; i < one.probes.rows(); ++i) {
      const std::vector<double> found = report->model.Predict(one.probes.row(i));
      double sum = 0;
      for (size_t k = 0; k < one.classes; ++k) {
        CHECK(found[k] == Approx(probabilities.row(i)[k]).margin(1e-3));
        sum += found[k];
      }
      CHECK(sum == Approx(1));
    }
  }
}

TEST_CASE("Training does not depend on the threads") {
  const auto one = MakeRuntime("", 1);
  const auto three = MakeRuntime("", 3);
  for (const Case& made : Cases()) {
    const auto a = TrainLogisticRegression(made.features.view(), made.labels, made.classes,
                                           {.c = made.c}, *one);
    const auto b = TrainLogisticRegression(made.features.view(), made.labels, made.classes,
                                           {.c = made.c}, *three);
    REQUIRE_OK(a);
    REQUIRE_OK(b);
    CHECK(a->model.bias == b->model.bias);
    CHECK(a->loss == b->loss);
  }
}

TEST_CASE("Two classes and a limit on the iterations") {
  const auto runtime = MakeRuntime();
  Matrix features(4, 1);
  for (size_t i = 0; i < 4; ++i) features.row(i)[0] = static_cast<float>(i);
  const uint32_t labels[] = {0, 0, 1, 1};
  const auto trained = TrainLogisticRegression(features.view(), labels, 2, {}, *runtime);
  REQUIRE_OK(trained);
  const float high[] = {9};
  const float middle[] = {1.5};
  CHECK(trained->model.Predict(high)[1] > 0.9);
  CHECK(trained->model.Predict(middle)[0] == Approx(0.5).margin(1e-4));
  const auto cut =
      TrainLogisticRegression(features.view(), labels, 2, {.max_iterations = 1}, *runtime);
  REQUIRE_OK(cut);
  CHECK_FALSE(cut->converged);
  CHECK(cut->iterations == 1);
}

TEST_CASE("What cannot be trained on is refused") {
  const auto runtime = MakeRuntime();
  Matrix features(2, 2);
  const uint32_t labels[] = {0, 1};
  const uint32_t high[] = {0, 2};
  const auto refused = [&](std::span<const uint32_t> given, size_t classes, double c) {
    const auto report =
        TrainLogisticRegression(features.view(), given, classes, {.c = c}, *runtime);
    CHECK(report.status().code() == StatusCode::kInvalidArgument);
    return report.status().message();
  };
  CHECK(refused(std::span(labels).first(1), 2, 1).find("1 labels for 2") != std::string::npos);
  CHECK(refused(labels, 1, 1).find("1 classes") != std::string::npos);
  CHECK(refused(high, 2, 1).find("label 2 of row 1") != std::string::npos);
  CHECK(refused(labels, 2, 0).find("c 0") != std::string::npos);
  features.row(1)[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK(refused(labels, 2, 1).find("row 1") != std::string::npos);
  features.row(1)[0] = 1;
  CancelToken cancel;
  cancel.Cancel();
  CHECK(
      TrainLogisticRegression(features.view(), labels, 2, {}, *runtime, &cancel).status().code() ==
      StatusCode::kCancelled);
}

}  // namespace
}  // namespace rag::test
