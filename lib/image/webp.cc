#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>

#include "lib/image/codecs.h"
#include "lib/image/exif.h"

namespace rag::internal {
namespace {

std::string_view StatusText(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "a feature that libwebp does not know";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "the file ends too early";
    default:
      return "the bitstream is broken";
  }
}

int ReadOrientation(const WebPData& data) {
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&data),
                                                                     WebPDemuxDelete);
  WebPChunkIterator chunk;
  if (demuxer == nullptr || WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk) == 0) return 1;
  const int orientation = ExifOrientation(
      std::string_view(reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size));
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

// The first frame, drawn on the animation's canvas.
Status DecodeFirstFrame(const WebPData& data, Image& image) {
  WebPAnimDecoderOptions options;
  if (WebPAnimDecoderOptionsInit(&options) == 0) return InternalError("WebP: other library");
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(
      WebPAnimDecoderNew(&data, &options), WebPAnimDecoderDelete);
  WebPAnimInfo info;
  uint8_t* frame = nullptr;
  int time_ms = 0;
  if (decoder == nullptr || WebPAnimDecoderGetInfo(decoder.get(), &info) == 0 ||
      info.canvas_width != image.width || info.canvas_height != image.height ||
      WebPAnimDecoderGetNext(decoder.get(), &frame, &time_ms) == 0) {
    return InvalidArgumentError("damaged WebP: its first frame cannot be read");
  }
  for (size_t i = 0; i < image.width * image.height; ++i) {
    std::memcpy(image.rgb.data() + 3 * i, frame + 4 * i, 3);
  }
  return OkStatus();
}

}  // namespace

Result<DecodedImage> DecodeWebp(std::string_view bytes, const ImageLimits& limits) {
  const WebPData data = {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) return InternalError("WebP: other library");
  VP8StatusCode status = WebPGetFeatures(data.bytes, data.size, &config.input);
  if (status != VP8_STATUS_OK) return InvalidArgumentError("damaged WebP: ", StatusText(status));
  DecodedImage decoded;
  RAG_ASSIGN_OR_RETURN(decoded.image,
                       MakeImage(static_cast<uint64_t>(config.input.width),
                                 static_cast<uint64_t>(config.input.height), limits));
  Image& image = decoded.image;
  decoded.orientation = ReadOrientation(data);
  if (config.input.has_animation != 0) {
    RAG_RETURN_IF_ERROR(DecodeFirstFrame(data, image));
    return decoded;
  }
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image.rgb.data();
  config.output.u.RGBA.stride = static_cast<int>(image.width * 3);
  config.output.u.RGBA.size = image.rgb.size();
  status = WebPDecode(data.bytes, data.size, &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) return InvalidArgumentError("damaged WebP: ", StatusText(status));
  return decoded;
}

}  // namespace rag::internal
