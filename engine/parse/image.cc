#include <optional>

#include "engine/parse/encoding.h"
#include "engine/parse/parser.h"
#include "lib/image/image.h"

namespace rag {

// The name is all the words that a picture has: lexical search finds it by them, and a citation
// quotes them.
Result<ParsedFile> ParseImage(std::string_view content, const ParseSource& source) {
  const std::optional<ImageFormat> format = DetectImageFormat(content);
  if (!format.has_value()) return InvalidArgumentError("no JPEG, PNG, WebP or GIF image");
  Document document = MakeDocument(source, ImageFormatMediaType(*format));
  RAG_ASSIGN_OR_RETURN(document.text, DecodeText(FileName(source.path)));
  document.blocks = {{.begin = 0, .end = static_cast<uint32_t>(document.text.size())}};
  document.image = content;
  return OneDocument(std::move(document));
}

}  // namespace rag
