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

// Parts that hold no text; everything else may be a chapter, whatever its name ends in.
bool IsWanted(std::string_view name) {
  std::string extension = LowerExtension(name);
  static constexpr std::string_view kMedia[] = {"jpg", "jpeg", "png",  "gif",   "svg",  "webp",
                                                "ttf", "otf",  "woff", "woff2", "mp3",  "m4a",
                                                "mp4", "css",  "js",   "ncx",   "smil", "pdf"};
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

// XHTML as HTML reads it: "<title/>" becomes "<title></title>", which would else take in the page.
std::string CloseEmptyElements(std::string_view xhtml) {
  std::string out;
  out.reserve(xhtml.size());
  size_t copied = 0;
  for (size_t at = xhtml.find('<'); at != std::string_view::npos; at = xhtml.find('<', at)) {
    if (xhtml.substr(at, 4) == "<!--") {
      at = xhtml.find("-->", at);
      continue;
    }
    size_t end = at + 1;
    char quote = 0;
    for (; end < xhtml.size() && (quote != 0 || xhtml[end] != '>'); ++end) {
      if (quote != 0) {
        if (xhtml[end] == quote) quote = 0;
      } else if (xhtml[end] == '"' || xhtml[end] == '\'') {
        quote = xhtml[end];
      }
    }
    if (end >= xhtml.size()) break;
    const std::string_view tag = xhtml.substr(at + 1, end - at - 1);
    const std::string_view name = tag.substr(0, tag.find_first_of(" \t\r\n/"));
    if (tag.ends_with('/') && !name.empty() && !IsVoid(name)) {
      out += xhtml.substr(copied, end - 1 - copied);
      out += "></";
      out += name;
      out += '>';
      copied = end + 1;
    }
    at = end;
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
  for (const pugi::xml_node& node : ChildOf(xml.document_element(), "spine").children()) {
    if (builder.full()) break;
    const auto item = items.find(AttributeOf(node, "idref"));
    if (item == items.end()) {
      return InvalidArgumentError("the document is damaged: ", RepairUtf8(package),
                                  " names no part for chapter '",
                                  RepairUtf8(AttributeOf(node, "idref")), "'");
    }
    const auto& [part, media_type] = item->second;
    if (media_type != "application/xhtml+xml" && media_type != "text/html") continue;
    if (!read.insert(part).second) continue;
    if (++chapters > kMaxChapters) {
      return ResourceExhaustedError("the book has more than ", kMaxChapters, " chapters");
    }
    if (encrypted.contains(part)) {
      return InvalidArgumentError("the book is encrypted: ", RepairUtf8(part));
    }
    const auto chapter = parts.find(part);
    if (chapter == parts.end()) return MissingPartError(part);
    if (chapter->second.empty()) continue;
    Status status = ReadHtml(CloseEmptyElements(chapter->second), source.cancel, builder, nullptr);
    if (!status.ok()) return std::move(status).WithContext(RepairUtf8(part));
  }
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  TitleFromHeading(document, source, 6);
  ParsedFile file;
  file.documents.push_back(std::move(document));
  return file;
}

}  // namespace rag
