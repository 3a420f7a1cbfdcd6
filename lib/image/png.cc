#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "lib/image/codecs.h"
#include "lib/image/exif.h"

namespace rag::internal {
namespace {

// Of one ancillary chunk (a profile, a text): none is needed here.
constexpr size_t kMaxChunkBytes = size_t{8} << 20;

// libpng reports an error by a call that must not return; as in jpeg.cc nothing between it and
// setjmp owns memory.
struct PngReader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string_view bytes;
  size_t at = 0;
  std::jmp_buf on_error;
  char message[128] = "out of memory";

  explicit PngReader(std::string_view content);
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool ReadHeader();
  // To 8-bit RGB, or for 16-bit grey to two bytes, the upper first; sets row_bytes.
  bool SetTransformations(bool wide_grey);
  // `rows`: row i of the picture is written to rows + i * stride.
  bool ReadRows(uint8_t* rows, size_t stride);

  size_t width = 0;
  size_t height = 0;
  int depth = 0;
  int color = 0;
  int passes = 1;
  size_t row_bytes = 0;
};

[[noreturn]] void LeaveWithError(png_structp png, png_const_charp message) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->message, sizeof(reader->message), "%s", message);
  std::longjmp(reader->on_error, 1);
}

void IgnoreWarning(png_structp, png_const_charp) {}

void ReadBytes(png_structp png, png_bytep out, size_t size) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (reader->bytes.size() - reader->at < size) png_error(png, "the file ends too early");
  std::memcpy(out, reader->bytes.data() + reader->at, size);
  reader->at += size;
}

PngReader::PngReader(std::string_view content) : bytes(content) {
  png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, LeaveWithError, IgnoreWarning);
  if (png != nullptr) info = png_create_info_struct(png);
}

bool PngReader::ReadHeader() {
  if (setjmp(on_error) != 0) return false;
  png_set_read_fn(png, this, ReadBytes);
  png_set_chunk_malloc_max(png, kMaxChunkBytes);
  // What is too large is told with our own bound, when the header is read.
  png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
  png_read_info(png, info);
  width = png_get_image_width(png, info);
  height = png_get_image_height(png, info);
  depth = png_get_bit_depth(png, info);
  color = png_get_color_type(png, info);
  return true;
}

bool PngReader::SetTransformations(bool wide_grey) {
  if (setjmp(on_error) != 0) return false;
  if (!wide_grey) {
    if (depth == 16) png_set_strip_16(png);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (color == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if ((color & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
  }
  passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  row_bytes = png_get_rowbytes(png, info);
  return true;
}

bool PngReader::ReadRows(uint8_t* rows, size_t stride) {
  if (setjmp(on_error) != 0) return false;
  for (int pass = 0; pass < passes; ++pass) {
    for (size_t y = 0; y < height; ++y) png_read_row(png, rows + y * stride, nullptr);
  }
  return true;
}

}  // namespace

Result<DecodedImage> DecodePng(std::string_view bytes, const ImageLimits& limits) {
  PngReader reader(bytes);
  const auto damaged = [&] { return InvalidArgumentError("damaged PNG: ", reader.message); };
  if (reader.info == nullptr || !reader.ReadHeader()) return damaged();
  DecodedImage decoded;
  RAG_ASSIGN_OR_RETURN(decoded.image, MakeImage(reader.width, reader.height, limits));
  Image& image = decoded.image;
  png_uint_32 exif_bytes = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &exif_bytes, &exif) != 0) {
    decoded.orientation =
        ExifOrientation(std::string_view(reinterpret_cast<const char*>(exif), exif_bytes));
  }
  const bool wide_grey = reader.color == PNG_COLOR_TYPE_GRAY && reader.depth == 16;
  if (!reader.SetTransformations(wide_grey)) return damaged();
  if (reader.row_bytes != image.width * (wide_grey ? 2 : 3)) {
    return InternalError("PNG: a row has ", reader.row_bytes, " bytes for ", image.width,
                         " pixels");
  }
  if (!wide_grey) {
    if (!reader.ReadRows(image.rgb.data(), reader.row_bytes)) return damaged();
    return decoded;
  }
  std::vector<uint8_t> grey(image.height * reader.row_bytes);
  if (!reader.ReadRows(grey.data(), reader.row_bytes)) return damaged();
  for (size_t i = 0; i < image.width * image.height; ++i) {
    const uint8_t value = grey[2 * i] != 0 ? 255 : grey[2 * i + 1];
    std::fill_n(image.rgb.data() + 3 * i, 3, value);
  }
  return decoded;
}

}  // namespace rag::internal
