// What the parsers of the formats share: their signature and what they are told.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/parse.h"

namespace rag {

struct ParseSource {
  const std::string& path;
  const ParseOptions& options;
  const CancelToken* cancel;
};

// Each takes the bytes of a whole, non-empty file within max_file_bytes. The messages of their
// errors do not name the file (ParseContent puts it before them); those of ParsedFile::problems do.
Result<ParsedFile> ParseText(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseMarkdown(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseHtml(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParsePdf(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseDocx(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParsePptx(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseXlsx(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseOdf(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseEpub(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseCsv(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseJsonl(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseCode(std::string_view content, const ParseSource& source);
Result<ParsedFile> ParseImage(std::string_view content, const ParseSource& source);

// A document with key, source and title (the file's name without its extension) from the path, and
// an empty object as metadata.
Document MakeDocument(const ParseSource& source, std::string_view media_type);
// What a file gives that is one document.
ParsedFile OneDocument(Document document);
// When the title is still the file's name, the first heading of a level up to `max_level` becomes
// it.
void TitleFromHeading(Document& document, const ParseSource& source, uint8_t max_level);
// "md" of "a/b.MD"; "" when there is none.
std::string LowerExtension(std::string_view path);
// "b.md" of "a/b.md".
std::string FileName(std::string_view path);
// "b" of "a/b.md".
std::string FileStem(std::string_view path);

}  // namespace rag
