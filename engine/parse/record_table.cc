#include "engine/parse/record_table.h"

#include <algorithm>
#include <string_view>

#include "engine/parse/paragraphs.h"

namespace rag {
namespace {

bool IsNumber(std::string_view text) {
  text = Trim(text);
  return !text.empty() && text.find_first_not_of("0123456789.,+-eE%") == std::string_view::npos &&
         text.find_first_of("0123456789") != std::string_view::npos;
}

}  // namespace

void RecordTable::Add(const std::vector<Field>& fields) {
  if (begun_) return AddRow(fields);
  begun_ = true;
  if (std::all_of(fields.begin(), fields.end(),
                  [](const Field& field) { return IsNumber(field.text); })) {
    return AddRow(fields);
  }
  for (const Field& field : fields) {
    names_.resize(field.column + 1);
    names_.back() = CollapseSpace(field.text);
  }
}

void RecordTable::End() {
  if (!has_rows_) {
    std::string row;
    for (const std::string& name : names_) {
      if (!row.empty() && !name.empty()) row += "; ";
      row += name;
    }
    builder_.Add(BlockKind::kTableRow, row);
  }
  begun_ = false;
  has_rows_ = false;
  names_.clear();
}

void RecordTable::AddRow(const std::vector<Field>& fields) {
  std::string row;
  for (const Field& field : fields) {
    const std::string value = CollapseSpace(field.text);
    if (value.empty()) continue;
    if (!row.empty()) row += "; ";
    row += field.column < names_.size() && !names_[field.column].empty()
               ? names_[field.column]
               : StrCat("column ", field.column + 1);
    row += ": ";
    row += value;
  }
  if (row.empty()) return;
  builder_.Add(BlockKind::kTableRow, row);
  has_rows_ = true;
  ++rows_;
}

}  // namespace rag
