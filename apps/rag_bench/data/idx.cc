// idx3-ubyte (MNIST's format), plain or gzipped: magic 2051, images, rows and columns, big-endian
// uint32, then a byte a pixel.
#include <zlib.h>

#include <array>
#include <filesystem>
#include <memory>

#include "apps/rag_bench/data/vectors_file.h"
#include "index/vector_index.h"

namespace rag::bench {
namespace {

constexpr uint32_t kMagic = 2051;
constexpr size_t kHeaderBytes = 16;
// Deflate expands at most so much (zlib, "Technical Details"); 1 for a file that is not gzipped.
constexpr uint64_t kMaxExpansion = 1032;

struct Close {
  void operator()(gzFile file) const { gzclose(file); }
};
using GzFile = std::unique_ptr<gzFile_s, Close>;

uint32_t BigEndian(const unsigned char* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

Status ReadFully(gzFile file, std::span<unsigned char> out, const std::string& place) {
  const int got = gzread(file, out.data(), static_cast<unsigned>(out.size()));
  if (got == static_cast<int>(out.size())) return OkStatus();
  int code = Z_OK;
  const char* const message = gzerror(file, &code);
  if (got < 0 || code == Z_BUF_ERROR) return DataLossError(place, ": ", message);
  return DataLossError(place, ": the file ends after ", got, " of ", out.size(), " bytes");
}

}  // namespace

Result<Matrix> ReadIdx(const std::string& path, size_t max_rows) {
  const std::string place = StrCat("'", path, "'");
  std::error_code error;
  const uint64_t file_bytes = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) {
    return NotFoundError("cannot open ", place, ": ", error.message());
  }
  if (error) return IoError("cannot open ", place, ": ", error.message());
  const GzFile file(gzopen(path.c_str(), "rb"));
  if (file == nullptr) return IoError("cannot open ", place);
  std::array<unsigned char, kHeaderBytes> header{};
  RAG_RETURN_IF_ERROR(ReadFully(file.get(), header, place + ", header"));
  if (const uint32_t magic = BigEndian(header.data()); magic != kMagic) {
    return DataLossError(place, ": magic ", magic, ", idx3-ubyte has ", kMagic);
  }
  const uint64_t images = BigEndian(header.data() + 4);
  const uint64_t height = BigEndian(header.data() + 8);
  const uint64_t width = BigEndian(header.data() + 12);
  if (height == 0 || width == 0 || height > kMaxDim || width > kMaxDim) {
    return DataLossError(place, ": images of ", height, " x ", width);
  }
  const uint64_t dim = height * width;
  RAG_RETURN_IF_ERROR(CheckShape(place, images, dim));
  const bool plain = gzdirect(file.get()) != 0;
  if (images * dim > file_bytes * (plain ? 1 : kMaxExpansion)) {
    return DataLossError(place, ": ", file_bytes, " bytes cannot hold ", images, " images of ", dim,
                         " bytes");
  }
  const size_t rows = std::min<size_t>(max_rows, images);
  Matrix out(rows, dim);
  std::vector<unsigned char> row(dim);
  for (size_t i = 0; i < rows; ++i) {
    RAG_RETURN_IF_ERROR(ReadFully(file.get(), row, StrCat(place, ", image ", i)));
    std::copy(row.begin(), row.end(), out.row(i).data());
  }
  return out;
}

}  // namespace rag::bench
