// Tables of results, for a terminal and for Markdown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rag::bench {

// The first column is text, the others are numbers.
struct Table {
  std::string title;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // none: the table is left out
};

std::string Fixed(double value, int digits);  // "3.14"
std::string Megabytes(size_t bytes);          // "90.4", of a million bytes each; "-" for none

std::string TablesToText(const std::vector<Table>& tables);
std::string TablesToMarkdown(const std::vector<Table>& tables);

}  // namespace rag::bench
