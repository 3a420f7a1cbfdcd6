// The regular part of regular expressions, with ECMAScript's names (as JSON Schema asks for).
#include <algorithm>

#include "generate/constraint/languages.h"
#include "generate/constraint/pattern_cursor.h"

namespace rag {
namespace {

const CharacterSet& Digits() {
  static const CharacterSet kSet = {{'0', '9'}};
  return kSet;
}
const CharacterSet& WordCharacters() {
  static const CharacterSet kSet = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
  return kSet;
}
const CharacterSet& Spaces() {
  static const CharacterSet kSet = {{'\t', '\r'}, {' ', ' '}};
  return kSet;
}
const CharacterSet& LineBreaks() {
  static const CharacterSet kSet = {{'\n', '\n'}, {'\r', '\r'}};
  return kSet;
}

class RegexParser {
 public:
  RegexParser(std::string_view pattern, Expressions& expressions)
      : pattern_(pattern), cursor_(pattern), expressions_(expressions) {}

  Result<RegexResult> Run() {
    RegexResult result;
    // An anchor binds to one branch: with several of them it cannot be for the whole.
    result.anchored_start = cursor_.Take("^");
    RAG_ASSIGN_OR_RETURN(result.id, ParseChoice(0));
    if (!cursor_.done()) {
      return InvalidArgumentError("unexpected '", cursor_.peek(), "' at ", cursor_.Place());
    }
    result.anchored_end = end_anchor_;
    if (branches_ > 1 && (result.anchored_start || result.anchored_end)) {
      return UnsupportedError("an anchor in one of several branches of '", pattern_,
                              "'; put the branches into a group");
    }
    return result;
  }

 private:
  using Id = Expressions::Id;

  Result<Id> ParseChoice(int depth) {
    if (depth > kMaxPatternDepth) {
      return ResourceExhaustedError("groups are nested deeper than ", kMaxPatternDepth);
    }
    std::vector<Id> choices;
    do {
      RAG_ASSIGN_OR_RETURN(const Id sequence, ParseSequence(depth));
      choices.push_back(sequence);
    } while (cursor_.Take("|"));
    if (depth == 0) branches_ = choices.size();
    return expressions_.Choice(std::move(choices));
  }

  Result<Id> ParseSequence(int depth) {
    std::vector<Id> parts;
    while (!cursor_.done() && cursor_.peek() != '|' && cursor_.peek() != ')') {
      const char c = cursor_.peek();
      if (c == '$' && depth == 0 && (cursor_.peek(1) == '\0' || cursor_.peek(1) == '|')) {
        cursor_.Skip(1);
        end_anchor_ = true;
        continue;
      }
      if (c == '^' || c == '$') {
        return UnsupportedError("an anchor inside of the pattern at ", cursor_.Place());
      }
      Id part = 0;
      if (c == '(') {
        RAG_ASSIGN_OR_RETURN(part, ParseGroup(depth));
      } else if (c == '[') {
        RAG_ASSIGN_OR_RETURN(CharacterSet set, ParseClass());
        part = expressions_.Characters(std::move(set));
      } else if (c == '.') {
        cursor_.Skip(1);
        part = expressions_.Characters(Complement(LineBreaks()));
      } else if (c == '*' || c == '+' || c == '?') {
        return InvalidArgumentError("nothing to repeat at ", cursor_.Place());
      } else {
        CharacterSet set;
        RAG_RETURN_IF_ERROR(TakeSet(set));
        part = expressions_.Characters(std::move(set));
      }
      RAG_ASSIGN_OR_RETURN(part, ParseRepetition(part));
      parts.push_back(part);
    }
    return expressions_.Sequence(std::move(parts));
  }

  Result<Id> ParseGroup(int depth) {
    cursor_.Skip(1);
    if (cursor_.Take("?")) {
      if (cursor_.Take("<") && cursor_.peek() != '=' && cursor_.peek() != '!') {
        while (!cursor_.done() && cursor_.peek() != '>') cursor_.Skip(1);
        cursor_.Take(">");
      } else if (!cursor_.Take(":")) {
        return UnsupportedError("look-around or a flag at ", cursor_.Place());
      }
    }
    RAG_ASSIGN_OR_RETURN(const Id group, ParseChoice(depth + 1));
    if (!cursor_.Take(")")) return InvalidArgumentError("')' is missing at ", cursor_.Place());
    return group;
  }

  Result<Id> ParseRepetition(Id part) {
    size_t min = 0;
    size_t max = kUnbounded;
    if (cursor_.Take("+")) {
      min = 1;
    } else if (cursor_.Take("?")) {
      max = 1;
    } else if (cursor_.peek() == '{' && cursor_.peek(1) >= '0' && cursor_.peek(1) <= '9') {
      cursor_.Skip(1);
      RAG_RETURN_IF_ERROR(cursor_.TakeBounds(min, max));
    } else if (!cursor_.Take("*")) {
      return part;
    }
    cursor_.Take("?");  // lazy: the same strings match
    if (cursor_.peek() == '*' || cursor_.peek() == '+' || cursor_.peek() == '?') {
      return InvalidArgumentError("a repetition of a repetition at ", cursor_.Place());
    }
    return expressions_.Repeat(part, min, max);
  }

  // A character or an escape; `set` gets one or several characters.
  Status TakeSet(CharacterSet& set) {
    if (!cursor_.Take("\\")) {
      RAG_ASSIGN_OR_RETURN(const uint32_t character, cursor_.TakeCharacter());
      set.push_back({character, character});
      return OkStatus();
    }
    const auto add = [&](const CharacterSet& more) {
      set.insert(set.end(), more.begin(), more.end());
      return OkStatus();
    };
    const auto add_one = [&](uint32_t character) { return add({{character, character}}); };
    const char c = cursor_.peek();
    if (cursor_.done()) return InvalidArgumentError("the pattern ends in a backslash");
    cursor_.Skip(1);
    switch (c) {
      case 'd':
        return add(Digits());
      case 'D':
        return add(Complement(Digits()));
      case 'w':
        return add(WordCharacters());
      case 'W':
        return add(Complement(WordCharacters()));
      case 's':
        return add(Spaces());
      case 'S':
        return add(Complement(Spaces()));
      case 't':
        return add_one('\t');
      case 'n':
        return add_one('\n');
      case 'r':
        return add_one('\r');
      case 'f':
        return add_one('\f');
      case 'v':
        return add_one('\v');
      case 'x':
      case 'u': {
        RAG_ASSIGN_OR_RETURN(const uint32_t character, cursor_.TakeHex(c == 'x' ? 2 : 4));
        return add_one(character);
      }
      default:
        break;
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || (c >= '0' && c <= '9')) {
      return UnsupportedError("'\\", c, "' at ", cursor_.Place());
    }
    cursor_.Back();
    RAG_ASSIGN_OR_RETURN(const uint32_t character, cursor_.TakeCharacter());
    return add_one(character);
  }

  Result<CharacterSet> ParseClass() {
    cursor_.Skip(1);
    const bool negated = cursor_.Take("^");
    CharacterSet set;
    while (!cursor_.Take("]")) {
      if (cursor_.done()) return InvalidArgumentError("a character class does not end");
      CharacterSet first;
      RAG_RETURN_IF_ERROR(TakeSet(first));
      const bool single = first.size() == 1 && first[0].low == first[0].high;
      if (cursor_.peek() == '-' && cursor_.peek(1) != ']' && single) {
        cursor_.Skip(1);
        CharacterSet last;
        RAG_RETURN_IF_ERROR(TakeSet(last));
        if (last.size() != 1 || last[0].low != last[0].high || last[0].low < first[0].low) {
          return InvalidArgumentError("a range without order at ", cursor_.Place());
        }
        first[0].high = last[0].high;
      }
      set.insert(set.end(), first.begin(), first.end());
    }
    return negated ? Complement(set) : set;
  }

  std::string_view pattern_;
  PatternCursor cursor_;
  Expressions& expressions_;
  size_t branches_ = 0;
  bool end_anchor_ = false;
};

}  // namespace

Result<RegexResult> ParseRegex(std::string_view pattern, Expressions& expressions) {
  return RegexParser(pattern, expressions).Run();
}

}  // namespace rag
