// What `rag` prints: JSON on standard output, or text for people.
#pragma once

#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;

// One line.
void PrintJson(const Value& value);
void Print(std::string_view text);
// {"error": {"code", "message"}}
Value ErrorValue(const Status& error);
// Prints the error, as JSON on standard output or as a line on standard error; returns kExitFailed.
int Fail(const Status& error, bool json);

// Writes out what was printed; kExitFailed, with a line on standard error, when some of it was lost
// (a full disk), else `code`.
int FinishOutput(int code);

bool StdoutIsTerminal();
bool StderrIsTerminal();
// The text in bold on a terminal that wants colours (NO_COLOR unset), else as it is.
std::string Bold(std::string_view text);
std::string Dim(std::string_view text);

// The text with control characters but newline and tab replaced, so that no document can drive the
// terminal.
std::string Printable(std::string_view text);
// The text on one line of at most max_characters, cut between characters with an ellipsis.
std::string Snippet(std::string_view text, size_t max_characters);
std::string HumanBytes(uint64_t bytes);

}  // namespace rag
