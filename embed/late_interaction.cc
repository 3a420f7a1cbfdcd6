#include "embed/late_interaction.h"

#include <algorithm>
#include <utility>

#include "embed/max_sim.h"
#include "embed/pooling.h"
#include "lib/text/unicode.h"

namespace rag {
namespace {

// A prefix's token: one of the vocabulary's.
Result<std::optional<TokenId>> FindPrefix(const Tokenizer& tokenizer, const std::string& folder,
                                          const std::string& prefix) {
  if (prefix.empty()) return std::optional<TokenId>();
  const std::optional<TokenId> id = tokenizer.FindPiece(prefix);
  if (!id.has_value()) {
    return InvalidArgumentError(folder, ": the tokenizer has no token '", prefix,
                                "', which texts begin with");
  }
  return id;
}

}  // namespace

LateInteraction::LateInteraction(LateInteractionConfig config,
                                 std::unique_ptr<const TextNetwork> network)
    : config_(std::move(config)),
      network_(std::move(network)),
      info_{.model_type = config_.model.model_type,
            .layers = config_.model.layers,
            .heads = config_.model.heads,
            .max_tokens = config_.document_tokens,
            .late_interaction = true,
            .weight_bytes = network_->weights().bytes} {}

Status LateInteraction::ReadHead() {
  const Kernels& kernels = network_->runtime().kernels();
  if (config_.dense.empty()) {
    const TensorFinder finder = network_->weights().finder();
    const std::string name[] = {"linear"};
    RAG_ASSIGN_OR_RETURN(const size_t dim, finder.Rows("linear.weight"));
    RAG_ASSIGN_OR_RETURN(
        linear_,
        finder.ReadLinear(kernels, name,
                          {.out = dim, .in = config_.model.hidden, .bias = BiasRule::kNone}));
    return OkStatus();
  }
  for (const DenseConfig& dense : config_.dense) {
    RAG_ASSIGN_OR_RETURN(DenseLayer layer, DenseLayer::Load(dense, kernels));
    info_.weight_bytes += layer.bytes();
    dense_.push_back(std::move(layer));
  }
  return OkStatus();
}

Status LateInteraction::FindTokens() {
  const Tokenizer& tokenizer = network_->tokenizer();
  RAG_ASSIGN_OR_RETURN(query_prefix_, FindPrefix(tokenizer, config_.folder, config_.query_prefix));
  RAG_ASSIGN_OR_RETURN(document_prefix_,
                       FindPrefix(tokenizer, config_.folder, config_.document_prefix));
  std::optional<TokenId> mask;
  for (const std::string_view name : {std::string_view(config_.mask_token),
                                      std::string_view("[MASK]"), std::string_view("<mask>")}) {
    if (!mask.has_value() && !name.empty()) mask = tokenizer.FindPiece(name);
  }
  // A decoder has none: its end of text stands in.
  if (!mask.has_value()) mask = tokenizer.eos_id();
  if (!mask.has_value() && config_.expand_query) {
    return InvalidArgumentError(config_.folder,
                                ": the tokenizer has no mask token to fill queries up with");
  }
  mask_ = mask.value_or(0);
  for (const std::string& word : config_.skipped) {
    // PyLate looks up words that are no token as unknown ones, and so leaves these out.
    const std::optional<TokenId> id = tokenizer.FindPiece(word);
    const std::optional<TokenId> found = id.has_value() ? id : tokenizer.unk_id();
    if (found.has_value()) skipped_.push_back(*found);
  }
  std::sort(skipped_.begin(), skipped_.end());
  return OkStatus();
}

Result<std::unique_ptr<LateInteraction>> LateInteraction::Load(const std::string& folder,
                                                               const Runtime& runtime,
                                                               Precision precision) {
  RAG_ASSIGN_OR_RETURN(LateInteractionConfig config, ReadLateInteractionConfig(folder));
  const TextLimits limits{.max_tokens = std::max(config.query_tokens, config.document_tokens),
                          .lower_case = config.lower_case};
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<const TextNetwork> network,
                       TextNetwork::Load(config.folder, config.model, limits, precision, runtime));
  auto loaded =
      std::unique_ptr<LateInteraction>(new LateInteraction(std::move(config), std::move(network)));
  RAG_RETURN_IF_ERROR(loaded->ReadHead());
  RAG_RETURN_IF_ERROR(loaded->FindTokens());
  return loaded;
}

Encoding LateInteraction::Tokenize(std::string_view text, TextRole role, size_t& seen) const {
  const bool query = role == TextRole::kQuery;
  const std::optional<TokenId> prefix = query ? query_prefix_ : document_prefix_;
  const size_t limit = query ? config_.query_tokens : config_.document_tokens;
  const EncodeOptions options{.max_tokens = limit - (prefix.has_value() ? 1 : 0)};
  const Tokenizer& tokenizer = network_->tokenizer();
  Encoding encoding = config_.lower_case ? tokenizer.Encode(ToLower(text), options)
                                         : tokenizer.Encode(text, options);
  if (prefix.has_value()) {
    const ptrdiff_t second = encoding.ids.empty() ? 0 : 1;
    encoding.ids.insert(encoding.ids.begin() + second, *prefix);
    encoding.type_ids.insert(encoding.type_ids.begin() + second, 0);
  }
  seen = std::max<size_t>(encoding.ids.size(), 1);
  if (query && config_.expand_query) {
    encoding.ids.resize(limit, mask_);
    encoding.type_ids.resize(limit, 0);
    if (config_.see_expansion) seen = limit;
  }
  return encoding;
}

Matrix LateInteraction::Project(const Encoding& encoding, TextRole role, MatrixView states) const {
  const Kernels& kernels = network_->runtime().kernels();
  // The rows that have a vector, one after another.
  Matrix kept(states.rows, states.cols);
  size_t rows = 0;
  for (size_t i = 0; i < states.rows; ++i) {
    const bool skipped = role != TextRole::kQuery &&
                         std::binary_search(skipped_.begin(), skipped_.end(), encoding.ids[i]);
    if (!skipped) std::copy_n(states.row(i).data(), states.cols, kept.row(rows++).data());
  }
  Matrix vectors;
  if (linear_.has_value()) {
    LinearScratch scratch;
    vectors = Matrix(rows, linear_->out());
    linear_->Apply(kernels, rows, kept.data(), states.cols, vectors.data(), linear_->out(),
                   scratch);
  } else {
    vectors = dense_.front().Apply(kernels, MatrixView(kept.data(), rows, states.cols));
    for (size_t i = 1; i < dense_.size(); ++i) vectors = dense_[i].Apply(kernels, vectors.view());
  }
  for (size_t i = 0; i < rows; ++i) NormalizeLength(kernels, vectors.row(i));
  return vectors;
}

Status LateInteraction::Run(std::span<const std::string_view> texts, TextRole role,
                            SequenceConsumer consume, EncodeStats& stats,
                            const CancelToken* cancel) const {
  std::vector<size_t> seen(texts.size());
  RAG_ASSIGN_OR_RETURN(
      const std::vector<Encoding> encodings,
      network_->TokenizeAll(
          texts.size(), [&](size_t i) { return Tokenize(texts[i], role, seen[i]); }, cancel));
  return network_->Run(
      encodings,
      [&](size_t i, MatrixView states) { consume(i, Project(encodings[i], role, states).view()); },
      stats, cancel, seen);
}

Result<TokenVectors> LateInteraction::Encode(std::span<const std::string_view> texts, TextRole role,
                                             const CancelToken* cancel) const {
  TokenVectors result;
  result.texts.resize(texts.size());
  RAG_RETURN_IF_ERROR(Run(
      texts, role,
      [&](size_t i, MatrixView vectors) {
        result.texts[i] = Matrix(vectors.rows, vectors.cols);
        std::copy_n(vectors.data, vectors.rows * vectors.cols, result.texts[i].data());
      },
      result.stats, cancel));
  return result;
}

Result<RerankScores> LateInteraction::Score(std::string_view query,
                                            std::span<const std::string_view> passages,
                                            const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const TokenVectors asked, Encode({&query, 1}, TextRole::kQuery, cancel));
  const MaxSimQuery max_sim(network_->runtime().kernels(), asked.texts.front().view());
  RerankScores result;
  result.scores.resize(passages.size());
  RAG_RETURN_IF_ERROR(Run(
      passages, TextRole::kDocument,
      [&](size_t i, MatrixView vectors) { result.scores[i] = max_sim.Score(vectors); },
      result.stats, cancel));
  return result;
}

}  // namespace rag
