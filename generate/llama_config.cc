#include "generate/llama_config.h"

#include <cmath>
#include <limits>
#include <string>

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

class Keys {
 public:
  Keys(const GgufFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  // An integer in [1, max]; `fallback` < 0 means that the key must be there.
  Result<size_t> Size(std::string_view name, int64_t max, int64_t fallback = -1) const {
    const std::string key = prefix_ + std::string(name);
    const Value* value = file_.FindMetadata(key);
    if (value == nullptr) {
      if (fallback >= 0) return static_cast<size_t>(fallback);
      return InvalidArgumentError(file_.path(), ": key '", key, "' is missing");
    }
    if (!value->is_int()) {
      return InvalidArgumentError(file_.path(), ": key '", key, "' is of type ", value->type_name(),
                                  ", not one integer");
    }
    if (value->as_int() < 1 || value->as_int() > max) {
      return InvalidArgumentError(file_.path(), ": key '", key, "' is ", value->as_int(),
                                  ", not between 1 and ", max);
    }
    return static_cast<size_t>(value->as_int());
  }

  // A finite number > 0; a NaN fallback means that the key must be there.
  Result<double> Positive(std::string_view name, double fallback) const {
    const std::string key = prefix_ + std::string(name);
    const Value* value = file_.FindMetadata(key);
    if (value == nullptr) {
      if (!std::isnan(fallback)) return fallback;
      return InvalidArgumentError(file_.path(), ": key '", key, "' is missing");
    }
    if (!value->is_number() || !(value->as_double() > 0) || !std::isfinite(value->as_double())) {
      return InvalidArgumentError(file_.path(), ": key '", key, "' is no number above 0");
    }
    return value->as_double();
  }

  Result<std::string> Text(std::string_view name, std::string_view fallback) const {
    const std::string key = prefix_ + std::string(name);
    const Value* value = file_.FindMetadata(key);
    if (value == nullptr) return std::string(fallback);
    if (!value->is_string()) {
      return InvalidArgumentError(file_.path(), ": key '", key, "' is no string");
    }
    return value->as_string();
  }

  bool Has(std::string_view name) const {
    return file_.FindMetadata(prefix_ + std::string(name)) != nullptr;
  }

 private:
  const GgufFile& file_;
  const std::string prefix_;
};

Status ReadRope(const GgufFile& file, const Keys& keys, LlamaConfig& config) {
  const int64_t head_dim = static_cast<int64_t>(config.head_dim);
  RAG_ASSIGN_OR_RETURN(config.rope_dimensions,
                       keys.Size("rope.dimension_count", head_dim, head_dim));
  if (config.rope_dimensions % 2 != 0) {
    return InvalidArgumentError(file.path(), ": rope.dimension_count ", config.rope_dimensions,
                                " is odd");
  }
  RAG_ASSIGN_OR_RETURN(config.rope_base, keys.Positive("rope.freq_base", 10000.0));
  RAG_ASSIGN_OR_RETURN(const std::string scaling, keys.Text("rope.scaling.type", ""));
  if (scaling != "" && scaling != "none" && scaling != "linear") {
    return UnimplementedError(file.path(), ": rope scaling '", scaling,
                              "' is not supported; known are none and linear, and Llama 3's "
                              "factors as the tensor rope_freqs.weight");
  }
  if (scaling == "linear") {
    RAG_ASSIGN_OR_RETURN(config.rope_scale, keys.Positive("rope.scaling.factor", 1.0));
  } else if (scaling == "" && keys.Has("rope.scale_linear")) {
    // What files had before rope.scaling.*.
    RAG_ASSIGN_OR_RETURN(config.rope_scale, keys.Positive("rope.scale_linear", 1.0));
  }
  return OkStatus();
}

}  // namespace

Result<LlamaConfig> ReadLlamaConfig(const GgufFile& file) {
  const Keys general(file, "general.");
  RAG_ASSIGN_OR_RETURN(const std::string architecture, general.Text("architecture", ""));
  if (architecture != "llama" && architecture != "mistral") {
    return UnimplementedError(file.path(), ": architecture '", architecture,
                              "' is not supported; known are llama and mistral");
  }
  const Keys keys(file, architecture + ".");
  LlamaConfig config;
  RAG_ASSIGN_OR_RETURN(config.layers, keys.Size("block_count", kMaxLayers));
  RAG_ASSIGN_OR_RETURN(config.width, keys.Size("embedding_length", kMaxWidth));
  RAG_ASSIGN_OR_RETURN(config.heads, keys.Size("attention.head_count", kMaxHeads));
  RAG_ASSIGN_OR_RETURN(config.kv_heads, keys.Size("attention.head_count_kv", kMaxHeads,
                                                  static_cast<int64_t>(config.heads)));
  RAG_ASSIGN_OR_RETURN(config.feed_forward, keys.Size("feed_forward_length", kMaxFeedForward));
  RAG_ASSIGN_OR_RETURN(config.file_context, keys.Size("context_length", kMaxContext));
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
  RAG_ASSIGN_OR_RETURN(config.head_dim, keys.Size("attention.key_length", kMaxHeadDim, head_dim));
  RAG_ASSIGN_OR_RETURN(const size_t value_dim, keys.Size("attention.value_length", kMaxHeadDim,
                                                         static_cast<int64_t>(config.head_dim)));
  if (config.head_dim == 0 || value_dim != config.head_dim) {
    return InvalidArgumentError(file.path(), ": attention.key_length ", config.head_dim,
                                " and attention.value_length ", value_dim, " differ or are 0");
  }
  RAG_ASSIGN_OR_RETURN(
      const double epsilon,
      keys.Positive("attention.layer_norm_rms_epsilon", std::numeric_limits<double>::quiet_NaN()));
  config.norm_epsilon = static_cast<float>(epsilon);
  RAG_ASSIGN_OR_RETURN(const int64_t experts, [&]() -> Result<int64_t> {
    const Value* value = file.FindMetadata(architecture + ".expert_count");
    return value != nullptr && value->is_int() ? value->as_int() : 0;
  }());
  if (experts > 0) {
    return UnimplementedError(file.path(), ": a mixture of ", experts, " experts is not supported");
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
  RAG_RETURN_IF_ERROR(ReadRope(file, keys, config));
  return config;
}

}  // namespace rag
