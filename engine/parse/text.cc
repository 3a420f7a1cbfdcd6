#include "engine/parse/encoding.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"

namespace rag {

Result<ParsedFile> ParseText(std::string_view content, const ParseSource& source) {
  Document document = MakeDocument(source, "text/plain");
  RAG_ASSIGN_OR_RETURN(document.text, DecodeText(content));
  AppendParagraphs(document.text, 0, static_cast<uint32_t>(document.text.size()),
                   BlockKind::kParagraph, document.blocks);
  return OneDocument(std::move(document));
}

}  // namespace rag
