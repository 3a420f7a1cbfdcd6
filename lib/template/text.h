// Strings as Python's str sees them: positions are code points, and case, white space and
// printability are those of Unicode. Templates are written against these semantics.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace rag::jinja {

// str.isspace for one character: White_Space and the four separators U+001C .. U+001F.
bool IsPythonSpace(char32_t c);
// Bytes of white space at the beginning.
size_t LeadingSpace(std::string_view text);
std::string_view StripLeft(std::string_view text);
std::string_view StripRight(std::string_view text);
// The characters of `chars` stripped from the chosen ends.
std::string_view StripChars(std::string_view text, std::string_view chars, bool left, bool right);

size_t CountChars(std::string_view text);
// Byte offset of each character, and the size at the end.
std::vector<size_t> CharOffsets(std::string_view text);

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Capitalize(std::string_view text);  // first character upper, the rest lower
std::string TitleWords(std::string_view text);  // str.title
bool IsCased(char32_t c);
bool IsUpperText(std::string_view text);  // str.isupper
bool IsLowerText(std::string_view text);  // str.islower

// repr() of a str and of a float.
void AppendQuoted(std::string& out, std::string_view text);
std::string FormatFloat(double value);
// json.dumps(text, ensure_ascii=False).
void AppendJsonString(std::string& out, std::string_view text);
// html.escape as MarkupSafe does it.
std::string EscapeHtml(std::string_view text);

// All occurrences of `from`, at most `count` (negative: no bound). An empty `from` matches between
// all characters, as in Python.
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to,
                       long long count);
// str.split: with a separator, at most `limit` cuts (negative: no bound).
std::vector<std::string_view> SplitOn(std::string_view text, std::string_view separator,
                                      long long limit, bool from_right);
// str.split without one: runs of white space.
std::vector<std::string_view> SplitSpace(std::string_view text, long long limit, bool from_right);
std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);

}  // namespace rag::jinja
