// CSV and its relatives (RFC 4180, and the delimiters ; tab |). Each record becomes a row that can
// be read alone: "column: value; column: value".
#include <algorithm>
#include <array>
#include <optional>

#include "engine/parse/encoding.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"
#include "engine/parse/record_table.h"
#include "engine/parse/text_builder.h"

namespace rag {
namespace {

constexpr char kDelimiters[] = {',', ';', '\t', '|'};
// A quoted field that is longer was most likely opened by a stray quote.
constexpr size_t kMaxFieldBytes = size_t{1} << 20;
// Records that are looked at to find the delimiter, and their bytes.
constexpr size_t kSampleRecords = 50;
constexpr size_t kSampleBytes = size_t{64} << 10;

class RecordReader {
 public:
  RecordReader(std::string_view text, char delimiter) : text_(text), delimiter_(delimiter) {}

  // False at the end. Lines that are empty are passed over.
  bool Next(std::vector<std::string>& fields) {
    fields.clear();
    while (at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r')) SkipLineEnd();
    if (at_ >= text_.size()) return false;
    line_begin_ = line_;
    while (true) {
      fields.push_back(Field());
      if (at_ < text_.size() && text_[at_] == delimiter_) {
        ++at_;
        continue;
      }
      if (at_ < text_.size()) SkipLineEnd();
      return true;
    }
  }

  size_t line() const { return line_begin_; }  // from 1, where the last record began
  // The line of a quote that was never closed; from there on quotes are ordinary characters.
  std::optional<size_t> stray_quote() const { return stray_quote_; }

 private:
  void SkipLineEnd() {
    if (text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++at_;
    ++at_;
    ++line_;
  }

  std::string Field() {
    if (at_ < text_.size() && text_[at_] == '"' && !stray_quote_.has_value()) {
      std::optional<std::string> quoted = Quoted();
      if (quoted.has_value()) return std::move(*quoted) + Plain();
      stray_quote_ = line_;
    }
    return Plain();
  }

  std::string Plain() {
    size_t end = at_;
    while (end < text_.size() && text_[end] != delimiter_ && text_[end] != '\n' &&
           text_[end] != '\r') {
      ++end;
    }
    std::string field(text_.substr(at_, end - at_));
    at_ = end;
    return field;
  }

  std::optional<std::string> Quoted() {
    std::string field;
    size_t lines = 0;
    for (size_t i = at_ + 1; i < text_.size() && field.size() <= kMaxFieldBytes; ++i) {
      if (text_[i] == '"') {
        if (i + 1 < text_.size() && text_[i + 1] == '"') {
          ++i;
        } else {
          at_ = i + 1;
          line_ += lines;
          return field;
        }
      }
      lines += text_[i] == '\n';
      field += text_[i];
    }
    return std::nullopt;
  }

  std::string_view text_;
  char delimiter_;
  size_t at_ = 0;
  size_t line_ = 1;
  size_t line_begin_ = 1;
  std::optional<size_t> stray_quote_;
};

// The delimiter with which most records of the sample have the same number of fields, above one.
char DetectDelimiter(std::string_view text) {
  std::string_view sample = text.substr(0, kSampleBytes);
  if (sample.size() < text.size()) {
    const size_t newline = sample.rfind('\n');
    if (newline != std::string_view::npos) sample = sample.substr(0, newline);
  }
  char best = ',';
  size_t best_score = 0;
  size_t best_width = 0;
  std::vector<std::string> fields;
  for (const char delimiter : kDelimiters) {
    RecordReader reader(sample, delimiter);
    std::vector<size_t> widths;
    while (widths.size() < kSampleRecords && reader.Next(fields)) widths.push_back(fields.size());
    std::sort(widths.begin(), widths.end());
    size_t score = 0;
    size_t width = 0;
    for (size_t i = 0; i < widths.size();) {
      const size_t same = static_cast<size_t>(
          std::upper_bound(widths.begin(), widths.end(), widths[i]) - widths.begin() - i);
      if (widths[i] > 1 && same >= score) {
        score = same;
        width = widths[i];
      }
      i += same;
    }
    if (score > best_score || (score == best_score && width > best_width)) {
      best = delimiter;
      best_score = score;
      best_width = width;
    }
  }
  return best;
}

std::vector<Field> ToFields(const std::vector<std::string>& values) {
  std::vector<Field> fields;
  fields.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) fields.push_back({i, values[i]});
  return fields;
}

}  // namespace

Result<ParsedFile> ParseCsv(std::string_view content, const ParseSource& source) {
  RAG_ASSIGN_OR_RETURN(const std::string text, DecodeText(content));
  const std::string extension = LowerExtension(source.path);
  const bool tabs = extension == "tsv" || extension == "tab";
  Document document = MakeDocument(source, tabs ? "text/tab-separated-values" : "text/csv");
  RecordReader reader(text, tabs ? '\t' : DetectDelimiter(text));
  TextBuilder builder(source.options.max_text_bytes);
  std::vector<std::string> fields;
  RecordTable table(builder);
  while (!builder.full() && reader.Next(fields)) {
    if (source.cancel != nullptr && source.cancel->cancelled()) return CancelledError("cancelled");
    if (fields.size() > kMaxColumns) {
      return InvalidArgumentError("line ", reader.line(), " has ", fields.size(),
                                  " columns, over the limit of ", kMaxColumns);
    }
    table.Add(ToFields(fields));
  }
  table.End();
  RAG_RETURN_IF_ERROR(std::move(builder).Finish(document));
  document.metadata.as_object().Set("rows", table.rows());
  ParsedFile file;
  if (reader.stray_quote().has_value()) {
    file.problems.push_back(
        InvalidArgumentError(source.path, ":", *reader.stray_quote(),
                             ": a quote is never closed; quotes after it were read as text"));
  }
  file.documents.push_back(std::move(document));
  return file;
}

}  // namespace rag
