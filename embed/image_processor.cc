#include "embed/image_processor.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "embed/open_clip.h"

namespace rag {
namespace {

// Pixels of an edge: published models read 224 to 512.
constexpr int64_t kMaxEdge = 4'096;

// "size": 224, or {"shortest_edge": 224}, or {"height": 224, "width": 224}. {"longest_edge": 224}
// alone is OpenCLIP's; beside "shortest_edge" it is a limit.
struct EdgeSizes {
  size_t shortest = 0;
  size_t longest = 0;
  size_t width = 0;
  size_t height = 0;
};

Result<EdgeSizes> ReadEdges(const ConfigFile& file, std::string_view key, bool number_is_shortest,
                            bool longest_known, const EdgeSizes& fallback) {
  if (!file.Has(key)) return fallback;
  const Value& value = *file.value().Find(key);
  EdgeSizes sizes;
  if (!value.is_object()) {
    RAG_ASSIGN_OR_RETURN(const size_t edge, file.Size(key, 1, kMaxEdge));
    if (number_is_shortest) return EdgeSizes{.shortest = edge};
    return EdgeSizes{.width = edge, .height = edge};
  }
  const ConfigFile object(StrCat(file.path(), ": ", key), value);
  if (object.Has("longest_edge")) {
    if (object.Has("shortest_edge") && !longest_known && key == "size") {
      RAG_ASSIGN_OR_RETURN(sizes.shortest, object.Size("shortest_edge", 1, kMaxEdge));
    } else if (!longest_known) {
      return UnsupportedError(object.path(), " with 'longest_edge' is not known");
    }
    RAG_ASSIGN_OR_RETURN(sizes.longest, object.Size("longest_edge", 1, kMaxEdge));
    return sizes;
  }
  if (object.Has("shortest_edge")) {
    RAG_ASSIGN_OR_RETURN(sizes.shortest, object.Size("shortest_edge", 1, kMaxEdge));
    return sizes;
  }
  RAG_ASSIGN_OR_RETURN(sizes.height, object.Size("height", 1, kMaxEdge));
  RAG_ASSIGN_OR_RETURN(sizes.width, object.Size("width", 1, kMaxEdge));
  return sizes;
}

// A switch that null turns off, as the reference reads it.
Result<bool> ReadSwitch(const ConfigFile& file, std::string_view key, bool fallback) {
  const Value* value = file.value().Find(key);
  if (value != nullptr && value->is_null()) return false;
  return file.Bool(key, fallback);
}

Status ReadColors(const ConfigFile& file, std::string_view key, double low,
                  std::array<float, 3>& colors) {
  if (!file.Has(key)) return OkStatus();
  const Value& value = *file.value().Find(key);
  if (value.is_number()) {
    RAG_ASSIGN_OR_RETURN(const double all, file.Number(key, low, 1e3, 0.0));
    colors.fill(static_cast<float>(all));
    return OkStatus();
  }
  if (!value.is_array() || value.as_array().size() != colors.size()) {
    return InvalidArgumentError(file.path(), ": '", key,
                                "' is neither a number nor an array of three");
  }
  for (size_t i = 0; i < colors.size(); ++i) {
    const Value& color = value.as_array()[i];
    if (!color.is_number() || !(color.as_double() >= low && color.as_double() <= 1e3)) {
      return InvalidArgumentError(file.path(), ": '", key, "' entry ", i, " is ", ToJson(color),
                                  ", not a number from ", low, " to 1000");
    }
    colors[i] = static_cast<float>(color.as_double());
  }
  return OkStatus();
}

// The processors' own defaults, where the file says nothing.
struct Defaults {
  bool crop;
  EdgeSizes size;
  std::array<float, 3> mean;
  std::array<float, 3> deviation;
};
constexpr Defaults kClip = {.crop = true,
                            .size = {.shortest = 224},
                            .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                            .deviation = {0.26862954f, 0.26130258f, 0.27577711f}};
constexpr Defaults kSiglip = {.crop = false,
                              .size = {.width = 224, .height = 224},
                              .mean = {0.5f, 0.5f, 0.5f},
                              .deviation = {0.5f, 0.5f, 0.5f}};

// Where the file names none it is the model's.
Result<Defaults> ReadKind(const ConfigFile& file, std::string_view model_type) {
  RAG_ASSIGN_OR_RETURN(
      const std::string old_type,
      file.String("feature_extractor_type",
                  model_type == "siglip" ? "SiglipImageProcessor" : "CLIPImageProcessor"));
  RAG_ASSIGN_OR_RETURN(const std::string type, file.String("image_processor_type", old_type));
  for (const std::string_view known : {"CLIPImageProcessor", "CLIPImageProcessorFast",
                                       "CLIPImageProcessorPil", "CLIPFeatureExtractor"}) {
    if (type == known) return kClip;
  }
  for (const std::string_view known :
       {"SiglipImageProcessor", "SiglipImageProcessorFast", "SiglipImageProcessorPil"}) {
    if (type == known) return kSiglip;
  }
  return UnsupportedError(file.path(), ": image_processor_type '", type,
                          "' is not known; known are CLIPImageProcessor and "
                          "SiglipImageProcessor");
}

Result<ConfigFile> OpenSettings(const std::string& folder, std::string& source_bytes) {
  const std::string path = JoinPath(folder, "preprocessor_config.json");
  const std::string whole = JoinPath(folder, "processor_config.json");
  if (FileExists(path) || !FileExists(whole)) return ReadConfigFile(path, source_bytes);
  RAG_ASSIGN_OR_RETURN(const ConfigFile file, ReadConfigFile(whole, source_bytes));
  const Value* part = file.value().Find("image_processor");
  if (part == nullptr || !part->is_object()) {
    return InvalidArgumentError(whole, ": there is no 'image_processor', and no ", path);
  }
  return ConfigFile(StrCat(whole, ": image_processor"), *part);
}

// Of an edge of `from` pixels the middle `to`, or all of it in the middle of `to`.
struct Crop {
  size_t first = 0;   // of the source
  size_t before = 0;  // black pixels in front
  size_t count = 0;
};
Crop CentreCrop(size_t from, size_t to, bool as_torchvision) {
  if (from < to) {
    const size_t up = as_torchvision ? 0 : 1;
    return {.first = 0, .before = (to - from + up) / 2, .count = from};
  }
  const size_t half = (from - to) / 2;
  const size_t up = as_torchvision && (from - to) % 2 != 0 && half % 2 != 0 ? 1 : 0;
  return {.first = half + up, .before = 0, .count = to};
}

// A picture's edge where its longest is to have `longest` pixels, as Python rounds it.
size_t FittedEdge(size_t edge, size_t of_longest, size_t longest) {
  const double ratio = static_cast<double>(of_longest) / static_cast<double>(longest);
  const double rounded = std::nearbyint(static_cast<double>(edge) / ratio);
  return std::max<size_t>(static_cast<size_t>(rounded), 1);
}

// The size of a picture before it is cropped: {width, height}.
std::pair<size_t, size_t> ResizedSize(const ImageProcessorConfig& config, const Image& image) {
  if (!config.resize) return {image.width, image.height};
  const size_t shorter = std::min(image.width, image.height);
  const size_t longer = std::max(image.width, image.height);
  if (config.shortest_edge != 0 && config.longest_edge != 0 &&
      static_cast<double>(longer) / static_cast<double>(shorter) *
              static_cast<double>(config.shortest_edge) >
          static_cast<double>(config.longest_edge)) {
    // transformers' get_size_with_aspect_ratio (image_transforms.py): the shorter edge is rounded,
    // the longer cut down; where the shorter has its size already, nothing is done.
    const double raw = static_cast<double>(config.longest_edge) * static_cast<double>(shorter) /
                       static_cast<double>(longer);
    const auto small = std::max<size_t>(static_cast<size_t>(std::nearbyint(raw)), 1);
    if (small == shorter) return {image.width, image.height};
    const auto large = std::max<size_t>(
        static_cast<size_t>(raw * static_cast<double>(longer) / static_cast<double>(shorter)), 1);
    return image.width < image.height ? std::pair(small, large) : std::pair(large, small);
  }
  if (config.shortest_edge != 0) {
    // The longer edge is cut down to whole pixels, and one side of a long strip never vanishes.
    return {config.shortest_edge * image.width / shorter,
            config.shortest_edge * image.height / shorter};
  }
  if (config.longest_edge != 0) {
    return {FittedEdge(image.width, longer, config.longest_edge),
            FittedEdge(image.height, longer, config.longest_edge)};
  }
  return {config.resize_width, config.resize_height};
}

}  // namespace

Result<ImageProcessorConfig> ReadImageProcessor(const std::string& folder,
                                                std::string_view model_type, size_t image_size,
                                                std::string& source_bytes) {
  const bool open_clip = IsOpenClip(folder);
  RAG_ASSIGN_OR_RETURN(const ConfigFile file, open_clip
                                                  ? ReadOpenClipPreprocessing(folder, image_size)
                                                  : OpenSettings(folder, source_bytes));
  RAG_ASSIGN_OR_RETURN(const Defaults defaults, ReadKind(file, model_type));
  ImageProcessorConfig config;
  RAG_ASSIGN_OR_RETURN(config.resize, ReadSwitch(file, "do_resize", true));
  RAG_ASSIGN_OR_RETURN(const bool square, file.Bool("default_to_square"));
  RAG_ASSIGN_OR_RETURN(const EdgeSizes size,
                       ReadEdges(file, "size", !square, open_clip, defaults.size));
  config.shortest_edge = size.shortest;
  config.longest_edge = size.longest;
  config.resize_width = size.width;
  config.resize_height = size.height;
  RAG_ASSIGN_OR_RETURN(const size_t filter, file.Size("resample", 0, 5, 3));
  config.filter = static_cast<ResampleFilter>(filter);
  RAG_ASSIGN_OR_RETURN(config.crop, ReadSwitch(file, "do_center_crop", defaults.crop));
  RAG_ASSIGN_OR_RETURN(const EdgeSizes crop,
                       ReadEdges(file, "crop_size", false, false, {.width = 224, .height = 224}));
  config.crop_as_torchvision = open_clip;
  config.crop_width = crop.width;
  config.crop_height = crop.height;
  if (!config.resize && !config.crop) {
    return UnsupportedError(file.path(),
                            ": do_resize false without do_center_crop leaves pictures ",
                            "of any size, which the network does not read");
  }
  if (config.crop && crop.shortest != 0) {
    return UnsupportedError(file.path(), ": crop_size with 'shortest_edge' is not known");
  }
  const size_t width = config.crop ? config.crop_width : config.resize_width;
  const size_t height = config.crop ? config.crop_height : config.resize_height;
  if (width != image_size || height != image_size) {
    return InvalidArgumentError(file.path(), ": 'size' and 'crop_size' give ", width, " x ", height,
                                " pixels (0: any number), and config.json's 'image_size' is ",
                                image_size);
  }
  RAG_ASSIGN_OR_RETURN(const bool rescale, ReadSwitch(file, "do_rescale", true));
  RAG_ASSIGN_OR_RETURN(const double factor, file.Number("rescale_factor", 0.0, 1e3, 1.0 / 255.0));
  if (rescale) config.scale = static_cast<float>(factor);
  RAG_ASSIGN_OR_RETURN(const bool normalize, ReadSwitch(file, "do_normalize", true));
  if (!normalize) return config;
  config.mean = defaults.mean;
  config.deviation = defaults.deviation;
  RAG_RETURN_IF_ERROR(ReadColors(file, "image_mean", -1e3, config.mean));
  RAG_RETURN_IF_ERROR(ReadColors(file, "image_std", 1e-6, config.deviation));
  return config;
}

void PreprocessImage(const ImageProcessorConfig& config, const Image& image, std::span<float> out) {
  const auto [width, height] = ResizedSize(config, image);
  const Crop across =
      CentreCrop(width, config.crop ? config.crop_width : width, config.crop_as_torchvision);
  const Crop down =
      CentreCrop(height, config.crop ? config.crop_height : height, config.crop_as_torchvision);
  const size_t out_width = config.crop ? config.crop_width : width;
  const size_t out_height = config.crop ? config.crop_height : height;
  const Image part =
      ResizeBox(image, width, height,
                {.x = across.first, .y = down.first, .width = across.count, .height = down.count},
                config.filter);
  for (size_t c = 0; c < 3; ++c) {
    const auto value = [&](uint8_t color) {
      return (static_cast<float>(color) * config.scale - config.mean[c]) / config.deviation[c];
    };
    float* plane = out.data() + c * out_width * out_height;
    std::fill_n(plane, out_width * out_height, value(0));
    for (size_t y = 0; y < down.count; ++y) {
      const uint8_t* from = part.row(y) + c;
      float* to = plane + (down.before + y) * out_width + across.before;
      for (size_t x = 0; x < across.count; ++x) to[x] = value(from[3 * x]);
    }
  }
}

}  // namespace rag
