#include "embed/reranker.h"

#include <cmath>
#include <utility>

#include "embed/batch.h"
#include "embed/classifier.h"
#include "embed/encoder_config.h"
#include "embed/modules.h"
#include "embed/transformer.h"
#include "embed/transformer_config.h"
#include "embed/transformer_weights.h"
#include "lib/text/unicode.h"

namespace rag {
namespace {

// Pairs that a worker tokenizes between two looks at the cancel token.
constexpr size_t kTokenizeGrain = 4;

struct RerankerConfig {
  TransformerConfig model;
  std::string folder;
  TextLimits limits;
  bool sigmoid = true;
};

class FolderReranker final : public Reranker {
 public:
  FolderReranker(std::unique_ptr<const RerankerConfig> config, TransformerWeights weights,
                 Classifier head, std::unique_ptr<Tokenizer> tokenizer, const Runtime& runtime)
      : config_(std::move(config)),
        weights_(std::move(weights)),
        head_(std::move(head)),
        tokenizer_(std::move(tokenizer)),
        runtime_(runtime),
        transformer_(config_->model, weights_, config_->limits.max_tokens, runtime),
        info_{.model_type = config_->model.model_type,
              .layers = config_->model.layers,
              .heads = config_->model.heads,
              .max_tokens = config_->limits.max_tokens,
              .sigmoid = config_->sigmoid,
              .weight_bytes = weights_.bytes} {}

  Result<RerankScores> Score(std::string_view query, std::span<const std::string_view> passages,
                             const CancelToken* cancel) const override;
  const RerankerInfo& info() const override { return info_; }

 private:
  const std::unique_ptr<const RerankerConfig> config_;
  const TransformerWeights weights_;
  const Classifier head_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const Runtime& runtime_;
  const Transformer transformer_;
  const RerankerInfo info_;
};

Result<RerankScores> FolderReranker::Score(std::string_view query,
                                           std::span<const std::string_view> passages,
                                           const CancelToken* cancel) const {
  const bool lower = config_->limits.lower_case;
  const std::string lowered = lower ? ToLower(query) : "";
  const std::string_view first = lower ? std::string_view(lowered) : query;
  const EncodeOptions options{.max_tokens = config_->limits.max_tokens};
  std::vector<Encoding> encodings(passages.size());
  runtime_.pool().ParallelFor(passages.size(), kTokenizeGrain, [&](size_t begin, size_t end, int) {
    if (cancel != nullptr && cancel->cancelled()) return;
    for (size_t i = begin; i < end; ++i) {
      encodings[i] = lower ? tokenizer_->EncodePair(first, ToLower(passages[i]), options)
                           : tokenizer_->EncodePair(first, passages[i], options);
    }
  });
  if (cancel != nullptr && cancel->cancelled()) return CancelledError("reranking was cancelled");

  RerankScores result;
  result.scores.resize(passages.size());
  result.stats.texts = passages.size();
  std::vector<TokenSequence> sequences(passages.size());
  for (size_t i = 0; i < passages.size(); ++i) {
    const Encoding& encoding = encodings[i];
    if (encoding.ids.empty() || encoding.ids.size() > config_->limits.max_tokens) {
      return InternalError("the tokenizer gave ", encoding.ids.size(), " tokens, not 1 to ",
                           config_->limits.max_tokens);
    }
    sequences[i] = {encoding.ids, encoding.type_ids};
    result.stats.tokens += encoding.ids.size();
    result.stats.truncated_texts += encoding.truncated > 0;
    result.stats.truncated_tokens += encoding.truncated;
  }
  RAG_RETURN_IF_ERROR(RunSequences(
      transformer_, runtime_, sequences,
      [&](size_t i, MatrixView states) {
        const float logit = head_.Apply(states);
        result.scores[i] = config_->sigmoid ? 1.0f / (1.0f + std::exp(-logit)) : logit;
      },
      cancel));
  return result;
}

// What the files say of the scores: torch's name of a class, or nothing.
Status ReadActivation(const ConfigFile& file, std::string_view key, RerankerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string name, file.String(key, ""));
  if (name.empty()) return OkStatus();
  if (name == "torch.nn.modules.activation.Sigmoid") {
    config.sigmoid = true;
  } else if (name == "torch.nn.modules.linear.Identity") {
    config.sigmoid = false;
  } else {
    return UnimplementedError(file.path(), ": ", key, " '", name,
                              "' is not known; known are torch.nn.modules.activation.Sigmoid and "
                              "torch.nn.modules.linear.Identity");
  }
  return OkStatus();
}

// Later files of sentence-transformers write the activation to a file of its own.
Status ReadScoreSettings(const std::string& folder, const ConfigFile& file,
                         RerankerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadActivation(file, "sbert_ce_default_activation_function", config));
  const Value* settings = file.value().Find("sentence_transformers");
  if (settings != nullptr && !settings->is_null()) {
    RAG_RETURN_IF_ERROR(
        ReadActivation(ConfigFile(StrCat(file.path(), ": sentence_transformers"), *settings),
                       "activation_fn", config));
  }
  const std::string path = JoinPath(folder, "config_sentence_transformers.json");
  if (!FileExists(path)) return OkStatus();
  std::string unhashed;
  RAG_ASSIGN_OR_RETURN(const ConfigFile own, ReadConfigFile(path, unhashed));
  return ReadActivation(own, "activation_fn", config);
}

}  // namespace

Result<std::unique_ptr<Reranker>> Reranker::Load(const std::string& folder, const Runtime& runtime,
                                                 Precision precision) {
  auto config = std::make_unique<RerankerConfig>();
  std::string source_bytes;
  RAG_ASSIGN_OR_RETURN(const Modules modules, ReadModules(folder, source_bytes));
  config->folder = modules.transformer;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(config->folder, "config.json"), source_bytes));
  RAG_ASSIGN_OR_RETURN(config->model, ReadTransformerConfig(file));
  RAG_ASSIGN_OR_RETURN(config->limits,
                       ReadTextLimits(config->folder, config->model.max_sequence, source_bytes));
  RAG_RETURN_IF_ERROR(ReadScoreSettings(folder, file, *config));
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(config->folder));
  if (tokenizer->vocab_size() > config->model.vocab) {
    return InvalidArgumentError(config->folder, ": the tokenizer has ", tokenizer->vocab_size(),
                                " pieces and config.json's 'vocab_size' is ", config->model.vocab);
  }
  RAG_ASSIGN_OR_RETURN(TransformerWeights weights,
                       TransformerWeights::Load(config->folder, config->model,
                                                {config->limits.max_tokens, precision}, runtime));
  RAG_ASSIGN_OR_RETURN(Classifier head, Classifier::Load(file, config->model, weights, runtime));
  return std::unique_ptr<Reranker>(std::make_unique<FolderReranker>(
      std::move(config), std::move(weights), std::move(head), std::move(tokenizer), runtime));
}

}  // namespace rag
