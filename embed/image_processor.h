// What a model does to a picture before it looks at it: preprocessor_config.json.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "embed/config_file.h"
#include "lib/base/status.h"
#include "lib/image/image.h"
#include "lib/image/resize.h"

namespace rag {

struct ImageProcessorConfig {
  bool resize = true;
  // Resized so that the shorter edge, or the longer, has so many pixels, of both the one that makes
  // the smaller picture; both 0: to resize_width x resize_height.
  size_t shortest_edge = 0;
  size_t longest_edge = 0;
  size_t resize_width = 0;
  size_t resize_height = 0;
  ResampleFilter filter = ResampleFilter::kBicubic;
  bool crop = false;  // the centre, black where the picture is smaller
  size_t crop_width = 0;
  size_t crop_height = 0;
  // A middle between two pixels is the even one, not the first, and of an odd number of black
  // pixels the one more is behind, not in front.
  bool crop_as_torchvision = false;
  // What a color of 0 to 255 becomes: (color * scale - mean) / deviation, by channel.
  float scale = 1;
  std::array<float, 3> mean = {};
  std::array<float, 3> deviation = {1, 1, 1};
};

// The settings of `folder` for a network that reads image_size x image_size pixels:
// preprocessor_config.json's, or the "image_processor" of processor_config.json. Known are CLIP's
// and SigLIP's processors of transformers, whatever their version, and OpenCLIP's own; `model_type`
// ("clip" or "siglip") says which it is where the file does not. Adds the file to `source_bytes`.
// Errors: not_found; invalid_argument naming file and key, among them a result of another size;
// unsupported naming another processor.
Result<ImageProcessorConfig> ReadImageProcessor(const std::string& folder,
                                                std::string_view model_type, size_t image_size,
                                                std::string& source_bytes);

// out [3, height, width] f32, of the size that the network reads, as transformers' processors (of
// its PIL backend) or OpenCLIP make it. `image` has pixels.
void PreprocessImage(const ImageProcessorConfig& config, const Image& image, std::span<float> out);

}  // namespace rag
