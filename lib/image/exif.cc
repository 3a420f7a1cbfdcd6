#include "lib/image/exif.h"

#include <cstdint>
#include <cstring>
#include <optional>

namespace rag {
namespace {

constexpr uint16_t kOrientationTag = 274;
constexpr uint16_t kShortType = 3;
constexpr size_t kEntryBytes = 12;

// Numbers of the block's byte order; nullopt past its end.
class TiffReader {
 public:
  TiffReader(std::string_view bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  std::optional<uint32_t> Read(size_t at, size_t size) const {
    if (at > bytes_.size() || bytes_.size() - at < size) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      const size_t shift = 8 * (big_endian_ ? size - 1 - i : i);
      value |= static_cast<uint32_t>(static_cast<uint8_t>(bytes_[at + i])) << shift;
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool big_endian_;
};

}  // namespace

int ExifOrientation(std::string_view exif) {
  constexpr std::string_view kMark("Exif\0\0", 6);
  if (exif.starts_with(kMark)) exif.remove_prefix(kMark.size());
  const bool big_endian = exif.starts_with(std::string_view("MM\0*", 4));
  if (!big_endian && !exif.starts_with(std::string_view("II*\0", 4))) return 1;
  const TiffReader reader(exif, big_endian);
  const std::optional<uint32_t> directory = reader.Read(4, 4);
  if (!directory.has_value()) return 1;
  const std::optional<uint32_t> entries = reader.Read(*directory, 2);
  for (size_t i = 0; i < entries.value_or(0); ++i) {
    const size_t at = *directory + 2 + i * kEntryBytes;
    if (reader.Read(at, 2) != kOrientationTag) continue;
    if (reader.Read(at + 2, 2) != kShortType) return 1;
    const uint32_t value = reader.Read(at + 8, 2).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image ApplyOrientation(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const size_t width = image.width;
  const size_t height = image.height;
  const bool swapped = orientation >= 5;
  Image out{.width = swapped ? height : width, .height = swapped ? width : height};
  out.rgb.resize(image.rgb.size());
  // 2, 3, 6 and 7 begin at the picture's far end of the direction that out's rows run in, 3, 4, 7
  // and 8 at that of its columns, as the specification's drawings have it.
  const bool mirror_x =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_y =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (size_t y = 0; y < out.height; ++y) {
    uint8_t* to = out.row(y);
    for (size_t x = 0; x < out.width; ++x) {
      const size_t from_x = swapped ? y : x;
      const size_t from_y = swapped ? x : y;
      const uint8_t* from = image.row(mirror_y ? height - 1 - from_y : from_y) +
                            3 * (mirror_x ? width - 1 - from_x : from_x);
      std::memcpy(to + 3 * x, from, 3);
    }
  }
  return out;
}

}  // namespace rag
