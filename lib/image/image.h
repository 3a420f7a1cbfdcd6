// Images: a file's bytes -> pixels of 8-bit red, green and blue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/status.h"

namespace rag {

struct Image {
  size_t width = 0;
  size_t height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3], the top row first

  const uint8_t* row(size_t y) const { return rgb.data() + y * width * 3; }
  uint8_t* row(size_t y) { return rgb.data() + y * width * 3; }
};

enum class ImageFormat { kJpeg, kPng, kWebp, kGif };
std::string_view ImageFormatName(ImageFormat format);       // "JPEG"
std::string_view ImageFormatMediaType(ImageFormat format);  // "image/jpeg"

// By the signature that a file of the format begins with; nullopt: none of them.
inline constexpr size_t kImageSignatureBytes = 12;
std::optional<ImageFormat> DetectImageFormat(std::string_view first_bytes);

struct ImageLimits {
  size_t max_pixels = size_t{1} << 26;  // width * height; three bytes each
  size_t max_edge = 65'535;             // width, and height: a resized row is kept for each of them
};

// Decodes `bytes` into what Pillow's Image.convert("RGB") gives: palettes are looked up, grey is
// repeated, alpha is dropped (not blended), 16 bits a colour become the upper 8 (of grey alone: 255
// where they are more), CMYK is multiplied out. An animation gives its first frame, on a canvas of
// the color that is transparent there, else the palette's first. Where the file holds an EXIF
// orientation the pixels are turned upright (TIFF 6.0's tag 274, as ImageOps.exif_transpose).
// `name` is the file's, for messages. Errors: invalid_argument when the bytes are no image, or a
// damaged or truncated one, with the codec's words; resource_exhausted past a limit, before
// anything of that size is allocated; unsupported for a form that is not read, and in a build
// with RAG_CORE_ONLY, which has no codecs.
Result<Image> DecodeImage(std::string_view bytes, std::string_view name,
                          const ImageLimits& limits = {});

}  // namespace rag
