#include "engine/parse.h"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include "engine/parse/parser.h"
#include "lib/base/file.h"

namespace rag {
namespace {

// What DetectFormat is shown.
constexpr size_t kFirstBytes = 4'096;
// Byte ranges are 32 bits wide.
constexpr size_t kMaxTextBytes = std::numeric_limits<uint32_t>::max();

Result<ParsedFile> Dispatch(std::string_view content, Format format, const ParseSource& source) {
  switch (format) {
    case Format::kText:
      return ParseText(content, source);
    case Format::kMarkdown:
      return ParseMarkdown(content, source);
    case Format::kHtml:
      return ParseHtml(content, source);
    case Format::kPdf:
      return ParsePdf(content, source);
    case Format::kDocx:
      return ParseDocx(content, source);
    case Format::kPptx:
      return ParsePptx(content, source);
    case Format::kXlsx:
      return ParseXlsx(content, source);
    case Format::kOdf:
      return ParseOdf(content, source);
    case Format::kEpub:
      return ParseEpub(content, source);
    case Format::kCsv:
      return ParseCsv(content, source);
    case Format::kJsonl:
      return ParseJsonl(content, source);
    case Format::kCode:
      return ParseCode(content, source);
    case Format::kImage:
      return ParseImage(content, source);
  }
  return InternalError("format ", static_cast<int>(format), " has no parser");
}

Status CheckDocuments(const ParsedFile& file, const ParseOptions& options) {
  size_t bytes = 0;
  bool has_text = false;
  for (const Document& document : file.documents) {
    bytes += document.text.size();
    has_text = has_text || !document.blocks.empty();
  }
  if (!has_text) {
    if (!file.problems.empty()) return file.problems.front();
    return InvalidArgumentError("the file has no text");
  }
  if (bytes > std::min(options.max_text_bytes, kMaxTextBytes)) {
    return ResourceExhaustedError("its text has ", bytes, " bytes, over the limit of ",
                                  std::min(options.max_text_bytes, kMaxTextBytes));
  }
  return OkStatus();
}

// Problems already begin with the path.
Status NameFile(Status status, const std::string& path) {
  if (status.message().starts_with(path)) return status;
  return std::move(status).WithContext(path);
}

}  // namespace

Result<ParsedFile> ParseContent(std::string_view content, const std::string& path, Format format,
                                const ParseOptions& options, const CancelToken* cancel) {
  if (content.size() > options.max_file_bytes) {
    return ResourceExhaustedError(path, ": the file has ", content.size(),
                                  " bytes, over the limit of ", options.max_file_bytes);
  }
  if (content.empty()) return InvalidArgumentError(path, ": the file is empty");
  const ParseSource source{path, options, cancel};
  try {
    Result<ParsedFile> parsed = Dispatch(content, format, source);
    if (!parsed.ok()) return NameFile(std::move(parsed).status(), path);
    parsed->format = format;
    Status status = CheckDocuments(*parsed, options);
    if (!status.ok()) return NameFile(std::move(status), path);
    return parsed;
  } catch (const std::bad_alloc&) {
    return ResourceExhaustedError(path, ": not enough memory to parse ", content.size(), " bytes");
  }
}

Result<ParsedFile> ParseFile(const std::string& path, const ParseOptions& options,
                             const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, options.max_file_bytes));
  RAG_ASSIGN_OR_RETURN(const Format format,
                       DetectFormat(path, std::string_view(content).substr(0, kFirstBytes)));
  return ParseContent(content, path, format, options, cancel);
}

std::string LowerExtension(std::string_view path) {
  const std::string_view name = path.substr(path.find_last_of('/') + 1);
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return "";
  std::string extension(name.substr(dot + 1));
  for (char& c : extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return extension;
}

std::string FileName(std::string_view path) {
  return std::string(path.substr(path.find_last_of('/') + 1));
}

std::string FileStem(std::string_view path) {
  const std::string_view name = path.substr(path.find_last_of('/') + 1);
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return std::string(name);
  return std::string(name.substr(0, dot));
}

Document MakeDocument(const ParseSource& source, std::string_view media_type) {
  Document document;
  document.key = source.path;
  document.source = source.path;
  document.title = FileStem(source.path);
  document.media_type = media_type;
  document.metadata = Value(Value::Object());
  return document;
}

ParsedFile OneDocument(Document document) {
  ParsedFile file;
  file.documents.push_back(std::move(document));
  return file;
}

void TitleFromHeading(Document& document, const ParseSource& source, uint8_t max_level) {
  if (document.title != FileStem(source.path)) return;
  const auto heading =
      std::find_if(document.blocks.begin(), document.blocks.end(), [&](const Block& block) {
        return block.kind == BlockKind::kHeading && block.level <= max_level;
      });
  if (heading == document.blocks.end()) return;
  document.title = document.text.substr(heading->begin, heading->end - heading->begin);
}

}  // namespace rag
