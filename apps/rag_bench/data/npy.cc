// NumPy's .npy (numpy.lib.format, versions 1.0 to 3.0): magic, version, the header's length, a
// Python dictionary with descr, fortran_order and shape, then the values.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>

#include "apps/rag_bench/data/vectors_file.h"
#include "lib/base/file.h"

namespace rag::bench {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;  // of the values, as NumPy writes them

// What stands after 'key': in the dictionary, up to the end.
std::optional<std::string_view> After(std::string_view header, std::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted = StrCat(quote, key, quote, ":");
    const size_t at = header.find(quoted);
    if (at == std::string_view::npos) continue;
    header.remove_prefix(at + quoted.size());
    header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
    return header;
  }
  return std::nullopt;
}

// "(3, 4)" at the beginning of text.
std::optional<std::pair<uint64_t, uint64_t>> ParseShape(std::string_view text) {
  const size_t end = text.find(')');
  if (!text.starts_with('(') || end == std::string_view::npos) return std::nullopt;
  text = text.substr(1, end - 1);
  uint64_t numbers[2];
  for (uint64_t& number : numbers) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(rest - text.data()));
    if (text.starts_with(',')) text.remove_prefix(1);
  }
  if (text.find_first_not_of(' ') != std::string_view::npos) return std::nullopt;
  return std::pair(numbers[0], numbers[1]);
}

template <class T>
void Widen(const std::byte* from, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    out[i] = static_cast<float>(value);
  }
}

}  // namespace

Result<Matrix> ReadNpy(const std::string& path, size_t max_rows) {
  RAG_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::string place = StrCat("'", path, "'");
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  if (bytes.size() < 12 || !bytes.starts_with(kMagic)) {
    return DataLossError(place, " does not begin as .npy does");
  }
  const auto byte = [&](size_t at) { return size_t{static_cast<unsigned char>(bytes[at])}; };
  const size_t version = byte(6);
  if (version < 1 || version > 3) return UnsupportedError(place, ": version ", version);
  const size_t start = version == 1 ? 10 : 12;
  size_t header_bytes = byte(8) | byte(9) << 8;
  if (version > 1) header_bytes |= byte(10) << 16 | byte(11) << 24;
  if (header_bytes > bytes.size() - start) {
    return DataLossError(place, ", byte 8: a header of ", header_bytes, " bytes in a file of ",
                         bytes.size());
  }
  const std::string_view header = bytes.substr(start, header_bytes);
  const auto order = After(header, "fortran_order");
  if (!order || !order->starts_with("False")) {
    return UnsupportedError(place, ": the values are not in C order");
  }
  const auto descr = After(header, "descr");
  if (!descr || descr->size() < 5) return DataLossError(place, ": no descr in the header");
  const std::string_view type = descr->substr(1, 3);
  size_t element = 0;
  void (*widen)(const std::byte*, size_t, float*) = nullptr;
  if (type == "<f4") {
    element = 4;
    widen = Widen<float>;
  } else if (type == "<f8") {
    element = 8;
    widen = Widen<double>;
  } else if (type == "|u1") {
    element = 1;
    widen = Widen<uint8_t>;
  } else if (type == "|i1") {
    element = 1;
    widen = Widen<int8_t>;
  } else {
    return UnsupportedError(place, ": values of type '", type, "'; known are <f4, <f8, |u1, |i1");
  }
  const auto shape_text = After(header, "shape");
  const auto shape = shape_text ? ParseShape(*shape_text) : std::nullopt;
  if (!shape) return DataLossError(place, ": the shape is not that of a matrix");
  const auto [all_rows, dim] = *shape;
  RAG_RETURN_IF_ERROR(CheckShape(place, all_rows, dim));
  const std::byte* const values = file.bytes().data() + start + header_bytes;
  const size_t value_bytes = bytes.size() - start - header_bytes;
  if (value_bytes != all_rows * dim * element) {
    return DataLossError(place, ": ", value_bytes, " bytes of values, ", all_rows, " x ", dim,
                         " of type ", type, " take ", all_rows * dim * element);
  }
  Matrix out(std::min<size_t>(max_rows, all_rows), dim);
  widen(values, out.rows() * out.cols(), out.data());
  return out;
}

Status WriteNpy(const std::string& path, MatrixView vectors) {
  std::string header = StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (", vectors.rows,
                              ", ", vectors.cols, "), }");
  constexpr size_t kStart = 10;
  header.append(kAlignment - (kStart + header.size() + 1) % kAlignment, ' ');
  header += '\n';
  std::ofstream out(path, std::ios::binary);
  out << kMagic << '\1' << '\0' << static_cast<char>(header.size() & 0xff)
      << static_cast<char>(header.size() >> 8) << header;
  for (size_t i = 0; i < vectors.rows; ++i) {
    out.write(reinterpret_cast<const char*>(vectors.row(i).data()),
              static_cast<std::streamsize>(vectors.cols * sizeof(float)));
  }
  out.close();
  if (!out) return IoError("cannot write '", path, "'");
  return OkStatus();
}

}  // namespace rag::bench
