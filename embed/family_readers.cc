#include "embed/family_readers.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

namespace rag {
namespace {

// Rotary bases in use run from 1e3 to 1e6.
constexpr double kMaxRotaryBase = 1e12;
// The numbers of a scaling: published factors reach 64.
constexpr double kMaxRotaryNumber = 1e6;
// Pixels of an edge.
constexpr int64_t kMaxImageSize = 4'096;

Status ReadTypes(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.type_vocab, file.Size("type_vocab_size", 0, kMaxHidden, 2));
  return OkStatus();
}

Status RefuseOther(const ConfigFile& file, std::string_view key, std::string_view known) {
  RAG_ASSIGN_OR_RETURN(const std::string value, file.String(key, known));
  if (value == known) return OkStatus();
  return UnsupportedError(file.path(), ": ", key, " '", value, "' is not known; known is ", known);
}

// What BERT and its kin are when they write: each token sees those before it alone.
Status ReadDirection(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.causal, file.Bool("is_decoder"));
  return OkStatus();
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

// One member of 'rope_parameters', which newer files have, or a key of its own, which older have.
Result<double> ReadRotaryBase(const ConfigFile& file, std::string_view member, std::string_view key,
                              double fallback) {
  RAG_ASSIGN_OR_RETURN(const double base, file.Number(key, 1.0, kMaxRotaryBase, fallback));
  const Value* parameters = file.value().Find("rope_parameters");
  if (parameters != nullptr && !member.empty()) parameters = parameters->Find(member);
  if (parameters == nullptr || parameters->is_null()) return base;
  const ConfigFile rope(StrCat(file.path(), ": rope_parameters"), *parameters);
  RAG_RETURN_IF_ERROR(RefuseOther(rope, "rope_type", "default"));
  return rope.Number("rope_theta", 1.0, kMaxRotaryBase, base);
}

// Fixed NTK scaling (kexue.fm/archives/9706, equation 6), as GTE's own code and vLLM have it.
Status ReadNtkScaling(const ConfigFile& file, TransformerConfig& config) {
  if (!file.Has("rope_scaling")) return OkStatus();
  const ConfigFile scaling(StrCat(file.path(), ": rope_scaling"),
                           *file.value().Find("rope_scaling"));
  RAG_ASSIGN_OR_RETURN(const std::string type, scaling.String("type", ""));
  if (type != "ntk" || scaling.Has("mixed_b")) {
    return UnsupportedError(scaling.path(), " type '", type,
                            "' is not known; known is ntk without mixed_b");
  }
  RAG_ASSIGN_OR_RETURN(const double factor, scaling.Number("factor", 1.0, 1e3, 1.0));
  config.rotary_base *= factor;
  config.rotary_scaling.kind = RopeScaling::kLinear;
  config.rotary_scaling.factor =
      std::pow(factor, 2.0 / static_cast<double>(config.hidden / config.heads));
  return OkStatus();
}

Status RefuseRopeScaling(const ConfigFile& file) {
  if (!file.Has("rope_scaling")) return OkStatus();
  return UnsupportedError(file.path(), ": 'rope_scaling' is not known");
}

// A number above 0 that must be there unless it has a fallback.
Result<double> ReadPositive(const ConfigFile& file, std::string_view key, double fallback = 0) {
  RAG_ASSIGN_OR_RETURN(const double number, file.Number(key, 0.0, kMaxRotaryNumber, fallback));
  if (number > 0) return number;
  return InvalidArgumentError(file.path(), ": '", key, "' is missing or 0");
}

// The positions that a model was trained on first: a key of the file itself comes before the
// scaling's, as in transformers.
Result<size_t> ReadOriginalContext(const ConfigFile& file, const ConfigFile& scaling,
                                   const TransformerConfig& config) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  return (file.Has(kKey) ? file : scaling)
      .Size(kKey, 1, kMaxPositions, static_cast<int64_t>(config.max_sequence));
}

Status ReadLlama3Scaling(const ConfigFile& file, const ConfigFile& scaling,
                         TransformerConfig& config) {
  Llama3Scaling llama3;
  RAG_ASSIGN_OR_RETURN(llama3.factor, ReadPositive(scaling, "factor"));
  RAG_ASSIGN_OR_RETURN(llama3.low, ReadPositive(scaling, "low_freq_factor"));
  RAG_ASSIGN_OR_RETURN(llama3.high, ReadPositive(scaling, "high_freq_factor"));
  RAG_ASSIGN_OR_RETURN(llama3.original_context, ReadOriginalContext(file, scaling, config));
  if (!(llama3.high > llama3.low)) {
    return InvalidArgumentError(scaling.path(), ": 'high_freq_factor' ", llama3.high,
                                " is not above 'low_freq_factor' ", llama3.low);
  }
  const size_t head_dim = config.head_dim != 0 ? config.head_dim : config.hidden / config.heads;
  config.rotary_divisors = Llama3Divisors(head_dim, config.rotary_base, llama3);
  return OkStatus();
}

Status ReadYarnScaling(const ConfigFile& whole, const ConfigFile& file, TransformerConfig& config) {
  RotaryScaling& scaling = config.rotary_scaling;
  scaling.kind = RopeScaling::kYarn;
  RAG_ASSIGN_OR_RETURN(scaling.original_context, ReadOriginalContext(whole, file, config));
  RAG_ASSIGN_OR_RETURN(scaling.factor, ReadPositive(file, "factor"));
  RAG_ASSIGN_OR_RETURN(scaling.beta_fast, ReadPositive(file, "beta_fast", 32.0));
  RAG_ASSIGN_OR_RETURN(scaling.beta_slow, ReadPositive(file, "beta_slow", 1.0));
  RAG_ASSIGN_OR_RETURN(scaling.whole_dimensions, file.Bool("truncate", true));
  const double usual = YarnMagnitude(scaling.factor);
  RAG_ASSIGN_OR_RETURN(const double attention, ReadPositive(file, "attention_factor", usual));
  scaling.attention_factor = attention / usual;
  for (const std::string_view key : {"mscale", "mscale_all_dim"}) {
    if (file.Has(key)) return UnsupportedError(file.path(), ": '", key, "' is not known");
  }
  if (config.rotary_base > 1) return OkStatus();
  return InvalidArgumentError(file.path(), ": 'rope_theta' ", config.rotary_base,
                              " is not above 1, as YaRN needs it");
}

// A decoder's base and scaling: 'rope_parameters' of newer files, 'rope_theta' and 'rope_scaling'
// of older ones.
Status ReadDecoderRotation(const ConfigFile& file, TransformerConfig& config) {
  // Where both stand, the reference takes the older.
  const std::string_view name = file.Has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  RAG_ASSIGN_OR_RETURN(config.rotary_base,
                       file.Number("rope_theta", 1.0, kMaxRotaryBase, 10'000.0));
  if (!file.Has(name)) return OkStatus();
  const ConfigFile scaling(StrCat(file.path(), ": ", name), *file.value().Find(name));
  if (!scaling.value().is_object()) {
    return InvalidArgumentError(scaling.path(), " is a ", scaling.value().type_name(),
                                ", not an object");
  }
  RAG_ASSIGN_OR_RETURN(config.rotary_base,
                       scaling.Number("rope_theta", 1.0, kMaxRotaryBase, config.rotary_base));
  RAG_ASSIGN_OR_RETURN(const std::string old_type, scaling.String("type", "default"));
  RAG_ASSIGN_OR_RETURN(const std::string type, scaling.String("rope_type", old_type));
  // Dynamic scaling begins behind 'max_position_embeddings', where texts are cut.
  if (type == "default" || type == "dynamic") return OkStatus();
  if (type == "linear") {
    config.rotary_scaling.kind = RopeScaling::kLinear;
    RAG_ASSIGN_OR_RETURN(config.rotary_scaling.factor, ReadPositive(scaling, "factor"));
    return OkStatus();
  }
  if (type == "llama3") return ReadLlama3Scaling(file, scaling, config);
  if (type == "yarn") return ReadYarnScaling(file, scaling, config);
  return UnsupportedError(scaling.path(), ": rope_type '", type,
                          "' is not known; known are default, linear, dynamic, llama3 and yarn");
}

// Fills `config.local` from 'layer_types', where it is a list; says whether it is.
Result<bool> ReadLayerTypes(const ConfigFile& file, TransformerConfig& config) {
  if (!file.Has("layer_types")) return false;
  const Value& types = *file.value().Find("layer_types");
  if (!types.is_array() || types.as_array().size() != config.layers) {
    return InvalidArgumentError(file.path(), ": 'layer_types' is no list of ", config.layers,
                                " entries, one for each layer");
  }
  const Value::Array& names = types.as_array();
  config.local.resize(config.layers);
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string name = names[i].is_string() ? names[i].as_string() : "";
    if (name != "sliding_attention" && name != "full_attention") {
      return UnsupportedError(file.path(), ": 'layer_types' entry ", i,
                              " is neither full_attention nor sliding_attention");
    }
    config.local[i] = name == "sliding_attention";
  }
  return true;
}

// Which of a decoder's layers see a window alone, and how wide it is. Llama has none.
Status ReadDecoderWindow(const ConfigFile& file, TransformerConfig& config) {
  if (config.model_type == "llama") return OkStatus();
  const bool always = config.model_type == "mistral";  // all of its layers, unless it lists them
  const Value* width = file.value().Find("sliding_window");
  RAG_ASSIGN_OR_RETURN(const bool used, file.Bool("use_sliding_window"));
  const bool windowed = (always || used) && (width == nullptr || !width->is_null());
  RAG_ASSIGN_OR_RETURN(size_t first, file.Size("max_window_layers", 0, kMaxPositions, 28));
  if (always) first = 0;
  RAG_ASSIGN_OR_RETURN(const bool listed, ReadLayerTypes(file, config));
  config.local.resize(config.layers);
  for (size_t i = 0; !listed && i < config.layers; ++i) config.local[i] = windowed && i >= first;
  if (std::find(config.local.begin(), config.local.end(), true) == config.local.end()) {
    config.local.clear();
    return OkStatus();
  }
  if (!windowed) {
    return InvalidArgumentError(file.path(),
                                ": 'layer_types' has a sliding_attention, and "
                                "'use_sliding_window' is not true or 'sliding_window' is null");
  }
  RAG_ASSIGN_OR_RETURN(config.window, file.Size("sliding_window", 1, kMaxPositions, 4'096));
  if (config.causal) --config.window;  // there it counts the token itself
  return OkStatus();
}

// Günther et al. 2023: BERT with ALiBi on both sides and a gated feed-forward network.
Status ReadJinaBert(const ConfigFile& file, TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  config.family = EncoderFamily::kJinaBert;
  config.alibi = true;
  RAG_RETURN_IF_ERROR(RefuseOther(file, "feed_forward_type", "geglu"));
  config.gated = true;
  return OkStatus();
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

}  // namespace

Status ReadRoberta(const ConfigFile& file, TransformerConfig& config) {
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  RAG_ASSIGN_OR_RETURN(const size_t padding_id, file.Size("pad_token_id", 0, kMaxPositions, 1));
  config.unplaced_id = static_cast<int64_t>(padding_id);
  RAG_RETURN_IF_ERROR(ReadDirection(file, config));
  return UsePositionTable(file, "pad_token_id", padding_id + 1, config);
}

Status ReadMpNet(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.bias_buckets,
                       file.Size("relative_attention_num_buckets", 2, kMaxHidden, 32));
  if (config.bias_buckets != 32) {
    // The reference computes buckets for 32 of them, whatever this says.
    return UnsupportedError(file.path(), ": relative_attention_num_buckets ", config.bias_buckets,
                            " is not known; known is 32");
  }
  // After a padding id of 1, which the reference does not read from the file.
  config.unplaced_id = 1;
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
  RAG_RETURN_IF_ERROR(ReadDirection(file, config));
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
      return UnsupportedError(file.path(), ": ", key, " ", value, " is not known; known is ",
                              known);
    }
  }
  RAG_ASSIGN_OR_RETURN(const std::string norm, file.String("normalization_type", "no_norm"));
  if (norm != "no_norm" && norm != "layer_norm") {
    return UnsupportedError(file.path(), ": normalization_type '", norm,
                            "' is not known; known are no_norm and layer_norm");
  }
  config.no_norm = norm == "no_norm";
  // torch's default, which the reference's norms of embeddings and outputs have whatever this says.
  constexpr float kDefaultEpsilon = 1e-5f;
  if (!config.no_norm && config.norm_epsilon > kDefaultEpsilon) {
    return UnsupportedError(file.path(), ": layer_norm_eps ", config.norm_epsilon,
                            " with normalization_type 'layer_norm' is not known; known are 0 to ",
                            kDefaultEpsilon);
  }
  return UsePositionTable(file, "", 0, config);
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
  // A half of the same, which comes before it where both stand.
  RAG_ASSIGN_OR_RETURN(
      config.window, file.Size("sliding_window", 1, kMaxPositions, static_cast<int64_t>(keys / 2)));
  RAG_ASSIGN_OR_RETURN(const bool listed, ReadLayerTypes(file, config));
  if (listed) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const size_t every,
                       file.Size("global_attn_every_n_layers", 1, kMaxLayers, 3));
  config.local.resize(config.layers);
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
      return UnsupportedError(file.path(), ": ", key, " ", value, " is not known; known is ",
                              known);
    }
  }
  RAG_ASSIGN_OR_RETURN(const double fraction, file.Number("rotary_emb_fraction", 0.0, 1.0, 1.0));
  if (fraction != 1.0) {
    return UnsupportedError(file.path(), ": rotary_emb_fraction ", fraction,
                            " is not known; known is 1");
  }
  const std::string_view base = file.Has("rotary_emb_base") ? "rotary_emb_base" : "rope_theta";
  RAG_ASSIGN_OR_RETURN(config.rotary_base, ReadRotaryBase(file, "", base, 1'000.0));
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
  if (scaled) return UnsupportedError(file.path(), ": logn_attention_scale true is not known");
  // GTE's own code and transformers differ in what a file without a base means.
  const double base = config.model_type == "new" ? 10'000.0 : 160'000.0;
  RAG_ASSIGN_OR_RETURN(config.rotary_base, ReadRotaryBase(file, "", "rope_theta", base));
  if (config.heads > config.hidden) return OkStatus();  // told when all is read
  return ReadNtkScaling(file, config);
}

Status ReadBert(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string positions,
                       file.String("position_embedding_type", "absolute"));
  if (positions == "alibi") return ReadJinaBert(file, config);
  if (positions != "absolute") {
    return UnsupportedError(file.path(), ": position_embedding_type '", positions,
                            "' is not known; known are absolute and alibi");
  }
  RAG_RETURN_IF_ERROR(ReadTypes(file, config));
  RAG_RETURN_IF_ERROR(ReadDirection(file, config));
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

Status ReadClipVision(const ConfigFile& file, TransformerConfig& config) {
  config.class_token = true;
  return ReadVision(file, config, 32);
}

Status ReadSiglipVision(const ConfigFile& file, TransformerConfig& config) {
  RAG_ASSIGN_OR_RETURN(const bool head, file.Bool("vision_use_head", true));
  if (!head) return UnsupportedError(file.path(), ": vision_use_head false is not known");
  return ReadVision(file, config, 16);
}

// Decoders that give vectors: Llama's layers (Touvron et al. 2023), with Qwen 2's biases and Qwen
// 3's norms of queries and keys.
Status ReadDecoder(const ConfigFile& file, TransformerConfig& config) {
  config.causal = true;
  config.pre_norm = true;
  config.rms_norm = true;
  config.gated = true;
  config.head_norms = config.model_type == "qwen3";
  // Some embedders were trained to look both ways.
  RAG_ASSIGN_OR_RETURN(config.causal, file.Bool("is_causal", true));
  RAG_ASSIGN_OR_RETURN(config.kv_heads, file.Size("num_key_value_heads", 1, kMaxHidden,
                                                  static_cast<int64_t>(config.heads)));
  RAG_ASSIGN_OR_RETURN(config.head_dim, file.Size("head_dim", 1, kMaxHidden, 0));
  RAG_RETURN_IF_ERROR(ReadDecoderRotation(file, config));
  return ReadDecoderWindow(file, config);
}

// Gemma 3's layers, of which most see a window; EmbeddingGemma's look both ways (Vera et al. 2025).
Status ReadGemma(const ConfigFile& file, TransformerConfig& config) {
  config.pre_norm = true;
  config.rms_norm = true;
  config.gated = true;
  config.head_norms = true;
  config.result_norms = true;
  config.word_scale = static_cast<float>(std::sqrt(static_cast<double>(config.hidden)));
  RAG_ASSIGN_OR_RETURN(config.kv_heads, file.Size("num_key_value_heads", 1, kMaxHidden, 4));
  RAG_ASSIGN_OR_RETURN(config.head_dim, file.Size("head_dim", 1, kMaxHidden, 256));
  RAG_ASSIGN_OR_RETURN(const double divisor, ReadPositive(file, "query_pre_attn_scalar", 256.0));
  config.score_scale = static_cast<float>(1.0 / std::sqrt(divisor));
  if (file.Has("attn_logit_softcapping")) {
    return UnsupportedError(file.path(), ": 'attn_logit_softcapping' is not known");
  }
  RAG_RETURN_IF_ERROR(RefuseRopeScaling(file));
  RAG_ASSIGN_OR_RETURN(config.rotary_base,
                       ReadRotaryBase(file, "full_attention", "rope_theta", 1'000'000.0));
  RAG_ASSIGN_OR_RETURN(config.local_rotary_base,
                       ReadRotaryBase(file, "sliding_attention", "rope_local_base_freq", 10'000.0));
  RAG_ASSIGN_OR_RETURN(const bool both_ways, file.Bool("use_bidirectional_attention"));
  config.causal = !both_ways;
  RAG_ASSIGN_OR_RETURN(const size_t keys, file.Size("sliding_window", 2, kMaxPositions, 4'096));
  config.window = both_ways ? keys / 2 : keys - 1;
  RAG_ASSIGN_OR_RETURN(const bool listed, ReadLayerTypes(file, config));
  if (listed) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const size_t every, file.Size("sliding_window_pattern", 1, kMaxLayers, 6));
  config.local.resize(config.layers);
  for (size_t i = 0; i < config.layers; ++i) config.local[i] = (i + 1) % every != 0;
  return OkStatus();
}

// The encoder of Raffel et al. 2020 and, gated, of its later versions (Shazeer 2020).
Status ReadT5(const ConfigFile& file, TransformerConfig& config) {
  config.pre_norm = true;
  config.rms_norm = true;
  config.score_scale = 1;
  RAG_ASSIGN_OR_RETURN(config.head_dim, file.Size("d_kv", 1, kMaxHidden, 64));
  RAG_ASSIGN_OR_RETURN(config.bias_buckets,
                       file.Size("relative_attention_num_buckets", 4, kMaxHidden, 32));
  RAG_ASSIGN_OR_RETURN(config.bias_distance,
                       file.Size("relative_attention_max_distance", 1, kMaxPositions, 128));
  if (config.bias_distance <= config.bias_buckets / 4) {
    return InvalidArgumentError(file.path(), ": 'relative_attention_max_distance' ",
                                config.bias_distance, " is not above a quarter of the ",
                                config.bias_buckets, " buckets");
  }
  constexpr std::string_view kGated = "gated-";
  RAG_ASSIGN_OR_RETURN(
      const std::string form,
      file.String("feed_forward_proj", config.model_type == "mt5" ? "gated-gelu" : "relu"));
  const bool gated = form.starts_with(kGated);
  const std::string name =
      form == "gated-gelu" ? "gelu_new" : form.substr(gated ? kGated.size() : 0);
  // Newer files say both apart as well, and that comes first.
  const std::string_view key = file.Has("dense_act_fn") ? "dense_act_fn" : "feed_forward_proj";
  RAG_ASSIGN_OR_RETURN(const std::string activation, file.String("dense_act_fn", name));
  Result<EncoderActivation> parsed = ParseActivation(StrCat(file.path(), ": ", key), activation);
  if (!parsed.ok()) return std::move(parsed).status();
  config.activation = *parsed;
  RAG_ASSIGN_OR_RETURN(config.gated, file.Bool("is_gated_act", gated));
  return OkStatus();
}

}  // namespace rag
