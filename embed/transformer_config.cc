#include "embed/transformer_config.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace rag {
namespace {

constexpr int64_t kMaxVocab = 1 << 24;
// Rotary bases in use run from 1e3 to 1e6.
constexpr double kMaxRotaryBase = 1e12;
// Pixels of an edge.
constexpr int64_t kMaxImageSize = 4'096;

using Family = EncoderFamily;

// How a family spells the sizes in config.json.
struct SizeKeys {
  std::string_view hidden = "hidden_size";
  std::string_view layers = "num_hidden_layers";
  std::string_view heads = "num_attention_heads";
  std::string_view intermediate = "intermediate_size";
  std::string_view positions = "max_position_embeddings";
  std::string_view epsilon = "layer_norm_eps";  // "": the reference takes the default always
  std::string_view activation = "hidden_act";
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
  RAG_ASSIGN_OR_RETURN(const std::string activation,
                       file.String(keys.activation, keys.default_activation));
  RAG_ASSIGN_OR_RETURN(config.activation, ParseActivation(file.path(), activation));
  config.embedding = config.hidden;
  config.inner = config.hidden;
  return OkStatus();
}

Status ReadTypes(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.type_vocab, file.Size("type_vocab_size", 0, kMaxHidden, 2));
  return OkStatus();
}

Status RefuseOther(const ConfigFile& file, std::string_view key, std::string_view known) {
  RAG_ASSIGN_OR_RETURN(const std::string value, file.String(key, known));
  if (value == known) return OkStatus();
  return UnimplementedError(file.path(), ": ", key, " '", value, "' is not known; known is ",
                            known);
}

// A table of positions whose first `skipped` rows no token has.
Status UsePositionTable(const ConfigFile& file, std::string_view key, size_t skipped,
                        TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(RefuseOther(file, "position_embedding_type", "absolute"));
  config.positions = config.max_sequence;
  config.first_position = skipped;
  if (skipped >= config.positions) {
    return InvalidArgumentError(file.path(), ": '", key, "' ", skipped - 1,
                                " leaves no position of 'max_position_embeddings' ",
                                config.positions);
  }
  config.max_sequence = config.positions - skipped;
  return OkStatus();
}

Status ReadRoberta(const ConfigFile& file, TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  RAG_ASSIGN_OR_RETURN(const size_t padding_id, file.Size("pad_token_id", 0, kMaxPositions, 1));
  return UsePositionTable(file, "pad_token_id", padding_id + 1, config);
}

Status ReadMpNet(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.bias_buckets,
                       file.Size("relative_attention_num_buckets", 2, kMaxHidden, 32));
  if (config.bias_buckets != 32) {
    // The reference computes buckets for 32 of them, whatever this says.
    return UnimplementedError(file.path(), ": relative_attention_num_buckets ", config.bias_buckets,
                              " is not known; known is 32");
  }
  // After a padding id of 1, which the reference does not read from the file.
  return UsePositionTable(file, "pad_token_id", 2, config);
}

Status ReadAlbert(const ConfigFile& file, TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  RAG_ASSIGN_OR_RETURN(config.embedding, file.Size("embedding_size", 1, kMaxHidden, 128));
  RAG_ASSIGN_OR_RETURN(config.groups, file.Size("num_hidden_groups", 1, kMaxLayers, 1));
  RAG_ASSIGN_OR_RETURN(config.group_layers, file.Size("inner_group_num", 1, 16, 1));
  if (config.groups > config.layers) {
    return InvalidArgumentError(file.path(), ": 'num_hidden_groups' ", config.groups,
                                " is more than the ", config.layers, " layers");
  }
  return UsePositionTable(file, "", 0, config);
}

Status ReadElectra(const ConfigFile& file, TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  RAG_ASSIGN_OR_RETURN(config.embedding, file.Size("embedding_size", 1, kMaxHidden,
                                                   static_cast<int64_t>(config.hidden)));
  return UsePositionTable(file, "", 0, config);
}

// Sun et al. 2020.
Status ReadMobileBert(const ConfigFile& file, TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  RAG_ASSIGN_OR_RETURN(config.embedding, file.Size("embedding_size", 1, kMaxHidden, 128));
  RAG_ASSIGN_OR_RETURN(config.inner, file.Size("intra_bottleneck_size", 1, kMaxHidden, 128));
  RAG_ASSIGN_OR_RETURN(config.feed_forwards, file.Size("num_feedforward_networks", 1, 16, 4));
  RAG_ASSIGN_OR_RETURN(config.trigram, file.Bool("trigram_input", true));
  const std::pair<std::string_view, bool> fixed[] = {
      {"use_bottleneck", true},
      {"use_bottleneck_attention", false},
      {"key_query_shared_bottleneck", true},
  };
  for (const auto& [key, known] : fixed) {
    RAG_ASSIGN_OR_RETURN(const bool value, file.Bool(key, known));
    if (value != known) {
      return UnimplementedError(file.path(), ": ", key, " ", value, " is not known; known is ",
                                known);
    }
  }
  RAG_ASSIGN_OR_RETURN(const std::string norm, file.String("normalization_type", "no_norm"));
  if (norm != "no_norm" && norm != "layer_norm") {
    return UnimplementedError(file.path(), ": normalization_type '", norm,
                              "' is not known; known are no_norm and layer_norm");
  }
  config.no_norm = norm == "no_norm";
  return UsePositionTable(file, "", 0, config);
}

// One member of 'rope_parameters', which newer files have, or a key of its own, which older have.
Result<double> ReadRotaryBase(const ConfigFile& file, std::string_view member, std::string_view key,
                              double fallback) {
  const Value* parameters = file.value().Find("rope_parameters");
  if (parameters != nullptr && !member.empty()) parameters = parameters->Find(member);
  if (parameters == nullptr || parameters->is_null()) {
    return file.Number(key, 1.0, kMaxRotaryBase, fallback);
  }
  const ConfigFile rope(StrCat(file.path(), ": rope_parameters"), *parameters);
  RAG_RETURN_IF_ERROR(RefuseOther(rope, "rope_type", "default"));
  return rope.Number("rope_theta", 1.0, kMaxRotaryBase, fallback);
}

// Fixed NTK scaling (kexue.fm/archives/9706, equation 6), as GTE's own code and vLLM have it.
Status ReadNtkScaling(const ConfigFile& file, TransformerConfig& config) {
  if (!file.Has("rope_scaling")) return OkStatus();
  const ConfigFile scaling(StrCat(file.path(), ": rope_scaling"),
                           *file.value().Find("rope_scaling"));
  RAG_ASSIGN_OR_RETURN(const std::string type, scaling.String("type", ""));
  if (type != "ntk" || scaling.Has("mixed_b")) {
    return UnimplementedError(scaling.path(), " type '", type,
                              "' is not known; known is ntk without mixed_b");
  }
  RAG_ASSIGN_OR_RETURN(const double factor, scaling.Number("factor", 1.0, 1e3, 1.0));
  config.rotary_base *= factor;
  config.rotary_divisor = std::pow(factor, 2.0 / static_cast<double>(config.hidden / config.heads));
  return OkStatus();
}

Status RefuseRopeScaling(const ConfigFile& file) {
  if (!file.Has("rope_scaling")) return OkStatus();
  return UnimplementedError(file.path(), ": 'rope_scaling' is not known");
}

// Warner et al. 2024.
Status ReadModernBert(const ConfigFile& file, TransformerConfig& config) {
  config.pre_norm = true;
  config.gated = true;
  RAG_RETURN_IF_ERROR(RefuseRopeScaling(file));
  RAG_ASSIGN_OR_RETURN(config.rotary_base,
                       ReadRotaryBase(file, "full_attention", "global_rope_theta", 160'000.0));
  RAG_ASSIGN_OR_RETURN(config.local_rotary_base,
                       ReadRotaryBase(file, "sliding_attention", "local_rope_theta", 10'000.0));
  RAG_ASSIGN_OR_RETURN(const size_t keys, file.Size("local_attention", 2, kMaxPositions, 128));
  config.window = keys / 2;
  config.local.resize(config.layers);
  const Value* types = file.value().Find("layer_types");
  if (types != nullptr && types->is_array()) {
    const Value::Array& names = types->as_array();
    if (names.size() != config.layers) {
      return InvalidArgumentError(file.path(), ": 'layer_types' has ", names.size(),
                                  " entries for ", config.layers, " layers");
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const std::string name = names[i].is_string() ? names[i].as_string() : "";
      if (name != "sliding_attention" && name != "full_attention") {
        return UnimplementedError(file.path(), ": 'layer_types' entry ", i,
                                  " is neither full_attention nor sliding_attention");
      }
      config.local[i] = name == "sliding_attention";
    }
    return OkStatus();
  }
  RAG_ASSIGN_OR_RETURN(const size_t every,
                       file.Size("global_attn_every_n_layers", 1, kMaxLayers, 3));
  for (size_t i = 0; i < config.layers; ++i) config.local[i] = i % every != 0;
  return OkStatus();
}

// Nussbaum et al. 2024. The model's own files follow GPT-2's spelling, transformers' BERT's.
Status ReadNomic(const ConfigFile& file, TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  config.gated = true;
  const std::pair<std::string_view, bool> fixed[] = {
      {"prenorm", false}, {"rotary_emb_interleaved", false}, {"use_rms_norm", false}};
  for (const auto& [key, known] : fixed) {
    RAG_ASSIGN_OR_RETURN(const bool value, file.Bool(key, known));
    if (value != known) {
      return UnimplementedError(file.path(), ": ", key, " ", value, " is not known; known is ",
                                known);
    }
  }
  RAG_ASSIGN_OR_RETURN(const double fraction, file.Number("rotary_emb_fraction", 0.0, 1.0, 1.0));
  if (fraction != 1.0) {
    return UnimplementedError(file.path(), ": rotary_emb_fraction ", fraction,
                              " is not known; known is 1");
  }
  RAG_ASSIGN_OR_RETURN(config.rotary_base, ReadRotaryBase(file, "", "rotary_emb_base", 1'000.0));
  if (!file.Has("rotary_scaling_factor")) return OkStatus();
  // Past the lengths it was trained on, the scaled base depends on the length of the whole batch.
  RAG_ASSIGN_OR_RETURN(const size_t trained,
                       file.Size("max_trained_positions", 1, kMaxPositions, 2'048));
  config.max_sequence = std::min(config.max_sequence, trained);
  return OkStatus();
}

Status ReadGte(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.type_vocab, file.Size("type_vocab_size", 0, kMaxHidden, 1));
  config.gated = true;
  const std::pair<std::string_view, std::string_view> fixed[] = {
      {"position_embedding_type", "rope"}, {"layer_norm_type", "layer_norm"}};
  for (const auto& [key, known] : fixed) RAG_RETURN_IF_ERROR(RefuseOther(file, key, known));
  RAG_ASSIGN_OR_RETURN(const bool scaled, file.Bool("logn_attention_scale"));
  if (scaled) return UnimplementedError(file.path(), ": logn_attention_scale true is not known");
  // GTE's own code and transformers differ in what a file without a base means.
  const double base = config.model_type == "new" ? 10'000.0 : 160'000.0;
  RAG_ASSIGN_OR_RETURN(config.rotary_base, ReadRotaryBase(file, "", "rope_theta", base));
  if (config.heads > config.hidden) return OkStatus();  // told when all is read
  return ReadNtkScaling(file, config);
}

// Günther et al. 2023: BERT with ALiBi on both sides and a gated feed-forward network.
Status ReadJinaBert(const ConfigFile& file, TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  config.family = Family::kJinaBert;
  config.alibi = true;
  RAG_RETURN_IF_ERROR(RefuseOther(file, "feed_forward_type", "geglu"));
  config.gated = true;
  return OkStatus();
}

Status ReadBert(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string positions,
                       file.String("position_embedding_type", "absolute"));
  if (positions == "alibi") return ReadJinaBert(file, config);
  if (positions != "absolute") {
    return UnimplementedError(file.path(), ": position_embedding_type '", positions,
                              "' is not known; known are absolute and alibi");
  }
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  return UsePositionTable(file, "", 0, config);
}

Status ReadDistilBert(const ConfigFile& file, TransformerConfig& config) {
  return UsePositionTable(file, "", 0, config);
}

// Radford et al. 2021.
Status ReadClipText(const ConfigFile& file, TransformerConfig& config) {
  config.pre_norm = true;
  config.causal = true;
  return UsePositionTable(file, "", 0, config);
}

// Zhai et al. 2023.
Status ReadSiglipText(const ConfigFile& file, TransformerConfig& config) {
  config.pre_norm = true;
  return UsePositionTable(file, "", 0, config);
}

// Every patch has a position, and so has what stands before them.
Status ReadVision(const ConfigFile& file, TransformerConfig& config, int64_t default_patch) {
  config.pre_norm = true;
  RAG_ASSIGN_OR_RETURN(config.image_size, file.Size("image_size", 1, kMaxImageSize, 224));
  RAG_ASSIGN_OR_RETURN(config.patch_size, file.Size("patch_size", 1, kMaxImageSize, default_patch));
  RAG_RETURN_IF_ERROR(file.Size("num_channels", 3, 3, 3).status());
  if (config.patch_size > config.image_size) {
    return InvalidArgumentError(file.path(), ": 'patch_size' ", config.patch_size,
                                " is more than 'image_size' ", config.image_size);
  }
  const size_t edge = config.image_size / config.patch_size;
  config.positions = edge * edge + (config.class_token ? 1 : 0);
  if (config.positions > static_cast<size_t>(kMaxPositions)) {
    return InvalidArgumentError(file.path(), ": 'image_size' ", config.image_size,
                                " and 'patch_size' ", config.patch_size, " give ", config.positions,
                                " patches, more than ", kMaxPositions);
  }
  config.max_sequence = config.positions;
  return OkStatus();
}

Status ReadClipVision(const ConfigFile& file, TransformerConfig& config) {
  config.class_token = true;
  return ReadVision(file, config, 32);
}

Status ReadSiglipVision(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const bool head, file.Bool("vision_use_head", true));
  if (!head) return UnimplementedError(file.path(), ": vision_use_head false is not known");
  return ReadVision(file, config, 16);
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
};

}  // namespace

Result<EncoderActivation> ParseActivation(const std::string& path, std::string_view name) {
  constexpr std::pair<std::string_view, EncoderActivation> kNames[] = {
      {"gelu", EncoderActivation::kGelu},
      {"gelu_new", EncoderActivation::kGeluTanh},
      {"gelu_pytorch_tanh", EncoderActivation::kGeluTanh},
      {"gelu_fast", EncoderActivation::kGeluTanh},
      {"quick_gelu", EncoderActivation::kQuickGelu},
      {"relu", EncoderActivation::kRelu},
      {"silu", EncoderActivation::kSilu},
      {"swish", EncoderActivation::kSilu},
      {"swiglu", EncoderActivation::kSilu},
      {"tanh", EncoderActivation::kTanh},
      {"torch.nn.modules.activation.GELU", EncoderActivation::kGelu},
      {"torch.nn.modules.activation.ReLU", EncoderActivation::kRelu},
      {"torch.nn.modules.activation.SiLU", EncoderActivation::kSilu},
      {"torch.nn.modules.activation.Tanh", EncoderActivation::kTanh},
      {"torch.nn.modules.linear.Identity", EncoderActivation::kIdentity},
  };
  for (const auto& [known, activation] : kNames) {
    if (name == known) return activation;
  }
  return UnimplementedError(
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
    return UnimplementedError(file.path(), ": model_type '", config.model_type,
                              "' is not known; known are ", known,
                              ", and clip and siglip as encoders");
  }
  config.family = found->family;
  const bool own_keys = found->family == Family::kNomic && file.Has("n_embd");
  RAG_RETURN_IF_ERROR(ReadSizes(file, own_keys ? kNomicOwnKeys : found->keys, config));
  RAG_RETURN_IF_ERROR(found->read(file, config));
  if (config.inner % config.heads != 0) {
    return InvalidArgumentError(file.path(), ": hidden size ", config.inner,
                                " is no multiple of the ", config.heads, " heads");
  }
  if (config.rotary_base > 0 && config.inner / config.heads % 2 != 0) {
    return InvalidArgumentError(file.path(), ": a head of ", config.inner / config.heads,
                                " elements cannot be rotated; 'num_attention_heads' is ",
                                config.heads);
  }
  return config;
}

}  // namespace rag
