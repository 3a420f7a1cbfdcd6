#include "embed/two_towers.h"

#include <utility>

namespace rag {
namespace {

// One of the two, inside config.json, with the type that files may leave out there.
Result<ConfigFile> Part(const ConfigFile& file, std::string_view key, std::string_view model_type) {
  Value part = Value(Value::Object());
  if (file.Has(key)) part = *file.value().Find(key);
  if (!part.is_object()) {
    return InvalidArgumentError(file.path(), ": '", key, "' is a ", part.type_name(),
                                ", not an object");
  }
  if (part.Find("model_type") == nullptr) part.as_object().Set("model_type", model_type);
  return ConfigFile(StrCat(file.path(), ": ", key), std::move(part));
}

Result<TransformerConfig> ReadPart(const ConfigFile& part, EncoderFamily wanted) {
  RAG_ASSIGN_OR_RETURN(TransformerConfig config, ReadTransformerConfig(part));
  if (config.family != wanted) {
    return UnsupportedError(part.path(), ": model_type '", config.model_type,
                            "' is not known in this place");
  }
  return config;
}

}  // namespace

bool IsTwoTowers(const ConfigFile& file) {
  const Value* type = file.value().Find("model_type");
  return type != nullptr && type->is_string() &&
         (type->as_string() == "clip" || type->as_string() == "siglip");
}

Status ReadTwoTowers(const ConfigFile& file, EncoderConfig& config) {
  RAG_ASSIGN_OR_RETURN(const std::string type, file.String("model_type", ""));
  const bool clip = type == "clip";
  // CLIP's older files also have these, and where they stand the reference reads nothing else.
  const auto key = [&](std::string_view old, std::string_view usual) {
    return clip && file.Has(old) ? old : usual;
  };
  RAG_ASSIGN_OR_RETURN(const ConfigFile text,
                       Part(file, key("text_config_dict", "text_config"), type + "_text_model"));
  RAG_ASSIGN_OR_RETURN(
      const ConfigFile vision,
      Part(file, key("vision_config_dict", "vision_config"), type + "_vision_model"));
  RAG_ASSIGN_OR_RETURN(
      config.model, ReadPart(text, clip ? EncoderFamily::kClipText : EncoderFamily::kSiglipText));
  config.model.model_type = type;
  ImageTowerConfig images;
  RAG_ASSIGN_OR_RETURN(images.model, ReadPart(vision, clip ? EncoderFamily::kClipVision
                                                           : EncoderFamily::kSiglipVision));
  RAG_ASSIGN_OR_RETURN(
      images.processor,
      ReadImageProcessor(config.folder, type, images.model.image_size, config.source_bytes));
  config.images = std::move(images);

  DenseConfig projection{.folder = config.folder,
                         .tensor = clip ? "text_projection" : "text_model.head",
                         .in = config.model.hidden,
                         .bias = !clip,
                         .activation = EncoderActivation::kIdentity};
  if (clip) {
    RAG_ASSIGN_OR_RETURN(projection.out, file.Size("projection_dim", 1, kMaxHidden, 512));
    // The end token's, which stands last.
    config.pooling.modes = {Pooling::kLastToken};
    // Where the reference looks for it, if the file says so. 2 is what old files say, and means the
    // largest id.
    constexpr std::string_view kEnd = "eos_token_id";
    constexpr size_t kOldEnd = 2;
    if (text.Has(kEnd)) {
      RAG_ASSIGN_OR_RETURN(const size_t end, text.Size(kEnd, 0, kMaxVocab, kOldEnd));
      if (end != kOldEnd) config.limits.end_id = static_cast<TokenId>(end);
    }
  } else {
    const auto hidden = static_cast<int64_t>(config.model.hidden);
    RAG_ASSIGN_OR_RETURN(projection.out, text.Size("projection_size", 1, kMaxHidden, hidden));
    if (projection.out != config.images->model.hidden) {
      return InvalidArgumentError(text.path(), ": 'projection_size' ", projection.out,
                                  " differs from the pictures' hidden size ",
                                  config.images->model.hidden);
    }
    if (!FileExists(JoinPath(config.folder, "tokenizer.json"))) {
      return UnsupportedError(config.folder,
                              ": SigLIP's texts are prepared by tokenizer.json, which is not "
                              "here; spiece.model alone says nothing of case and punctuation");
    }
    // Trained with padding that no mask hides, and read from the last place.
    config.pooling.modes = {Pooling::kLastToken};
    config.limits.pad = true;
    RAG_ASSIGN_OR_RETURN(
        const size_t padding_id,
        text.Size("pad_token_id", 0, static_cast<int64_t>(config.model.vocab) - 1, 1));
    config.limits.padding_id = static_cast<TokenId>(padding_id);
  }
  // Pictures would go past what the files put behind the two: texts and they must meet.
  for (const VectorStep& step : config.steps) {
    if (step.kind == VectorStep::Kind::kNormalize) continue;
    return UnsupportedError(step.folder.empty() ? step.dense.folder : step.folder,
                            ": a module behind a model of texts and pictures, which would "
                            "change the texts alone");
  }
  config.steps.insert(config.steps.begin(),
                      {.kind = VectorStep::Kind::kDense, .dense = projection, .folder = ""});
  if (!config.normalizes()) {
    config.steps.push_back({.kind = VectorStep::Kind::kNormalize, .dense = {}, .folder = ""});
  }
  return OkStatus();
}

}  // namespace rag
