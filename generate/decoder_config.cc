#include "generate/decoder_config.h"

#include <cmath>
#include <limits>

#include "lib/model/gguf_keys.h"

namespace rag {
namespace {

// Far above every published model; they keep products of two of them far from overflow.
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxWidth = 1 << 17;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxFeedForward = 1 << 20;
constexpr int64_t kMaxVocabulary = 1 << 24;
constexpr int64_t kMaxContext = 1 << 24;
constexpr int64_t kMaxExperts = 1024;
constexpr int64_t kRequired = -1;
constexpr double kRequiredNumber = std::numeric_limits<double>::quiet_NaN();

// What an architecture's name alone says.
struct Architecture {
  std::string_view name;
  NormKind norm = NormKind::kRms;
  Activation activation = Activation::kSilu;
  Gate gate = Gate::kSeparate;
  RopePairs pairs = RopePairs::kHalves;
  Residual residual = Residual::kSerial;
  bool learned_positions = false;
  double alibi_bias = 0;
  bool scaled_embeddings = false;  // by sqrt(width)
  bool norms_before = true;        // each part's input is normalized
  bool norms_after = false;        // each part's output is
  bool head_norms = false;         // queries and keys are; others' are read where a file has them
  // Of `every` layers the last one sees everything, the others the sliding window; 1: all slide.
  size_t full_attention_every = 1;
  // The layer count at which the published model scales scores by width / heads; 0: none does.
  size_t width_scaled_layers = 0;
  size_t no_rotation_every = 0;  // of so many layers the last one is not rotated; 0: all are
};

// Sorted by name. Sources: each model's paper or its code in transformers; what GGUF leaves to the
// architecture's name, llama.cpp's src/models.
constexpr Architecture kArchitectures[] = {
    {.name = "bloom",
     .norm = NormKind::kLayer,
     .activation = Activation::kGeluTanh,
     .gate = Gate::kNone,
     .pairs = RopePairs::kNone,
     .alibi_bias = 8},
    {.name = "gemma", .activation = Activation::kGeluTanh, .scaled_embeddings = true},
    {.name = "gemma2",
     .activation = Activation::kGeluTanh,
     .scaled_embeddings = true,
     .norms_after = true,
     .full_attention_every = 2,
     .width_scaled_layers = 46},
    {.name = "gemma3",
     .activation = Activation::kGeluTanh,
     .scaled_embeddings = true,
     .norms_after = true,
     .head_norms = true,
     .full_attention_every = 6,
     .width_scaled_layers = 62},
    {.name = "gpt2",
     .norm = NormKind::kLayer,
     .activation = Activation::kGeluTanh,
     .gate = Gate::kNone,
     .pairs = RopePairs::kNone,
     .learned_positions = true},
    {.name = "gptneox",
     .norm = NormKind::kLayer,
     .activation = Activation::kGelu,
     .gate = Gate::kNone,
     .residual = Residual::kParallel},
    {.name = "llama", .pairs = RopePairs::kNeighbors},
    {.name = "mistral", .pairs = RopePairs::kNeighbors},
    {.name = "mpt",
     .norm = NormKind::kLayer,
     .activation = Activation::kGelu,
     .gate = Gate::kNone,
     .pairs = RopePairs::kNone},
    {.name = "olmo2",
     .norms_before = false,
     .norms_after = true,
     .head_norms = true,
     .full_attention_every = 4},
    {.name = "phi2",
     .norm = NormKind::kLayer,
     .activation = Activation::kGeluTanh,
     .gate = Gate::kNone,
     .residual = Residual::kParallelShared},
    {.name = "phi3", .gate = Gate::kFused},
    {.name = "qwen2"},
    {.name = "qwen3", .head_norms = true},
    {.name = "smollm3", .pairs = RopePairs::kNeighbors, .no_rotation_every = 4},
    {.name = "stablelm", .norm = NormKind::kLayer},
};

Result<const Architecture*> FindArchitecture(const GgufFile& file) {
  RAG_ASSIGN_OR_RETURN(const std::string name, GgufKeys(file, "general.").Text("architecture", ""));
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return &architecture;
    known += StrCat(known.empty() ? "" : ", ", architecture.name);
  }
  return UnsupportedError(file.path(), ": key 'general.architecture' is '", name,
                          "', which is not supported; known are ", known);
}

Status ReadSizes(const GgufFile& file, const GgufKeys& keys, DecoderConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.layers, keys.Size("block_count", 1, kMaxLayers, kRequired));
  RAG_ASSIGN_OR_RETURN(config.width, keys.Size("embedding_length", 1, kMaxWidth, kRequired));
  RAG_ASSIGN_OR_RETURN(config.heads, keys.Size("attention.head_count", 1, kMaxHeads, kRequired));
  RAG_ASSIGN_OR_RETURN(config.kv_heads, keys.Size("attention.head_count_kv", 1, kMaxHeads,
                                                  static_cast<int64_t>(config.heads)));
  RAG_ASSIGN_OR_RETURN(config.feed_forward,
                       keys.Size("feed_forward_length", 1, kMaxFeedForward, kRequired));
  RAG_ASSIGN_OR_RETURN(config.file_context, keys.Size("context_length", 1, kMaxContext, kRequired));
  if (config.heads % config.kv_heads != 0) {
    return InvalidArgumentError(file.path(), ": ", config.heads,
                                " attention heads are no multiple of ", config.kv_heads,
                                " key and value heads");
  }
  if (!keys.Has("attention.key_length") && config.width % config.heads != 0) {
    return InvalidArgumentError(file.path(), ": embedding_length ", config.width,
                                " is no multiple of ", config.heads, " attention heads");
  }
  const int64_t head_dim = static_cast<int64_t>(config.width / config.heads);
  RAG_ASSIGN_OR_RETURN(config.head_dim,
                       keys.Size("attention.key_length", 1, kMaxHeadDim, head_dim));
  RAG_ASSIGN_OR_RETURN(const size_t value_dim, keys.Size("attention.value_length", 1, kMaxHeadDim,
                                                         static_cast<int64_t>(config.head_dim)));
  if (config.head_dim == 0 || value_dim != config.head_dim) {
    return InvalidArgumentError(file.path(), ": attention.key_length ", config.head_dim,
                                " and attention.value_length ", value_dim, " differ or are 0");
  }
  const TensorView* embeddings = file.Find("token_embd.weight");
  if (embeddings == nullptr) {
    return InvalidArgumentError(file.path(), ": tensor 'token_embd.weight' is missing");
  }
  if (embeddings->shape.size() != 2 || embeddings->shape[0] < 1 ||
      embeddings->shape[0] > static_cast<size_t>(kMaxVocabulary)) {
    return InvalidArgumentError(file.path(),
                                ": tensor 'token_embd.weight' is not [vocabulary, width]");
  }
  config.vocab_size = embeddings->shape[0];
  return OkStatus();
}

Status ReadScaling(const GgufFile& file, const GgufKeys& keys, std::string_view architecture,
                   RopeConfig& rope) {
  RotaryScaling& out = rope.scaling;
  RAG_ASSIGN_OR_RETURN(std::string scaling, keys.Text("rope.scaling.type", ""));
  const bool has_factors = file.Find("rope_factors_long.weight") != nullptr ||
                           file.Find("rope_factors_short.weight") != nullptr;
  if (scaling == "" && has_factors) scaling = "longrope";  // phi3 files name it by its tensors
  if (scaling == "linear") {
    out.kind = RopeScaling::kLinear;
  } else if (scaling == "yarn") {
    out.kind = RopeScaling::kYarn;
  } else if (scaling == "longrope" || scaling == "su") {
    out.kind = RopeScaling::kLong;
  } else if (scaling != "" && scaling != "none") {
    return UnsupportedError(file.path(), ": key '", architecture, ".rope.scaling.type' is '",
                            scaling,
                            "', which is not supported; known are none, linear, yarn and "
                            "longrope, and Llama 3's factors as the tensor rope_freqs.weight");
  }
  RAG_ASSIGN_OR_RETURN(out.factor, keys.Positive("rope.scaling.factor", 1.0));
  if (scaling == "" && keys.Has("rope.scale_linear")) {
    // What files had before rope.scaling.*.
    out.kind = RopeScaling::kLinear;
    RAG_ASSIGN_OR_RETURN(out.factor, keys.Positive("rope.scale_linear", 1.0));
  }
  const bool needs_context = out.kind == RopeScaling::kYarn || out.kind == RopeScaling::kLong;
  RAG_ASSIGN_OR_RETURN(out.original_context, keys.Size("rope.scaling.original_context_length", 1,
                                                       kMaxContext, needs_context ? kRequired : 0));
  RAG_ASSIGN_OR_RETURN(out.attention_factor, keys.Positive("rope.scaling.attn_factor", 1.0));
  RAG_ASSIGN_OR_RETURN(out.beta_fast, keys.Positive("rope.scaling.yarn_beta_fast", 32.0));
  RAG_ASSIGN_OR_RETURN(out.beta_slow, keys.Positive("rope.scaling.yarn_beta_slow", 1.0));
  if (out.kind == RopeScaling::kYarn && rope.base <= 1) {
    return InvalidArgumentError(file.path(), ": key '", architecture, ".rope.freq_base' is ",
                                rope.base, ", and YaRN needs one above 1");
  }
  return OkStatus();
}

Status ReadRope(const GgufFile& file, const GgufKeys& keys, const Architecture& architecture,
                DecoderConfig& config) {
  RopeConfig& rope = config.rope;
  rope.pairs = architecture.pairs;
  if (rope.pairs == RopePairs::kNone) return OkStatus();
  const int64_t head_dim = static_cast<int64_t>(config.head_dim);
  RAG_ASSIGN_OR_RETURN(rope.dimensions, keys.Size("rope.dimension_count", 1, head_dim, head_dim));
  if (rope.dimensions % 2 != 0) {
    return InvalidArgumentError(file.path(), ": rope.dimension_count ", rope.dimensions, " is odd");
  }
  RAG_ASSIGN_OR_RETURN(rope.base, keys.Positive("rope.freq_base", 10000.0));
  // Gemma 3's sliding layers have a base of their own, and like OLMo 3's they are not scaled.
  const bool gemma3 = architecture.name == "gemma3";
  rope.has_sliding_base = gemma3 || architecture.name == "olmo2" || keys.Has("rope.freq_base_swa");
  RAG_ASSIGN_OR_RETURN(rope.sliding_base,
                       keys.Positive("rope.freq_base_swa", gemma3 ? 10000.0 : rope.base));
  return ReadScaling(file, keys, architecture.name, rope);
}

Status ReadAttention(const GgufFile& file, const GgufKeys& keys, const Architecture& architecture,
                     DecoderConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.sliding_window, keys.Size("attention.sliding_window", 0, kMaxContext,
                                                        architecture.name == "gemma2" ? 4096 : 0));
  RAG_ASSIGN_OR_RETURN(config.slides,
                       keys.Flags("attention.sliding_window_pattern", config.layers));
  if (config.slides.empty()) {
    size_t every = architecture.full_attention_every;
    const Value* pattern =
        file.FindMetadata(StrCat(architecture.name, ".attention.sliding_window_pattern"));
    if (pattern != nullptr && !pattern->is_array()) {
      RAG_ASSIGN_OR_RETURN(every,
                           keys.Size("attention.sliding_window_pattern", 1, kMaxLayers, kRequired));
    }
    for (size_t i = 0; i < config.layers; ++i) {
      config.slides.push_back(every == 1 || (i + 1) % every != 0);
    }
  }
  RAG_ASSIGN_OR_RETURN(config.rotates, keys.Flags("attention.rope_pattern", config.layers));
  for (size_t i = config.rotates.size(); i < config.layers; ++i) {
    const size_t every = architecture.no_rotation_every;
    config.rotates.push_back(every == 0 || (i + 1) % every != 0);
  }
  const size_t scaled_by = config.layers == architecture.width_scaled_layers
                               ? config.width / config.heads
                               : config.head_dim;
  RAG_ASSIGN_OR_RETURN(
      const double scale,
      keys.Positive("attention.scale", 1 / std::sqrt(static_cast<double>(scaled_by))));
  config.attention_scale = static_cast<float>(scale);
  // Gemma 2's published values, which its first files left out.
  const bool capped = architecture.name == "gemma2";
  RAG_ASSIGN_OR_RETURN(const double cap,
                       keys.NonNegative("attn_logit_softcapping", capped ? 50.0 : 0.0));
  RAG_ASSIGN_OR_RETURN(const double output_cap,
                       keys.NonNegative("final_logit_softcapping", capped ? 30.0 : 0.0));
  config.attention_cap = static_cast<float>(cap);
  config.output_cap = static_cast<float>(output_cap);
  RAG_ASSIGN_OR_RETURN(const double clamp, keys.NonNegative("attention.clamp_kqv", 0.0));
  config.qkv_clamp = static_cast<float>(clamp);
  RAG_ASSIGN_OR_RETURN(config.alibi_bias,
                       keys.NonNegative("attention.max_alibi_bias", architecture.alibi_bias));
  return OkStatus();
}

Status ReadExperts(const GgufFile& file, const GgufKeys& keys, const Architecture& architecture,
                   DecoderConfig& config) {
  RAG_ASSIGN_OR_RETURN(config.experts, keys.Size("expert_count", 0, kMaxExperts, 0));
  if (config.experts == 0) return OkStatus();
  if (architecture.name != "llama") {
    return UnsupportedError(file.path(), ": a mixture of ", config.experts,
                            " experts is not supported in the architecture ", architecture.name);
  }
  RAG_ASSIGN_OR_RETURN(
      config.experts_used,
      keys.Size("expert_used_count", 1, static_cast<int64_t>(config.experts), kRequired));
  return OkStatus();
}

}  // namespace

Result<DecoderConfig> ReadDecoderConfig(const GgufFile& file) {
  RAG_ASSIGN_OR_RETURN(const Architecture* architecture, FindArchitecture(file));
  const GgufKeys keys(file, StrCat(architecture->name, "."));
  DecoderConfig config;
  config.architecture = architecture->name;
  config.norm = architecture->norm;
  config.activation = architecture->activation;
  config.gate = architecture->gate;
  config.residual = architecture->residual;
  config.learned_positions = architecture->learned_positions;
  config.norms_before = architecture->norms_before;
  config.norms_after = architecture->norms_after;
  config.head_norms = architecture->head_norms;
  RAG_RETURN_IF_ERROR(ReadSizes(file, keys, config));
  if (architecture->scaled_embeddings) {
    config.embedding_scale = std::sqrt(static_cast<float>(config.width));
  }
  RAG_ASSIGN_OR_RETURN(const double epsilon, keys.Positive(config.norm == NormKind::kRms
                                                               ? "attention.layer_norm_rms_epsilon"
                                                               : "attention.layer_norm_epsilon",
                                                           kRequiredNumber));
  config.norm_epsilon = static_cast<float>(epsilon);
  if (config.residual == Residual::kParallel) {
    RAG_ASSIGN_OR_RETURN(const bool parallel, keys.Flag("use_parallel_residual", true));
    if (!parallel) config.residual = Residual::kSerial;
  } else if (architecture->name == "stablelm" && file.Find("blk.0.ffn_norm.weight") == nullptr) {
    // Its files' use_parallel_residual is not reliable; only StableLM 2 12B lacks the norm.
    config.residual = Residual::kParallelShared;
  }
  RAG_RETURN_IF_ERROR(ReadExperts(file, keys, *architecture, config));
  RAG_RETURN_IF_ERROR(ReadRope(file, keys, *architecture, config));
  RAG_RETURN_IF_ERROR(ReadAttention(file, keys, *architecture, config));
  return config;
}

}  // namespace rag
