#include "embed/encoder.h"

#include <algorithm>
#include <utility>

#include "embed/batch.h"
#include "embed/encoder_config.h"
#include "embed/fingerprint.h"
#include "embed/pooling.h"
#include "embed/transformer.h"
#include "embed/transformer_weights.h"
#include "lib/text/unicode.h"

namespace rag {
namespace {

// Texts that a worker tokenizes between two looks at the cancel token.
constexpr size_t kTokenizeGrain = 8;

class FolderEncoder final : public Encoder {
 public:
  FolderEncoder(std::unique_ptr<const EncoderConfig> config, TransformerWeights weights,
                VectorHead head, std::unique_ptr<Tokenizer> tokenizer, EncoderInfo info,
                std::array<size_t, kTextRoles> prompt_ends, const Runtime& runtime)
      : config_(std::move(config)),
        weights_(std::move(weights)),
        head_(std::move(head)),
        tokenizer_(std::move(tokenizer)),
        info_(std::move(info)),
        prompt_ends_(prompt_ends),
        runtime_(runtime),
        transformer_(config_->model, weights_, config_->max_tokens, runtime) {}

  Result<Embeddings> Encode(std::span<const std::string_view> texts, TextRole role,
                            const CancelToken* cancel) const override;
  const EncoderInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }

 private:
  const std::unique_ptr<const EncoderConfig> config_;  // head_ points to it
  const TransformerWeights weights_;
  const VectorHead head_;
  const std::unique_ptr<Tokenizer> tokenizer_;
  const EncoderInfo info_;
  // Where a text's own tokens begin after a role's prompt; 0 without one.
  const std::array<size_t, kTextRoles> prompt_ends_;
  const Runtime& runtime_;
  const Transformer transformer_;
};

bool IsCancelled(const CancelToken* cancel) { return cancel != nullptr && cancel->cancelled(); }

Result<Embeddings> FolderEncoder::Encode(std::span<const std::string_view> texts, TextRole role,
                                         const CancelToken* cancel) const {
  ThreadPool& pool = runtime_.pool();
  Embeddings result;
  result.vectors = Matrix(texts.size(), info_.dim);
  result.truncated.resize(texts.size());

  std::vector<Encoding> encodings(texts.size());
  const EncodeOptions options{.max_tokens = config_->max_tokens};
  const EncoderPrompt& prompt = info_.prompt(role);
  const size_t pool_begin =
      config_->pooling.pool_prompt ? 0 : prompt_ends_[static_cast<size_t>(role)];
  pool.ParallelFor(texts.size(), kTokenizeGrain, [&](size_t begin, size_t end, int) {
    if (IsCancelled(cancel)) return;
    std::string prompted;
    for (size_t i = begin; i < end; ++i) {
      std::string_view text = texts[i];
      if (!prompt.text.empty()) {
        prompted = prompt.text;
        prompted += text;
        text = prompted;
      }
      encodings[i] = config_->lower_case ? tokenizer_->Encode(ToLower(text), options)
                                         : tokenizer_->Encode(text, options);
    }
  });
  if (IsCancelled(cancel)) return CancelledError("encoding was cancelled");

  std::vector<TokenSequence> sequences(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (encodings[i].ids.size() > config_->max_tokens) {
      return InternalError("the tokenizer gave ", encodings[i].ids.size(), " tokens, more than ",
                           config_->max_tokens);
    }
    sequences[i] = {encodings[i].ids, encodings[i].type_ids};
    result.truncated[i] = static_cast<uint32_t>(encodings[i].truncated);
    result.stats.tokens += encodings[i].ids.size();
    result.stats.truncated_texts += encodings[i].truncated > 0;
    result.stats.truncated_tokens += encodings[i].truncated;
  }
  result.stats.texts = texts.size();
  RAG_RETURN_IF_ERROR(RunSequences(
      transformer_, runtime_, sequences,
      [&](size_t i, MatrixView states) {
        const size_t begin = std::min(pool_begin, std::max<size_t>(states.rows, 1) - 1);
        head_.Apply(states, begin, result.vectors.row(i));
      },
      cancel));
  return result;
}

}  // namespace

Result<std::unique_ptr<Encoder>> Encoder::Load(const std::string& folder, const Runtime& runtime,
                                               const EncoderOptions& options) {
  RAG_ASSIGN_OR_RETURN(EncoderConfig read, ReadEncoderConfig(folder, options));
  auto owned = std::make_unique<const EncoderConfig>(std::move(read));
  const EncoderConfig& config = *owned;
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(config.folder));
  if (tokenizer->vocab_size() > config.model.vocab) {
    return InvalidArgumentError(config.folder, ": the tokenizer has ", tokenizer->vocab_size(),
                                " pieces and config.json's 'vocab_size' is ", config.model.vocab);
  }
  RAG_ASSIGN_OR_RETURN(TransformerWeights weights,
                       TransformerWeights::Load(config.folder, config.model,
                                                {config.max_tokens, options.precision}, runtime));
  RAG_ASSIGN_OR_RETURN(VectorHead head, VectorHead::Load(config, runtime));
  RAG_ASSIGN_OR_RETURN(const uint64_t tokenizer_hash, HashTokenizer(config.folder));
  EncoderInfo info{
      .model_type = config.model.model_type,
      .dim = config.dim,
      .layers = config.model.layers,
      .heads = config.model.heads,
      .max_tokens = config.max_tokens,
      .pooling = config.pooling.modes,
      .normalize = config.normalizes(),
      .similarity = config.similarity,
      .precision = options.precision,
      .fingerprint = MakeFingerprint(config, {.tokenizer = tokenizer_hash,
                                              .weights = weights.hash,
                                              .head = head.hash(),
                                              .precision = options.precision}),
      .weight_bytes = weights.bytes + head.bytes(),
  };
  std::array<size_t, kTextRoles> prompt_ends = {};
  const size_t special = tokenizer->Encode("").ids.size();
  for (size_t role = 0; role < kTextRoles; ++role) {
    const std::string& prompt = config.prompts[role];
    if (prompt.empty()) continue;
    const Encoding encoding = tokenizer->Encode(config.lower_case ? ToLower(prompt) : prompt);
    const size_t tokens = encoding.ids.size();
    if (tokens >= config.max_tokens) {
      return InvalidArgumentError(folder, ": the prompt of role '",
                                  TextRoleName(static_cast<TextRole>(role)), "' has ", tokens,
                                  " tokens, and the encoder reads ", config.max_tokens);
    }
    info.prompts[role] = {prompt, tokens - std::min(special, tokens)};
    // As sentence-transformers counts them: what the tokenizer adds in front is the prompt's too.
    prompt_ends[role] = tokens - (tokens > 0 && tokenizer->IsSpecial(encoding.ids.back()) ? 1 : 0);
  }
  return std::unique_ptr<Encoder>(
      std::make_unique<FolderEncoder>(std::move(owned), std::move(weights), std::move(head),
                                      std::move(tokenizer), std::move(info), prompt_ends, runtime));
}

}  // namespace rag
