#include "embed/encoder.h"

#include <algorithm>
#include <utility>

#include "embed/encoder_config.h"
#include "embed/fingerprint.h"
#include "embed/image_tower.h"
#include "embed/pooling.h"
#include "embed/text_network.h"
#include "embed/word_encoder.h"
#include "embed/word_vectors.h"
#include "lib/text/unicode.h"

namespace rag {
namespace {

class FolderEncoder final : public Encoder {
 public:
  FolderEncoder(std::unique_ptr<const EncoderConfig> config,
                std::unique_ptr<const TextNetwork> network, VectorHead head,
                std::unique_ptr<const ImageTower> images, EncoderInfo info,
                std::array<size_t, kTextRoles> prompt_ends)
      : config_(std::move(config)),
        network_(std::move(network)),
        head_(std::move(head)),
        images_(std::move(images)),
        info_(std::move(info)),
        prompt_ends_(prompt_ends) {}

  Result<Embeddings> Encode(std::span<const std::string_view> texts, TextRole role,
                            const CancelToken* cancel) const override;
  Result<Embeddings> EncodeImages(std::span<const Image> images,
                                  const CancelToken* cancel) const override;
  const EncoderInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return network_->tokenizer(); }

 private:
  const std::unique_ptr<const EncoderConfig> config_;  // head_ points to it
  const std::unique_ptr<const TextNetwork> network_;
  const VectorHead head_;
  const std::unique_ptr<const ImageTower> images_;  // null: there is none
  const EncoderInfo info_;
  // Where a text's own tokens begin after a role's prompt; 0 without one.
  const std::array<size_t, kTextRoles> prompt_ends_;
};

Result<Embeddings> FolderEncoder::Encode(std::span<const std::string_view> texts, TextRole role,
                                         const CancelToken* cancel) const {
  Embeddings result;
  result.vectors = Matrix(texts.size(), info_.dim);
  result.truncated.resize(texts.size());
  const EncoderPrompt& prompt = info_.prompt(role);
  const size_t pool_begin =
      config_->pooling.pool_prompt ? 0 : prompt_ends_[static_cast<size_t>(role)];
  RAG_ASSIGN_OR_RETURN(const std::vector<Encoding> encodings,
                       network_->TokenizeAll(
                           texts.size(),
                           [&](size_t i) {
                             return prompt.text.empty()
                                        ? network_->Tokenize(texts[i])
                                        : network_->Tokenize(StrCat(prompt.text, texts[i]));
                           },
                           cancel));
  for (size_t i = 0; i < texts.size(); ++i) {
    result.truncated[i] = static_cast<uint32_t>(encodings[i].truncated);
  }
  RAG_RETURN_IF_ERROR(network_->Run(
      encodings,
      [&](size_t i, MatrixView states) {
        const size_t begin = std::min(pool_begin, std::max<size_t>(states.rows, 1) - 1);
        head_.Apply(states, begin, result.vectors.row(i));
      },
      result.stats, cancel));
  return result;
}

Result<Embeddings> FolderEncoder::EncodeImages(std::span<const Image> images,
                                               const CancelToken* cancel) const {
  if (images_ == nullptr) {
    return FailedPreconditionError("encoder ", info_.model_type, " of ", config_->folder,
                                   " does not encode images");
  }
  Embeddings result;
  result.vectors = Matrix(images.size(), info_.dim);
  result.truncated.resize(images.size());
  RAG_RETURN_IF_ERROR(images_->Encode(images, result.vectors, cancel));
  return result;
}

}  // namespace

Result<std::unique_ptr<Encoder>> Encoder::Load(const std::string& folder, const Runtime& runtime,
                                               const EncoderOptions& options) {
  if (WordVectors::IsFile(folder)) return LoadWordEncoder(folder, runtime, options);
  RAG_ASSIGN_OR_RETURN(EncoderConfig read, ReadEncoderConfig(folder, options));
  auto owned = std::make_unique<const EncoderConfig>(std::move(read));
  const EncoderConfig& config = *owned;
  RAG_ASSIGN_OR_RETURN(
      std::unique_ptr<const TextNetwork> network,
      TextNetwork::Load(config.folder, config.model, config.limits, options.precision, runtime));
  const Tokenizer& tokenizer = network->tokenizer();
  RAG_ASSIGN_OR_RETURN(VectorHead head, VectorHead::Load(config, runtime));
  std::unique_ptr<const ImageTower> images;
  std::optional<ImageEncoderInfo> image_info;
  if (config.images.has_value()) {
    RAG_ASSIGN_OR_RETURN(images, ImageTower::Load(config, options.precision, runtime));
    image_info = {.image_size = config.images->model.image_size,
                  .layers = config.images->model.layers,
                  .logit_scale = images->logit_scale(),
                  .logit_bias = images->logit_bias(),
                  .sigmoid = config.images->sigmoid()};
  }
  RAG_ASSIGN_OR_RETURN(const uint64_t tokenizer_hash, HashTokenizer(config.folder));
  const Result<uint64_t> weights_hash = HashWeights(network->weights().file(), runtime.pool());
  if (!weights_hash.ok()) return weights_hash.status().WithContext(config.folder);
  const Precision precision = network->weights().precision;
  EncoderInfo info{
      .model_type = config.model.model_type,
      .dim = config.dim,
      .layers = config.model.layers,
      .heads = config.model.heads,
      .max_tokens = config.limits.max_tokens,
      .pooling = config.pooling.modes,
      .normalize = config.normalizes(),
      .similarity = config.similarity,
      .precision = precision,
      .images = image_info,
      .fingerprint = MakeFingerprint(config, {.tokenizer = tokenizer_hash,
                                              .weights = *weights_hash,
                                              .head = head.hash(),
                                              .precision = precision}),
      .weight_bytes =
          network->weights().bytes + head.bytes() + (images != nullptr ? images->bytes() : 0),
  };
  std::array<size_t, kTextRoles> prompt_ends = {};
  const size_t special = tokenizer.Encode("").ids.size();
  for (size_t role = 0; role < kTextRoles; ++role) {
    const std::string& prompt = config.prompts[role];
    if (prompt.empty()) continue;
    const Encoding encoding = tokenizer.Encode(config.limits.lower_case ? ToLower(prompt) : prompt);
    const size_t tokens = encoding.ids.size();
    if (tokens >= config.limits.max_tokens) {
      return InvalidArgumentError(folder, ": the prompt of role '",
                                  TextRoleName(static_cast<TextRole>(role)), "' has ", tokens,
                                  " tokens, and the encoder reads ", config.limits.max_tokens);
    }
    info.prompts[role] = {prompt, tokens - std::min(special, tokens)};
    // As sentence-transformers counts them: what the tokenizer adds in front is the prompt's too.
    prompt_ends[role] = tokens - (tokens > 0 && tokenizer.IsSpecial(encoding.ids.back()) ? 1 : 0);
  }
  return std::unique_ptr<Encoder>(
      std::make_unique<FolderEncoder>(std::move(owned), std::move(network), std::move(head),
                                      std::move(images), std::move(info), prompt_ends));
}

}  // namespace rag
