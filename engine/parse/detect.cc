// DetectFormat: which parser takes a file.
#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/parse/encoding.h"
#include "engine/parse/parser.h"
#include "lib/image/image.h"

namespace rag {
namespace {

using std::string_view_literals::operator""sv;

struct Extension {
  std::string_view name;
  Format format;
};

constexpr Extension kExtensions[] = {
    {"txt", Format::kText},     {"text", Format::kText},      {"log", Format::kText},
    {"rst", Format::kText},     {"org", Format::kText},       {"tex", Format::kText},
    {"adoc", Format::kText},    {"md", Format::kMarkdown},    {"markdown", Format::kMarkdown},
    {"mdx", Format::kMarkdown}, {"mdown", Format::kMarkdown}, {"html", Format::kHtml},
    {"htm", Format::kHtml},     {"xhtml", Format::kHtml},     {"pdf", Format::kPdf},
    {"docx", Format::kDocx},    {"docm", Format::kDocx},      {"pptx", Format::kPptx},
    {"pptm", Format::kPptx},    {"ppsx", Format::kPptx},      {"xlsx", Format::kXlsx},
    {"dotx", Format::kDocx},    {"dotm", Format::kDocx},      {"potx", Format::kPptx},
    {"potm", Format::kPptx},    {"ppsm", Format::kPptx},      {"xltx", Format::kXlsx},
    {"xltm", Format::kXlsx},    {"ott", Format::kOdf},        {"ots", Format::kOdf},
    {"otp", Format::kOdf},      {"xlsm", Format::kXlsx},      {"odt", Format::kOdf},
    {"ods", Format::kOdf},      {"odp", Format::kOdf},        {"epub", Format::kEpub},
    {"csv", Format::kCsv},      {"tsv", Format::kCsv},        {"tab", Format::kCsv},
    {"jsonl", Format::kJsonl},  {"ndjson", Format::kJsonl},   {"json", Format::kJsonl},
    {"c", Format::kCode},       {"h", Format::kCode},         {"cc", Format::kCode},
    {"cpp", Format::kCode},     {"cxx", Format::kCode},       {"hpp", Format::kCode},
    {"hh", Format::kCode},      {"cu", Format::kCode},        {"cuh", Format::kCode},
    {"py", Format::kCode},      {"pyi", Format::kCode},       {"js", Format::kCode},
    {"mjs", Format::kCode},     {"jsx", Format::kCode},       {"ts", Format::kCode},
    {"tsx", Format::kCode},     {"go", Format::kCode},        {"rs", Format::kCode},
    {"java", Format::kCode},    {"kt", Format::kCode},        {"scala", Format::kCode},
    {"cs", Format::kCode},      {"swift", Format::kCode},     {"m", Format::kCode},
    {"rb", Format::kCode},      {"php", Format::kCode},       {"pl", Format::kCode},
    {"lua", Format::kCode},     {"r", Format::kCode},         {"jl", Format::kCode},
    {"hs", Format::kCode},      {"ml", Format::kCode},        {"sh", Format::kCode},
    {"bash", Format::kCode},    {"zsh", Format::kCode},       {"ps1", Format::kCode},
    {"sql", Format::kCode},     {"proto", Format::kCode},     {"cmake", Format::kCode},
    {"css", Format::kCode},     {"yaml", Format::kCode},      {"yml", Format::kCode},
    {"toml", Format::kCode},    {"ini", Format::kCode},       {"cfg", Format::kCode},
};

struct Magic {
  std::string_view bytes;
  std::string_view what;
};

// Binary formats that are known and not read. RTF is text by its bytes, and noise as such.
constexpr Magic kUnreadable[] = {
    {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, "an old or encrypted Microsoft Office file"},
    {"\x1F\x8B"sv, "a gzip archive"},
    {"BZh"sv, "a bzip2 archive"},
    {"\xFD"
     "7zXZ\0"sv,
     "an xz archive"},
    {"\x28\xB5\x2F\xFD"sv, "a zstd archive"},
    {"7z\xBC\xAF\x27\x1C"sv, "a 7z archive"},
    {"Rar!\x1A"sv, "a RAR archive"},
    {"II*\0"sv, "a TIFF image"},
    {"MM\0*"sv, "a TIFF image"},
    {"RIFF"sv, "a RIFF file (WAV or AVI)"},
    {"\x7F"
     "ELF"sv,
     "an ELF program"},
    {"MZ\x90"sv, "a Windows program"},
    {"SQLite format 3\0"sv, "an SQLite database"},
    {"{\\rtf"sv, "an RTF document"},
    {"%!PS"sv, "a PostScript document"},
    {"GGUF"sv, "a GGUF model"},
};

std::string HexOf(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes.substr(0, 8)) {
    const auto byte = static_cast<unsigned char>(c);
    if (!out.empty()) out += ' ';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) {
           return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
         });
}

// Null when it is not known.
const Extension* FindExtension(std::string_view extension) {
  const Extension* found =
      std::find_if(std::begin(kExtensions), std::end(kExtensions),
                   [&](const Extension& entry) { return entry.name == extension; });
  return found == std::end(kExtensions) ? nullptr : found;
}

bool IsZipFormat(Format format) {
  return format == Format::kDocx || format == Format::kPptx || format == Format::kXlsx ||
         format == Format::kOdf || format == Format::kEpub;
}

Result<Format> DetectZip(std::string_view path, const std::string& extension,
                         std::string_view bytes) {
  // The parts' folder tells the kind of an OPC package; the others begin with an entry that holds
  // their media type, uncompressed.
  static constexpr std::pair<std::string_view, Format> kBegins[] = {
      {"word/", Format::kDocx},
      {"ppt/", Format::kPptx},
      {"xl/", Format::kXlsx},
      {"mimetypeapplication/epub", Format::kEpub},
      {"mimetypeapplication/vnd.oasis.opendocument.", Format::kOdf}};
  static constexpr std::string_view kEntry = "PK\x03\x04";
  static constexpr size_t kNameAt = 30;  // of a local header (APPNOTE 4.3.7)
  for (size_t at = 0; at != std::string_view::npos; at = bytes.find(kEntry, at + 1)) {
    const std::string_view name = bytes.substr(std::min(at + kNameAt, bytes.size()));
    for (const auto& [begin, format] : kBegins) {
      if (name.starts_with(begin)) return format;
    }
  }
  const Extension* known = FindExtension(extension);
  if (known != nullptr && IsZipFormat(known->format)) return known->format;
  return UnsupportedError(path, ": unsupported format: a ZIP archive",
                          extension.empty() ? "" : StrCat(" (.", extension, ")"));
}

}  // namespace

Result<Format> DetectFormat(std::string_view path, std::string_view first_bytes) {
  const std::string extension = LowerExtension(path);
  // Writers may put something before the header; readers look for it in the first kilobyte.
  if (first_bytes.starts_with("%PDF-") ||
      (extension == "pdf" && first_bytes.substr(0, 1024).find("%PDF-") != std::string_view::npos)) {
    return Format::kPdf;
  }
  if (first_bytes.starts_with("PK\x03\x04")) return DetectZip(path, extension, first_bytes);
  if (DetectImageFormat(first_bytes).has_value()) return Format::kImage;
  for (const Magic& magic : kUnreadable) {
    if (first_bytes.starts_with(magic.bytes)) {
      return UnsupportedError(path, ": unsupported format: ", magic.what);
    }
  }
  const Extension* known = FindExtension(extension);
  if (known != nullptr) return known->format;
  if (!LooksLikeText(first_bytes)) {
    return UnsupportedError(path, ": unsupported format: binary data that begins with ",
                            HexOf(first_bytes));
  }
  std::string_view start = first_bytes;
  const size_t first = start.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  start.remove_prefix(std::min(first, start.size()));
  if (StartsWithIgnoringCase(start, "<!doctype html") || StartsWithIgnoringCase(start, "<html")) {
    return Format::kHtml;
  }
  return Format::kText;
}

}  // namespace rag
