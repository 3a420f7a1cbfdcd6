#include "embed/transformer_weights.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "embed/fingerprint.h"
#include "embed/open_clip.h"
#include "embed/tensor_names.h"

namespace rag {
namespace {

// Of a table of rotary angles or score biases: what 131,072 positions of 128 elements take.
constexpr size_t kMaxPositionFloats = size_t{1} << 24;

// The tensors of one stored layer stand below this.
std::string LayerPrefix(const LayerNames& names, const TransformerConfig& config, size_t layer) {
  if (config.groups == 0) return StrCat(names.layer, layer, '.');
  return StrCat(names.layer, layer / config.group_layers, ".albert_layers.",
                layer % config.group_layers, '.');
}

// What stands before the names of the network's tensors in this file.
Result<std::string> FindPrefix(const TensorFile& file, const std::string& folder,
                               const TensorNames& names) {
  const std::string_view name = names.words.empty() ? names.positions : names.words;
  for (const std::string_view prefix : TensorPrefixes()) {
    if (file.Find(StrCat(prefix, name)) != nullptr) return std::string(prefix);
  }
  return InvalidArgumentError(folder, ": the weights have no tensor '", name,
                              "', with or without the model's name in front");
}

Result<EncoderNorm> ReadFamilyNorm(const TensorFinder& finder, const LayerNames& names,
                                   std::string_view name, size_t size) {
  RAG_ASSIGN_OR_RETURN(EncoderNorm norm, finder.ReadNorm(name, size, names.norm_bias));
  for (float& factor : norm.gamma) factor += names.norm_offset;
  return norm;
}

}  // namespace

class TransformerWeights::LayerReader {
 public:
  LayerReader(const TensorFinder& finder, const TransformerConfig& config, const LayerNames& names,
              MakeLinear make_linear, Precision precision, size_t index)
      : finder_(finder),
        config_(config),
        names_(names),
        make_linear_(make_linear),
        precision_(precision),
        prefix_(LayerPrefix(names, config, index)),
        index_(index) {}

  Status Read(TransformerLayer& layer) const {
    const size_t inner = config_.inner;
    if (config_.has_bottleneck()) {
      RAG_RETURN_IF_ERROR(ReadBottleneck(layer.bottleneck.emplace()));
      RAG_ASSIGN_OR_RETURN(layer.qkv, ReadLinear({names_.qkv[0], names_.qkv[1]}, precision_,
                                                 2 * inner, inner, names_.attention_bias));
    } else {
      // Parts of one tensor lie in it one after another already.
      const size_t first = names_.qkv[1].empty() ? 0 : config_.query_width();
      RAG_ASSIGN_OR_RETURN(
          layer.qkv, ReadLinear({names_.qkv[0], names_.qkv[1], names_.qkv[2]}, precision_,
                                config_.qkv_width(), inner, names_.attention_bias, false, first));
    }
    RAG_ASSIGN_OR_RETURN(layer.attention_out,
                         ReadLinear({names_.attention_out}, precision_, inner,
                                    config_.query_width(), names_.attention_bias));
    if (config_.head_norms) {
      for (size_t i = 0; i < 2; ++i) {
        RAG_ASSIGN_OR_RETURN(layer.head_norms[i], ReadNorm(names_.head_norms[i], config_.head_dim));
      }
    }
    // ModernBERT's first layer follows the embeddings' norm and has none of its own.
    const bool first_of_pre_norm = config_.family == EncoderFamily::kModernBert && index_ == 0 &&
                                   !finder_.Has(StrCat(Name(names_.attention_norm), ".weight"));
    if (!first_of_pre_norm) {
      RAG_ASSIGN_OR_RETURN(layer.attention_norm, ReadNorm(names_.attention_norm, inner));
    }
    if (config_.result_norms) {
      RAG_ASSIGN_OR_RETURN(layer.attention_result_norm, ReadNorm(names_.result_norms[0], inner));
    }
    layer.feed_forwards.resize(config_.feed_forwards);
    for (size_t i = 0; i < config_.feed_forwards; ++i) {
      // MobileBERT's extra networks come first.
      const std::string below = i + 1 == config_.feed_forwards ? "" : StrCat("ffn.", i, '.');
      RAG_RETURN_IF_ERROR(ReadFeedForward(below, layer.feed_forwards[i]));
    }
    return OkStatus();
  }

 private:
  std::string Name(std::string_view part) const { return StrCat(prefix_, part); }

  Result<Linear> ReadLinear(std::initializer_list<std::string_view> parts, Precision precision,
                            size_t out, size_t in, BiasRule bias, bool swap_halves = false,
                            size_t first = 0) const {
    std::vector<std::string> names;
    for (const std::string_view part : parts) {
      if (!part.empty()) names.push_back(Name(part));
    }
    return make_linear_(finder_, names,
                        {.out = out,
                         .in = in,
                         .first = first,
                         .bias = bias,
                         .swap_halves = swap_halves,
                         .precision = precision});
  }

  Result<EncoderNorm> ReadNorm(std::string_view part, size_t size) const {
    return ReadFamilyNorm(finder_, names_, Name(part), size);
  }

  Status ReadFeedForward(const std::string& below, EncoderFeedForward& feed_forward) const {
    const size_t width = config_.gated ? 2 * config_.intermediate : config_.intermediate;
    const std::string up[] = {below + std::string(names_.up[0]),
                              names_.up[1].empty() ? "" : below + std::string(names_.up[1])};
    RAG_ASSIGN_OR_RETURN(feed_forward.up,
                         ReadLinear({up[0], up[1]}, precision_, width, config_.inner,
                                    names_.up_bias, names_.swap_up));
    RAG_ASSIGN_OR_RETURN(feed_forward.down,
                         ReadLinear({StrCat(below, names_.down)}, precision_, config_.inner,
                                    config_.intermediate, names_.down_bias));
    RAG_ASSIGN_OR_RETURN(feed_forward.norm,
                         ReadNorm(StrCat(below, names_.output_norm), config_.inner));
    if (config_.result_norms) {
      RAG_ASSIGN_OR_RETURN(feed_forward.result_norm,
                           ReadNorm(names_.result_norms[1], config_.inner));
    }
    return OkStatus();
  }

  Status ReadBottleneck(Bottleneck& bottleneck) const {
    const BiasRule bias = BiasRule::kRequired;
    const size_t hidden = config_.hidden;
    const size_t inner = config_.inner;
    RAG_ASSIGN_OR_RETURN(bottleneck.input,
                         ReadLinear({"bottleneck.input.dense"}, precision_, inner, hidden, bias));
    RAG_ASSIGN_OR_RETURN(bottleneck.input_norm, ReadNorm("bottleneck.input.LayerNorm", inner));
    RAG_ASSIGN_OR_RETURN(bottleneck.attention, ReadLinear({"bottleneck.attention.dense"},
                                                          precision_, inner, hidden, bias));
    RAG_ASSIGN_OR_RETURN(bottleneck.attention_norm,
                         ReadNorm("bottleneck.attention.LayerNorm", inner));
    RAG_ASSIGN_OR_RETURN(bottleneck.value,
                         ReadLinear({names_.qkv[2]}, precision_, inner, hidden, bias));
    RAG_ASSIGN_OR_RETURN(bottleneck.output,
                         ReadLinear({"output.bottleneck.dense"}, precision_, hidden, inner, bias));
    RAG_ASSIGN_OR_RETURN(bottleneck.output_norm, ReadNorm("output.bottleneck.LayerNorm", hidden));
    return OkStatus();
  }

  const TensorFinder& finder_;
  const TransformerConfig& config_;
  const LayerNames& names_;
  const MakeLinear make_linear_;
  const Precision precision_;
  const std::string prefix_;
  const size_t index_;
};

Status TransformerWeights::ReadEmbeddings(const TensorFinder& finder, const TensorNames& names,
                                          const TransformerConfig& config, MakeLinear make_linear) {
  if (config.vocab > 0) {
    const size_t words_shape[] = {config.vocab, config.embedding};
    RAG_ASSIGN_OR_RETURN(words_, finder.Find(names.words, words_shape));
  }
  // MobileBERT projects the word vectors alone, the others the sum of all.
  const bool project_words = config.family == EncoderFamily::kMobileBert;
  const size_t width = project_words ? config.hidden : config.embedding;
  if (config.positions > 0) {
    RAG_ASSIGN_OR_RETURN(positions, finder.ReadMatrix(names.positions, config.positions, width));
  }
  if (config.type_vocab > 0) {
    RAG_ASSIGN_OR_RETURN(types, finder.ReadMatrix(names.types, config.type_vocab, width));
  }
  if (!names.embedding_norm.empty()) {
    RAG_ASSIGN_OR_RETURN(norm, ReadFamilyNorm(finder, names.layers, names.embedding_norm, width));
  }
  const bool projected = config.family == EncoderFamily::kAlbert || config.trigram ||
                         config.embedding != config.hidden;
  if (projected) {
    const std::string name[] = {std::string(names.projection)};
    const size_t read = config.embedding * (config.trigram ? 3 : 1);
    RAG_ASSIGN_OR_RETURN(projection, make_linear(finder, name, {.out = config.hidden, .in = read}));
  }
  if (!names.final_norm.empty()) {
    RAG_ASSIGN_OR_RETURN(final_norm,
                         ReadFamilyNorm(finder, names.layers, names.final_norm, config.hidden));
  }
  return OkStatus();
}

Status TransformerWeights::ReadPositions(const TensorFinder& finder, const TensorNames& names,
                                         const TransformerConfig& config, size_t max_tokens) {
  const size_t head_dim = config.head_dim;
  const bool has_bias = config.alibi || config.bias_buckets > 0;
  const size_t row = has_bias ? 2 * config.heads : config.rotary_base > 0 ? head_dim : 0;
  if (max_tokens * row > kMaxPositionFloats) {
    return InvalidArgumentError(folder_, ": positions of ", max_tokens, " tokens in ", config.heads,
                                " heads of ", head_dim, " take ", max_tokens * row,
                                " numbers, more than ", kMaxPositionFloats);
  }
  if (config.rotary_base > 0) {
    rotary = Rotary(max_tokens, RotaryFrequencies(head_dim, config.rotary_base,
                                                  config.rotary_scaling, config.rotary_divisors));
  }
  if (config.local_rotary_base > 0) {
    local_rotary = Rotary(max_tokens, RotaryFrequencies(head_dim, config.local_rotary_base));
  }
  if (config.alibi) score_bias = ScoreBias::Alibi(config.heads, max_tokens);
  if (config.bias_buckets > 0) {
    RAG_ASSIGN_OR_RETURN(const Matrix table,
                         finder.ReadMatrix(names.score_bias, config.bias_buckets, config.heads));
    score_bias = ScoreBias::Buckets(table.view(), config.bias_distance, max_tokens);
  }
  return OkStatus();
}

Result<TransformerWeights> TransformerWeights::Load(const std::string& folder,
                                                    const TransformerConfig& config,
                                                    const TransformerOptions& options,
                                                    const Runtime& runtime) {
  const auto pack = [&](const TensorFinder& finder, std::span<const std::string> names,
                        const LinearShape& shape) {
    return finder.ReadLinear(runtime.kernels(), names, shape);
  };
  return Read(folder, config, options, runtime, pack);
}

Result<std::vector<std::string>> TransformerWeights::FindRounded(const std::string& folder,
                                                                 const TransformerConfig& config,
                                                                 const TransformerOptions& options,
                                                                 const Runtime& runtime) {
  std::mutex mutex;  // guards the next
  std::vector<std::string> rounded;
  const auto note = [&](const TensorFinder& finder, std::span<const std::string> names,
                        const LinearShape& shape) -> Result<Linear> {
    RAG_RETURN_IF_ERROR(finder.CheckLinear(names, shape));
    if (shape.precision == Precision::kF32) return Linear();
    std::lock_guard lock(mutex);
    for (const std::string& name : names) {
      rounded.push_back(finder.FullName(name + ".weight"));
    }
    return Linear();
  };
  RAG_RETURN_IF_ERROR(Read(folder, config, options, runtime, note).status());
  return rounded;
}

Result<TransformerWeights> TransformerWeights::Read(const std::string& folder,
                                                    const TransformerConfig& config,
                                                    const TransformerOptions& options,
                                                    const Runtime& runtime,
                                                    MakeLinear make_linear) {
  RAG_ASSIGN_OR_RETURN(TensorFile file, OpenWeights(folder));
  TransformerWeights weights(std::move(file), folder);
  weights.precision = options.precision;
  const TensorNames& names = FamilyTensorNames(config);
  RAG_ASSIGN_OR_RETURN(weights.prefix_, FindPrefix(weights.file_, folder, names));
  const TensorFinder finder = weights.finder().WithPrefix(weights.prefix_);
  RAG_RETURN_IF_ERROR(weights.ReadEmbeddings(finder, names, config, make_linear));

  weights.precision = StoresInt8(weights.file_) ? Precision::kInt8 : options.precision;
  weights.layers.resize(config.stored_layers());
  std::vector<Status> failures(weights.layers.size());
  runtime.pool().ParallelFor(failures.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      failures[i] = LayerReader(finder, config, names.layers, make_linear, weights.precision, i)
                        .Read(weights.layers[i]);
    }
  });
  for (const Status& failure : failures) RAG_RETURN_IF_ERROR(failure);
  // Last: of all that is made here, these tables alone are as large as the settings say.
  RAG_RETURN_IF_ERROR(weights.ReadPositions(finder, names, config, options.max_tokens));

  for (const std::string& name : weights.file_.TensorNames()) {
    weights.bytes += weights.file_.Find(name)->bytes.size();
  }
  return weights;
}

void TransformerWeights::ReadWord(size_t id, std::span<float> out) const {
  // Inside the tensor, whose shape and type were checked.
  DequantizeTo(*words_, id * out.size(), out).Ignore();
}

}  // namespace rag
