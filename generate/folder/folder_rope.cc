#include "generate/folder/folder_rope.h"

#include <cmath>

#include "lib/nn/rotary.h"

namespace rag {
namespace {

constexpr int64_t kMaxContext = 1 << 24;

void Set(FolderConfig& out, std::string_view key, Value value) {
  out.metadata.Set(StrCat(out.family->architecture, ".rope.", key), std::move(value));
}

// Llama 3.1's factors.
Status TranslateLlama3(const JsonKeys& keys, double base, int64_t dimensions, FolderConfig& out) {
  Llama3Scaling scaling;
  RAG_ASSIGN_OR_RETURN(scaling.factor, keys.Positive({"factor"}));
  RAG_ASSIGN_OR_RETURN(scaling.low, keys.Positive({"low_freq_factor"}));
  RAG_ASSIGN_OR_RETURN(scaling.high, keys.Positive({"high_freq_factor"}));
  RAG_ASSIGN_OR_RETURN(const int64_t original,
                       keys.Size({"original_max_position_embeddings"}, kMaxContext));
  scaling.original_context = static_cast<size_t>(original);
  if (!(scaling.high > scaling.low)) {
    return keys.Wrong({"high_freq_factor"}, "above low_freq_factor");
  }
  out.rope_tensors.emplace_back("rope_freqs.weight",
                                Llama3Divisors(static_cast<size_t>(dimensions), base, scaling));
  return OkStatus();
}

Status TranslateYarn(const JsonKeys& scaling, int64_t context, FolderConfig& out) {
  RAG_ASSIGN_OR_RETURN(const double factor, scaling.Positive({"factor"}));
  RAG_ASSIGN_OR_RETURN(const int64_t original,
                       scaling.Size({"original_max_position_embeddings"}, kMaxContext, context));
  const double usual = YarnMagnitude(factor);
  RAG_ASSIGN_OR_RETURN(const double attention, scaling.Positive({"attention_factor"}, usual));
  RAG_ASSIGN_OR_RETURN(const double beta_fast, scaling.Positive({"beta_fast"}, 32.0));
  RAG_ASSIGN_OR_RETURN(const double beta_slow, scaling.Positive({"beta_slow"}, 1.0));
  if (scaling.Has({"mscale"}) || scaling.Has({"mscale_all_dim"})) {
    return UnsupportedError(scaling.where(), ": key 'mscale' of YaRN is not supported");
  }
  RAG_ASSIGN_OR_RETURN(const bool truncate, scaling.Flag({"truncate"}, true));
  if (!truncate) {
    return UnsupportedError(scaling.where(),
                            ": key 'truncate' of YaRN is false, which is not "
                            "supported");
  }
  Set(out, "scaling.type", "yarn");
  Set(out, "scaling.factor", factor);
  Set(out, "scaling.original_context_length", original);
  Set(out, "scaling.yarn_beta_fast", beta_fast);
  Set(out, "scaling.yarn_beta_slow", beta_slow);
  if (attention != usual) Set(out, "scaling.attn_factor", attention / usual);
  return OkStatus();
}

Result<std::vector<float>> Factors(const JsonKeys& scaling, std::string_view name, size_t count) {
  const Value* list = scaling.Find({name});
  std::vector<float> factors;
  if (list != nullptr && list->is_array()) {
    for (const Value& item : list->as_array()) {
      if (!item.is_number() || !(item.as_double() > 0)) {
        return scaling.Wrong({name}, "a list of numbers above 0");
      }
      factors.push_back(static_cast<float>(item.as_double()));
    }
  }
  if (factors.size() != count)
    return scaling.Wrong({name}, StrCat("a list of ", count, " numbers"));
  return factors;
}

Status TranslateLong(const JsonKeys& keys, const JsonKeys& scaling, int64_t dimensions,
                     int64_t context, FolderConfig& out) {
  RAG_ASSIGN_OR_RETURN(int64_t original,
                       scaling.Size({"original_max_position_embeddings"}, kMaxContext, context));
  RAG_ASSIGN_OR_RETURN(original,
                       keys.Size({"original_max_position_embeddings"}, kMaxContext, original));
  RAG_ASSIGN_OR_RETURN(
      const double factor,
      scaling.Positive({"factor"}, static_cast<double>(context) / static_cast<double>(original)));
  const double usual =
      factor > 1 ? std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(original))) : 1.0;
  RAG_ASSIGN_OR_RETURN(const double attention, scaling.Positive({"attention_factor"}, usual));
  const size_t count = static_cast<size_t>(dimensions) / 2;
  for (const auto& [from, to] : {std::pair{"short_factor", "rope_factors_short.weight"},
                                 std::pair{"long_factor", "rope_factors_long.weight"}}) {
    RAG_ASSIGN_OR_RETURN(std::vector<float> factors, Factors(scaling, from, count));
    out.rope_tensors.emplace_back(to, std::move(factors));
  }
  Set(out, "scaling.type", "longrope");
  Set(out, "scaling.original_context_length", original);
  Set(out, "scaling.attn_factor", attention);
  return OkStatus();
}

}  // namespace

Status TranslateRope(const Value& config, const JsonKeys& keys, int64_t dimensions,
                     FolderConfig& out) {
  // Newer files have all of it in rope_parameters, by kind of layer where kinds differ.
  const Value* parameters = config.Find("rope_parameters");
  const Value* sliding = parameters == nullptr ? nullptr : parameters->Find("sliding_attention");
  if (parameters != nullptr && parameters->Find("full_attention") != nullptr) {
    parameters = parameters->Find("full_attention");
  }
  const Value none = Value::Object();
  const Value* scaling_value = config.Find("rope_scaling");
  if (scaling_value == nullptr || !scaling_value->is_object()) scaling_value = parameters;
  const JsonKeys scaling(scaling_value == nullptr ? none : *scaling_value,
                         StrCat(keys.where(), ": rope_scaling"));
  RAG_ASSIGN_OR_RETURN(double base, keys.Positive({"rope_theta", "rotary_emb_base"}, 10000.0));
  if (parameters != nullptr) {
    RAG_ASSIGN_OR_RETURN(base, JsonKeys(*parameters, StrCat(keys.where(), ": rope_parameters"))
                                   .Positive({"rope_theta"}, base));
  }
  Set(out, "dimension_count", dimensions);
  Set(out, "freq_base", base);
  if (out.family->architecture == "gemma3") {
    RAG_ASSIGN_OR_RETURN(double local, keys.Positive({"rope_local_base_freq"}, 10000.0));
    if (sliding != nullptr) {
      RAG_ASSIGN_OR_RETURN(local, JsonKeys(*sliding, StrCat(keys.where(), ": rope_parameters"))
                                      .Positive({"rope_theta"}, local));
    }
    Set(out, "freq_base_swa", local);
  }
  RAG_ASSIGN_OR_RETURN(const std::string type, scaling.Text({"rope_type", "type"}, "default"));
  RAG_ASSIGN_OR_RETURN(
      const int64_t context,
      keys.Size({"max_position_embeddings", "n_positions", "max_seq_len"}, kMaxContext, 2048));
  if (type == "default") return OkStatus();
  if (type == "linear") {
    RAG_ASSIGN_OR_RETURN(const double factor, scaling.Positive({"factor"}));
    Set(out, "scaling.type", "linear");
    Set(out, "scaling.factor", factor);
    return OkStatus();
  }
  if (type == "llama3") return TranslateLlama3(scaling, base, dimensions, out);
  if (type == "yarn") return TranslateYarn(scaling, context, out);
  if (type == "longrope" || type == "su") {
    return TranslateLong(keys, scaling, dimensions, context, out);
  }
  return UnsupportedError(scaling.where(), ": key 'rope_type' is '", type,
                          "', which is not supported; known are default, linear, llama3, yarn "
                          "and longrope");
}

}  // namespace rag
