// GBNF: llama.cpp's form of BNF (grammars/README.md).
#include "generate/constraint/languages.h"
#include "generate/constraint/pattern_cursor.h"

namespace rag {
namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfParser {
 public:
  explicit GbnfParser(std::string_view text) : cursor_(text) {}

  Result<Language> Run() {
    SkipSpace(true);
    while (!cursor_.done()) {
      RAG_RETURN_IF_ERROR(ParseRule());
      SkipSpace(true);
    }
    const size_t known = language_.expressions.rules().size();
    language_.root = language_.expressions.FindRule("root");
    if (language_.root == known) return InvalidArgumentError("there is no rule 'root'");
    return std::move(language_);
  }

 private:
  using Id = Expressions::Id;
  Expressions& expressions() { return language_.expressions; }

  // Line breaks end a rule, but inside of a group and after '|' they are white space.
  void SkipSpace(bool lines) {
    for (;;) {
      const char c = cursor_.peek();
      if (c == '#') {
        while (!cursor_.done() && cursor_.peek() != '\n') cursor_.Skip(1);
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        cursor_.Skip(1);
      } else {
        return;
      }
    }
  }

  Result<std::string> TakeName() {
    std::string name;
    while (IsNameCharacter(cursor_.peek())) {
      name += cursor_.peek();
      cursor_.Skip(1);
    }
    if (name.empty()) return InvalidArgumentError("a rule's name is missing at ", cursor_.Place());
    return name;
  }

  Status ParseRule() {
    const std::string place = cursor_.Place();
    RAG_ASSIGN_OR_RETURN(const std::string name, TakeName());
    SkipSpace(false);
    if (!cursor_.Take("::=")) {
      return InvalidArgumentError("'::=' is missing at ", cursor_.Place());
    }
    const size_t rule = expressions().FindRule(name);
    if (expressions().rules()[rule].defined) {
      return InvalidArgumentError("rule '", name, "' is defined twice, again at ", place);
    }
    SkipSpace(true);
    RAG_ASSIGN_OR_RETURN(const Id body, ParseChoice(0));
    SkipSpace(false);
    if (!cursor_.done() && cursor_.peek() != '\n' && cursor_.peek() != '\r') {
      return InvalidArgumentError("unexpected '", cursor_.peek(), "' at ", cursor_.Place());
    }
    expressions().Define(rule, body);
    return OkStatus();
  }

  Result<Id> ParseChoice(int depth) {
    if (depth > kMaxPatternDepth) {
      return ResourceExhaustedError("groups are nested deeper than ", kMaxPatternDepth);
    }
    std::vector<Id> choices;
    do {
      SkipSpace(true);
      RAG_ASSIGN_OR_RETURN(const Id sequence, ParseSequence(depth));
      choices.push_back(sequence);
      SkipSpace(depth > 0);
    } while (cursor_.Take("|"));
    return expressions().Choice(std::move(choices));
  }

  Result<Id> ParseSequence(int depth) {
    std::vector<Id> parts;
    for (;;) {
      SkipSpace(depth > 0);
      const char c = cursor_.peek();
      Id part = 0;
      if (c == '"') {
        RAG_ASSIGN_OR_RETURN(part, ParseLiteral());
      } else if (c == '[') {
        RAG_ASSIGN_OR_RETURN(part, ParseClass());
      } else if (c == '.') {
        cursor_.Skip(1);
        part = expressions().Characters({{0, kLastCharacter}});
      } else if (c == '(') {
        cursor_.Skip(1);
        RAG_ASSIGN_OR_RETURN(part, ParseChoice(depth + 1));
        SkipSpace(true);
        if (!cursor_.Take(")")) return InvalidArgumentError("')' is missing at ", cursor_.Place());
      } else if (IsNameCharacter(c)) {
        RAG_ASSIGN_OR_RETURN(const std::string name, TakeName());
        part = expressions().Use(expressions().FindRule(name));
      } else {
        return expressions().Sequence(std::move(parts));
      }
      RAG_ASSIGN_OR_RETURN(part, ParseRepetitions(part));
      parts.push_back(part);
    }
  }

  Result<Id> ParseRepetitions(Id part) {
    for (int count = 0;; ++count) {
      size_t min = 0;
      size_t max = kUnbounded;
      if (cursor_.Take("+")) {
        min = 1;
      } else if (cursor_.Take("?")) {
        max = 1;
      } else if (cursor_.Take("{")) {
        RAG_RETURN_IF_ERROR(cursor_.TakeBounds(min, max));
      } else if (!cursor_.Take("*")) {
        return part;
      }
      if (count > 0) {
        return InvalidArgumentError("a repetition of a repetition at ", cursor_.Place());
      }
      part = expressions().Repeat(part, min, max);
    }
  }

  Result<uint32_t> TakeEscaped() {
    if (!cursor_.Take("\\")) return cursor_.TakeCharacter();
    const char c = cursor_.peek();
    cursor_.Skip(1);
    switch (c) {
      case 'x':
        return cursor_.TakeHex(2);
      case 'u':
        return cursor_.TakeHex(4);
      case 'U':
        return cursor_.TakeHex(8);
      case 'n':
        return uint32_t{'\n'};
      case 'r':
        return uint32_t{'\r'};
      case 't':
        return uint32_t{'\t'};
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<uint32_t>(c);
      default:
        return InvalidArgumentError("unknown escape at ", cursor_.Place());
    }
  }

  Result<Id> ParseLiteral() {
    cursor_.Skip(1);
    std::string bytes;
    while (!cursor_.Take("\"")) {
      if (cursor_.done()) return InvalidArgumentError("a string does not end");
      RAG_ASSIGN_OR_RETURN(const uint32_t character, TakeEscaped());
      bytes += EncodeCharacter(character);
    }
    return expressions().Literal(bytes);
  }

  Result<Id> ParseClass() {
    cursor_.Skip(1);
    const bool negated = cursor_.Take("^");
    CharacterSet set;
    while (!cursor_.Take("]")) {
      if (cursor_.done()) return InvalidArgumentError("a character class does not end");
      RAG_ASSIGN_OR_RETURN(const uint32_t low, TakeEscaped());
      uint32_t high = low;
      if (cursor_.peek() == '-' && cursor_.peek(1) != ']') {
        cursor_.Skip(1);
        RAG_ASSIGN_OR_RETURN(high, TakeEscaped());
      }
      if (high < low) return InvalidArgumentError("a reversed range at ", cursor_.Place());
      set.push_back({low, high});
    }
    return expressions().Characters(negated ? Complement(set) : std::move(set));
  }

  PatternCursor cursor_;
  Language language_;
};

}  // namespace

Result<Language> ParseGbnf(std::string_view text) { return GbnfParser(text).Run(); }

}  // namespace rag
