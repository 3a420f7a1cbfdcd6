// PDF through poppler's pdftotext as a child process: a GPL program that reads hostile files stays
// outside of this one. Its reading order (columns one after another) is kept; pages are separated
// by form feeds, and paragraphs by empty lines.
#include <algorithm>

#include "engine/parse/child_process.h"
#include "engine/parse/encoding.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/text_builder.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr size_t kHeaderBytes = 1'024;

std::string Unescape(std::string_view text) {
  static constexpr struct {
    std::string_view escape;
    char character;
  } kEscapes[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
  std::string out;
  while (!text.empty()) {
    const auto* found =
        std::find_if(std::begin(kEscapes), std::end(kEscapes),
                     [&](const auto& entry) { return text.starts_with(entry.escape); });
    if (found != std::end(kEscapes)) {
      out += found->character;
      text.remove_prefix(found->escape.size());
    } else {
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return CollapseSpace(out);
}

std::string_view Between(std::string_view text, std::string_view open, std::string_view close) {
  const size_t begin = text.find(open);
  if (begin == std::string_view::npos) return {};
  const size_t end = text.find(close, begin + open.size());
  if (end == std::string_view::npos) return {};
  return text.substr(begin + open.size(), end - begin - open.size());
}

// The head that -htmlmeta writes: <title> and <meta name=… content=…/>.
void ReadHead(std::string_view head, Document& document) {
  const std::string title = Unescape(Between(head, "<title>", "</title>"));
  if (!title.empty()) document.title = title;
  static constexpr struct {
    std::string_view from;
    std::string_view to;
  } kNames[] = {{"Author", "author"},
                {"Subject", "subject"},
                {"Keywords", "keywords"},
                {"CreationDate", "created"},
                {"ModDate", "modified"}};
  for (const auto& name : kNames) {
    const std::string value =
        Unescape(Between(head, StrCat("<meta name=\"", name.from, "\" content=\""), "\"/>"));
    if (!value.empty()) document.metadata.as_object().Set(name.to, Value(value));
  }
}

Status ExitError(const ChildOutput& child) {
  std::string_view reason = Trim(child.error_text);
  if (reason.find("Incorrect password") != std::string_view::npos) {
    return InvalidArgumentError("the PDF is encrypted and needs a password");
  }
  if (child.exit_code == 3) {
    return InvalidArgumentError("the PDF does not permit that its text is copied");
  }
  if (child.exit_code < 0) {
    return InvalidArgumentError("the PDF is damaged: pdftotext was ended by a signal");
  }
  // The last line names what stopped it.
  const size_t line = reason.find_last_of('\n');
  if (line != std::string_view::npos) reason.remove_prefix(line + 1);
  return InvalidArgumentError(
      "the PDF is damaged: ",
      reason.empty() ? std::string_view("pdftotext gives no reason") : reason.substr(0, 200));
}

}  // namespace

Result<ParsedFile> ParsePdf(std::string_view content, const ParseSource& source) {
  if (content.substr(0, kHeaderBytes).find("%PDF-") == std::string_view::npos) {
    return InvalidArgumentError("not a PDF: it has no %PDF- header");
  }
  ChildLimits limits;
  limits.timeout_ms = std::max(source.options.pdf_timeout_ms, 1);
  limits.max_output_bytes = source.options.max_text_bytes;
  RAG_ASSIGN_OR_RETURN(const ChildOutput child, RunChild({"pdftotext", "-q", "-enc", "UTF-8",
                                                          "-eol", "unix", "-htmlmeta", "-", "-"},
                                                         content, limits, source.cancel));
  // -q hides the reason too.
  if (child.exit_code != 0) {
    RAG_ASSIGN_OR_RETURN(const ChildOutput loud, RunChild({"pdftotext", "-enc", "UTF-8", "-", "-"},
                                                          content, limits, source.cancel));
    return ExitError(loud.exit_code != 0 ? loud : child);
  }
  static constexpr std::string_view kOpen = "<body>\n<pre>\n";
  static constexpr std::string_view kClose = "</pre>";
  const size_t open = child.output.find(kOpen);
  const size_t close = child.output.rfind(kClose);
  if (open == std::string::npos || close == std::string::npos || close < open + kOpen.size()) {
    return InternalError("pdftotext gave an unexpected output");
  }
  Document document = MakeDocument(source, "application/pdf");
  ReadHead(RepairUtf8(std::string_view(child.output).substr(0, open)), document);
  std::string text = RepairUtf8(
      std::string_view(child.output).substr(open + kOpen.size(), close - open - kOpen.size()));
  std::replace(text.begin(), text.end(), '\0', ' ');

  TextBuilder builder(source.options.max_text_bytes);
  uint32_t pages = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t feed = rest.find('\f');
    const std::string_view page = rest.substr(0, feed);
    rest.remove_prefix(feed == std::string_view::npos ? rest.size() : feed + 1);
    // After the last form feed nothing but a line end may stand.
    if (feed != std::string_view::npos || !Trim(page).empty()) ++pages;
    for (const ByteRange range : SplitParagraphs(page)) {
      builder.Add(BlockKind::kParagraph, page.substr(range.begin, range.end - range.begin), 0,
                  pages);
    }
  }
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  if (document.blocks.empty()) {
    return InvalidArgumentError("the PDF has no text layer (", pages,
                                pages == 1 ? " page" : " pages",
                                "); scanned pages need to go through OCR first");
  }
  document.metadata.as_object().Set("pages", pages);
  ParsedFile file;
  file.documents.push_back(std::move(document));
  return file;
}

}  // namespace rag
