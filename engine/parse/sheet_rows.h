// SheetRows: the rows of a spreadsheet's sheet, which may hold titles, several tables and notes.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "engine/parse/record_table.h"
#include "engine/parse/text_builder.h"

namespace rag {

struct SheetRow {
  size_t number = 0;          // from 0; what lies between two rows is blank
  std::vector<Field> fields;  // the cells that are not blank; columns ascend
  bool all_text = true;       // none of them is a number, a date or a truth value
};

// Rows become records of tables. Cells that stand alone in the rows above a table are its titles,
// and alone behind a blank row a note: both are paragraphs. Behind a blank row, texts alone above a
// row that has a value of another type are the header of another table.
class SheetRows {
 public:
  explicit SheetRows(TextBuilder& builder) : builder_(builder), table_(builder) {}

  void Add(SheetRow row);
  // After the last row.
  void End();

 private:
  // Writes the row that waits, which `next` follows.
  void Write(const SheetRow* next);
  // Adds the rows that may have been titles, and were not.
  void AddLone();

  TextBuilder& builder_;
  RecordTable table_;
  std::optional<SheetRow> waiting_;
  std::optional<size_t> before_;  // the number of the row before it
  std::vector<SheetRow> lone_;    // of one cell, before a table: titles when it is wider
  size_t width_ = 0;              // of the open table's widest row; 0: none is open
};

}  // namespace rag
