#include "engine/parse/front_matter.h"

#include <charconv>
#include <string>
#include <vector>

#include "engine/parse/paragraphs.h"

namespace rag {
namespace {

constexpr size_t kMaxBytes = size_t{64} << 10;
constexpr int kMaxDepth = 8;

struct Line {
  size_t indent = 0;
  std::string_view text;  // without indentation and trailing white space
};

bool IsItem(std::string_view text) { return text == "-" || text.starts_with("- "); }

// "# …" at the start or after a space, outside quotes.
std::string_view StripComment(std::string_view text) {
  if (text.starts_with('#')) return {};
  if (text.starts_with('"') || text.starts_with('\'')) return text;
  const size_t comment = text.find(" #");
  return comment == std::string_view::npos ? text : Trim(text.substr(0, comment));
}

std::string Unquote(std::string_view text) {
  const char quote = text.front();
  const size_t close = text.rfind(quote);
  std::string out;
  const std::string_view inner = text.substr(1, close == 0 ? std::string_view::npos : close - 1);
  for (size_t i = 0; i < inner.size(); ++i) {
    if (quote == '\'' && inner.substr(i, 2) == "''") ++i;
    if (quote == '"' && inner[i] == '\\' && i + 1 < inner.size()) {
      ++i;
      out += inner[i] == 'n' ? '\n' : inner[i] == 't' ? '\t' : inner[i];
      continue;
    }
    out += inner[i];
  }
  return out;
}

Value ReadScalar(std::string_view text);

// "[a, 'b, c', d]" without its brackets.
Value ReadInlineList(std::string_view text) {
  Value::Array items;
  size_t begin = 0;
  char quote = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && quote != 0) {
      if (text[i] == quote) quote = 0;
      continue;
    }
    if (i == text.size() || text[i] == ',') {
      const std::string_view item = Trim(text.substr(begin, i - begin));
      if (!item.empty()) items.push_back(ReadScalar(item));
      begin = i + 1;
    } else if (text[i] == '"' || text[i] == '\'') {
      quote = text[i];
    }
  }
  return items;
}

Value ReadScalar(std::string_view text) {
  text = StripComment(Trim(text));
  if (text.empty() || text == "null" || text == "~") return Value();
  if (text.front() == '"' || text.front() == '\'') return Unquote(text);
  if (text.front() == '[' && text.back() == ']' && text.size() >= 2) {
    return ReadInlineList(text.substr(1, text.size() - 2));
  }
  if (text == "true") return true;
  if (text == "false") return false;
  int64_t integer = 0;
  const char* end = text.data() + text.size();
  if (const auto read = std::from_chars(text.data(), end, integer);
      read.ec == std::errc() && read.ptr == end) {
    return integer;
  }
  double number = 0;
  const bool numeric = text.find_first_not_of("0123456789+-.eE") == std::string_view::npos;
  if (const auto read = std::from_chars(text.data(), end, number);
      numeric && read.ec == std::errc() && read.ptr == end) {
    return number;
  }
  return text;
}

class Reader {
 public:
  explicit Reader(std::vector<Line> lines) : lines_(std::move(lines)) {}

  Value ReadMap(size_t indent, int depth) {
    Value::Object object;
    while (Skip(), at_ < lines_.size() && lines_[at_].indent == indent) {
      const std::string_view text = lines_[at_].text;
      const size_t colon = FindColon(text);
      if (colon == std::string_view::npos) {
        ++at_;
        continue;
      }
      std::string_view key = Trim(text.substr(0, colon));
      if (key.size() >= 2 && (key.front() == '"' || key.front() == '\'')) {
        key = key.substr(1, key.size() - 2);
      }
      const std::string_view rest = StripComment(Trim(text.substr(colon + 1)));
      ++at_;
      object.Set(key, ReadAfterKey(rest, indent, depth));
      SkipDeeper(indent);
    }
    return object;
  }

 private:
  void Skip() {
    while (at_ < lines_.size() && (lines_[at_].text.empty() || lines_[at_].text.starts_with('#'))) {
      ++at_;
    }
  }
  void SkipDeeper(size_t indent) {
    while (at_ < lines_.size() && (lines_[at_].text.empty() || lines_[at_].indent > indent)) ++at_;
  }

  static size_t FindColon(std::string_view text) {
    size_t from = 0;
    if (text.starts_with('"') || text.starts_with('\'')) {
      from = text.find(text.front(), 1);
      if (from == std::string_view::npos) return from;
    }
    for (size_t i = text.find(':', from); i != std::string_view::npos; i = text.find(':', i + 1)) {
      if (i + 1 == text.size() || text[i + 1] == ' ' || text[i + 1] == '\t') return i;
    }
    return std::string_view::npos;
  }

  Value ReadAfterKey(std::string_view rest, size_t indent, int depth) {
    if (rest.starts_with('>') || rest.starts_with('|')) return ReadBlock(rest.front(), indent);
    if (!rest.empty()) return ReadPlain(rest, indent);
    Skip();
    if (at_ == lines_.size() || depth == kMaxDepth) return Value();
    const Line& next = lines_[at_];
    if (IsItem(next.text) && next.indent >= indent) return ReadList(next.indent);
    if (next.indent > indent) {
      if (FindColon(next.text) != std::string_view::npos) return ReadMap(next.indent, depth + 1);
      return ReadPlain({}, indent);
    }
    return Value();
  }

  Value ReadList(size_t indent) {
    Value::Array items;
    while (Skip(),
           at_ < lines_.size() && lines_[at_].indent == indent && IsItem(lines_[at_].text)) {
      const std::string_view item = Trim(lines_[at_].text.substr(1));
      ++at_;
      items.push_back(item.empty() ? Value() : ReadPlain(item, indent));
    }
    return items;
  }

  // A scalar that may go on in deeper lines.
  Value ReadPlain(std::string_view first, size_t indent) {
    std::string joined(first);
    bool more = false;
    while (at_ < lines_.size() && !lines_[at_].text.empty() && lines_[at_].indent > indent) {
      if (!joined.empty()) joined += ' ';
      joined += lines_[at_++].text;
      more = true;
    }
    return more ? ReadScalar(joined) : ReadScalar(first);
  }

  // After "key: |" or "key: >": the deeper lines, kept or folded.
  Value ReadBlock(char style, size_t indent) {
    std::string out;
    size_t own = 0;
    bool gap = false;
    for (; at_ < lines_.size(); ++at_) {
      const Line& line = lines_[at_];
      if (line.text.empty()) {
        gap = true;
        continue;
      }
      if (line.indent <= indent) break;
      if (out.empty()) {
        own = line.indent;
      } else if (gap) {
        out += style == '|' ? "\n\n" : "\n";
      } else {
        out += style == '|' ? '\n' : ' ';
      }
      gap = false;
      if (style == '|' && line.indent > own) out.append(line.indent - own, ' ');
      out += line.text;
    }
    return out;
  }

  std::vector<Line> lines_;
  size_t at_ = 0;
};

}  // namespace

FrontMatter ReadFrontMatter(std::string_view text) {
  FrontMatter result;
  result.metadata = Value(Value::Object());
  if (!text.starts_with("---\n") && !text.starts_with("---\r\n")) return result;
  const std::string_view head = text.substr(0, kMaxBytes);
  std::vector<Line> lines;
  size_t begin = head.find('\n') + 1;
  while (begin < head.size()) {
    const size_t newline = head.find('\n', begin);
    const size_t end = newline == std::string_view::npos ? head.size() : newline;
    std::string_view raw = head.substr(begin, end - begin);
    begin = end + 1;
    if (raw.starts_with("---") && Trim(raw.substr(3)).empty()) {
      result.bytes = std::min(begin, text.size());
      const size_t indent = lines.empty() ? 0 : lines.front().indent;
      result.metadata = Reader(std::move(lines)).ReadMap(indent, 0);
      return result;
    }
    Line line;
    line.indent = std::min(raw.find_first_not_of(" \t\r"), raw.size());
    line.text = Trim(raw);
    lines.push_back(line);
  }
  return result;
}

}  // namespace rag
