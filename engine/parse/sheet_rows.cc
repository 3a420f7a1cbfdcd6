#include "engine/parse/sheet_rows.h"

#include <algorithm>
#include <utility>

namespace rag {
namespace {

// Of a table; a longer column of texts is one.
constexpr size_t kMaxTitles = 8;

}  // namespace

void SheetRows::Add(SheetRow row) {
  if (row.fields.empty()) return;
  if (waiting_.has_value()) Write(&row);
  waiting_ = std::move(row);
}

void SheetRows::End() {
  if (waiting_.has_value()) Write(nullptr);
  AddLone();
  table_.End();
}

void SheetRows::AddLone() {
  for (const SheetRow& row : lone_) table_.Add(row.fields);
  if (!lone_.empty()) width_ = 1;
  lone_.clear();
}

void SheetRows::Write(const SheetRow* next) {
  SheetRow row = std::move(*waiting_);
  const bool after_blank = before_.has_value() && row.number > *before_ + 1;
  before_ = row.number;
  const bool alone = row.fields.size() == 1 && row.all_text;
  const bool begins_table =
      after_blank && row.all_text && next != nullptr && next->fields.size() > 1 &&
      (alone ? next->all_text : next->number == row.number + 1 && !next->all_text);
  if (width_ > 0 && begins_table) {
    table_.End();
    width_ = 0;
  }
  if (alone && width_ == 0) {
    lone_.push_back(std::move(row));
    if (lone_.size() > kMaxTitles) AddLone();
    return;
  }
  if (alone && after_blank && width_ > 1) {
    builder_.Add(BlockKind::kParagraph, row.fields.front().text);
    return;
  }
  if (row.fields.size() > 1) {
    for (const SheetRow& title : lone_) {
      builder_.Add(BlockKind::kParagraph, title.fields.front().text);
    }
    lone_.clear();
  }
  AddLone();
  table_.Add(row.fields);
  width_ = std::max(width_, row.fields.size());
}

}  // namespace rag
