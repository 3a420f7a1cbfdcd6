// Which config.json belongs to which GGUF architecture, and how its tensors are called.
#pragma once

#include <span>
#include <string_view>

namespace rag {

// What happens to a tensor on its way.
enum class TensorChange {
  kNone,
  kPairQueryRows,  // each head's halves are interleaved, as GGUF's llama files rotate
  kPairKeyRows,
  kAddOne,       // norms that are stored as their distance from 1
  kTranspose,    // stored as [in, out]
  kGatherHeads,  // rows [heads][q, k, v] become [q, k, v][heads]
  kStackHeads,   // one vector a head, "norms.3.weight", becomes a row
};

// Names without ".weight" and ".bias"; '*' stands for an expert's or head's number.
struct TensorRule {
  std::string_view from;
  std::string_view to;
  TensorChange change = TensorChange::kNone;
};

struct Family {
  std::string_view model_type;    // config.json's
  std::string_view architecture;  // GGUF's
  std::string_view activation;    // config.json's hidden_act or activation_function
  std::string_view layer_prefix;  // "layers.": a layer's number follows
  std::span<const TensorRule> layer_rules;
  std::span<const TensorRule> rules;
  double partial_rotary = 1;  // the default of config.json's partial_rotary_factor or rotary_pct
  bool tied = false;          // the default of tie_word_embeddings
};

// Null when the type is not known.
const Family* FindFamily(std::string_view model_type);
// One of GGUF's architecture: those that share one have the same rules. Null when there is none.
const Family* FindFamilyOfArchitecture(std::string_view architecture);
// "bloom, gemma, ...".
std::string_view KnownFamilies();

// The rule for a name (without ".weight" and ".bias"), and the number that stands where its '*' is;
// null when there is none.
const TensorRule* FindRule(std::span<const TensorRule> rules, std::string_view name,
                           size_t& number);

}  // namespace rag
