#include "engine/parse/pdf_layout.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "engine/parse/paragraphs.h"

namespace rag {
namespace {

// Columns of running text: both sides of a gutter have this many wide lines, lines of this share of
// the page's width. Columns of a table are narrower.
constexpr size_t kMinWideLines = 3;
constexpr double kWideShare = 0.15;
// With so many, narrower ones (a table in the column) may outnumber them.
constexpr size_t kManyWideLines = 8;
constexpr double kMinGutter = 4;  // points
constexpr int kMaxCuts = 8;       // columns within columns
// The search for a gutter is quadratic; a page with more is a drawing.
constexpr size_t kMaxBlocks = 2'000;
constexpr double kFar = 1e6;  // points
// Of the line's height: a larger gap below a line ends the paragraph.
constexpr double kMaxLineGap = 0.65;

struct Box {
  double x_min = 0;
  double y_min = 0;
  double x_max = 0;
  double y_max = 0;
  double height() const { return y_max - y_min; }
  double width() const { return x_max - x_min; }
};

struct Line {
  Box box;
  std::string text;
};

struct TextBlock {
  Box box;
  std::vector<Line> lines;
};

double NumberAttribute(std::string_view tag, std::string_view name) {
  const size_t found = tag.find(name);
  if (found == std::string_view::npos) return 0;
  const std::string_view value = tag.substr(found + name.size());
  double number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  // Damaged pages give boxes at infinity, which have no order.
  return std::isfinite(number) ? std::clamp(number, -kFar, kFar) : 0;
}

Box ReadBox(std::string_view tag) {
  Box box;
  box.x_min = NumberAttribute(tag, "xMin=\"");
  box.y_min = NumberAttribute(tag, "yMin=\"");
  box.x_max = NumberAttribute(tag, "xMax=\"");
  box.y_max = NumberAttribute(tag, "yMax=\"");
  return box;
}

// The blocks of one page. Every element stands on a line of its own.
std::vector<TextBlock> ReadBlocks(std::string_view page) {
  std::vector<TextBlock> blocks;
  while (!page.empty()) {
    const size_t newline = page.find('\n');
    const std::string_view element = Trim(page.substr(0, newline));
    page.remove_prefix(newline == std::string_view::npos ? page.size() : newline + 1);
    if (element.starts_with("<block ")) {
      blocks.push_back({ReadBox(element), {}});
    } else if (element.starts_with("<line ") && !blocks.empty()) {
      blocks.back().lines.push_back({ReadBox(element), ""});
    } else if (element.starts_with("<word ") && !blocks.empty() && !blocks.back().lines.empty()) {
      const size_t open = element.find('>');
      const size_t close = element.rfind("</word>");
      if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
        continue;
      }
      std::string& text = blocks.back().lines.back().text;
      if (!text.empty()) text += ' ';
      text += UnescapeXml(element.substr(open + 1, close - open - 1));
    }
  }
  std::erase_if(blocks, [](const TextBlock& block) { return block.lines.empty(); });
  return blocks;
}

class PageReader {
 public:
  PageReader(std::vector<TextBlock> blocks, double page_width)
      : blocks_(std::move(blocks)), page_width_(page_width) {}

  std::vector<std::string> Read() {
    Group all;
    for (const TextBlock& block : blocks_) all.push_back(&block);
    Order(all, 0);
    EndParagraph();
    return std::move(paragraphs_);
  }

 private:
  using Group = std::vector<const TextBlock*>;

  struct Side {
    size_t lines = 0;
    size_t wide_lines = 0;
    double x_min = 2 * kFar;
    double x_max = -2 * kFar;
    double y_min = 2 * kFar;
    double y_max = -2 * kFar;

    void Add(const TextBlock& block, double wide) {
      lines += block.lines.size();
      for (const Line& line : block.lines) wide_lines += line.box.width() >= wide;
      x_min = std::min(x_min, block.box.x_min);
      x_max = std::max(x_max, block.box.x_max);
      y_min = std::min(y_min, block.box.y_min);
      y_max = std::max(y_max, block.box.y_max);
    }
  };

  static bool IsColumn(const Side& side) {
    return side.wide_lines >= kMinWideLines &&
           (2 * side.wide_lines >= side.lines || side.wide_lines >= kManyWideLines);
  }

  // The x between two columns of running text, negative when there is none: the one with the most
  // lines on its lighter side, less twice those that cross it.
  double FindGutter(const Group& group) const {
    double best = -1;
    double best_score = 0;
    for (const TextBlock* candidate : group) {
      const double x = candidate->box.x_max;
      Side left;
      Side right;
      Side across;
      for (const TextBlock* block : group) {
        Side& side = block->box.x_max <= x ? left : block->box.x_min > x ? right : across;
        side.Add(*block, kWideShare * page_width_);
      }
      if (!IsColumn(left) || !IsColumn(right) || right.x_min - left.x_max < kMinGutter) continue;
      const double common = std::min(left.y_max, right.y_max) - std::max(left.y_min, right.y_min);
      const double smaller = std::min(left.y_max - left.y_min, right.y_max - right.y_min);
      if (common < 0.3 * smaller) continue;
      const double score = static_cast<double>(std::min(left.lines, right.lines)) -
                           2 * static_cast<double>(across.lines);
      if (score > best_score) {
        best_score = score;
        best = (left.x_max + right.x_min) / 2;
      }
    }
    return best;
  }

  static double Middle(const TextBlock& block) { return (block.box.y_min + block.box.y_max) / 2; }

  void Order(const Group& group, int cuts) {
    const double gutter = cuts < kMaxCuts && group.size() <= kMaxBlocks ? FindGutter(group) : -1;
    if (gutter < 0) {
      Rows(group);
      return;
    }
    Group left;
    Group right;
    Group across;
    for (const TextBlock* block : group) {
      (block->box.x_max <= gutter   ? left
       : block->box.x_min >= gutter ? right
                                    : across)
          .push_back(block);
    }
    std::sort(across.begin(), across.end(),
              [](const TextBlock* a, const TextBlock* b) { return Middle(*a) < Middle(*b); });
    // Bands between the blocks that cross; each band is its left column, then its right one.
    for (size_t i = 0; i <= across.size(); ++i) {
      const double bottom = i < across.size() ? Middle(*across[i]) : 2 * kFar;
      for (Group* column : {&left, &right}) {
        const auto end = std::stable_partition(
            column->begin(), column->end(),
            [bottom](const TextBlock* block) { return Middle(*block) < bottom; });
        Order(Group(column->begin(), end), cuts + 1);
        column->erase(column->begin(), end);
      }
      if (i < across.size()) Rows({across[i]});
    }
  }

  // Without columns: from the top, what begins at one height from the left.
  void Rows(Group group) {
    std::stable_sort(group.begin(), group.end(), [](const TextBlock* a, const TextBlock* b) {
      return a->box.y_min < b->box.y_min;
    });
    for (size_t begin = 0; begin < group.size();) {
      const Box& first = group[begin]->lines.front().box;
      size_t end = begin + 1;
      while (end < group.size()) {
        const Box& line = group[end]->lines.front().box;
        const double middle = (line.y_min + line.y_max) / 2;
        if (middle > first.y_max) break;
        ++end;
      }
      Row(Group(group.begin() + static_cast<ptrdiff_t>(begin),
                group.begin() + static_cast<ptrdiff_t>(end)));
      begin = end;
    }
  }

  void Row(Group row) {
    if (row.size() == 1) {
      for (const Line& line : row.front()->lines) AddLine(line);
      return;
    }
    EndParagraph();
    std::stable_sort(row.begin(), row.end(), [](const TextBlock* a, const TextBlock* b) {
      return a->box.x_min < b->box.x_min;
    });
    const bool single_lines = std::all_of(
        row.begin(), row.end(), [](const TextBlock* block) { return block->lines.size() == 1; });
    for (const TextBlock* block : row) {
      for (const Line& line : block->lines) {
        if (!open_.empty()) open_ += single_lines ? ' ' : '\n';
        open_ += line.text;
      }
      if (!single_lines) EndParagraph();
    }
    EndParagraph();
  }

  // Goes on with the open paragraph when the line stands below it, close, and of the same size.
  void AddLine(const Line& line) {
    if (!open_.empty()) {
      const double height = std::max(last_.height(), 1.0);
      const double gap = line.box.y_min - last_.y_max;
      const double common =
          std::min(last_.x_max, line.box.x_max) - std::max(last_.x_min, line.box.x_min);
      const double ratio = line.box.height() / height;
      const bool follows = gap < kMaxLineGap * height && gap > -0.6 * height && ratio > 0.8 &&
                           ratio < 1.25 && common > 0.5 * std::min(last_.width(), line.box.width());
      follows ? Join(line.text) : EndParagraph();
    }
    if (open_.empty()) open_ = line.text;
    last_ = line.box;
  }

  // A word that was divided at the end of the line is put together again.
  void Join(std::string_view text) {
    const bool divided = open_.size() >= 2 && open_.back() == '-' && !text.empty() &&
                         std::islower(static_cast<unsigned char>(open_[open_.size() - 2])) != 0 &&
                         std::islower(static_cast<unsigned char>(text.front())) != 0;
    divided ? open_.pop_back() : open_.push_back('\n');
    open_ += text;
  }

  void EndParagraph() {
    if (!open_.empty()) paragraphs_.push_back(std::move(open_));
    open_.clear();
  }

  std::vector<TextBlock> blocks_;
  double page_width_;
  std::string open_;  // the paragraph that lines are added to
  Box last_;          // of its last line
  std::vector<std::string> paragraphs_;
};

}  // namespace

Result<std::vector<std::vector<std::string>>> ReadPdfPages(std::string_view xhtml,
                                                           const CancelToken* cancel) {
  std::vector<std::vector<std::string>> pages;
  size_t at = 0;
  while (true) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
    const size_t begin = xhtml.find("<page ", at);
    if (begin == std::string_view::npos) return pages;
    // An empty page has no end of its own.
    at = std::min(xhtml.find("</page>", begin), xhtml.size());
    at = std::min(at, xhtml.find("<page ", begin + 1));
    const std::string_view page = xhtml.substr(begin, at - begin);
    pages.push_back(PageReader(ReadBlocks(page), NumberAttribute(page, "width=\"")).Read());
  }
}

bool HasRightToLeft(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    if (bytes[i] < 0xD6) {
      ++i;
      continue;
    }
    UChar32 c = 0;
    U8_NEXT(bytes, i, size, c);
    if ((c >= 0x0590 && c <= 0x08FF) || (c >= 0xFB1D && c <= 0xFDFF) ||
        (c >= 0xFE70 && c <= 0xFEFC)) {
      return true;
    }
  }
  return false;
}

std::string UnescapeXml(std::string_view text) {
  static constexpr struct {
    std::string_view escape;
    char character;
  } kEscapes[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto* found =
        text.front() != '&'
            ? std::end(kEscapes)
            : std::find_if(std::begin(kEscapes), std::end(kEscapes),
                           [&](const auto& entry) { return text.starts_with(entry.escape); });
    if (found != std::end(kEscapes)) {
      out += found->character;
      text.remove_prefix(found->escape.size());
    } else {
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace rag
