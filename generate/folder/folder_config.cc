#include "generate/folder/folder_config.h"

#include <cmath>

#include "generate/folder/folder_rope.h"
#include "generate/folder/json_keys.h"

namespace rag {
namespace {

// As ReadDecoderConfig's, which looks at everything again.
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxWidth = 1 << 17;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxFeedForward = 1 << 20;
constexpr int64_t kMaxContext = 1 << 24;
constexpr int64_t kMaxExperts = 1024;
constexpr int64_t kBloomContext = 2048;  // ALiBi has none; what it was trained with

class Translator {
 public:
  Translator(const Value& config, const std::string& where, const Family& family)
      : config_(config), keys_(config, where) {
    out_.family = &family;
    out_.metadata.Set("general.architecture", family.architecture);
  }

  Result<FolderConfig> Run() {
    RAG_RETURN_IF_ERROR(Sizes());
    RAG_RETURN_IF_ERROR(Norms());
    RAG_RETURN_IF_ERROR(Activation());
    RAG_RETURN_IF_ERROR(Attention());
    RAG_RETURN_IF_ERROR(Windows());
    RAG_RETURN_IF_ERROR(Experts());
    RAG_RETURN_IF_ERROR(Rotation());
    RAG_ASSIGN_OR_RETURN(out_.tied, keys_.Flag({"tie_word_embeddings"}, out_.family->tied));
    return std::move(out_);
  }

 private:
  bool Is(std::string_view architecture) const { return out_.family->architecture == architecture; }
  void Set(std::string_view key, Value value) {
    out_.metadata.Set(StrCat(out_.family->architecture, ".", key), std::move(value));
  }

  Status Sizes() {
    RAG_ASSIGN_OR_RETURN(layers_,
                         keys_.Size({"num_hidden_layers", "n_layer", "n_layers"}, kMaxLayers));
    RAG_ASSIGN_OR_RETURN(width_,
                         keys_.Size({"hidden_size", "n_embd", "n_embed", "d_model"}, kMaxWidth));
    RAG_ASSIGN_OR_RETURN(heads_,
                         keys_.Size({"num_attention_heads", "n_head", "n_heads"}, kMaxHeads));
    RAG_ASSIGN_OR_RETURN(const int64_t kv_heads,
                         keys_.Size({"num_key_value_heads"}, kMaxHeads, heads_));
    int64_t hidden = 4 * width_;
    if (Is("mpt")) {
      RAG_ASSIGN_OR_RETURN(const int64_t ratio, keys_.Size({"expansion_ratio"}, 64, 4));
      hidden = ratio * width_;
    }
    RAG_ASSIGN_OR_RETURN(hidden,
                         keys_.Size({"intermediate_size", "n_inner"}, kMaxFeedForward, hidden));
    const bool bloom = Is("bloom");
    RAG_ASSIGN_OR_RETURN(
        const int64_t context,
        keys_.Size({"max_position_embeddings", "n_positions", "max_seq_len", "seq_length"},
                   kMaxContext, bloom ? std::optional<int64_t>(kBloomContext) : std::nullopt));
    if (heads_ % kv_heads != 0) {
      return keys_.Wrong({"num_key_value_heads"}, StrCat("a divisor of the ", heads_, " heads"));
    }
    if (!keys_.Has({"head_dim"}) && width_ % heads_ != 0) {
      return keys_.Wrong({"num_attention_heads", "n_head", "n_heads"},
                         StrCat("a divisor of the width ", width_));
    }
    RAG_ASSIGN_OR_RETURN(head_dim_, keys_.Size({"head_dim"}, kMaxHeadDim, width_ / heads_));
    Set("block_count", layers_);
    Set("context_length", context);
    Set("embedding_length", width_);
    Set("feed_forward_length", hidden);
    Set("attention.head_count", heads_);
    Set("attention.head_count_kv", kv_heads);
    if (keys_.Has({"head_dim"})) {
      Set("attention.key_length", head_dim_);
      Set("attention.value_length", head_dim_);
    }
    out_.heads = static_cast<size_t>(heads_);
    out_.kv_heads = static_cast<size_t>(kv_heads);
    return OkStatus();
  }

  Status Norms() {
    if (keys_.Has({"rms_norm_eps"})) {
      RAG_ASSIGN_OR_RETURN(const double epsilon, keys_.Positive({"rms_norm_eps"}));
      Set("attention.layer_norm_rms_epsilon", epsilon);
      return OkStatus();
    }
    RAG_ASSIGN_OR_RETURN(const double epsilon,
                         keys_.Positive({"layer_norm_eps", "layer_norm_epsilon"}));
    Set("attention.layer_norm_epsilon", epsilon);
    return OkStatus();
  }

  Status Activation() {
    const std::string_view expected = out_.family->activation;
    if (expected.empty()) return OkStatus();
    RAG_ASSIGN_OR_RETURN(
        const std::string found,
        keys_.Text({"hidden_activation", "hidden_act", "activation_function"}, expected));
    // Gemma's first files say "gelu" and mean the tanh form, as transformers reads them too.
    const bool same = found == expected || (Is("gemma") && found == "gelu") ||
                      (expected == "gelu_new" && found == "gelu_pytorch_tanh");
    if (same) return OkStatus();
    return UnsupportedError(keys_.where(), ": key 'hidden_act' is '", found,
                            "', which is not supported in a model_type '", out_.family->model_type,
                            "'; known is ", expected);
  }

  Status Attention() {
    if (Is("gemma2") || Is("gemma3")) {
      RAG_ASSIGN_OR_RETURN(const double scalar, keys_.Positive({"query_pre_attn_scalar"}, 256.0));
      Set("attention.scale", 1 / std::sqrt(scalar));
      for (const std::string_view key : {"attn_logit_softcapping", "final_logit_softcapping"}) {
        if (keys_.Has({key})) {
          RAG_ASSIGN_OR_RETURN(const double cap, keys_.Positive({key}));
          Set(key, cap);
        } else if (Is("gemma2")) {
          Set(key, 0.0);
        }
      }
    }
    if (Is("gptneox")) {
      RAG_ASSIGN_OR_RETURN(const bool parallel, keys_.Flag({"use_parallel_residual"}, true));
      Set("use_parallel_residual", parallel);
    }
    if (Is("stablelm")) {
      RAG_ASSIGN_OR_RETURN(const bool parallel, keys_.Flag({"use_parallel_residual"}, false));
      Set("use_parallel_residual", parallel);
    }
    if (Is("gpt2")) {
      RAG_ASSIGN_OR_RETURN(const bool by_layer,
                           keys_.Flag({"scale_attn_by_inverse_layer_idx"}, false));
      RAG_ASSIGN_OR_RETURN(const bool scaled, keys_.Flag({"scale_attn_weights"}, true));
      if (by_layer || !scaled) {
        return UnsupportedError(keys_.where(),
                                ": key 'scale_attn_by_inverse_layer_idx' is true or "
                                "'scale_attn_weights' is false, which is not supported");
      }
    }
    if (Is("bloom")) {
      RAG_ASSIGN_OR_RETURN(const bool after,
                           keys_.Flag({"apply_residual_connection_post_layernorm"}, false));
      if (after) {
        return UnsupportedError(keys_.where(),
                                ": key 'apply_residual_connection_post_layernorm'"
                                " is true, which is not supported");
      }
    }
    return Is("mpt") ? MptAttention() : OkStatus();
  }

  Status MptAttention() {
    const Value none = Value::Object();
    const Value* nested = keys_.Find({"attn_config"});
    const JsonKeys attention(nested == nullptr ? none : *nested,
                             StrCat(keys_.where(), ": attn_config"));
    RAG_ASSIGN_OR_RETURN(const bool alibi, attention.Flag({"alibi"}, true));
    RAG_ASSIGN_OR_RETURN(const bool norms, attention.Flag({"qk_ln"}, false));
    RAG_ASSIGN_OR_RETURN(const bool prefix, attention.Flag({"prefix_lm"}, false));
    if (!alibi || norms || prefix) {
      return UnsupportedError(attention.where(),
                              ": key 'alibi' is false, or 'qk_ln' or "
                              "'prefix_lm' is true, which is not supported");
    }
    RAG_ASSIGN_OR_RETURN(const double bias, attention.Positive({"alibi_bias_max"}, 8.0));
    Set("attention.max_alibi_bias", bias);
    if (attention.Has({"clip_qkv"})) {
      RAG_ASSIGN_OR_RETURN(const double clip, attention.Positive({"clip_qkv"}));
      Set("attention.clamp_kqv", clip);
    }
    if (attention.Has({"softmax_scale"})) {
      RAG_ASSIGN_OR_RETURN(const double scale, attention.Positive({"softmax_scale"}));
      Set("attention.scale", scale);
    }
    return OkStatus();
  }

  Status Windows() {
    bool slides = keys_.Has({"sliding_window"});
    int64_t first = 0;  // layer that slides
    if (Is("qwen2") || Is("qwen3")) {
      RAG_ASSIGN_OR_RETURN(const bool uses, keys_.Flag({"use_sliding_window"}, false));
      slides = slides && uses;
      // layer_types says it too, where it is there.
      RAG_ASSIGN_OR_RETURN(first, keys_.Size({"max_window_layers"}, kMaxLayers, layers_));
    }
    if (slides) {
      RAG_ASSIGN_OR_RETURN(const int64_t window, keys_.Size({"sliding_window"}, kMaxContext));
      Set("attention.sliding_window", window);
    }
    if (const Value* types = keys_.Find({"layer_types"}); types != nullptr && slides) {
      if (!types->is_array() || types->as_array().size() != static_cast<size_t>(layers_)) {
        return keys_.Wrong({"layer_types"}, StrCat("a list of ", layers_, " names"));
      }
      Value::Array flags;
      for (const Value& type : types->as_array()) {
        flags.emplace_back(type == Value("sliding_attention"));
      }
      Set("attention.sliding_window_pattern", std::move(flags));
    } else if (slides && first > 0) {
      Value::Array flags;
      for (int64_t i = 0; i < layers_; ++i) flags.emplace_back(i >= first);
      Set("attention.sliding_window_pattern", std::move(flags));
    } else if (slides && keys_.Has({"sliding_window_pattern"})) {
      RAG_ASSIGN_OR_RETURN(const int64_t every, keys_.Size({"sliding_window_pattern"}, kMaxLayers));
      Set("attention.sliding_window_pattern", every);
    }
    return OkStatus();
  }

  Status Experts() {
    if (out_.family->model_type != "mixtral") return OkStatus();
    RAG_ASSIGN_OR_RETURN(const int64_t experts, keys_.Size({"num_local_experts"}, kMaxExperts));
    RAG_ASSIGN_OR_RETURN(const int64_t used, keys_.Size({"num_experts_per_tok"}, experts));
    Set("expert_count", experts);
    Set("expert_used_count", used);
    return OkStatus();
  }

  Status Rotation() {
    if (Is("gpt2") || Is("bloom") || Is("mpt")) return OkStatus();
    RAG_ASSIGN_OR_RETURN(double part, keys_.Positive({"partial_rotary_factor", "rotary_pct"},
                                                     out_.family->partial_rotary));
    if (const Value* parameters = config_.Find("rope_parameters")) {
      RAG_ASSIGN_OR_RETURN(part, JsonKeys(*parameters, StrCat(keys_.where(), ": rope_parameters"))
                                     .Positive({"partial_rotary_factor"}, part));
    }
    if (part > 1) return keys_.Wrong({"partial_rotary_factor", "rotary_pct"}, "at most 1");
    const int64_t dimensions = static_cast<int64_t>(part * static_cast<double>(head_dim_));
    if (const Value* layers = keys_.Find({"no_rope_layers"}); layers != nullptr) {
      if (!layers->is_array() || layers->as_array().size() != static_cast<size_t>(layers_)) {
        return keys_.Wrong({"no_rope_layers"}, StrCat("a list of ", layers_, " numbers"));
      }
      // Despite its name, 1 means that the layer is rotated.
      Value::Array flags;
      for (const Value& item : layers->as_array()) flags.emplace_back(item == Value(1));
      Set("attention.rope_pattern", std::move(flags));
    }
    return TranslateRope(config_, keys_, dimensions, out_);
  }

  const Value& config_;
  const JsonKeys keys_;
  FolderConfig out_;
  int64_t layers_ = 0;
  int64_t width_ = 0;
  int64_t heads_ = 0;
  int64_t head_dim_ = 0;
};

}  // namespace

Result<FolderConfig> TranslateConfig(const Value& config, const std::string& where) {
  RAG_ASSIGN_OR_RETURN(const std::string type, JsonKeys(config, where).Text({"model_type"}, ""));
  const Family* family = FindFamily(type);
  if (family == nullptr) {
    return UnsupportedError(where, ": key 'model_type' is '", type,
                            "', which is not supported; known are ", KnownFamilies());
  }
  // Models that also see pictures keep the language model's settings apart.
  const Value* text = config.Find("text_config");
  return Translator(text != nullptr && text->is_object() ? *text : config, where, *family).Run();
}

}  // namespace rag
