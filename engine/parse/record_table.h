// RecordTable: the rows of a table that has a header, each so that it reads by itself.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/parse/text_builder.h"

namespace rag {

inline constexpr size_t kMaxColumns = 16'384;

struct Field {
  size_t column = 0;  // from 0
  std::string text;
};

// "column: value; column: value". Without a header a column is called by its number.
class RecordTable {
 public:
  explicit RecordTable(TextBuilder& builder) : builder_(builder) {}

  // The next record; columns ascend. The first one is the header, unless it is numbers alone.
  void Add(const std::vector<Field>& fields);
  // The next record begins another table, which may have a header of its own. A table of a header
  // alone still says what its columns are.
  void End();

  size_t rows() const { return rows_; }  // of all tables, without headers

 private:
  void AddRow(const std::vector<Field>& fields);

  TextBuilder& builder_;
  bool begun_ = false;
  bool has_rows_ = false;
  std::vector<std::string> names_;
  size_t rows_ = 0;
};

}  // namespace rag
