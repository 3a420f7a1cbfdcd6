#include <gif_lib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "lib/image/codecs.h"

namespace rag::internal {
namespace {

struct ByteSource {
  std::string_view bytes;
  size_t at = 0;
};

int ReadBytes(GifFileType* gif, GifByteType* out, int size) {
  auto* source = static_cast<ByteSource*>(gif->UserData);
  const size_t read = std::min(static_cast<size_t>(size), source->bytes.size() - source->at);
  std::memcpy(out, source->bytes.data() + source->at, read);
  source->at += read;
  return static_cast<int>(read);
}

void CloseGif(GifFileType* gif) {
  int error = 0;
  DGifCloseFile(gif, &error);
}

Status Damaged(int error) {
  const char* text = GifErrorString(error);
  return InvalidArgumentError("damaged GIF: ", text == nullptr ? "no image in it" : text);
}

// One extension; a graphics control block sets the index that is transparent.
bool SkipExtension(GifFileType* gif, std::optional<uint8_t>& transparent) {
  int code = 0;
  GifByteType* block = nullptr;
  if (DGifGetExtension(gif, &code, &block) == GIF_ERROR) return false;
  while (block != nullptr) {
    GraphicsControlBlock control;
    if (code == GRAPHICS_EXT_FUNC_CODE &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK) {
      transparent.reset();
      if (control.TransparentColor != NO_TRANSPARENT_COLOR) {
        transparent = static_cast<uint8_t>(control.TransparentColor);
      }
    }
    if (DGifGetExtensionNext(gif, &block) == GIF_ERROR) return false;
  }
  return true;
}

// The lines of a frame in the order that they are stored in.
std::vector<size_t> LineOrder(size_t height, bool interlaced) {
  std::vector<size_t> order;
  order.reserve(height);
  constexpr std::array<std::pair<size_t, size_t>, 4> kPasses = {{{0, 8}, {4, 8}, {2, 4}, {1, 2}}};
  constexpr std::array<std::pair<size_t, size_t>, 1> kOnce = {{{0, 1}}};
  const std::pair<size_t, size_t>* pass = interlaced ? kPasses.data() : kOnce.data();
  for (size_t i = 0; i < (interlaced ? kPasses.size() : kOnce.size()); ++i) {
    for (size_t y = pass[i].first; y < height; y += pass[i].second) order.push_back(y);
  }
  return order;
}

// A color for every index: entries that the map lacks are greys.
std::array<uint8_t, 768> MakePalette(const ColorMapObject* map) {
  std::array<uint8_t, 768> palette;
  for (size_t i = 0; i < 256; ++i) {
    std::fill_n(palette.data() + 3 * i, 3, static_cast<uint8_t>(i));
    if (map == nullptr || i >= static_cast<size_t>(map->ColorCount)) continue;
    const GifColorType& color = map->Colors[i];
    palette[3 * i] = color.Red;
    palette[3 * i + 1] = color.Green;
    palette[3 * i + 2] = color.Blue;
  }
  return palette;
}

Status ReadFrame(GifFileType* gif, std::optional<uint8_t> transparent, const ImageLimits& limits,
                 Image& image) {
  if (DGifGetImageDesc(gif) == GIF_ERROR) return Damaged(gif->Error);
  const GifImageDesc& frame = gif->Image;
  if (frame.Width <= 0 || frame.Height <= 0) {
    return InvalidArgumentError("damaged GIF: a frame without pixels");
  }
  // Some writers give a canvas that is smaller than what they draw on it.
  RAG_ASSIGN_OR_RETURN(
      image,
      MakeImage(static_cast<uint64_t>(std::max(gif->SWidth, frame.Left + frame.Width)),
                static_cast<uint64_t>(std::max(gif->SHeight, frame.Top + frame.Height)), limits));
  const auto palette = MakePalette(frame.ColorMap != nullptr ? frame.ColorMap : gif->SColorMap);
  const auto draw = [&](size_t x, size_t y, uint8_t index) {
    std::memcpy(image.row(y) + 3 * x, palette.data() + 3 * size_t{index}, 3);
  };
  for (size_t y = 0; y < image.height; ++y) {
    for (size_t x = 0; x < image.width; ++x) draw(x, y, transparent.value_or(0));
  }
  std::vector<GifPixelType> line(static_cast<size_t>(frame.Width));
  for (const size_t y : LineOrder(static_cast<size_t>(frame.Height), frame.Interlace)) {
    if (DGifGetLine(gif, line.data(), frame.Width) == GIF_ERROR) return Damaged(gif->Error);
    for (size_t x = 0; x < line.size(); ++x) {
      draw(static_cast<size_t>(frame.Left) + x, static_cast<size_t>(frame.Top) + y, line[x]);
    }
  }
  return OkStatus();
}

}  // namespace

// Record by record instead of DGifSlurp, which would hold every frame.
Result<DecodedImage> DecodeGif(std::string_view bytes, const ImageLimits& limits) {
  ByteSource source{.bytes = bytes};
  int error = 0;
  const std::unique_ptr<GifFileType, void (*)(GifFileType*)> gif(
      DGifOpen(&source, ReadBytes, &error), CloseGif);
  if (gif == nullptr) return Damaged(error);
  std::optional<uint8_t> transparent;
  GifRecordType type = UNDEFINED_RECORD_TYPE;
  while (DGifGetRecordType(gif.get(), &type) == GIF_OK && type != TERMINATE_RECORD_TYPE) {
    if (type == IMAGE_DESC_RECORD_TYPE) {
      DecodedImage decoded;
      RAG_RETURN_IF_ERROR(ReadFrame(gif.get(), transparent, limits, decoded.image));
      return decoded;
    }
    if (type == EXTENSION_RECORD_TYPE && !SkipExtension(gif.get(), transparent)) break;
  }
  return Damaged(gif->Error);
}

}  // namespace rag::internal
