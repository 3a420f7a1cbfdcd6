// Linear probe: pictures of labels in, which label another picture has out, by a logistic
// regression over an encoder's frozen vectors (Radford et al. 2021, section 3.2).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "embed/encoder.h"
#include "engine/classify.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/nn/logistic_regression.h"
#include "lib/runtime/runtime.h"

namespace rag {

struct Probe {
  std::string encoder;              // fingerprint of the encoder whose vectors it reads
  std::vector<std::string> labels;  // [classes]
  LogisticRegression model;
};

struct ProbeReport {
  Probe probe;
  size_t iterations = 0;
  bool converged = false;
  double accuracy = 0;  // on what it was trained with
};

// vectors [n, dim], unit rows, of the encoder; labels [n], of two kinds at least. The classes are
// the labels in order. Errors: invalid_argument; cancelled.
Result<ProbeReport> TrainProbe(MatrixView vectors, std::span<const std::string> labels,
                               const EncoderInfo& encoder, const LogisticRegressionOptions& options,
                               const Runtime& runtime, const CancelToken* cancel = nullptr);

// Every label of one vector, the best first; `logit` is the probability's logarithm. Errors:
// failed_precondition when the probe was trained on another encoder's vectors.
Result<std::vector<Classification>> ApplyProbe(const Probe& probe, const Embeddings& embeddings,
                                               const EncoderInfo& encoder);

// {"format": "rag-probe", "version": 1, "encoder", "labels", "weights": [[…]], "bias": […]}
Value ToValue(const Probe& probe);
// Errors: invalid_argument naming `path` and the member.
Result<Probe> ReadProbe(const std::string& path);

}  // namespace rag
