// PDF through poppler's pdftotext as a child process: a GPL program that reads hostile files stays
// outside of this one. It gives boxes of text, which are put into reading order here; documents
// with text from right to left are taken in poppler's own order.
#include <algorithm>

#include "engine/parse/child_process.h"
#include "engine/parse/encoding.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/pdf_layout.h"
#include "engine/parse/text_builder.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr size_t kHeaderBytes = 1'024;
// A word with its box takes about this many times its own bytes.
constexpr size_t kBoxOverhead = 16;
constexpr size_t kMaxOutputBytes = size_t{1} << 30;

std::string_view Between(std::string_view text, std::string_view open, std::string_view close) {
  const size_t begin = text.find(open);
  if (begin == std::string_view::npos) return {};
  const size_t end = text.find(close, begin + open.size());
  if (end == std::string_view::npos) return {};
  return text.substr(begin + open.size(), end - begin - open.size());
}

// The head that -htmlmeta writes: <title> and <meta name=… content=…/>.
void ReadHead(std::string_view head, Document& document) {
  const std::string title = CollapseSpace(UnescapeXml(Between(head, "<title>", "</title>")));
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
    const std::string value = CollapseSpace(
        UnescapeXml(Between(head, StrCat("<meta name=\"", name.from, "\" content=\""), "\"/>")));
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

// The output for these options, in valid UTF-8 without zero bytes.
Result<std::string> RunPdftotext(const std::vector<std::string>& options, std::string_view content,
                                 const ParseSource& source) {
  ChildLimits limits;
  limits.timeout_ms = std::max(source.options.pdf_timeout_ms, 1);
  limits.max_output_bytes =
      std::min(source.options.max_text_bytes, kMaxOutputBytes / kBoxOverhead) * kBoxOverhead;
  std::vector<std::string> arguments = {"pdftotext", "-enc", "UTF-8"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.insert(arguments.end(), {"-", "-"});
  RAG_ASSIGN_OR_RETURN(ChildOutput child, RunChild(arguments, content, limits, source.cancel));
  if (child.exit_code != 0) return ExitError(child);
  std::string output =
      IsValidUtf8(child.output) ? std::move(child.output) : RepairUtf8(child.output);
  std::replace(output.begin(), output.end(), '\0', ' ');
  return output;
}

// Pages are separated by form feeds, paragraphs by empty lines.
std::vector<std::vector<std::string>> ReadPlainPages(std::string_view text) {
  std::vector<std::vector<std::string>> pages;
  while (!text.empty()) {
    const size_t feed = text.find('\f');
    const std::string_view page = text.substr(0, feed);
    text.remove_prefix(feed == std::string_view::npos ? text.size() : feed + 1);
    // After the last form feed nothing stands.
    if (feed == std::string_view::npos && Trim(page).empty()) break;
    pages.emplace_back();
    for (const ByteRange range : SplitParagraphs(page)) {
      pages.back().emplace_back(page.substr(range.begin, range.end - range.begin));
    }
  }
  return pages;
}

// pdftotext wraps text from right to left in directional marks, which are no part of its words.
std::string WithoutBidiMarks(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    // U+200E, U+200F and U+202A to U+202E.
    if (text.substr(i, 2) == "\xE2\x80" && i + 2 < text.size()) {
      const auto last = static_cast<unsigned char>(text[i + 2]);
      if (last == 0x8E || last == 0x8F || (last >= 0xAA && last <= 0xAE)) {
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

}  // namespace

Result<ParsedFile> ParsePdf(std::string_view content, const ParseSource& source) {
  if (content.substr(0, kHeaderBytes).find("%PDF-") == std::string_view::npos) {
    return InvalidArgumentError("not a PDF: it has no %PDF- header");
  }
  RAG_ASSIGN_OR_RETURN(std::string output, RunPdftotext({"-bbox-layout"}, content, source));
  Document document = MakeDocument(source, "application/pdf");
  const size_t body = std::min(output.find("<body>"), output.size());
  ReadHead(std::string_view(output).substr(0, body), document);
  using Pages = std::vector<std::vector<std::string>>;
  Pages pages;
  if (HasRightToLeft(std::string_view(output).substr(body))) {
    RAG_ASSIGN_OR_RETURN(output, RunPdftotext({"-eol", "unix"}, content, source));
    pages = ReadPlainPages(WithoutBidiMarks(output));
  } else {
    RAG_ASSIGN_OR_RETURN(pages, ReadPdfPages(std::string_view(output).substr(body), source.cancel));
  }
  output = std::string();
  TextBuilder builder(source.options.max_text_bytes);
  for (size_t i = 0; i < pages.size(); ++i) {
    for (const std::string& paragraph : pages[i]) {
      builder.Add(BlockKind::kParagraph, paragraph, 0, static_cast<uint32_t>(i + 1));
    }
  }
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  if (document.blocks.empty()) {
    return InvalidArgumentError("the PDF has no text layer (", pages.size(),
                                pages.size() == 1 ? " page" : " pages",
                                "); scanned pages need to go through OCR first");
  }
  document.metadata.as_object().Set("pages", pages.size());
  return OneDocument(std::move(document));
}

}  // namespace rag
