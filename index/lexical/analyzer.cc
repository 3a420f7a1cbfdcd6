#include "index/lexical/analyzer.h"

#include <libstemmer.h>

#include <algorithm>
#include <array>
#include <memory>

#include "lib/text/unicode.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr size_t kMaxTermBytes = 64;

// Lucene's English stop words: short enough that a query of them alone is the only loss.
constexpr std::array<std::string_view, 33> kStopWords = {
    "a",   "an",    "and",  "are",   "as",    "at",   "be",   "but", "by",  "for",  "if",
    "in",  "into",  "is",   "it",    "no",    "not",  "of",   "on",  "or",  "such", "that",
    "the", "their", "then", "there", "these", "they", "this", "to",  "was", "will", "with"};

bool IsStopWord(std::string_view word) {
  return std::find(kStopWords.begin(), kStopWords.end(), word) != kStopWords.end();
}

// Scripts whose words are not set apart by spaces, and Hangul.
bool IsUnspaced(char32_t c) {
  if (c < 0x0e00) return false;
  return (c >= 0xac00 && c <= 0xd7a3) ||  // Hangul syllables
         (c >= 0x3040 && c <= 0x30ff && c != 0x30fb) ||
         c == 0x3005 ||  // kana, ideographic iteration
         (c >= 0x31f0 && c <= 0x31ff) || IsCjkIdeograph(c) ||
         (c >= 0x0e00 && c <= 0x0eff) ||  // Thai, Lao
         (c >= 0x1000 && c <= 0x109f) ||  // Myanmar
         (c >= 0x1780 && c <= 0x17ff);    // Khmer
}

// Marks are accents on the letters of these scripts and letters of their own in the others.
bool HasFoldedAccents(char32_t base) { return base < 0x0530 || (base >= 0x1e00 && base < 0x2000); }

class EnglishStemmer {
 public:
  EnglishStemmer() : stemmer_(sb_stemmer_new("english", "UTF_8")) {}
  ~EnglishStemmer() { sb_stemmer_delete(stemmer_); }
  EnglishStemmer(const EnglishStemmer&) = delete;
  EnglishStemmer& operator=(const EnglishStemmer&) = delete;

  void Stem(std::string& word) {
    if (stemmer_ == nullptr) return;
    const sb_symbol* stem = sb_stemmer_stem(
        stemmer_, reinterpret_cast<const sb_symbol*>(word.data()), static_cast<int>(word.size()));
    if (stem == nullptr) return;  // out of memory: the word stays as it is
    word.assign(reinterpret_cast<const char*>(stem),
                static_cast<size_t>(sb_stemmer_length(stemmer_)));
  }

 private:
  sb_stemmer* stemmer_;
};

void CutTerm(std::string& term) {
  if (term.size() <= kMaxTermBytes) return;
  term.resize(kMaxTermBytes);
  term.resize(CompleteUtf8Prefix(term));
}

class Analyzer {
 public:
  explicit Analyzer(std::vector<std::string>& terms) : terms_(terms) {}

  void Run(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      // The common case without tables.
      const auto byte = static_cast<unsigned char>(text[at]);
      if (byte < 0x80) {
        Take(Fold(byte), text, ++at);
        continue;
      }
      const DecodedChar decoded = DecodeChar(text, at);
      at += decoded.length;
      unfolded_.clear();
      AppendDecomposition(unfolded_, decoded.code_point, /*compatible=*/true);
      if (decoded.code_point >= 0xac00 && decoded.code_point <= 0xd7a3) {
        unfolded_.assign(1, decoded.code_point);  // a syllable, not its letters
      }
      for (const char32_t c : unfolded_) Take(ToSimpleLower(c), text, at);
    }
    EndWord();
    EndRun();
  }

 private:
  static char32_t Fold(unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32u : c; }

  // One folded character; `next` is where the text goes on after it.
  void Take(char32_t c, std::string_view text, size_t next) {
    if (IsUnspaced(c) && !IsMark(c) && !IsPunctuation(c)) {
      EndWord();
      run_.push_back(c);
      return;
    }
    if (IsMark(c)) {
      if (!run_.empty()) {
        run_.push_back(c);
      } else if (!word_.empty() && !HasFoldedAccents(last_)) {
        AppendUtf8(word_, c);
      }
      return;
    }
    EndRun();
    const bool ascii = c < 0x80;
    const bool digit = ascii ? c >= '0' && c <= '9' : IsNumber(c);
    const bool letter = ascii ? c >= 'a' && c <= 'z' : IsLetter(c);
    if (letter || digit) {
      AppendUtf8(word_, c);
      english_ = english_ && letter && ascii;
      last_ = c;
      return;
    }
    if (!word_.empty() && JoinsWord(c, text, next)) {
      word_ += c == 0x2019 ? '\'' : static_cast<char>(c);
      last_ = c;
      return;
    }
    EndWord();
  }

  // An apostrophe between letters, a point or comma between digits.
  bool JoinsWord(char32_t c, std::string_view text, size_t next) const {
    if (next >= text.size()) return false;
    const auto after = static_cast<unsigned char>(text[next]);
    if (c == '\'' || c == 0x2019) {
      return last_ >= 'a' && last_ <= 'z' && Fold(after) >= 'a' && Fold(after) <= 'z';
    }
    if (c == '.' || c == ',') {
      return last_ >= '0' && last_ <= '9' && after >= '0' && after <= '9';
    }
    return false;
  }

  void EndWord() {
    if (word_.empty()) return;
    if (english_) {
      if (!IsStopWord(word_)) {
        stemmer_.Stem(word_);
        Emit(word_);
      }
    } else {
      Emit(word_);
    }
    word_.clear();
    english_ = true;
    last_ = 0;
  }

  void EndRun() {
    if (run_.empty()) return;
    const size_t pairs = std::max<size_t>(1, run_.size() - 1);
    for (size_t i = 0; i < pairs; ++i) {
      std::string term;
      AppendUtf8(term, run_[i]);
      if (i + 1 < run_.size()) AppendUtf8(term, run_[i + 1]);
      Emit(term);
    }
    run_.clear();
  }

  void Emit(std::string& term) {
    CutTerm(term);
    if (!term.empty()) terms_.push_back(term);
  }

  std::vector<std::string>& terms_;
  std::string word_;
  bool english_ = true;  // only a to z and apostrophes so far
  char32_t last_ = 0;    // the word's last character
  std::u32string run_;   // of an unspaced script
  std::u32string unfolded_;
  static thread_local EnglishStemmer stemmer_;
};

thread_local EnglishStemmer Analyzer::stemmer_;

}  // namespace

std::vector<std::string> AnalyzeText(std::string_view text) {
  std::vector<std::string> terms;
  terms.reserve(text.size() / 6);
  Analyzer(terms).Run(text);
  return terms;
}

}  // namespace rag
