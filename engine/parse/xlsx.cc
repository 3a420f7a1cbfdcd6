// XLSX (ECMA-376 SpreadsheetML): the worksheets in the workbook's order, each below its name, their
// rows as records (sheet_rows.h). Of a formula the value that was stored with it. Whole numbers are
// as they are stored, others have the 15 digits that Excel keeps, dates are ISO 8601's; other
// number formats are not applied. Comments and charts are left out.
#include <algorithm>
#include <charconv>
#include <map>
#include <pugixml.hpp>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/parse/number_format.h"
#include "engine/parse/office_xml.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/sheet_rows.h"
#include "engine/parse/text_builder.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr size_t kMaxRows = 1'048'576;
// Cells share strings, so that a row may swell past its file.
constexpr size_t kMaxRowBytes = size_t{16} << 20;

// "_x000D_" is how a string writes what XML cannot hold (22.9.2.19).
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '_' && i + 6 < text.size() && text[i + 1] == 'x' && text[i + 6] == '_' &&
        std::from_chars(text.data() + i + 2, text.data() + i + 6, code, 16).ptr ==
            text.data() + i + 6) {
      if (code >= ' ' || code == '\t' || code == '\n' || code == '\r') AppendUtf8(out, code);
      i += 6;
    } else {
      out += text[i];
    }
  }
  return RepairUtf8(out);
}

// Of <si> and <is>: its text or the text of its runs, without the reading aids of East Asian ones.
std::string StringOf(const pugi::xml_node& item) {
  std::string text;
  for (const pugi::xml_node& node : item.children()) {
    const std::string_view name = LocalName(node);
    if (name == "t") text += TextOf(node);
    if (name == "r") text += TextOf(ChildOf(node, "t"));
  }
  return Unescape(text);
}

std::vector<std::string> ReadStrings(const pugi::xml_node& table) {
  std::vector<std::string> strings;
  for (const pugi::xml_node& item : table.children()) {
    if (LocalName(item) == "si") strings.push_back(StringOf(item));
  }
  return strings;
}

// Of cell formats, by their index.
std::vector<DateParts> ReadFormats(const pugi::xml_node& styles) {
  std::unordered_map<int, DateParts> custom;
  for (const pugi::xml_node& format : ChildOf(styles, "numFmts").children()) {
    custom[format.attribute("numFmtId").as_int(-1)] =
        DatePartsOf(AttributeOf(format, "formatCode"));
  }
  std::vector<DateParts> formats;
  for (const pugi::xml_node& cell : ChildOf(styles, "cellXfs").children()) {
    const int id = cell.attribute("numFmtId").as_int();
    const auto found = custom.find(id);
    formats.push_back(found != custom.end() ? found->second : BuiltInDateParts(id));
  }
  return formats;
}

// Digits alone, as many as a number may have that is not shown by its exponent.
bool IsWhole(std::string_view number) {
  if (number.starts_with('-')) number.remove_prefix(1);
  return !number.empty() && number.size() <= 20 &&
         number.find_first_not_of("0123456789") == std::string_view::npos;
}

struct CellPlace {
  size_t row = 0;  // from 0
  size_t column = 0;
};

// Of "B3"; false when it is none within the limits.
bool ReadPlace(std::string_view text, CellPlace* place) {
  size_t i = 0;
  size_t column = 0;
  for (; i < text.size() && text[i] >= 'A' && text[i] <= 'Z' && column <= kMaxColumns; ++i) {
    column = column * 26 + static_cast<size_t>(text[i] - 'A' + 1);
  }
  size_t row = 0;
  const char* end = text.data() + text.size();
  if (std::from_chars(text.data() + i, end, row).ptr != end) return false;
  if (column == 0 || column > kMaxColumns || row == 0 || row > kMaxRows) return false;
  *place = {row - 1, column - 1};
  return true;
}

struct Merge {
  CellPlace first;
  CellPlace last;
};

std::vector<Merge> ReadMerges(const pugi::xml_node& list) {
  std::vector<Merge> merges;
  for (const pugi::xml_node& node : list.children()) {
    const std::string_view range = AttributeOf(node, "ref");
    const size_t colon = range.find(':');
    Merge merge;
    if (colon != std::string_view::npos && ReadPlace(range.substr(0, colon), &merge.first) &&
        ReadPlace(range.substr(colon + 1), &merge.last)) {
      merges.push_back(merge);
    }
  }
  std::sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return std::pair(a.first.row, a.first.column) < std::pair(b.first.row, b.first.column);
  });
  return merges;
}

class SheetReader {
 public:
  SheetReader(const std::vector<std::string>& strings, const std::vector<DateParts>& formats,
              bool system_1904, TextBuilder& builder)
      : strings_(strings), formats_(formats), system_1904_(system_1904), builder_(builder) {}

  // A sheet without any text has no heading either.
  Status Read(std::string_view name, const pugi::xml_node& sheet, const CancelToken* cancel) {
    merges_ = ReadMerges(ChildOf(sheet, "mergeCells"));
    SheetRows rows(builder_);
    size_t number = 0;
    bool headed = false;
    for (const pugi::xml_node& node : ChildOf(sheet, "sheetData").children()) {
      if (LocalName(node) != "row") continue;
      if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
      if (builder_.full()) return OkStatus();
      const unsigned long long said = node.attribute("r").as_ullong();
      if (said > 0) {
        if (said <= number && number > 0)
          return InvalidArgumentError("row ", said, " is out of order");
        number = said - 1;
      }
      if (number >= kMaxRows) return ResourceExhaustedError("it has more than ", kMaxRows, " rows");
      RAG_ASSIGN_OR_RETURN(SheetRow row, ReadRow(node, number));
      if (!row.fields.empty() && !headed) builder_.Add(BlockKind::kHeading, name, 1);
      headed = headed || !row.fields.empty();
      rows.Add(std::move(row));
      ++number;
    }
    rows.End();
    return OkStatus();
  }

 private:
  struct Span {
    size_t last_row;
    std::string text;
    bool text_cell;
  };

  Result<SheetRow> ReadRow(const pugi::xml_node& node, size_t number) {
    SheetRow row;
    row.number = number;
    size_t bytes = 0;
    size_t column = 0;
    std::erase_if(spans_, [&](const auto& span) { return span.second.last_row < number; });
    auto span = spans_.begin();
    // The cells that reach down from above and stand before `end`.
    const auto add_spans = [&](size_t end) {
      for (; span != spans_.end() && span->first < end; ++span) {
        bytes += span->second.text.size();
        row.all_text = row.all_text && span->second.text_cell;
        row.fields.push_back({span->first, span->second.text});
      }
    };
    std::vector<std::pair<size_t, Span>> begun;
    for (const pugi::xml_node& cell : node.children()) {
      if (LocalName(cell) != "c") continue;
      CellPlace place;
      if (ReadPlace(AttributeOf(cell, "r"), &place)) {
        if (place.column < column) {
          return InvalidArgumentError("cell ", RepairUtf8(AttributeOf(cell, "r")),
                                      " is out of order");
        }
        column = place.column;
      }
      if (column >= kMaxColumns) {
        return ResourceExhaustedError("row ", number + 1, " has more than ", kMaxColumns,
                                      " columns");
      }
      bool text_cell = true;
      RAG_ASSIGN_OR_RETURN(std::string text, CellText(cell, &text_cell));
      if (!Trim(text).empty()) {
        add_spans(column);
        if (span != spans_.end() && span->first == column) ++span;
        bytes += text.size();
        row.all_text = row.all_text && text_cell;
        if (const Merge* merge = FindMerge(number, column);
            merge != nullptr && merge->last.row > number) {
          begun.push_back({column, {merge->last.row, text, text_cell}});
        }
        row.fields.push_back({column, std::move(text)});
      }
      if (bytes > kMaxRowBytes) break;
      ++column;
    }
    add_spans(kMaxColumns);
    if (bytes > kMaxRowBytes) {
      return ResourceExhaustedError("row ", number + 1, " has more than ", kMaxRowBytes,
                                    " bytes of text");
    }
    for (auto& [at, value] : begun) spans_.insert_or_assign(at, std::move(value));
    return row;
  }

  const Merge* FindMerge(size_t row, size_t column) const {
    const auto found =
        std::lower_bound(merges_.begin(), merges_.end(), std::pair(row, column),
                         [](const Merge& merge, const auto& at) {
                           return std::pair(merge.first.row, merge.first.column) < at;
                         });
    if (found == merges_.end() || found->first.row != row || found->first.column != column) {
      return nullptr;
    }
    return &*found;
  }

  Result<std::string> CellText(const pugi::xml_node& cell, bool* is_text) const {
    const std::string_view type = AttributeOf(cell, "t");
    if (type == "inlineStr") return StringOf(ChildOf(cell, "is"));
    const std::string value = TextOf(ChildOf(cell, "v"));
    if (value.empty()) return std::string();
    if (type == "s") {
      size_t index = strings_.size();
      std::from_chars(value.data(), value.data() + value.size(), index);
      if (index < strings_.size()) return strings_[index];
      return InvalidArgumentError("cell ", RepairUtf8(AttributeOf(cell, "r")), " is string '",
                                  RepairUtf8(value), "' of ", strings_.size(), " shared ones");
    }
    if (type == "str" || type == "e") return Unescape(value);
    *is_text = false;
    if (type == "b") return std::string(value == "1" ? "TRUE" : value == "0" ? "FALSE" : "");
    if (type == "d") return RepairUtf8(value);
    return NumberText(value, cell.attribute("s").as_uint());
  }

  std::string NumberText(std::string_view value, size_t format) const {
    double number = 0;
    const char* end = value.data() + value.size();
    if (std::from_chars(value.data(), end, number).ptr != end || value.empty()) {
      return RepairUtf8(value);
    }
    if (format < formats_.size() && (formats_[format].date || formats_[format].time)) {
      std::string date = DateText(number, formats_[format], system_1904_);
      if (!date.empty()) return date;
    }
    // Identifiers are written as numbers too: Excel shows such a one with an exponent.
    if (IsWhole(value)) return std::string(value);
    char text[40];
    // As "%.15g", whatever the program's locale.
    char* const shown =
        std::to_chars(text, text + sizeof text, number, std::chars_format::general, 15).ptr;
    return std::string(text, shown);
  }

  const std::vector<std::string>& strings_;
  const std::vector<DateParts>& formats_;
  const bool system_1904_;
  TextBuilder& builder_;
  std::vector<Merge> merges_;
  std::map<size_t, Span> spans_;  // by column: merged cells that reach down
};

}  // namespace

Result<ParsedFile> ParseXlsx(std::string_view content, const ParseSource& source) {
  static constexpr std::string_view kKind = "an XLSX file";
  RAG_ASSIGN_OR_RETURN(const ZipParts parts, ReadParts(content, kKind, &IsOfficePart));
  RAG_ASSIGN_OR_RETURN(const std::string main, FindMainPart(parts, kKind, "xl/workbook.xml"));
  RAG_ASSIGN_OR_RETURN(const std::vector<Relationship> related, ReadRelationships(parts, main));
  Document document =
      MakeDocument(source, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
  RAG_RETURN_IF_ERROR(ReadCoreProperties(parts, document));
  pugi::xml_document xml;
  std::vector<std::string> strings;
  if (const std::string name = TargetOf(related, "sharedStrings", ""); !name.empty()) {
    RAG_RETURN_IF_ERROR(LoadPart(parts, name, xml));
    strings = ReadStrings(xml.document_element());
  }
  std::vector<DateParts> formats;
  if (const std::string name = TargetOf(related, "styles", ""); !name.empty()) {
    RAG_RETURN_IF_ERROR(LoadPart(parts, name, xml));
    formats = ReadFormats(xml.document_element());
  }
  std::unordered_map<std::string_view, const Relationship*> by_id;
  for (const Relationship& relationship : related) by_id.emplace(relationship.id, &relationship);
  pugi::xml_document workbook;
  RAG_RETURN_IF_ERROR(LoadPart(parts, main, workbook));
  const pugi::xml_node root = workbook.document_element();
  const bool system_1904 = ChildOf(root, "workbookPr").attribute("date1904").as_bool();
  TextBuilder builder(source.options.max_text_bytes);
  std::set<std::string> read;  // a part is one sheet
  size_t sheets = 0;
  for (const pugi::xml_node& entry : ChildOf(root, "sheets").children()) {
    const std::string name = RepairUtf8(AttributeOf(entry, "name"));
    const auto target = by_id.find(AttributeOf(entry, "id"));
    if (target == by_id.end()) {
      return InvalidArgumentError("the document is damaged: ", main, " names no part for sheet '",
                                  name, "'");
    }
    if (target->second->type != "worksheet") continue;
    const std::string& part = target->second->target;
    if (!read.insert(part).second) continue;
    RAG_RETURN_IF_ERROR(LoadPart(parts, part, xml));
    Status status = SheetReader(strings, formats, system_1904, builder)
                        .Read(name, xml.document_element(), source.cancel);
    if (!status.ok()) return std::move(status).WithContext(RepairUtf8(part));
    ++sheets;
  }
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  document.metadata.as_object().Set("sheets", sheets);
  return OneDocument(std::move(document));
}

}  // namespace rag
