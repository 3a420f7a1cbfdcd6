#include "embed/transformer_config.h"

#include <cmath>
#include <optional>
#include <utility>

#include "embed/family_readers.h"

namespace rag {
namespace {

using Family = EncoderFamily;

// How a family spells the sizes in config.json.
struct SizeKeys {
  std::string_view hidden = "hidden_size";
  std::string_view layers = "num_hidden_layers";
  std::string_view heads = "num_attention_heads";
  std::string_view intermediate = "intermediate_size";
  std::string_view positions = "max_position_embeddings";
  std::string_view epsilon = "layer_norm_eps";  // "": the reference takes the default always
  std::string_view activation = "hidden_act";   // "": the family reads it
  double default_epsilon = 1e-12;
  std::string_view default_activation = "gelu";
  // Where the file may leave them out, as it does inside a file of two networks.
  std::optional<int64_t> default_hidden;
  std::optional<int64_t> default_layers;
  std::optional<int64_t> default_heads;
  std::optional<int64_t> default_intermediate;
  std::optional<int64_t> default_vocab;
  int64_t default_positions = 512;
};

// DistilBERT's sizes under BERT's names: where both stand, the reference takes these.
SizeKeys TakeAliases(const ConfigFile& file, SizeKeys keys) {
  constexpr SizeKeys kAliases;
  if (file.Has(kAliases.hidden)) keys.hidden = kAliases.hidden;
  if (file.Has(kAliases.layers)) keys.layers = kAliases.layers;
  if (file.Has(kAliases.heads)) keys.heads = kAliases.heads;
  return keys;
}

Status ReadSizes(const ConfigFile& file, const SizeKeys& keys, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.hidden, file.Size(keys.hidden, 1, kMaxHidden, keys.default_hidden));
  RAG_ASSIGN_OR_RETURN(config.layers, file.Size(keys.layers, 1, kMaxLayers, keys.default_layers));
  RAG_ASSIGN_OR_RETURN(config.heads, file.Size(keys.heads, 1, kMaxHidden, keys.default_heads));
  RAG_ASSIGN_OR_RETURN(config.intermediate,
                       file.Size(keys.intermediate, 1, kMaxHidden * 4, keys.default_intermediate));
  if (keys.default_vocab != 0) {
    RAG_ASSIGN_OR_RETURN(config.vocab, file.Size("vocab_size", 1, kMaxVocab, keys.default_vocab));
  }
  RAG_ASSIGN_OR_RETURN(config.max_sequence,
                       file.Size(keys.positions, 1, kMaxPositions, keys.default_positions));
  double epsilon = keys.default_epsilon;
  if (!keys.epsilon.empty()) {
    RAG_ASSIGN_OR_RETURN(epsilon, file.Number(keys.epsilon, 0.0, 1.0, epsilon));
  }
  config.norm_epsilon = static_cast<float>(epsilon);
  if (!keys.activation.empty()) {
    RAG_ASSIGN_OR_RETURN(const std::string activation,
                         file.String(keys.activation, keys.default_activation));
    RAG_ASSIGN_OR_RETURN(config.activation, ParseActivation(file.path(), activation));
  }
  config.embedding = config.hidden;
  config.inner = config.hidden;
  return OkStatus();
}

struct FamilyReader {
  std::string_view model_type;
  Family family;
  SizeKeys keys;
  Status (*read)(const ConfigFile&, TransformerConfig&);
  bool part = false;  // of a model of two networks
};

constexpr SizeKeys kBertKeys;
constexpr SizeKeys kDistilBertKeys = {.hidden = "dim",
                                      .layers = "n_layers",
                                      .heads = "n_heads",
                                      .intermediate = "hidden_dim",
                                      .epsilon = "",
                                      .activation = "activation"};
constexpr SizeKeys kAlbertKeys = {.default_activation = "gelu_new"};
constexpr SizeKeys kMobileBertKeys = {.default_activation = "relu"};
constexpr SizeKeys kModernBertKeys = {
    .epsilon = "norm_eps", .activation = "hidden_activation", .default_epsilon = 1e-5};
constexpr SizeKeys kDecoderKeys = {
    .epsilon = "rms_norm_eps", .default_epsilon = 1e-6, .default_activation = "silu"};
constexpr SizeKeys kGemmaKeys = {.epsilon = "rms_norm_eps",
                                 .activation = "hidden_activation",
                                 .default_epsilon = 1e-6,
                                 .default_activation = "gelu_pytorch_tanh",
                                 .default_positions = kMaxPositions};
// Relative positions have no end: the tokenizer's settings say where texts are cut.
constexpr SizeKeys kT5Keys = {.hidden = "d_model",
                              .layers = "num_layers",
                              .heads = "num_heads",
                              .intermediate = "d_ff",
                              .epsilon = "layer_norm_epsilon",
                              .activation = "",
                              .default_epsilon = 1e-6,
                              .default_positions = kMaxPositions};
constexpr SizeKeys kNomicKeys = {.default_activation = "silu"};
constexpr SizeKeys kNomicOwnKeys = {.hidden = "n_embd",
                                    .layers = "n_layer",
                                    .heads = "n_head",
                                    .intermediate = "n_inner",
                                    .positions = "n_positions",
                                    .epsilon = "layer_norm_epsilon",
                                    .activation = "activation_function",
                                    .default_activation = "swiglu"};

constexpr SizeKeys kClipTextKeys = {.default_epsilon = 1e-5,
                                    .default_activation = "quick_gelu",
                                    .default_hidden = 512,
                                    .default_layers = 12,
                                    .default_heads = 8,
                                    .default_intermediate = 2'048,
                                    .default_vocab = 49'408,
                                    .default_positions = 77};
constexpr SizeKeys kClipVisionKeys = {.default_epsilon = 1e-5,
                                      .default_activation = "quick_gelu",
                                      .default_hidden = 768,
                                      .default_layers = 12,
                                      .default_heads = 12,
                                      .default_intermediate = 3'072,
                                      .default_vocab = 0};
constexpr SizeKeys kSiglipTextKeys = {.default_epsilon = 1e-6,
                                      .default_activation = "gelu_pytorch_tanh",
                                      .default_hidden = 768,
                                      .default_layers = 12,
                                      .default_heads = 12,
                                      .default_intermediate = 3'072,
                                      .default_vocab = 32'000,
                                      .default_positions = 64};
constexpr SizeKeys kSiglipVisionKeys = {.default_epsilon = 1e-6,
                                        .default_activation = "gelu_pytorch_tanh",
                                        .default_hidden = 768,
                                        .default_layers = 12,
                                        .default_heads = 12,
                                        .default_intermediate = 3'072,
                                        .default_vocab = 0};

constexpr FamilyReader kFamilies[] = {
    {"bert", Family::kBert, kBertKeys, ReadBert},
    {"distilbert", Family::kDistilBert, kDistilBertKeys, ReadDistilBert},
    {"roberta", Family::kRoberta, kBertKeys, ReadRoberta},
    {"xlm-roberta", Family::kRoberta, kBertKeys, ReadRoberta},
    {"camembert", Family::kRoberta, kBertKeys, ReadRoberta},
    {"mpnet", Family::kMpNet, kBertKeys, ReadMpNet},
    {"albert", Family::kAlbert, kAlbertKeys, ReadAlbert},
    {"electra", Family::kElectra, kBertKeys, ReadElectra},
    {"mobilebert", Family::kMobileBert, kMobileBertKeys, ReadMobileBert},
    {"modernbert", Family::kModernBert, kModernBertKeys, ReadModernBert},
    {"nomic_bert", Family::kNomic, kNomicKeys, ReadNomic},
    {"gte", Family::kGte, kBertKeys, ReadGte},
    {"new", Family::kGte, kBertKeys, ReadGte},
    {"clip_text_model", Family::kClipText, kClipTextKeys, ReadClipText, true},
    {"clip_vision_model", Family::kClipVision, kClipVisionKeys, ReadClipVision, true},
    {"siglip_text_model", Family::kSiglipText, kSiglipTextKeys, ReadSiglipText, true},
    {"siglip_vision_model", Family::kSiglipVision, kSiglipVisionKeys, ReadSiglipVision, true},
    {"qwen3", Family::kDecoder, kDecoderKeys, ReadDecoder},
    {"qwen2", Family::kDecoder, kDecoderKeys, ReadDecoder},
    {"mistral", Family::kDecoder, kDecoderKeys, ReadDecoder},
    {"llama", Family::kDecoder, kDecoderKeys, ReadDecoder},
    {"gemma3_text", Family::kGemma, kGemmaKeys, ReadGemma},
    {"t5", Family::kT5, kT5Keys, ReadT5},
    {"mt5", Family::kT5, kT5Keys, ReadT5},
};

}  // namespace

Result<EncoderActivation> ParseActivation(const std::string& path, std::string_view name) {
  constexpr std::pair<std::string_view, EncoderActivation> kNames[] = {
      {"gelu", EncoderActivation::kGelu},
      {"gelu_python", EncoderActivation::kGelu},
      {"gelu_new", EncoderActivation::kGeluTanh},
      {"gelu_pytorch_tanh", EncoderActivation::kGeluTanh},
      {"gelu_fast", EncoderActivation::kGeluTanh},
      {"gelu_accurate", EncoderActivation::kGeluTanh},
      {"gelu_python_tanh", EncoderActivation::kGeluTanh},
      {"quick_gelu", EncoderActivation::kQuickGelu},
      {"relu", EncoderActivation::kRelu},
      {"silu", EncoderActivation::kSilu},
      {"swish", EncoderActivation::kSilu},
      {"swiglu", EncoderActivation::kSilu},
      {"tanh", EncoderActivation::kTanh},
      {"linear", EncoderActivation::kIdentity},
  };
  for (const auto& [known, activation] : kNames) {
    if (name == known) return activation;
  }
  return UnsupportedError(
      path, ": activation '", name,
      "' is not known; known are gelu, gelu_new, quick_gelu, relu, silu and tanh");
}

Result<TransformerConfig> ReadTransformerConfig(const ConfigFile& file) {
  TransformerConfig config;
  RAG_ASSIGN_OR_RETURN(config.model_type, file.String("model_type", ""));
  const FamilyReader* found = nullptr;
  std::string known;
  for (const FamilyReader& family : kFamilies) {
    if (family.model_type == config.model_type) found = &family;
    if (family.part) continue;
    known += StrCat(known.empty() ? "" : ", ", family.model_type);
  }
  if (found == nullptr) {
    return UnsupportedError(file.path(), ": model_type '", config.model_type,
                            "' is not known; known are ", known,
                            ", and clip and siglip as encoders");
  }
  config.family = found->family;
  const bool own_keys = found->family == Family::kNomic && file.Has("n_embd");
  SizeKeys keys = own_keys ? kNomicOwnKeys : found->keys;
  if (found->family == Family::kDistilBert) keys = TakeAliases(file, keys);
  RAG_RETURN_IF_ERROR(ReadSizes(file, keys, config));
  RAG_RETURN_IF_ERROR(found->read(file, config));
  if (config.head_dim == 0 && config.inner % config.heads != 0) {
    return InvalidArgumentError(file.path(), ": hidden size ", config.inner,
                                " is no multiple of the ", config.heads, " heads");
  }
  if (config.head_dim == 0) config.head_dim = config.inner / config.heads;
  if (config.kv_heads == 0) config.kv_heads = config.heads;
  if (config.score_scale == 0) {
    config.score_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  }
  if (config.heads % config.kv_heads != 0) {
    return InvalidArgumentError(file.path(), ": 'num_attention_heads' ", config.heads,
                                " is no multiple of 'num_key_value_heads' ", config.kv_heads);
  }
  if (config.query_width() > kMaxHidden) {
    return InvalidArgumentError(file.path(), ": ", config.heads, " heads of 'head_dim' ",
                                config.head_dim, " are wider than ", kMaxHidden);
  }
  if (config.rotary_base > 0 && config.head_dim % 2 != 0) {
    return InvalidArgumentError(file.path(), ": a head of ", config.head_dim,
                                " elements cannot be rotated; 'num_attention_heads' is ",
                                config.heads);
  }
  return config;
}

}  // namespace rag
