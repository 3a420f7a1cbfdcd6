// Extractive question answering (Devlin et al. 2019, "BERT", sections 4.2 and 4.3): a question and
// a passage -> the place in the passage that answers it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "embed/task_network.h"
#include "embed/token_head.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

struct ExtractOptions {
  size_t top = 1;                 // answers that are wanted, at most 100
  size_t max_answer_tokens = 30;  // of each
  // Tokens of the passage that neighbouring windows share, when it is longer than the network
  // reads.
  size_t overlap = 128;
};

struct ExtractedAnswers {
  struct Span {
    size_t begin = 0;  // bytes of the passage
    size_t end = 0;
    float score = 0;  // the logit of its first token's beginning plus that of its last one's end
  };
  std::vector<Span> spans;  // the best first, each place once
  // The score of there being no answer, the lowest of all windows: a model that was trained with
  // such questions means none when this is above the best span's.
  float no_answer = 0;
};

// Immutable after loading; Extract may be called from several threads.
class AnswerExtractor {
 public:
  // `folder` is a Hugging Face model for question answering. Errors: as Encoder::Load's;
  // invalid_argument for a model without such a head.
  static Result<std::unique_ptr<AnswerExtractor>> Load(const std::string& folder,
                                                       const Runtime& runtime,
                                                       Precision precision = Precision::kF32);

  // Errors: invalid_argument for options that are out of range or a question that leaves no room
  // for the passage; cancelled.
  Result<ExtractedAnswers> Extract(std::string_view question, std::string_view passage,
                                   const ExtractOptions& options = {},
                                   const CancelToken* cancel = nullptr) const;

 private:
  AnswerExtractor(std::unique_ptr<const TextNetwork> network, TokenHead head)
      : network_(std::move(network)), head_(std::move(head)) {}

  const std::unique_ptr<const TextNetwork> network_;
  const TokenHead head_;
};

}  // namespace rag
