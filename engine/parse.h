// Parsers: a file's bytes -> documents.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/document.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

enum class Format {
  kText,
  kMarkdown,
  kHtml,
  kPdf,
  kDocx,
  kPptx,
  kXlsx,
  kOdf,
  kEpub,
  kCsv,
  kJsonl,
  kCode,
  kImage
};
std::string_view FormatName(Format format);  // "text", "markdown", …

// From the file's name (extension) and its first bytes: the bytes win where the two disagree about
// a binary format. Errors: unsupported ("unsupported format") naming what was seen.
Result<Format> DetectFormat(std::string_view path, std::string_view first_bytes);

struct ParseOptions {
  size_t max_file_bytes = size_t{64} << 20;   // a larger file is resource_exhausted
  size_t max_text_bytes = size_t{256} << 20;  // of extracted text (archives and PDFs can swell)
  int pdf_timeout_ms = 60'000;                // of the pdftotext child
};

struct ParsedFile {
  Format format = Format::kText;
  std::vector<Document> documents;  // one, but for JSONL: one a line
  std::vector<Status> problems;  // parts that could not be read (a bad line), each naming its place
};

// Errors name the file: invalid_argument (empty, not this format, damaged, encrypted, no text),
// resource_exhausted, deadline_exceeded, io_error. A picture is not decoded here, so a damaged one
// is found when it is encoded. `content` is the file's bytes, `path` its
// absolute path, used for titles, keys and messages.
Result<ParsedFile> ParseContent(std::string_view content, const std::string& path, Format format,
                                const ParseOptions& options = {},
                                const CancelToken* cancel = nullptr);
// Reads, detects and parses.
Result<ParsedFile> ParseFile(const std::string& path, const ParseOptions& options = {},
                             const CancelToken* cancel = nullptr);

}  // namespace rag
