#include "engine/probe.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "lib/base/file.h"

namespace rag {
namespace {

constexpr std::string_view kFormat = "rag-probe";
constexpr int kVersion = 1;
constexpr size_t kMaxProbeBytes = size_t{256} << 20;
constexpr size_t kMaxClasses = 10'000;
constexpr size_t kMaxWeights = 8'000'000;                 // some 20 bytes each in the file
constexpr size_t kMaxProducts = size_t{256} * 1'000'000;  // examples times labels, 8 bytes each

Result<std::vector<float>> ReadNumbers(const Value& value, std::string_view place) {
  if (!value.is_array()) return InvalidArgumentError(place, " is no array");
  std::vector<float> numbers;
  numbers.reserve(value.as_array().size());
  for (const Value& number : value.as_array()) {
    if (!number.is_number() || !std::isfinite(static_cast<float>(number.as_double()))) {
      return InvalidArgumentError(place, " holds ", ToJson(number), ", which is no number");
    }
    numbers.push_back(static_cast<float>(number.as_double()));
  }
  return numbers;
}

Result<Probe> ParseProbe(const Value& value) {
  RAG_ASSIGN_OR_RETURN(const std::string format, value.GetString("format", ""));
  RAG_ASSIGN_OR_RETURN(const int64_t version, value.GetInt("version", 0));
  if (format != kFormat || version != kVersion) {
    return InvalidArgumentError("'format' is '", format, "' and 'version' ", version, ", not '",
                                kFormat, "' and ", kVersion);
  }
  Probe probe;
  RAG_ASSIGN_OR_RETURN(probe.encoder, value.GetString("encoder", ""));
  const Value* labels = value.Find("labels");
  const Value* weights = value.Find("weights");
  const Value* bias = value.Find("bias");
  if (labels == nullptr || weights == nullptr || bias == nullptr || !labels->is_array() ||
      !weights->is_array()) {
    return InvalidArgumentError("'labels', 'weights' or 'bias' is missing or no array");
  }
  const size_t classes = labels->as_array().size();
  RAG_ASSIGN_OR_RETURN(probe.model.bias, ReadNumbers(*bias, "'bias'"));
  if (classes < 2 || classes > kMaxClasses || weights->as_array().size() != classes ||
      probe.model.bias.size() != classes) {
    return InvalidArgumentError(classes, " 'labels', ", weights->as_array().size(),
                                " rows of 'weights' and ", probe.model.bias.size(),
                                " numbers of 'bias' are not 2 to ", kMaxClasses, " of each");
  }
  for (size_t k = 0; k < classes; ++k) {
    const Value& label = labels->as_array()[k];
    if (!label.is_string()) return InvalidArgumentError("label ", k, " is no string");
    probe.labels.push_back(label.as_string());
    const std::string place = StrCat("row ", k, " of 'weights'");
    RAG_ASSIGN_OR_RETURN(const std::vector<float> row, ReadNumbers(weights->as_array()[k], place));
    if (k == 0) probe.model.weights = Matrix(classes, row.size());
    if (row.empty() || row.size() != probe.model.weights.cols()) {
      return InvalidArgumentError(place, " has ", row.size(), " numbers, the first has ",
                                  probe.model.weights.cols());
    }
    std::copy(row.begin(), row.end(), probe.model.weights.row(k).begin());
  }
  return probe;
}

}  // namespace

Result<ProbeReport> TrainProbe(MatrixView vectors, std::span<const std::string> labels,
                               const EncoderInfo& encoder, const LogisticRegressionOptions& options,
                               const Runtime& runtime, const CancelToken* cancel) {
  if (vectors.cols != encoder.dim) {
    return InvalidArgumentError("vectors of ", vectors.cols, " elements, and the encoder's have ",
                                encoder.dim);
  }
  const std::set<std::string> kinds(labels.begin(), labels.end());
  if (kinds.size() > kMaxClasses || kinds.size() * vectors.cols > kMaxWeights ||
      vectors.rows > kMaxProducts / std::max<size_t>(1, kinds.size())) {
    return ResourceExhaustedError("a probe of ", kinds.size(), " labels over ", vectors.rows,
                                  " examples of ", vectors.cols,
                                  " elements is larger than what is trained");
  }
  if (kinds.size() > kMaxClasses) {
    return InvalidArgumentError(kinds.size(), " labels, more than ", kMaxClasses);
  }
  ProbeReport report;
  report.probe.encoder = encoder.fingerprint;
  report.probe.labels.assign(kinds.begin(), kinds.end());
  std::vector<uint32_t> classes;
  for (const std::string& label : labels) {
    classes.push_back(static_cast<uint32_t>(std::distance(kinds.begin(), kinds.find(label))));
  }
  RAG_ASSIGN_OR_RETURN(
      LogisticRegressionReport trained,
      TrainLogisticRegression(vectors, classes, kinds.size(), options, runtime, cancel));
  size_t right = 0;
  for (size_t i = 0; i < vectors.rows; ++i) {
    const std::vector<double> found = trained.model.Predict(vectors.row(i));
    right += std::max_element(found.begin(), found.end()) - found.begin() ==
             static_cast<std::ptrdiff_t>(classes[i]);
  }
  report.accuracy = static_cast<double>(right) / static_cast<double>(vectors.rows);
  report.iterations = trained.iterations;
  report.converged = trained.converged;
  report.probe.model = std::move(trained.model);
  return report;
}

Result<std::vector<Classification>> ApplyProbe(const Probe& probe, const Embeddings& embeddings,
                                               const EncoderInfo& encoder) {
  if (probe.encoder != encoder.fingerprint || probe.model.weights.cols() != encoder.dim) {
    return FailedPreconditionError("the probe was trained on vectors of encoder ", probe.encoder,
                                   ", and this one is ", encoder.fingerprint);
  }
  std::vector<Classification> results(embeddings.vectors.rows());
  for (size_t i = 0; i < results.size(); ++i) {
    const std::vector<double> found = probe.model.Predict(embeddings.vectors.row(i));
    for (size_t k = 0; k < found.size(); ++k) {
      results[i].push_back({.label = probe.labels[k],
                            .logit = std::log(std::max(found[k], 1e-300)),
                            .probability = found[k]});
    }
    std::stable_sort(
        results[i].begin(), results[i].end(),
        [](const LabelScore& a, const LabelScore& b) { return a.probability > b.probability; });
  }
  return results;
}

Value ToValue(const Probe& probe) {
  Value::Array weights;
  for (size_t k = 0; k < probe.labels.size(); ++k) {
    const std::span<const float> row = probe.model.weights.row(k);
    weights.emplace_back(Value::Array(row.begin(), row.end()));
  }
  return Value::Object{{"format", kFormat},
                       {"version", kVersion},
                       {"encoder", probe.encoder},
                       {"labels", Value::Array(probe.labels.begin(), probe.labels.end())},
                       {"weights", std::move(weights)},
                       {"bias", Value::Array(probe.model.bias.begin(), probe.model.bias.end())}};
}

Result<Probe> ReadProbe(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxProbeBytes));
  const Result<Value> value = ParseJson(text);
  if (!value.ok()) return value.status().WithContext(path);
  Result<Probe> probe = ParseProbe(*value);
  if (!probe.ok()) return probe.status().WithContext(path);
  return probe;
}

}  // namespace rag
