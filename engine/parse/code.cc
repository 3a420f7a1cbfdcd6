// Source code: a block for every definition at the top of the file, as far as its layout shows
// them.
#include <algorithm>

#include "engine/parse/encoding.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"

namespace rag {
namespace {

// A block that has this many lines is ended by the next empty line, whatever the indentation.
constexpr size_t kMaxBlockLines = 80;

std::string_view LanguageOf(std::string_view extension) {
  static constexpr struct {
    std::string_view extension;
    std::string_view language;
  } kLanguages[] = {
      {"c", "c"},
      {"h", "c++"},
      {"cc", "c++"},
      {"cpp", "c++"},
      {"cxx", "c++"},
      {"hpp", "c++"},
      {"hh", "c++"},
      {"cu", "cuda"},
      {"cuh", "cuda"},
      {"py", "python"},
      {"pyi", "python"},
      {"js", "javascript"},
      {"mjs", "javascript"},
      {"jsx", "javascript"},
      {"ts", "typescript"},
      {"tsx", "typescript"},
      {"go", "go"},
      {"rs", "rust"},
      {"java", "java"},
      {"kt", "kotlin"},
      {"cs", "c#"},
      {"rb", "ruby"},
      {"pl", "perl"},
      {"sh", "shell"},
      {"bash", "shell"},
      {"zsh", "shell"},
      {"ps1", "powershell"},
      {"hs", "haskell"},
      {"ml", "ocaml"},
      {"jl", "julia"},
      {"yml", "yaml"},
      {"m", "objective-c"},
  };
  for (const auto& entry : kLanguages) {
    if (entry.extension == extension) return entry.language;
  }
  return extension;
}

// Whether a line at the left margin goes on with what stands above it.
bool ContinuesBlock(std::string_view line) {
  return line.starts_with('}') || line.starts_with(')') || line.starts_with(']') ||
         line.starts_with("else") || line.starts_with("end") || line.starts_with("except") ||
         line.starts_with("finally") || line.starts_with("catch");
}

}  // namespace

Result<ParsedFile> ParseCode(std::string_view content, const ParseSource& source) {
  Document document = MakeDocument(source, "text/x-source");
  RAG_ASSIGN_OR_RETURN(document.text, DecodeText(content));
  // The name of a source file is its title with the extension: "http.cc" is not "http.h".
  document.title = source.path.substr(source.path.find_last_of('/') + 1);
  const std::string_view text = document.text;
  const std::vector<ByteRange> lines = SplitLines(text);
  Block open;
  size_t open_lines = 0;
  bool after_blank = false;
  const auto close = [&] {
    if (open.end > open.begin) document.blocks.push_back(open);
    open = {};
    open.kind = BlockKind::kCode;
    open_lines = 0;
  };
  close();
  for (const ByteRange line : lines) {
    const ByteRange trimmed = TrimRange(text, line);
    if (trimmed.begin == trimmed.end) {
      after_blank = true;
      continue;
    }
    const bool at_margin = trimmed.begin == line.begin;
    const bool begins =
        at_margin && !ContinuesBlock(text.substr(line.begin, line.end - line.begin));
    if (after_blank && (begins || open_lines >= kMaxBlockLines)) close();
    after_blank = false;
    if (open_lines++ == 0) open.begin = line.begin;
    open.end = trimmed.end;
  }
  close();
  Value::Object& metadata = document.metadata.as_object();
  metadata.Set("language", Value(LanguageOf(LowerExtension(source.path))));
  metadata.Set("lines", lines.size());
  return OneDocument(std::move(document));
}

}  // namespace rag
