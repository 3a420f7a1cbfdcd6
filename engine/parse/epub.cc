// EPUB (2 and 3): the chapters in the reading order of the package's spine, each read as HTML;
// title, authors, language and the like from its Dublin Core.
#include <algorithm>
#include <iterator>
#include <pugixml.hpp>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/parse/html.h"
#include "engine/parse/office_xml.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/text_builder.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr size_t kMaxChapters = 10'000;
constexpr size_t kMaxProblems = 100;

// Parts that hold no text; everything else may be a chapter, whatever its name ends in.
bool IsWanted(std::string_view name) {
  std::string extension = LowerExtension(name);
  static constexpr std::string_view kMedia[] = {
      "jpg", "jpeg", "png", "gif", "svg",  "webp", "ttf", "otf", "woff", "woff2", "mp3", "m4a",
      "mp4", "css",  "js",  "ncx", "smil", "pdf",  "ogg", "ogv", "opus", "webm",  "wav", "mov"};
  return std::find(std::begin(kMedia), std::end(kMedia), extension) == std::end(kMedia);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The file name that a reference says: without its fragment, "%20" as a space.
std::string FileOf(std::string_view reference) {
  reference = reference.substr(0, reference.find('#'));
  std::string name;
  for (size_t i = 0; i < reference.size(); ++i) {
    if (reference[i] == '%' && i + 2 < reference.size() && HexDigit(reference[i + 1]) >= 0 &&
        HexDigit(reference[i + 2]) >= 0) {
      name += static_cast<char>(HexDigit(reference[i + 1]) * 16 + HexDigit(reference[i + 2]));
      i += 2;
    } else {
      name += reference[i];
    }
  }
  return name;
}

// Elements that HTML knows to be empty; to all others it needs an end.
bool IsVoid(std::string_view name) {
  static constexpr std::string_view kNames[] = {"area",  "base",   "br",    "col",  "embed",
                                                "hr",    "img",    "input", "link", "meta",
                                                "param", "source", "track", "wbr"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// Where the tag that begins at `at` ends: its '>', or the end of all.
size_t EndOfTag(std::string_view xhtml, size_t at) {
  char quote = 0;
  for (size_t end = at + 1; end < xhtml.size(); ++end) {
    const char c = xhtml[end];
    if (quote == 0 && c == '>') return end;
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    }
  }
  return xhtml.size();
}

// XHTML as HTML reads it: "<title/>" becomes "<title></title>", which would else take in the page,
// and "<![CDATA[a < b]]>" text.
std::string ToHtml(std::string_view xhtml) {
  static constexpr std::string_view kData = "<![CDATA[";
  std::string out;
  out.reserve(xhtml.size());
  size_t copied = 0;
  for (size_t at = xhtml.find('<'); at != std::string_view::npos; at = xhtml.find('<', at)) {
    if (xhtml.substr(at, 4) == "<!--") {
      at = xhtml.find("-->", at);
      continue;
    }
    if (xhtml.substr(at, kData.size()) == kData) {
      const size_t end = std::min(xhtml.find("]]>", at), xhtml.size());
      out += xhtml.substr(copied, at - copied);
      const size_t begin = at + kData.size();
      for (const char c : xhtml.substr(begin, end - begin)) {
        c == '<' ? out += "&lt;" : c == '&' ? out += "&amp;" : out += c;
      }
      at = copied = std::min(end + 3, xhtml.size());
      continue;
    }
    const size_t end = EndOfTag(xhtml, at);
    if (end == xhtml.size()) break;
    const std::string_view tag = xhtml.substr(at + 1, end - at - 1);
    const std::string_view name = tag.substr(0, tag.find_first_of(" \t\r\n/"));
    at = end;
    if (tag.ends_with('/')) {
      if (name.empty() || IsVoid(name)) continue;
      out += xhtml.substr(copied, end - 1 - copied);
      out += "></";
      out += name;
      out += '>';
      copied = end + 1;
    } else if (name == "script" || name == "style") {
      // What looks like tags and quotes in there is none.
      at = xhtml.find(StrCat("</", name), end);
    }
  }
  out += xhtml.substr(copied);
  return out;
}

// The names of the parts that META-INF/encryption.xml lists: fonts, or a book that cannot be read.
Result<std::set<std::string>> EncryptedParts(const ZipParts& parts) {
  std::set<std::string> names;
  if (!parts.contains("META-INF/encryption.xml")) return names;
  pugi::xml_document xml;
  RAG_RETURN_IF_ERROR(LoadPart(parts, "META-INF/encryption.xml", xml));
  for (const pugi::xml_node& data : xml.document_element().children()) {
    const pugi::xml_node reference = ChildOf(ChildOf(data, "CipherData"), "CipherReference");
    names.insert(ResolvePart("", FileOf(AttributeOf(reference, "URI"))));
  }
  return names;
}

Result<std::string> FindPackage(const ZipParts& parts) {
  if (!parts.contains("META-INF/container.xml")) {
    return InvalidArgumentError("not an EPUB file: it has no META-INF/container.xml");
  }
  pugi::xml_document xml;
  RAG_RETURN_IF_ERROR(LoadPart(parts, "META-INF/container.xml", xml));
  const pugi::xml_node file = ChildOf(ChildOf(xml.document_element(), "rootfiles"), "rootfile");
  const std::string_view path = AttributeOf(file, "full-path");
  if (path.empty()) {
    return InvalidArgumentError("the document is damaged: META-INF/container.xml names no package");
  }
  return ResolvePart("", path);
}

}  // namespace

Result<ParsedFile> ParseEpub(std::string_view content, const ParseSource& source) {
  RAG_ASSIGN_OR_RETURN(const ZipParts parts, ReadParts(content, "an EPUB file", &IsWanted));
  RAG_ASSIGN_OR_RETURN(const std::string package, FindPackage(parts));
  RAG_ASSIGN_OR_RETURN(const std::set<std::string> encrypted, EncryptedParts(parts));
  pugi::xml_document xml;
  RAG_RETURN_IF_ERROR(LoadPart(parts, package, xml));
  Document document = MakeDocument(source, "application/epub+zip");
  ReadProperties(ChildOf(xml.document_element(), "metadata"), document);
  struct Item {
    std::string part;
    std::string_view media_type;
  };
  std::unordered_map<std::string_view, Item> items;  // by id
  for (const pugi::xml_node& node : ChildOf(xml.document_element(), "manifest").children()) {
    items.emplace(AttributeOf(node, "id"),
                  Item{ResolvePart(package, FileOf(AttributeOf(node, "href"))),
                       AttributeOf(node, "media-type")});
  }
  TextBuilder builder(source.options.max_text_bytes);
  std::set<std::string> read;  // a chapter stands in a spine once
  size_t chapters = 0;
  // A book of which something is missing is read without it.
  ParsedFile file;
  const auto problem = [&](Status status) {
    if (file.problems.size() < kMaxProblems) {
      file.problems.push_back(std::move(status).WithContext(source.path));
    }
  };
  for (const pugi::xml_node& node : ChildOf(xml.document_element(), "spine").children()) {
    if (builder.full()) break;
    const auto item = items.find(AttributeOf(node, "idref"));
    if (item == items.end()) {
      problem(InvalidArgumentError(RepairUtf8(package), " names no part for chapter '",
                                   RepairUtf8(AttributeOf(node, "idref")), "'"));
      continue;
    }
    const auto& [part, media_type] = item->second;
    if (media_type != "application/xhtml+xml" && media_type != "text/html" &&
        media_type != "text/x-oeb1-document") {
      continue;
    }
    if (!read.insert(part).second) continue;
    if (++chapters > kMaxChapters) {
      return ResourceExhaustedError("the book has more than ", kMaxChapters, " chapters");
    }
    if (encrypted.contains(part)) {
      return InvalidArgumentError("the book is encrypted: ", RepairUtf8(part));
    }
    const auto chapter = parts.find(part);
    if (chapter == parts.end()) {
      problem(MissingPartError(part));
      continue;
    }
    if (chapter->second.empty()) continue;
    const Result<std::string> xhtml = DecodeHtml(chapter->second);
    Status status =
        xhtml.ok() ? ReadHtml(ToHtml(*xhtml), source.cancel, builder, nullptr) : xhtml.status();
    if (!status.ok()) return std::move(status).WithContext(RepairUtf8(part));
  }
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  TitleFromHeading(document, source, 6);
  file.documents.push_back(std::move(document));
  return file;
}

}  // namespace rag
