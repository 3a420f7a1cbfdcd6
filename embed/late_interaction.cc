#include "embed/late_interaction.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "embed/fingerprint.h"
#include "embed/max_sim.h"
#include "embed/pooling.h"
#include "lib/text/unicode.h"

namespace rag {
namespace {

// Packed token vectors begin with a version, the rows and their elements.
constexpr uint32_t kPackedVersion = 1;
constexpr size_t kPackedHeader = 12;

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

std::string PackTokenVectors(MatrixView vectors) {
  std::string bytes;
  const auto append = [&](const auto& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  bytes.reserve(kPackedHeader + vectors.rows * (sizeof(float) + vectors.cols));
  append(kPackedVersion);
  append(static_cast<uint32_t>(vectors.rows));
  append(static_cast<uint32_t>(vectors.cols));
  for (size_t i = 0; i < vectors.rows; ++i) {
    float largest = 0;
    for (const float value : vectors.row(i)) largest = std::max(largest, std::abs(value));
    const float scale = largest / 127;
    append(scale);
    for (const float value : vectors.row(i)) {
      bytes += static_cast<char>(scale > 0 ? std::lround(value / scale) : 0);
    }
  }
  return bytes;
}

bool UnpackTokenVectors(std::string_view bytes, Matrix& vectors) {
  uint32_t version = 0, rows = 0, cols = 0;
  if (bytes.size() < kPackedHeader) return false;
  std::memcpy(&version, bytes.data(), sizeof(version));
  std::memcpy(&rows, bytes.data() + 4, sizeof(rows));
  std::memcpy(&cols, bytes.data() + 8, sizeof(cols));
  bytes.remove_prefix(kPackedHeader);
  const uint64_t row_bytes = sizeof(float) + uint64_t{cols};
  if (version != kPackedVersion || bytes.size() % row_bytes != 0 ||
      bytes.size() / row_bytes != rows) {
    return false;
  }
  vectors = Matrix(rows, cols);
  for (size_t i = 0; i < rows; ++i) {
    const char* const row = bytes.data() + i * row_bytes;
    float scale = 0;
    std::memcpy(&scale, row, sizeof(scale));
    if (!std::isfinite(scale)) return false;
    for (size_t j = 0; j < cols; ++j) {
      vectors.row(i)[j] = scale * static_cast<float>(static_cast<int8_t>(row[sizeof(scale) + j]));
    }
  }
  return true;
}

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

Status LateInteraction::SetFingerprint() {
  RAG_ASSIGN_OR_RETURN(const uint64_t tokenizer, HashTokenizer(config_.folder));
  const TransformerWeights& weights = network_->weights();
  const Result<uint64_t> hash = HashWeights(weights.file(), network_->runtime().pool());
  if (!hash.ok()) return hash.status().WithContext(config_.folder);
  uint64_t head = 0;
  for (const DenseLayer& layer : dense_) head = head * 31 + layer.hash();
  info_.fingerprint = MakeFingerprint(
      StrCat("late-interaction-", config_.model.model_type), config_.source_bytes,
      {.tokenizer = tokenizer, .weights = *hash, .head = head, .precision = weights.precision});
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
  RAG_RETURN_IF_ERROR(loaded->SetFingerprint());
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
                            SequenceConsumer consume, EncodeStats& stats, const CancelToken* cancel,
                            std::vector<uint32_t>* truncated) const {
  std::vector<size_t> seen(texts.size());
  RAG_ASSIGN_OR_RETURN(
      const std::vector<Encoding> encodings,
      network_->TokenizeAll(
          texts.size(), [&](size_t i) { return Tokenize(texts[i], role, seen[i]); }, cancel));
  for (size_t i = 0; truncated != nullptr && i < encodings.size(); ++i) {
    truncated->push_back(static_cast<uint32_t>(encodings[i].truncated));
  }
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
      result.stats, cancel, &result.truncated));
  return result;
}

Result<std::vector<float>> LateInteraction::ScoreVectors(std::string_view query, size_t passages,
                                                         PassageReader read,
                                                         const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const TokenVectors asked, Encode({&query, 1}, TextRole::kQuery, cancel));
  const Matrix& tokens = asked.texts.front();
  const MaxSimQuery max_sim(network_->runtime().kernels(), tokens.view());
  std::vector<float> scores(passages);
  const auto score = [&](size_t i) -> Status {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("reranking was cancelled");
    RAG_ASSIGN_OR_RETURN(const Matrix vectors, read(i));
    if (vectors.cols() != tokens.cols() && vectors.rows() != 0) {
      return InvalidArgumentError("the token vectors of passage ", i, " have ", vectors.cols(),
                                  " dimensions, the query's ", tokens.cols());
    }
    scores[i] = max_sim.Score(vectors.view());
    return OkStatus();
  };
  std::vector<Status> outcomes(passages);
  network_->runtime().pool().ParallelFor(passages, 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) outcomes[i] = score(i);
  });
  for (const Status& outcome : outcomes) RAG_RETURN_IF_ERROR(outcome);
  return scores;
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
