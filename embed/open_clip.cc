#include "embed/open_clip.h"

#include <cstring>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "embed/transformer_config.h"

namespace rag {
namespace {

constexpr std::string_view kConfigName = "open_clip_config.json";
// In order of preference.
constexpr std::string_view kWeightsNames[] = {"open_clip_model.safetensors",
                                              "open_clip_pytorch_model.bin"};

using Values = std::vector<Value>;

// A setting that is known: with any value, or only with one of `values`; null is as good as absent.
struct Known {
  std::string_view key;
  std::optional<Values> values = std::nullopt;
};

Status CheckValue(const ConfigFile& file, const Known& known, const Value& value) {
  if (!known.values.has_value()) return OkStatus();
  std::string list;
  for (const Value& one : *known.values) {
    if (ToJson(one) == ToJson(value)) return OkStatus();
    list += StrCat(list.empty() ? "" : " or ", ToJson(one));
  }
  return UnsupportedError(file.path(), ": '", known.key, "' ", ToJson(value),
                          " is not known; known is ", list.empty() ? "none" : list);
}

// Settings that are not known may change the network.
Status RefuseOthers(const ConfigFile& file, std::initializer_list<std::span<const Known>> all) {
  for (const auto& [key, value] : file.value().as_object()) {
    if (value.is_null()) continue;
    bool found = false;
    for (const std::span<const Known> some : all) {
      for (const Known& known : some) {
        if (known.key != key) continue;
        RAG_RETURN_IF_ERROR(CheckValue(file, known, value));
        found = true;
      }
    }
    if (!found) return UnsupportedError(file.path(), ": '", key, "' is not known");
  }
  return OkStatus();
}

Result<ConfigFile> Part(const ConfigFile& file, std::string_view key) {
  const Value* part = file.value().Find(key);
  if (part == nullptr || !part->is_object()) {
    return InvalidArgumentError(file.path(), ": '", key, "' is ",
                                part == nullptr ? "missing" : part->type_name(),
                                part == nullptr ? "" : ", not an object");
  }
  return ConfigFile(StrCat(file.path(), ": ", key), *part);
}

// Of both towers. What trains alone or belongs to towers that are refused may have any value.
const std::vector<Known>& KnownOfTowers() {
  static const std::vector<Known> kKnown = {
      {"layers"},
      {"width"},
      {"mlp_ratio"},
      {"norm_kwargs"},
      {"output_tokens"},
      {"ls_init_value", Values{}},
      {"final_ln_after_pool", Values{Value(false)}},
      {"act_kwargs", Values{Value(Value::Object())}},
      {"block_type", Values{Value("default")}},
      {"qk_norm", Values{Value(false)}},
      {"scaled_cosine_attn", Values{Value(false)}},
      {"scale_heads", Values{Value(false)}},
      {"scale_attn_inner", Values{Value(false)}},
      {"scale_attn", Values{Value(false)}},
      {"scale_fc", Values{Value(false)}},
  };
  return kKnown;
}

Result<Value::Object> ReadTower(const ConfigFile& file, size_t width, size_t heads,
                                bool quick_gelu) {
  RAG_ASSIGN_OR_RETURN(const size_t layers, file.Size("layers", 1, kMaxLayers, 12));
  RAG_ASSIGN_OR_RETURN(const double ratio, file.Number("mlp_ratio", 0.01, 64, 4));
  double epsilon = 1e-5;
  if (file.Has("norm_kwargs")) {
    RAG_ASSIGN_OR_RETURN(const ConfigFile norm, Part(file, "norm_kwargs"));
    static const std::vector<Known> kNorm = {{"eps"}};
    RAG_RETURN_IF_ERROR(RefuseOthers(norm, {kNorm}));
    RAG_ASSIGN_OR_RETURN(epsilon, norm.Number("eps", 1e-12, 1, 1e-5));
  }
  return Value::Object{
      {"hidden_size", width},
      {"num_hidden_layers", layers},
      {"num_attention_heads", heads},
      {"intermediate_size", static_cast<size_t>(static_cast<double>(width) * ratio)},
      {"layer_norm_eps", epsilon},
      {"hidden_act", quick_gelu ? "quick_gelu" : "gelu"}};
}

Result<Value::Object> ReadTexts(const ConfigFile& file, bool quick_gelu) {
  static const std::vector<Known> kKnown = {
      {"context_length"},
      {"vocab_size"},
      {"heads"},
      {"pad_id"},
      {"eos_id"},
      {"hf_tokenizer_name"},
      {"hf_model_pretrained"},
      {"hf_proj_type"},
      {"hf_pooler_type"},
      {"hf_model_name", Values{}},
      {"tokenizer_mode", Values{}},
      {"tokenizer_kwargs", Values{Value(Value::Object())}},
      {"embed_cls", Values{Value(false)}},
      {"no_causal_mask", Values{Value(false)}},
      {"pool_type", Values{Value("argmax"), Value("eos")}},
      {"proj_type", Values{Value("linear")}},
      {"proj_bias", Values{Value(false)}},
  };
  RAG_RETURN_IF_ERROR(RefuseOthers(file, {KnownOfTowers(), kKnown}));
  RAG_ASSIGN_OR_RETURN(const size_t width, file.Size("width", 1, kMaxHidden, 512));
  RAG_ASSIGN_OR_RETURN(const size_t heads, file.Size("heads", 1, kMaxHidden, 8));
  RAG_ASSIGN_OR_RETURN(Value::Object tower, ReadTower(file, width, heads, quick_gelu));
  RAG_ASSIGN_OR_RETURN(const size_t positions, file.Size("context_length", 1, kMaxPositions, 77));
  RAG_ASSIGN_OR_RETURN(const size_t vocab, file.Size("vocab_size", 1, kMaxVocab, 49'408));
  tower.Set("max_position_embeddings", positions);
  tower.Set("vocab_size", vocab);
  return tower;
}

Result<Value::Object> ReadPictures(const ConfigFile& file, bool quick_gelu) {
  static const std::vector<Known> kKnown = {
      {"head_width"},
      {"image_size"},
      {"patch_size"},
      {"patch_dropout"},
      {"attn_pooler_queries"},
      {"attn_pooler_heads"},
      {"timm_model_pretrained"},
      {"timm_pool"},
      {"timm_proj"},
      {"timm_proj_bias"},
      {"timm_drop"},
      {"timm_drop_path"},
      {"timm_model_name", Values{}},
      {"attentional_pool", Values{Value(false)}},
      {"no_ln_pre", Values{Value(false)}},
      {"pos_embed_type", Values{Value("learnable")}},
      {"pool_type", Values{Value("tok")}},
  };
  RAG_RETURN_IF_ERROR(RefuseOthers(file, {KnownOfTowers(), kKnown}));
  if (file.Has("layers") && file.value().Find("layers")->is_array()) {
    return UnsupportedError(file.path(), ": 'layers' of a ResNet are not known");
  }
  RAG_ASSIGN_OR_RETURN(const size_t width, file.Size("width", 1, kMaxHidden, 768));
  RAG_ASSIGN_OR_RETURN(const size_t head_width, file.Size("head_width", 1, kMaxHidden, 64));
  if (width % head_width != 0) {
    return InvalidArgumentError(file.path(), ": 'head_width' ", head_width,
                                " does not divide 'width' ", width);
  }
  RAG_ASSIGN_OR_RETURN(Value::Object tower, ReadTower(file, width, width / head_width, quick_gelu));
  // [height, width] of a square say the same.
  ConfigFile square = file;
  const Value* size = file.value().Find("image_size");
  if (size != nullptr && size->is_array() && size->as_array().size() == 2 &&
      ToJson(size->as_array()[0]) == ToJson(size->as_array()[1])) {
    square = ConfigFile(file.path(), Value(Value::Object{{"image_size", size->as_array()[0]}}));
  }
  RAG_ASSIGN_OR_RETURN(const size_t image_size, square.Size("image_size", 1, kMaxPositions, 224));
  RAG_ASSIGN_OR_RETURN(const size_t patch_size, file.Size("patch_size", 1, kMaxPositions, 16));
  tower.Set("image_size", image_size);
  tower.Set("patch_size", patch_size);
  return tower;
}

// --- tensors ---

struct Rename {
  std::string_view from;
  std::string_view to;
};

constexpr Rename kLayerParts[] = {
    {"ln_1.", "layer_norm1."},
    {"ln_2.", "layer_norm2."},
    {"attn.out_proj.", "self_attn.out_proj."},
    {"mlp.c_fc.", "mlp.fc1."},
    {"mlp.c_proj.", "mlp.fc2."},
};

constexpr Rename kTexts[] = {
    {"token_embedding.", "text_model.embeddings.token_embedding."},
    {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
    {"ln_final.", "text_model.final_layer_norm."},
    {"transformer.resblocks.", "text_model.encoder.layers."},
    {"text_projection", "text_projection.weight"},
};

constexpr Rename kPictures[] = {
    {"conv1.", "vision_model.embeddings.patch_embedding."},
    {"class_embedding", "vision_model.embeddings.class_embedding"},
    {"positional_embedding", "vision_model.embeddings.position_embedding.weight"},
    {"ln_pre.", "vision_model.pre_layrnorm."},
    {"ln_post.", "vision_model.post_layernorm."},
    {"transformer.resblocks.", "vision_model.encoder.layers."},
    {"proj", "visual_projection.weight"},
};

// `name` with the start that one of `renames` has exchanged; nullopt: none has.
std::optional<std::string> Renamed(std::span<const Rename> renames, std::string_view name) {
  for (const auto& [from, to] : renames) {
    const bool whole = !from.ends_with('.');
    if (whole ? name == from : name.starts_with(from)) {
      return StrCat(to, name.substr(from.size()));
    }
  }
  return std::nullopt;
}

// The tensors of a file, each under its new name.
class Renamer {
 public:
  Renamer(const TensorFile& file, const std::string& folder) : file_(file), folder_(folder) {}

  Status Run() {
    for (const std::string& name : file_.TensorNames()) {
      RAG_RETURN_IF_ERROR(Add(name, *file_.Find(name)).WithContext(folder_));
    }
    return OkStatus();
  }
  std::vector<NamedTensorView> TakeTensors() { return std::move(tensors_); }
  std::shared_ptr<const void> storage() const { return made_; }

 private:
  Status Add(const std::string& name, const TensorView& tensor) {
    std::string_view rest = name;
    const bool pictures = rest.starts_with("visual.");
    if (pictures) rest.remove_prefix(std::string_view("visual.").size());
    // Models with a text tower of their own kind name it.
    if (!pictures && rest.starts_with("text."))
      rest.remove_prefix(std::string_view("text.").size());
    const auto renamed = pictures ? Renamed(kPictures, rest) : Renamed(kTexts, rest);
    if (!renamed.has_value()) {
      tensors_.emplace_back(name, tensor);
      return OkStatus();
    }
    if (rest == "proj" || rest == "text_projection") return AddTransposed(name, *renamed, tensor);
    // "...layers.N." and what is below it.
    constexpr std::string_view kLayers = "encoder.layers.";
    const size_t layers = renamed->find(kLayers);
    const size_t dot =
        layers == std::string::npos ? layers : renamed->find('.', layers + kLayers.size());
    if (dot == std::string::npos) {
      tensors_.emplace_back(*renamed, tensor);
      return OkStatus();
    }
    const std::string layer = renamed->substr(0, dot + 1);
    const std::string part = renamed->substr(dot + 1);
    for (const std::string_view end : {"weight", "bias"}) {
      if (part == StrCat("attn.in_proj_", end)) return AddThirds(name, layer, end, tensor);
    }
    tensors_.emplace_back(layer + Renamed(kLayerParts, part).value_or(part), tensor);
    return OkStatus();
  }

  // The rows of queries, keys and values.
  Status AddThirds(const std::string& name, const std::string& layer, std::string_view end,
                   const TensorView& tensor) {
    if (tensor.shape.empty() || tensor.shape[0] % 3 != 0) {
      return InvalidArgumentError("tensor '", name, "' is no three parts of ",
                                  tensor.shape.empty() ? 0 : tensor.shape[0], " rows");
    }
    const size_t bytes = tensor.bytes.size() / 3;
    for (size_t i = 0; i < 3; ++i) {
      static constexpr std::string_view kNames[] = {"q_proj", "k_proj", "v_proj"};
      TensorView third = tensor;
      third.shape[0] /= 3;
      third.bytes = tensor.bytes.subspan(i * bytes, bytes);
      tensors_.emplace_back(StrCat(layer, "self_attn.", kNames[i], ".", end), std::move(third));
    }
    return OkStatus();
  }

  Status AddTransposed(const std::string& name, std::string renamed, const TensorView& tensor) {
    const DTypeInfo& type = GetDTypeInfo(tensor.type);
    if (tensor.shape.size() != 2 || type.block_size != 1) {
      return InvalidArgumentError("tensor '", name, "' of type ", type.name,
                                  " is no matrix to multiply with");
    }
    const size_t rows = tensor.shape[0], cols = tensor.shape[1], size = type.block_bytes;
    std::vector<std::byte>& bytes = made_->emplace_back(tensor.bytes.size());
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < cols; ++j) {
        std::memcpy(bytes.data() + (j * rows + i) * size,
                    tensor.bytes.data() + (i * cols + j) * size, size);
      }
    }
    tensors_.emplace_back(std::move(renamed), TensorView{tensor.type, {cols, rows}, bytes});
    return OkStatus();
  }

  const TensorFile& file_;
  const std::string& folder_;
  std::vector<NamedTensorView> tensors_;
  std::shared_ptr<std::deque<std::vector<std::byte>>> made_ =
      std::make_shared<std::deque<std::vector<std::byte>>>();
};

}  // namespace

bool IsOpenClip(const std::string& folder) {
  return FileExists(JoinPath(folder, kConfigName)) && !FileExists(JoinPath(folder, "config.json"));
}

Result<ConfigFile> ReadOpenClipConfig(const std::string& folder, std::string& source_bytes) {
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(folder, kConfigName), source_bytes));
  RAG_ASSIGN_OR_RETURN(const ConfigFile model, Part(file, "model_cfg"));
  static const std::vector<Known> kKnown = {
      {"embed_dim"},
      {"text_cfg"},
      {"vision_cfg"},
      {"quick_gelu"},
      {"custom_text"},
      {"init_logit_scale"},
      {"nonscalar_logit_scale", Values{Value(false)}},
      {"init_logit_bias", Values{}},  // SigLIP's sigmoid
      {"multimodal_cfg", Values{}},   // CoCa's decoder
  };
  RAG_RETURN_IF_ERROR(RefuseOthers(model, {kKnown}));
  RAG_ASSIGN_OR_RETURN(const bool quick_gelu, model.Bool("quick_gelu"));
  RAG_ASSIGN_OR_RETURN(const size_t dim, model.Size("embed_dim", 1, kMaxHidden));
  RAG_ASSIGN_OR_RETURN(const ConfigFile text, Part(model, "text_cfg"));
  RAG_ASSIGN_OR_RETURN(Value::Object texts, ReadTexts(text, quick_gelu));
  RAG_ASSIGN_OR_RETURN(const ConfigFile vision, Part(model, "vision_cfg"));
  RAG_ASSIGN_OR_RETURN(Value::Object pictures, ReadPictures(vision, quick_gelu));
  return ConfigFile(file.path(), Value(Value::Object{{"model_type", "clip"},
                                                     {"projection_dim", dim},
                                                     {"text_config", std::move(texts)},
                                                     {"vision_config", std::move(pictures)}}));
}

Result<ConfigFile> ReadOpenClipPreprocessing(const std::string& folder, size_t image_size) {
  std::string read_before;  // with the model's settings
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(folder, kConfigName), read_before));
  Value::Object settings{{"image_processor_type", "CLIPImageProcessor"}};
  ConfigFile given(StrCat(file.path(), ": preprocess_cfg"), Value(Value::Object()));
  if (file.Has("preprocess_cfg")) {
    RAG_ASSIGN_OR_RETURN(given, Part(file, "preprocess_cfg"));
  }
  static const std::vector<Known> kKnown = {
      {"size"},  // the network's is what counts
      {"mean"},
      {"std"},
      {"resize_mode", Values{Value("shortest"), Value("squash"), Value("longest")}},
      {"interpolation", Values{Value("bicubic"), Value("bilinear"), Value("random")}},
      {"mode", Values{Value("RGB")}},
      {"fill_color", Values{Value(0)}},
  };
  RAG_RETURN_IF_ERROR(RefuseOthers(given, {kKnown}));
  const Value square(Value::Object{{"height", image_size}, {"width", image_size}});
  RAG_ASSIGN_OR_RETURN(const std::string mode, given.String("resize_mode", "shortest"));
  const bool squash = mode == "squash";
  const char* edge = mode == "longest" ? "longest_edge" : "shortest_edge";
  settings.Set("size", squash ? square : Value(Value::Object{{edge, image_size}}));
  settings.Set("do_center_crop", !squash);
  settings.Set("crop_size", square);
  RAG_ASSIGN_OR_RETURN(const std::string filter, given.String("interpolation", "bicubic"));
  settings.Set("resample", filter == "bilinear" ? 2 : 3);
  for (const auto& [key, theirs] :
       {std::pair{"mean", "image_mean"}, std::pair{"std", "image_std"}}) {
    if (!given.Has(key)) continue;
    const Value& colors = *given.value().Find(key);
    settings.Set(theirs, colors.is_number() ? Value(Value::Array{colors, colors, colors}) : colors);
  }
  return ConfigFile(given.path(), Value(std::move(settings)));
}

Result<TensorFile> OpenWeights(const std::string& folder) {
  if (!IsOpenClip(folder)) return TensorFile::Open(folder);
  std::string path = folder;
  for (const std::string_view name : kWeightsNames) {
    const std::string own = JoinPath(folder, name);
    if (path == folder && FileExists(own)) path = own;
  }
  RAG_ASSIGN_OR_RETURN(TensorFile file, TensorFile::Open(path));
  // One that was written here has the names already.
  if (file.Find("visual.conv1.weight") == nullptr) return file;
  Renamer renamer(file, folder);
  RAG_RETURN_IF_ERROR(renamer.Run());
  return std::move(file).WithTensors(renamer.TakeTensors(), renamer.storage());
}

}  // namespace rag
