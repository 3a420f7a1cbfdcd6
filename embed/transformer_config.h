// The shape of an encoder's network: what config.json says, brought to one set of words.
//
// Every family is the same transformer; it differs in how positions enter, where the norms stand
// and how the feed-forward network is gated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "embed/config_file.h"
#include "lib/base/status.h"
#include "lib/nn/rotary.h"

namespace rag {

// Bounds of what config.json may say: far above any published encoder, and low enough that no
// product of two overflows.
inline constexpr int64_t kMaxHidden = 1 << 16;
inline constexpr int64_t kMaxLayers = 1 << 10;
inline constexpr int64_t kMaxPositions = 1 << 17;
inline constexpr int64_t kMaxVocab = 1 << 24;

enum class EncoderFamily {
  kBert,
  kDistilBert,
  kRoberta,
  kMpNet,
  kAlbert,
  kElectra,
  kMobileBert,
  kModernBert,
  kNomic,
  kJinaBert,
  kGte,
  kClipText,
  kClipVision,
  kSiglipText,
  kSiglipVision,
  kDecoder,
  kGemma,
  kT5,
};

enum class EncoderActivation {
  kGelu,
  kGeluTanh,
  kQuickGelu,
  kRelu,
  kSilu,
  kTanh,
  kIdentity,
  // Of dense modules behind a pooling alone, with PyTorch's defaults.
  kSigmoid,
  kElu,
  kLeakyRelu,
  kSoftplus,
  kMish
};

struct TransformerConfig {
  std::string model_type;  // as in config.json
  EncoderFamily family = EncoderFamily::kBert;
  size_t hidden = 0;     // of a token between the layers
  size_t embedding = 0;  // of a row of the word table
  size_t inner = 0;      // of a token inside a layer: hidden, but for a bottleneck
  size_t layers = 0;
  size_t heads = 0;
  size_t kv_heads = 0;  // each of them is shared by heads / kv_heads queries (Ainslie et al. 2023)
  size_t head_dim = 0;
  size_t intermediate = 0;
  size_t vocab = 0;       // rows of the word table; 0: the inputs are pictures
  size_t type_vocab = 0;  // rows of the token type table; 0: there is none
  float norm_epsilon = 1e-12f;
  EncoderActivation activation = EncoderActivation::kGelu;

  // --- pictures (Dosovitskiy et al. 2021) ---
  size_t image_size = 0;     // pixels of an edge; 0: the inputs are texts
  size_t patch_size = 0;     // pixels of a token's edge
  bool class_token = false;  // before the patches, and what the vector is read from

  // --- positions ---
  size_t max_sequence = 0;    // the longest sequence, in tokens
  size_t positions = 0;       // rows of the position table; 0: there is none
  size_t first_position = 0;  // a sequence's first row there: RoBERTa's follows the padding id's
  // A token of this id takes the row before the first, and none of those that others count; -1:
  // there is no such id.
  int64_t unplaced_id = -1;
  size_t bias_buckets = 0;     // T5's relative bias of the scores (Raffel et al. 2020); 0: none
  size_t bias_distance = 128;  // in tokens, from where on all share the last bucket
  bool alibi = false;          // Press et al. 2022, on both sides
  double rotary_base = 0;      // Su et al. 2021; 0: no rotation
  RotaryScaling rotary_scaling;
  std::vector<float> rotary_divisors;  // of each frequency; empty: none
  // Layers whose queries see `window` keys on each side alone (before themselves, where the layers
  // are causal); empty: none is.
  std::vector<bool> local;
  size_t window = 0;
  double local_rotary_base = 0;  // of those layers; 0: the others'

  // --- the layers' form ---
  bool causal = false;        // a token sees those before it alone
  bool pre_norm = false;      // norms before the blocks, and one after the last layer
  bool rms_norm = false;      // norms by the root mean square (Zhang & Sennrich 2019)
  bool head_norms = false;    // queries and keys are normalized, each head by itself
  bool result_norms = false;  // what a block adds is normalized too
  float score_scale = 0;      // of queries times keys
  float word_scale = 1;       // of the word vectors
  bool gated = false;         // feed-forward: down(activation(a) * b), a and b from one product
  bool no_norm = false;       // MobileBERT's norms scale and shift alone
  bool trigram = false;       // the word vectors of a token's neighbours beside its own
  size_t feed_forwards = 1;   // of a layer, one after another
  size_t groups = 0;          // ALBERT: so many groups of layers are shared; 0: none is
  size_t group_layers = 1;    // layers of a group, run one after another

  // Layers work on rows of `inner` elements, made from those of `hidden` and added to them again.
  bool has_bottleneck() const { return family == EncoderFamily::kMobileBert; }
  size_t query_width() const { return heads * head_dim; }
  size_t kv_width() const { return kv_heads * head_dim; }
  // Of a token's queries, keys and values side by side.
  size_t qkv_width() const { return query_width() + 2 * kv_width(); }
  // Layers that are stored, which is fewer than `layers` when they are shared.
  size_t stored_layers() const { return groups == 0 ? layers : groups * group_layers; }
  // Layers that run.
  size_t depth() const { return layers * group_layers; }
  // Which stored layer runs as layer i, i < depth().
  size_t stored_layer(size_t i) const {
    if (groups == 0) return i;
    return i / group_layers * groups / layers * group_layers + i % group_layers;
  }
  bool is_local(size_t layer) const { return !local.empty() && local[layer]; }
};

// What config.json says of the network; of one that has two, its "text_config" or "vision_config".
// Errors: invalid_argument naming file and key;
// unsupported for a model_type or a variant of it that is not known, listing those that are.
Result<TransformerConfig> ReadTransformerConfig(const ConfigFile& file);

// "gelu", "gelu_new", "relu", "silu", …, and torch's class names ("torch.nn.modules.activation.
// Tanh"). Errors: unsupported naming `path` and the name.
Result<EncoderActivation> ParseActivation(const std::string& path, std::string_view name);

}  // namespace rag
