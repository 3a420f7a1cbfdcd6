#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <vector>
// After <cstdio>, whose FILE they need.
#include <jerror.h>
#include <jpeglib.h>

#include "lib/image/codecs.h"
#include "lib/image/exif.h"

namespace rag::internal {
namespace {

// Progressive files in use have about ten scans; each costs a pass over all coefficients.
constexpr int kMaxScans = 200;

// libjpeg reports an error by a call that must not return. It leaves by longjmp, and every function
// between it and setjmp, ours and libjpeg's, owns nothing that a destructor would have to free: the
// library's memory and the pixels belong to the caller.
struct JpegReader {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf on_error;
  char message[JMSG_LENGTH_MAX] = "";

  JpegReader();
  ~JpegReader() { jpeg_destroy_decompress(&info); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool ReadHeader(std::string_view bytes);
  bool Start();
  // `rows`: row i of the picture is written to rows + i * stride.
  bool ReadRows(uint8_t* rows, size_t stride);
};

void LeaveWithError(j_common_ptr info) {
  auto* reader = static_cast<JpegReader*>(info->client_data);
  info->err->format_message(info, reader->message);
  std::longjmp(reader->on_error, 1);
}

void IgnoreMessage(j_common_ptr, int) {}
void IgnoreOutput(j_common_ptr) {}

// The memory source invents an end of the picture where the bytes end, and grey for what is
// missing.
boolean RefuseToInvent(j_decompress_ptr info) {
  ERREXIT(info, JERR_INPUT_EOF);
  return FALSE;
}

void CountScans(j_common_ptr info) {
  auto* reader = static_cast<JpegReader*>(info->client_data);
  if (reader->info.input_scan_number <= kMaxScans) return;
  std::snprintf(reader->message, sizeof(reader->message), "more than %d scans", kMaxScans);
  std::longjmp(reader->on_error, 1);
}

JpegReader::JpegReader() {
  info = {};
  progress = {};
  info.err = jpeg_std_error(&errors);
  errors.error_exit = LeaveWithError;
  errors.emit_message = IgnoreMessage;
  errors.output_message = IgnoreOutput;
  info.client_data = this;
  progress.progress_monitor = CountScans;
}

bool JpegReader::ReadHeader(std::string_view bytes) {
  if (setjmp(on_error) != 0) return false;
  jpeg_create_decompress(&info);
  info.client_data = this;
  info.progress = &progress;
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()),
               static_cast<unsigned long>(bytes.size()));
  info.src->fill_input_buffer = RefuseToInvent;
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&info, TRUE);
  return true;
}

bool JpegReader::Start() {
  if (setjmp(on_error) != 0) return false;
  jpeg_start_decompress(&info);
  return true;
}

bool JpegReader::ReadRows(uint8_t* rows, size_t stride) {
  if (setjmp(on_error) != 0) return false;
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = rows + info.output_scanline * stride;
    jpeg_read_scanlines(&info, &row, 1);
  }
  return true;
}

// Adobe's files hold ink inverted, and readers take all to be Adobe's.
void InvertedCmykToRgb(const uint8_t* cmyk, size_t pixels, uint8_t* rgb) {
  const auto divide_by_255 = [](uint32_t value) {
    return (value + 128 + ((value + 128) >> 8)) >> 8;
  };
  for (size_t i = 0; i < pixels; ++i) {
    const uint32_t light = cmyk[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const uint32_t ink = 255u - cmyk[4 * i + c];
      const uint32_t absorbed = divide_by_255(ink * light);
      rgb[3 * i + c] = static_cast<uint8_t>(light - std::min(absorbed, light));
    }
  }
}

}  // namespace

Result<DecodedImage> DecodeJpeg(std::string_view bytes, const ImageLimits& limits) {
  JpegReader reader;
  const auto damaged = [&] { return InvalidArgumentError("damaged JPEG: ", reader.message); };
  if (!reader.ReadHeader(bytes)) return damaged();
  jpeg_decompress_struct& info = reader.info;
  DecodedImage decoded;
  RAG_ASSIGN_OR_RETURN(decoded.image, MakeImage(info.image_width, info.image_height, limits));
  for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr;
       marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (!data.starts_with(std::string_view("Exif\0\0", 6))) continue;
    decoded.orientation = ExifOrientation(data);
    break;
  }
  const bool cmyk = info.num_components == 4;
  if (!cmyk && info.num_components != 3 && info.num_components != 1) {
    return UnsupportedError("JPEG of ", info.num_components, " components");
  }
  info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  if (!reader.Start()) return damaged();
  Image& image = decoded.image;
  if (info.output_width != image.width || info.output_height != image.height) return damaged();
  if (!cmyk) {
    if (!reader.ReadRows(image.rgb.data(), image.width * 3)) return damaged();
    return decoded;
  }
  std::vector<uint8_t> inks(image.width * image.height * 4);
  if (!reader.ReadRows(inks.data(), image.width * 4)) return damaged();
  InvertedCmykToRgb(inks.data(), image.width * image.height, image.rgb.data());
  return decoded;
}

}  // namespace rag::internal
