// Sentences: UAX #29 through ICU, with what its rules cannot know (abbreviations, initials,
// ordinals) joined again.
#include "engine/chunk/sentences.h"

#include <unicode/ubrk.h>
#include <unicode/utext.h>

#include <algorithm>
#include <cctype>
#include <iterator>

#include "engine/parse/paragraphs.h"

namespace rag {
namespace {

using std::string_view_literals::operator""sv;

// Always followed by more of the same sentence.
constexpr std::string_view kJoining[] = {
    "Dr"sv,   "Mr"sv,   "Mrs"sv, "Ms"sv,   "Prof"sv, "Rev"sv,    "Hon"sv,  "Gen"sv,  "Col"sv,
    "Sgt"sv,  "Capt"sv, "Lt"sv,  "Gov"sv,  "Sen"sv,  "Rep"sv,    "Pres"sv, "St"sv,   "Mt"sv,
    "e.g"sv,  "i.e"sv,  "cf"sv,  "vs"sv,   "viz"sv,  "Fig"sv,    "Figs"sv, "fig"sv,  "figs"sv,
    "Eq"sv,   "Eqs"sv,  "eq"sv,  "eqs"sv,  "Ref"sv,  "Refs"sv,   "ref"sv,  "refs"sv, "Sec"sv,
    "Sect"sv, "sec"sv,  "Ch"sv,  "Tab"sv,  "Vol"sv,  "vol"sv,    "No"sv,   "Nos"sv,  "no"sv,
    "pp"sv,   "p"sv,    "ed"sv,  "eds"sv,  "ca"sv,   "approx"sv, "resp"sv, "incl"sv, "z.B"sv,
    "d.h"sv,  "bzw"sv,  "Nr"sv,  "Abs"sv,  "Art"sv,  "art"sv,    "Dept"sv, "Univ"sv, "M"sv,
    "Mme"sv,  "Sr"sv,   "Sra"sv, "Dra"sv,  "Jan"sv,  "Feb"sv,    "Mar"sv,  "Apr"sv,  "Jun"sv,
    "Jul"sv,  "Aug"sv,  "Sep"sv, "Sept"sv, "Oct"sv,  "Nov"sv,    "Dec"sv};

// Within a sentence or at its end: what follows decides.
constexpr std::string_view kEither[] = {
    "al"sv,  "etc"sv, "Inc"sv, "Ltd"sv, "Co"sv,  "Corp"sv, "Jr"sv,   "U.S"sv, "U.K"sv, "U.N"sv,
    "E.U"sv, "D.C"sv, "a.m"sv, "p.m"sv, "A.D"sv, "B.C"sv,  "Ph.D"sv, "M.D"sv, "B.A"sv, "M.A"sv};

// A sentence that begins with one of these is a new one.
constexpr std::string_view kStarters[] = {
    "The"sv,   "This"sv,  "That"sv, "These"sv,   "Those"sv, "It"sv,   "He"sv,      "She"sv,
    "They"sv,  "We"sv,    "You"sv,  "I"sv,       "A"sv,     "An"sv,   "In"sv,      "On"sv,
    "At"sv,    "For"sv,   "From"sv, "But"sv,     "And"sv,   "Or"sv,   "If"sv,      "When"sv,
    "While"sv, "After"sv, "As"sv,   "However"sv, "There"sv, "Here"sv, "Then"sv,    "Thus"sv,
    "To"sv,    "With"sv,  "His"sv,  "Her"sv,     "Their"sv, "Our"sv,  "What"sv,    "Why"sv,
    "How"sv,   "Who"sv,   "Some"sv, "Many"sv,    "Most"sv,  "All"sv,  "No"sv,      "Not"sv,
    "Since"sv, "So"sv,    "By"sv,   "Its"sv,     "My"sv,    "Both"sv, "Although"sv};

template <size_t kCount>
bool Contains(const std::string_view (&words)[kCount], std::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }

std::string_view LastWord(std::string_view text) {
  const size_t space = text.find_last_of(" \t\n\r([\"'");
  return space == std::string_view::npos ? text : text.substr(space + 1);
}

std::string_view FirstWord(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end]))) ++end;
  return text.substr(0, end);
}

// Whether `next` goes on with the sentence that `text` (trimmed, ends in a full stop) seems to end.
bool IsJoined(std::string_view text, std::string_view next) {
  if (text.empty() || next.empty() || text.back() != '.') return false;
  text.remove_suffix(1);
  const std::string_view word = LastWord(text);
  if (word.empty()) return false;
  if (IsLower(next.front())) return true;
  // "No" of "Is it? No. Next" is rarer than "No. 5".
  if (word == "No" || word == "no" || word == "p" || word == "Art" || word == "art") {
    return IsDigit(next.front());
  }
  if (word == "M" || Contains(kJoining, word)) {
    return !Contains(kStarters, FirstWord(next));
  }
  const bool starter = Contains(kStarters, FirstWord(next));
  if (Contains(kEither, word)) {
    return IsDigit(next.front()) || next.front() == '(' || next.front() == '[' ||
           next.front() == ',' || (!starter && word != "etc" && IsUpper(next.front()));
  }
  // Initials: "J. Smith", "J.R. Tolkien".
  if (IsUpper(word.front()) && (word.size() == 1 || (word.size() == 3 && word[1] == '.'))) {
    return !starter && IsUpper(next.front()) && word != "I";
  }
  // Ordinals and dates: "1. First", "2021. 7. 22. 목요일"; not the year at a sentence's end.
  if (std::all_of(word.begin(), word.end(), IsDigit)) {
    if (word.size() == text.size()) return true;
    if (word.size() > 4) return false;
    if (IsDigit(next.front())) return true;
    const std::string_view before = Trim(text.substr(0, text.size() - word.size()));
    return word.size() <= 2 && before.size() >= 2 && before.back() == '.' &&
           IsDigit(before[before.size() - 2]) && !IsUpper(next.front());
  }
  return false;
}

// A line that begins an item of a list stands for itself.
bool IsItemLine(std::string_view line) {
  if (line.starts_with("- ") || line.starts_with("* ") || line.starts_with("+ ") ||
      line.starts_with("\u2022") || line.starts_with("\u00b7")) {
    return true;
  }
  size_t digits = 0;
  while (digits < line.size() && digits < 3 && IsDigit(line[digits])) ++digits;
  return digits > 0 && digits + 1 < line.size() && (line[digits] == '.' || line[digits] == ')') &&
         line[digits + 1] == ' ';
}

}  // namespace

struct SentenceSplitter::Iterator {
  Iterator() {
    UErrorCode error = U_ZERO_ERROR;
    iterator = ubrk_open(UBRK_SENTENCE, "", nullptr, 0, &error);
    if (U_FAILURE(error)) iterator = nullptr;
  }
  ~Iterator() {
    if (iterator != nullptr) ubrk_close(iterator);
    utext_close(&text);
  }
  Iterator(const Iterator&) = delete;
  Iterator& operator=(const Iterator&) = delete;

  UBreakIterator* iterator = nullptr;
  UText text = UTEXT_INITIALIZER;
};

SentenceSplitter::SentenceSplitter() = default;
SentenceSplitter::~SentenceSplitter() = default;

std::vector<TextRange> SentenceSplitter::Split(std::string_view text, uint32_t base) {
  std::vector<TextRange> out;
  // UAX #29 ends a sentence at every line end; in wrapped text only empty lines and items do.
  ByteRange open;
  bool any = false;
  const auto close = [&] {
    if (any) SplitParagraph(text.substr(open.begin, open.end - open.begin), base + open.begin, out);
    any = false;
  };
  for (const ByteRange line : SplitLines(text)) {
    const ByteRange trimmed = TrimRange(text, line);
    if (trimmed.begin == trimmed.end) {
      close();
      continue;
    }
    if (IsItemLine(text.substr(trimmed.begin, trimmed.end - trimmed.begin))) close();
    if (!any) open.begin = trimmed.begin;
    open.end = trimmed.end;
    any = true;
  }
  close();
  return out;
}

void SentenceSplitter::SplitParagraph(std::string_view text, uint32_t base,
                                      std::vector<TextRange>& out) {
  // Opened at its first use: most short documents are never split.
  if (iterator_ == nullptr) iterator_ = std::make_unique<Iterator>();
  flat_.assign(text);
  std::replace_if(
      flat_.begin(), flat_.end(), [](char c) { return IsSpace(c); }, ' ');
  UErrorCode error = U_ZERO_ERROR;
  utext_openUTF8(&iterator_->text, flat_.data(), static_cast<int64_t>(flat_.size()), &error);
  if (iterator_->iterator != nullptr) {
    ubrk_setUText(iterator_->iterator, &iterator_->text, &error);
  }
  if (iterator_->iterator == nullptr || U_FAILURE(error)) {
    out.push_back({base, base + static_cast<uint32_t>(text.size())});
    return;
  }
  const std::string_view flat = flat_;
  ByteRange open;
  bool any = false;
  int32_t begin = ubrk_first(iterator_->iterator);
  for (int32_t end = ubrk_next(iterator_->iterator); end != UBRK_DONE;
       begin = end, end = ubrk_next(iterator_->iterator)) {
    const ByteRange range =
        TrimRange(flat, {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    if (range.begin == range.end) continue;
    const std::string_view next = flat.substr(range.begin, range.end - range.begin);
    if (any && IsJoined(flat.substr(open.begin, open.end - open.begin), next)) {
      open.end = range.end;
      continue;
    }
    if (any) out.push_back({base + open.begin, base + open.end});
    open = range;
    any = true;
  }
  if (any) out.push_back({base + open.begin, base + open.end});
}

std::vector<TextRange> SplitSentences(std::string_view text) {
  return SentenceSplitter().Split(text);
}

}  // namespace rag
