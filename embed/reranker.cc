#include "embed/reranker.h"

#include <cmath>
#include <utility>

#include "embed/classifier.h"
#include "embed/decoder_reranker.h"
#include "embed/encoder_config.h"
#include "embed/late_interaction.h"
#include "embed/late_interaction_config.h"
#include "embed/score_settings.h"
#include "embed/task_network.h"
#include "embed/text_network.h"

namespace rag {
namespace {

class FolderReranker final : public Reranker {
 public:
  FolderReranker(std::unique_ptr<const TextNetwork> network, Classifier head,
                 ScoreSettings settings)
      : network_(std::move(network)),
        head_(std::move(head)),
        prompt_(std::move(settings.prompt)),
        info_{.model_type = network_->config().model_type,
              .layers = network_->config().layers,
              .heads = network_->config().heads,
              .max_tokens = network_->limits().max_tokens,
              .sigmoid = settings.sigmoid,
              .weight_bytes = network_->weights().bytes} {}

  Result<RerankScores> Score(std::string_view query, std::span<const std::string_view> passages,
                             const CancelToken* cancel) const override;
  const RerankerInfo& info() const override { return info_; }

 private:
  const std::unique_ptr<const TextNetwork> network_;
  const Classifier head_;
  const std::string prompt_;  // before every query
  const RerankerInfo info_;
};

Result<RerankScores> FolderReranker::Score(std::string_view query,
                                           std::span<const std::string_view> passages,
                                           const CancelToken* cancel) const {
  const std::string asked = StrCat(prompt_, query);
  RAG_ASSIGN_OR_RETURN(
      const std::vector<Encoding> encodings,
      network_->TokenizeAll(
          passages.size(), [&](size_t i) { return network_->TokenizePair(asked, passages[i]); },
          cancel));
  for (const Encoding& encoding : encodings) {
    if (encoding.ids.empty()) return InternalError("the tokenizer gave a pair no token");
  }
  RerankScores result;
  result.scores.resize(passages.size());
  RAG_RETURN_IF_ERROR(network_->Run(
      encodings,
      [&](size_t i, MatrixView states) {
        float logit = 0;
        head_.Apply(states, {&logit, 1});
        result.scores[i] = info_.sigmoid ? 1.0f / (1.0f + std::exp(-logit)) : logit;
      },
      result.stats, cancel));
  return result;
}

Status CheckLabels(const ConfigFile& file) {
  size_t labels = 1;
  const Value* names = file.value().Find("id2label");
  if (names != nullptr && names->is_object()) labels = names->as_object().size();
  RAG_ASSIGN_OR_RETURN(const size_t count,
                       file.Size("num_labels", 1, kMaxHidden, static_cast<int64_t>(labels)));
  if (count == 1) return OkStatus();
  return UnsupportedError(file.path(), ": 'id2label' has ", count,
                          " labels; a reranker has one score");
}

}  // namespace

Result<std::unique_ptr<Reranker>> Reranker::Load(const std::string& folder, const Runtime& runtime,
                                                 Precision precision) {
  if (IsLateInteraction(folder)) {
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<Reranker> late,
                         LateInteraction::Load(folder, runtime, precision));
    return late;
  }
  RAG_ASSIGN_OR_RETURN(const bool decoder, IsDecoderReranker(folder));
  if (decoder) return LoadDecoderReranker(folder, runtime, precision);
  RAG_ASSIGN_OR_RETURN(TaskNetwork task,
                       LoadTaskNetwork(folder, precision, runtime, "ForSequenceClassification"));
  RAG_ASSIGN_OR_RETURN(ScoreSettings settings, ReadScoreSettings(folder, task.file));
  RAG_RETURN_IF_ERROR(CheckLabels(task.file));
  const TextNetwork& network = *task.network;
  RAG_ASSIGN_OR_RETURN(Classifier head, Classifier::Load(task.file, network.config(),
                                                         network.weights(), 1, runtime));
  return std::unique_ptr<Reranker>(std::make_unique<FolderReranker>(
      std::move(task.network), std::move(head), std::move(settings)));
}

}  // namespace rag
