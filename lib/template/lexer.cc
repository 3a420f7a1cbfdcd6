#include <algorithm>
#include <charconv>

#include "lib/template/text.h"
#include "lib/template/token.h"
#include "lib/text/utf8.h"

namespace rag::jinja {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

// Longest first, so that "**" is not read as two "*".
constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                           "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                           ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view name) : name_(name) {
    // Line ends become '\n', and one at the very end is dropped.
    source_.reserve(source.size());
    for (size_t i = 0; i < source.size(); ++i) {
      if (source[i] == '\r') {
        source_ += '\n';
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      } else {
        source_ += source[i];
      }
    }
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  Result<std::vector<Token>> Run() {
    while (position_ < source_.size()) RAG_RETURN_IF_ERROR(ReadText());
    Add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  template <class... Pieces>
  Status Error(const Pieces&... pieces) const {
    return InvalidArgumentError(name_, ":", line_, ": ", pieces...);
  }

  void Add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }

  void Advance(size_t count) {
    line_ += static_cast<int>(
        std::count(source_.begin() + position_, source_.begin() + position_ + count, '\n'));
    position_ += count;
    if (count > 0) line_starting_ = source_[position_ - 1] == '\n';
  }

  bool At(size_t position, std::string_view text) const {
    return std::string_view(source_).substr(std::min(position, source_.size()), text.size()) ==
           text;
  }

  size_t SkipSpace(size_t position) const {
    return position + LeadingSpace(std::string_view(source_).substr(position));
  }

  // The length of "{%[+-] word [-+]%}" with the white space it takes along, or 0 when it is not
  // there. `suffix_newline`: a newline after a plain end belongs to it.
  size_t MatchWordTag(size_t position, std::string_view word, bool suffix_newline,
                      char* sign) const {
    if (!At(position, "{%")) return 0;
    size_t p = position + 2;
    *sign = ' ';
    if (p < source_.size() && (source_[p] == '-' || source_[p] == '+')) *sign = source_[p++];
    p = SkipSpace(p);
    if (!At(p, word)) return 0;
    p = SkipSpace(p + word.size());
    if (At(p, "-%}")) return SkipSpace(p + 3) - position;
    if (suffix_newline && At(p, "+%}")) return p + 3 - position;
    if (!At(p, "%}")) return 0;
    p += 2;
    if (suffix_newline && p < source_.size() && source_[p] == '\n') ++p;
    return p - position;
  }

  // The text before a tag, as its sign asks: '-' strips all white space; without a sign a block or
  // comment that is first on its line takes the indentation away.
  void AddData(size_t end, char sign, bool is_variable) {
    std::string_view text = std::string_view(source_).substr(position_, end - position_);
    if (sign == '-') {
      text = StripRight(text);
    } else if (sign != '+' && !is_variable) {
      const size_t newline = text.rfind('\n');
      const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_starting_) && begin < text.size() &&
          StripRight(text.substr(begin)).empty()) {
        text = text.substr(0, begin);
      }
    }
    if (!text.empty()) Add(TokenKind::kData, std::string(text));
  }

  Status ReadText() {
    size_t tag = position_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos) {
        Add(TokenKind::kData, source_.substr(position_));
        position_ = source_.size();
        return OkStatus();
      }
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : ' ';
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    char sign = ' ';
    if (const size_t length = MatchWordTag(tag, "raw", false, &sign)) {
      return ReadRaw(tag, length, sign);
    }
    const char kind = source_[tag + 1];
    size_t length = 2;
    if (tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+')) {
      sign = source_[tag + 2];
      ++length;
    } else {
      sign = ' ';
    }
    AddData(tag, sign, kind == '{');
    Advance(tag + length - position_);
    if (kind == '#') return ReadComment();
    return ReadTag(kind == '{');
  }

  Status ReadRaw(size_t tag, size_t length, char sign) {
    AddData(tag, sign, false);
    Advance(tag + length - position_);
    for (size_t end = source_.find("{%", position_); end != std::string::npos;
         end = source_.find("{%", end + 1)) {
      if (const size_t end_length = MatchWordTag(end, "endraw", true, &sign)) {
        AddData(end, sign, false);
        Advance(end + end_length - position_);
        return OkStatus();
      }
    }
    return Error("the raw block is not closed with {% endraw %}");
  }

  Status ReadComment() {
    const size_t end = source_.find("#}", position_);
    if (end == std::string::npos) return Error("the comment is not closed with #}");
    const char sign = end > position_ ? source_[end - 1] : ' ';
    size_t after = end + 2;
    if (sign == '-') {
      after = SkipSpace(after);
    } else if (sign != '+' && after < source_.size() && source_[after] == '\n') {
      ++after;
    }
    Advance(after - position_);
    return OkStatus();
  }

  // The end of a tag at position_, or 0.
  size_t MatchEnd(bool is_variable) const {
    const std::string_view end = is_variable ? "}}" : "%}";
    if (At(position_, StrCat('-', end))) return SkipSpace(position_ + 3) - position_;
    if (!is_variable && At(position_, "+%}")) return 3;
    if (!At(position_, end)) return 0;
    return !is_variable && At(position_ + 2, "\n") ? 3 : 2;
  }

  Status ReadTag(bool is_variable) {
    Add(is_variable ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "");
    const int opened = line_;
    std::string open;  // brackets that wait for their other half
    while (true) {
      Advance(SkipSpace(position_) - position_);
      if (position_ >= source_.size()) {
        line_ = opened;
        return Error("the tag is not closed with ", is_variable ? "}}" : "%}");
      }
      if (open.empty()) {
        if (const size_t length = MatchEnd(is_variable)) {
          Add(is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "");
          Advance(length);
          return OkStatus();
        }
      }
      const char c = source_[position_];
      if (IsDigit(c)) {
        RAG_RETURN_IF_ERROR(ReadNumber());
      } else if (IsNameStart(c)) {
        size_t end = position_;
        while (end < source_.size() && IsNamePart(source_[end])) ++end;
        Add(TokenKind::kName, source_.substr(position_, end - position_));
        Advance(end - position_);
      } else if (c == '\'' || c == '"') {
        RAG_RETURN_IF_ERROR(ReadString());
      } else {
        RAG_RETURN_IF_ERROR(ReadOperator(open));
      }
    }
  }

  Status ReadOperator(std::string& open) {
    for (const std::string_view op : kOperators) {
      if (!At(position_, op)) continue;
      const char c = op[0];
      if (c == '(' || c == '[' || c == '{') {
        open += c == '(' ? ')' : c == '[' ? ']' : '}';
      } else if (c == ')' || c == ']' || c == '}') {
        if (open.empty()) return Error("unexpected '", op, "'");
        if (open.back() != c) return Error("unexpected '", op, "', expected '", open.back(), "'");
        open.pop_back();
      }
      Add(TokenKind::kOperator, std::string(op));
      Advance(op.size());
      return OkStatus();
    }
    const DecodedChar bad = DecodeChar(source_, position_);
    return Error("unexpected character '", source_.substr(position_, bad.length), "'");
  }

  Status ReadNumber() {
    const auto digits = [this](size_t p) {
      while (
          p < source_.size() &&
          (IsDigit(source_[p]) || (source_[p] == '_' && p > position_ && IsDigit(source_[p - 1]) &&
                                   p + 1 < source_.size() && IsDigit(source_[p + 1])))) {
        ++p;
      }
      return p;
    };
    if (source_[position_] == '0' && position_ + 2 < source_.size()) {
      const char kind = static_cast<char>(source_[position_ + 1] | 0x20);
      const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
      if (base != 0) {
        size_t end = position_ + 2;
        while (end < source_.size() && (IsNamePart(source_[end]))) ++end;
        return AddInteger(source_.substr(position_ + 2, end - position_ - 2), base,
                          end - position_);
      }
    }
    size_t end = digits(position_);
    const size_t integer_end = end;
    // A '.' that follows an attribute ("x.0.1") separates attributes.
    const bool after_dot = position_ > 0 && source_[position_ - 1] == '.';
    if (!after_dot) {
      if (end + 1 < source_.size() && source_[end] == '.' && IsDigit(source_[end + 1])) {
        end = digits(end + 1);
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        size_t exponent = end + 1;
        if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) {
          ++exponent;
        }
        if (exponent < source_.size() && IsDigit(source_[exponent])) end = digits(exponent);
      }
    }
    std::string text = source_.substr(position_, end - position_);
    if (end == integer_end) return AddInteger(std::move(text), 10, end - position_);
    std::erase(text, '_');
    Token token{TokenKind::kFloat, line_, text};
    const auto [rest, error] =
        std::from_chars(text.data(), text.data() + text.size(), token.number);
    if (error != std::errc() || rest != text.data() + text.size()) {
      return Error("the number ", text, " is out of range");
    }
    tokens_.push_back(std::move(token));
    Advance(end - position_);
    return OkStatus();
  }

  Status AddInteger(std::string text, int base, size_t length) {
    std::erase(text, '_');
    Token token{TokenKind::kInteger, line_, text};
    const auto [rest, error] =
        std::from_chars(text.data(), text.data() + text.size(), token.integer, base);
    if (error != std::errc() || rest != text.data() + text.size()) {
      return Error("the number ", text, " is not a 64-bit integer");
    }
    tokens_.push_back(std::move(token));
    Advance(length);
    return OkStatus();
  }

  // Python's escapes (unicode-escape codec) but for \N{…}; an unknown one keeps its backslash.
  Status ReadString() {
    const char quote = source_[position_];
    std::string value;
    size_t p = position_ + 1;
    while (true) {
      if (p >= source_.size()) return Error("the string is not closed with ", quote);
      char c = source_[p++];
      if (c == quote) break;
      if (c != '\\') {
        value += c;
        continue;
      }
      if (p >= source_.size()) return Error("the string is not closed with ", quote);
      c = source_[p++];
      static constexpr std::string_view kPlain = "\\'\"abfnrtv";
      static constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t i = kPlain.find(c); i != std::string_view::npos) {
        value += kMeaning[i];
      } else if (c >= '0' && c <= '7') {
        int code = c - '0';
        for (int n = 0; n < 2 && p < source_.size() && source_[p] >= '0' && source_[p] <= '7';
             ++n) {
          code = code * 8 + (source_[p++] - '0');
        }
        AppendUtf8(value, static_cast<char32_t>(code));
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t width = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        uint32_t code = 0;
        const char* begin = source_.data() + p;
        const char* end = begin + std::min(width, source_.size() - p);
        const auto [rest, error] = std::from_chars(begin, end, code, 16);
        if (error != std::errc() || rest != begin + width || code > 0x10FFFF ||
            (code >= 0xD800 && code < 0xE000)) {
          return Error("a damaged \\", c, " escape");
        }
        AppendUtf8(value, code);
        p += width;
      } else if (c != '\n') {
        value += '\\';
        value += c;
      }
    }
    Add(TokenKind::kString, std::move(value));
    Advance(p - position_);
    return OkStatus();
  }

  std::string source_;
  std::string_view name_;
  std::vector<Token> tokens_;
  size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // what was read last ended a line
};

}  // namespace

Result<std::vector<Token>> Tokenize(std::string_view source, std::string_view name) {
  return Lexer(source, name).Run();
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kVariableBegin:
      return "'{{'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kName:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
    case TokenKind::kOperator:
      break;
  }
  return StrCat("'", token.text, "'");
}

}  // namespace rag::jinja
