#include "lib/image/image.h"

#include <utility>

#include "lib/image/codecs.h"
#include "lib/image/exif.h"

namespace rag {

namespace internal {

Result<Image> MakeImage(uint64_t width, uint64_t height, const ImageLimits& limits) {
  if (width == 0 || height == 0) {
    return InvalidArgumentError("an image of ", width, " x ", height, " pixels");
  }
  // Without the product, which could overflow.
  if (width > limits.max_pixels / height) {
    return ResourceExhaustedError("an image of ", width, " x ", height,
                                  " pixels; at most so many are decoded: ", limits.max_pixels);
  }
  if (width > limits.max_edge || height > limits.max_edge) {
    return ResourceExhaustedError("an image of ", width, " x ", height,
                                  " pixels; at most so many in a row or column: ", limits.max_edge);
  }
  Image image{.width = static_cast<size_t>(width), .height = static_cast<size_t>(height)};
  image.rgb.resize(image.width * image.height * 3);
  return image;
}

namespace {

Result<DecodedImage> Decode(ImageFormat format, std::string_view bytes, const ImageLimits& limits) {
#ifdef RAG_WITH_IMAGE_CODECS
  switch (format) {
    case ImageFormat::kJpeg:
      return DecodeJpeg(bytes, limits);
    case ImageFormat::kPng:
      return DecodePng(bytes, limits);
    case ImageFormat::kWebp:
      return DecodeWebp(bytes, limits);
    case ImageFormat::kGif:
      return DecodeGif(bytes, limits);
  }
#endif
  return UnsupportedError(ImageFormatName(format), ": this build has no codec for it (",
                          bytes.size(), " bytes, of at most ", limits.max_pixels, " pixels)");
}

}  // namespace
}  // namespace internal

std::string_view ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return "JPEG";
    case ImageFormat::kPng:
      return "PNG";
    case ImageFormat::kWebp:
      return "WebP";
    case ImageFormat::kGif:
      return "GIF";
  }
  return "";
}

std::string_view ImageFormatMediaType(ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return "image/jpeg";
    case ImageFormat::kPng:
      return "image/png";
    case ImageFormat::kWebp:
      return "image/webp";
    case ImageFormat::kGif:
      return "image/gif";
  }
  return "";
}

std::optional<ImageFormat> DetectImageFormat(std::string_view first_bytes) {
  if (first_bytes.starts_with("\xff\xd8\xff")) return ImageFormat::kJpeg;
  if (first_bytes.starts_with("\x89PNG\r\n\x1a\n")) return ImageFormat::kPng;
  if (first_bytes.starts_with("GIF87a") || first_bytes.starts_with("GIF89a")) {
    return ImageFormat::kGif;
  }
  if (first_bytes.starts_with("RIFF") && first_bytes.size() >= kImageSignatureBytes &&
      first_bytes.substr(8, 4) == "WEBP") {
    return ImageFormat::kWebp;
  }
  return std::nullopt;
}

Result<Image> DecodeImage(std::string_view bytes, std::string_view name,
                          const ImageLimits& limits) {
  const std::optional<ImageFormat> format = DetectImageFormat(bytes);
  if (!format.has_value()) {
    return InvalidArgumentError(name, ": no JPEG, PNG, WebP or GIF image");
  }
  Result<internal::DecodedImage> decoded = internal::Decode(*format, bytes, limits);
  if (!decoded.ok()) return decoded.status().WithContext(name);
  return ApplyOrientation(std::move(decoded->image), decoded->orientation);
}

}  // namespace rag
