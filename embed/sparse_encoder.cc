#include "embed/sparse_encoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "embed/encoder_config.h"
#include "embed/fingerprint.h"
#include "embed/tensor_finder.h"
#include "lib/base/hash.h"

namespace rag {
namespace {

// Rows of logits at a time: of BERT's vocabulary 2 MB.
constexpr size_t kRows = 16;

}  // namespace

Result<std::unique_ptr<SparseEncoder>> SparseEncoder::Load(const std::string& folder,
                                                           const Runtime& runtime,
                                                           Precision precision) {
  RAG_ASSIGN_OR_RETURN(TaskNetwork task,
                       LoadTaskNetwork(folder, precision, runtime, "ForMaskedLM"));
  const TextNetwork& network = *task.network;
  const TransformerConfig& config = network.config();
  const Precision used = network.weights().precision;
  RAG_ASSIGN_OR_RETURN(MlmHead head,
                       MlmHead::Load(task.file, config, network.weights(), used, runtime));
  const Result<uint64_t> weights_hash = HashWeights(network.weights().file(), runtime.pool());
  if (!weights_hash.ok()) return weights_hash.status().WithContext(task.folder);
  auto encoder =
      std::unique_ptr<SparseEncoder>(new SparseEncoder(std::move(task.network), std::move(head)));
  RAG_RETURN_IF_ERROR(encoder->ReadPooling(task.modules, task.source_bytes));
  if (task.modules.query_weights.has_value()) {
    RAG_RETURN_IF_ERROR(encoder->ReadQueryWeights(*task.modules.query_weights, task.source_bytes));
  }
  RAG_ASSIGN_OR_RETURN(const uint64_t tokenizer_hash, HashTokenizer(task.folder));
  encoder->info_ = {
      .model_type = config.model_type,
      .vocab = encoder->head_.vocab(),
      .layers = config.layers,
      .heads = config.heads,
      .max_tokens = network.limits().max_tokens,
      .precision = used,
      .looks_up_queries = !encoder->query_weights_.empty(),
      .fingerprint = MakeFingerprint(
          StrCat("splade-", config.model_type, '-', encoder->head_.vocab()), task.source_bytes,
          {.tokenizer = tokenizer_hash, .weights = *weights_hash, .precision = used}),
  };
  return encoder;
}

Status SparseEncoder::ReadPooling(const Modules& modules, std::string& source_bytes) {
  if (!modules.splade.has_value()) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(*modules.splade, "config.json"), source_bytes));
  RAG_ASSIGN_OR_RETURN(const std::string pooling, file.String("pooling_strategy", "max"));
  RAG_ASSIGN_OR_RETURN(const std::string activation, file.String("activation_function", "relu"));
  if ((pooling != "max" && pooling != "sum") ||
      (activation != "relu" && activation != "log1p_relu")) {
    return UnsupportedError(file.path(), ": pooling_strategy '", pooling,
                            "' or activation_function '", activation,
                            "' is not known; known are max and sum, relu and log1p_relu");
  }
  sum_ = pooling == "sum";
  log_twice_ = activation == "log1p_relu";
  return OkStatus();
}

Status SparseEncoder::ReadQueryWeights(const std::string& folder, std::string& source_bytes) {
  RAG_ASSIGN_OR_RETURN(query_tokenizer_, Tokenizer::Load(folder));
  RAG_ASSIGN_OR_RETURN(const TextLimits limits,
                       ReadTextLimits(folder, static_cast<size_t>(kMaxPositions), source_bytes));
  max_query_tokens_ = limits.max_tokens;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(folder, "config.json"), source_bytes));
  RAG_ASSIGN_OR_RETURN(const std::string path, file.String("path", ""));
  if (path.empty()) {
    RAG_ASSIGN_OR_RETURN(const TensorFile weights, TensorFile::Open(folder));
    RAG_RETURN_IF_ERROR(
        TensorFinder(weights, folder, "").ReadVector("weight", head_.vocab(), query_weights_));
  } else {
    RAG_RETURN_IF_ERROR(ReadWeightsByPiece(folder, file, path));
  }
  for (size_t i = 0; i < query_weights_.size(); ++i) {
    if (query_weights_[i] >= 0 && std::isfinite(query_weights_[i])) continue;
    return InvalidArgumentError(folder, ": a query's token ", i, " has the weight ",
                                query_weights_[i]);
  }
  RAG_ASSIGN_OR_RETURN(const uint64_t tokenizer, HashTokenizer(folder));
  source_bytes += StrCat("queries ", tokenizer, ' ',
                         Hash64(std::as_bytes(std::span<const float>(query_weights_))), '\n');
  return OkStatus();
}

Status SparseEncoder::ReadWeightsByPiece(const std::string& folder, const ConfigFile& file,
                                         const std::string& name) {
  if (name.find('/') != std::string::npos || !name.ends_with(".json")) {
    return InvalidArgumentError(file.path(), ": 'path' '", name,
                                "' is not the name of a .json file beside it");
  }
  std::string hashed_as_weights;
  RAG_ASSIGN_OR_RETURN(const ConfigFile weights,
                       ReadConfigFile(JoinPath(folder, name), hashed_as_weights));
  query_weights_.assign(head_.vocab(), 0.0f);
  for (const auto& [piece, weight] : weights.value().as_object()) {
    if (!weight.is_number()) {
      return InvalidArgumentError(weights.path(), ": '", piece, "' is ", ToJson(weight),
                                  ", not a weight");
    }
    const std::optional<TokenId> id = query_tokenizer_->FindPiece(piece);
    if (!id.has_value() || static_cast<size_t>(*id) >= query_weights_.size()) continue;
    query_weights_[static_cast<size_t>(*id)] = static_cast<float>(weight.as_double());
  }
  return OkStatus();
}

SparseVector SparseEncoder::Pool(MatrixView states) const {
  std::vector<float> pooled(head_.vocab());
  for (size_t first = 0; first < states.rows; first += kRows) {
    const size_t rows = std::min(kRows, states.rows - first);
    const Matrix logits =
        head_.Apply(MatrixView(states.row(first).data(), rows, states.cols, states.stride));
    for (size_t i = 0; i < rows; ++i) {
      const std::span<const float> row = logits.row(i);
      for (size_t j = 0; j < row.size(); ++j) {
        // The logarithm grows with the logit: of the largest it is taken once, at the end.
        const float weight = std::max(row[j], 0.0f);
        if (!sum_) {
          pooled[j] = std::max(pooled[j], weight);
        } else if (weight > 0) {
          const float once = std::log1p(weight);
          pooled[j] += log_twice_ ? std::log1p(once) : once;
        }
      }
    }
  }
  SparseVector vector;
  for (size_t j = 0; j < pooled.size(); ++j) {
    if (!(pooled[j] > 0)) continue;
    float weight = pooled[j];
    if (!sum_) weight = std::log1p(weight);
    if (!sum_ && log_twice_) weight = std::log1p(weight);
    vector.entries.push_back({static_cast<uint32_t>(j), weight});
  }
  return vector;
}

Result<SparseEmbeddings> SparseEncoder::LookUp(std::span<const std::string_view> texts,
                                               const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(const std::vector<Encoding> encodings,
                       network_->TokenizeAll(
                           texts.size(),
                           [&](size_t i) {
                             return query_tokenizer_->Encode(
                                 texts[i],
                                 {.add_special_tokens = false, .max_tokens = max_query_tokens_});
                           },
                           cancel));
  SparseEmbeddings result;
  CountEncodings(encodings, result.stats);
  for (const Encoding& encoding : encodings) {
    result.truncated.push_back(static_cast<uint32_t>(encoding.truncated));
    std::vector<TokenId> ids = encoding.ids;
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    SparseVector& vector = result.vectors.emplace_back();
    for (const TokenId id : ids) {
      const auto token = static_cast<size_t>(id);
      if (token >= query_weights_.size() || query_weights_[token] == 0) continue;
      vector.entries.push_back({static_cast<uint32_t>(token), query_weights_[token]});
    }
  }
  return result;
}

Result<SparseEmbeddings> SparseEncoder::Encode(std::span<const std::string_view> texts,
                                               TextRole role, const CancelToken* cancel) const {
  if (role == TextRole::kQuery && info_.looks_up_queries) return LookUp(texts, cancel);
  RAG_ASSIGN_OR_RETURN(
      const std::vector<Encoding> encodings,
      network_->TokenizeAll(
          texts.size(), [&](size_t i) { return network_->Tokenize(texts[i]); }, cancel));
  SparseEmbeddings result;
  result.vectors.resize(texts.size());
  for (const Encoding& encoding : encodings) {
    result.truncated.push_back(static_cast<uint32_t>(encoding.truncated));
  }
  RAG_RETURN_IF_ERROR(network_->Run(
      encodings, [&](size_t i, MatrixView states) { result.vectors[i] = Pool(states); },
      result.stats, cancel));
  return result;
}

}  // namespace rag
