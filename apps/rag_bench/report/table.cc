#include "apps/rag_bench/report/table.h"

#include <algorithm>
#include <cstdio>

#include "lib/base/status.h"

namespace rag::bench {
namespace {

void AppendPadded(std::string& out, const std::string& cell, size_t width, bool left) {
  const std::string fill(width > cell.size() ? width - cell.size() : 0, ' ');
  out += left ? cell + fill : fill + cell;
}

}  // namespace

std::string Fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

std::string Megabytes(size_t bytes) {
  return bytes == 0 ? "-" : Fixed(static_cast<double>(bytes) / 1e6, 1);
}

std::string TablesToText(const std::vector<Table>& tables) {
  std::string out;
  for (const Table& table : tables) {
    if (table.rows.empty()) continue;
    out += StrCat("\n", table.title, "\n");
    std::vector<size_t> widths(table.header.size());
    const auto widen = [&](const std::vector<std::string>& row) {
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    };
    widen(table.header);
    for (const auto& row : table.rows) widen(row);
    const auto append = [&](const std::vector<std::string>& row) {
      for (size_t i = 0; i < row.size(); ++i) {
        if (i > 0) out += "  ";
        AppendPadded(out, row[i], widths[i], i == 0);
      }
      out += '\n';
    };
    append(table.header);
    for (const auto& row : table.rows) append(row);
  }
  return out;
}

std::string TablesToMarkdown(const std::vector<Table>& tables) {
  std::string out;
  for (const Table& table : tables) {
    if (table.rows.empty()) continue;
    out += StrCat("\n**", table.title, "**\n\n");
    const auto append = [&](const std::vector<std::string>& row) {
      out += "|";
      for (const std::string& cell : row) out += StrCat(" ", cell, " |");
      out += '\n';
    };
    append(table.header);
    out += "|";
    for (size_t i = 0; i < table.header.size(); ++i) out += i == 0 ? " --- |" : " ---: |";
    out += '\n';
    for (const auto& row : table.rows) append(row);
  }
  return out;
}

}  // namespace rag::bench
