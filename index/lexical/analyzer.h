// The lexical analyzer: text -> the terms that BM25 counts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rag {

// Terms in order of the text, repeated as often as they occur.
//
// Words are runs of letters, digits and marks, with an apostrophe between letters and a point or
// comma between digits inside them; compatibility forms are unified, case and (in Latin, Greek and
// Cyrillic) accents folded; English words are stemmed (Snowball's "english"), a handful of function
// words left out. Scripts written without spaces between words, and Korean, whose particles stick
// to the words, give overlapping pairs of characters instead. A term longer than 64 bytes is cut
// there.
//
// Documents and queries go through the same function: what it returns is part of the format on disk
// (kAnalyzerVersion).
std::vector<std::string> AnalyzeText(std::string_view text);

inline constexpr int kAnalyzerVersion = 1;

}  // namespace rag
