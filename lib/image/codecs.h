// The codecs, one file each: the only ones that see their library.
#pragma once

#include <cstdint>
#include <string_view>

#include "lib/base/status.h"
#include "lib/image/image.h"

namespace rag::internal {

// As DecodeImage, of one format; messages without the file's name. orientation: EXIF's, 1 to 8.
struct DecodedImage {
  Image image;
  int orientation = 1;
};
Result<DecodedImage> DecodeJpeg(std::string_view bytes, const ImageLimits& limits);
Result<DecodedImage> DecodePng(std::string_view bytes, const ImageLimits& limits);
Result<DecodedImage> DecodeWebp(std::string_view bytes, const ImageLimits& limits);
Result<DecodedImage> DecodeGif(std::string_view bytes, const ImageLimits& limits);

// An image of this size, all zeros. Errors: invalid_argument for one without pixels;
// resource_exhausted past the limit.
Result<Image> MakeImage(uint64_t width, uint64_t height, const ImageLimits& limits);

}  // namespace rag::internal
