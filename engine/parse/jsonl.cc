// JSON Lines: a document a line; and .json files, an array of such objects or anything else as
// text.
#include <unordered_map>

#include "engine/parse/encoding.h"
#include "engine/parse/paragraphs.h"
#include "engine/parse/parser.h"

namespace rag {
namespace {

// Of a file that is broken throughout, the first are enough.
constexpr size_t kMaxProblems = 1'000;
constexpr JsonLimits kLimits{.max_bytes = size_t{64} << 20, .max_depth = 64};

Result<std::string> StringMember(const Value& object, std::string_view name) {
  const Value* value = object.Find(name);
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_string()) {
    return InvalidArgumentError("'", name, "' must be a string, not ", value->type_name());
  }
  return value->as_string();
}

// "id" or "_id" as a string or a whole number; "" when neither is there.
Result<std::string> KeyOf(const Value& object) {
  for (const std::string_view name : {"id", "_id"}) {
    const Value* id = object.Find(name);
    if (id == nullptr || id->is_null()) continue;
    if (id->is_int()) return StrCat(id->as_int());
    if (id->is_string() && !id->as_string().empty()) return id->as_string();
    return InvalidArgumentError("'", name, "' must be a non-empty string or a whole number");
  }
  return std::string();
}

// The members that are not the document's own; those of an object named "metadata" (as BEIR has it)
// stand beside them.
Value MetadataOf(Value object) {
  Value::Object metadata;
  for (auto& [name, value] : object.as_object()) {
    if (name == "id" || name == "_id" || name == "title" || name == "text") continue;
    if (name == "metadata" && value.is_object()) {
      for (auto& [inner, inner_value] : value.as_object()) {
        metadata.Set(inner, std::move(inner_value));
      }
      continue;
    }
    metadata.Set(name, std::move(value));
  }
  return metadata;
}

Result<Document> ReadObject(Value value, std::string_view fallback_key, const ParseSource& source) {
  if (!value.is_object()) {
    return InvalidArgumentError("expected an object, found ", value.type_name());
  }
  Document document = MakeDocument(source, "application/jsonl");
  RAG_ASSIGN_OR_RETURN(document.key, KeyOf(value));
  if (document.key.empty()) document.key = fallback_key;
  RAG_ASSIGN_OR_RETURN(document.title, StringMember(value, "title"));
  RAG_ASSIGN_OR_RETURN(document.text, StringMember(value, "text"));
  if (Trim(document.text).empty()) document.text = document.title;
  if (Trim(document.text).empty()) return InvalidArgumentError("no 'text'");
  document.metadata = MetadataOf(std::move(value));
  AppendParagraphs(document.text, 0, static_cast<uint32_t>(document.text.size()),
                   BlockKind::kParagraph, document.blocks);
  return document;
}

class Collector {
 public:
  explicit Collector(const ParseSource& source) : source_(source) {}

  // `place` is "L12" for a line and "3" for an array's element.
  void Add(Result<Value> value, size_t line, const std::string& place) {
    const std::string fallback = StrCat(source_.path, "#", place);
    Result<Document> document = value.ok() ? ReadObject(std::move(value).value(), fallback, source_)
                                           : Result<Document>(std::move(value).status());
    if (document.ok()) {
      const auto [first, is_new] = lines_.emplace(document->key, line);
      if (is_new) {
        file_.documents.push_back(std::move(document).value());
        return;
      }
      document = InvalidArgumentError("document '", first->first, "' is there already, in ",
                                      source_.path, ":", first->second, ", and is kept");
    }
    if (++problems_ > kMaxProblems) return;
    file_.problems.push_back(
        std::move(document).status().WithContext(StrCat(source_.path, ":", line)));
  }

  ParsedFile Finish() && {
    if (problems_ > kMaxProblems) {
      file_.problems.push_back(InvalidArgumentError(source_.path, ": ", problems_ - kMaxProblems,
                                                    " more objects could not be read"));
    }
    return std::move(file_);
  }

 private:
  const ParseSource& source_;
  ParsedFile file_;
  std::unordered_map<std::string, size_t> lines_;  // of each key
  size_t problems_ = 0;
};

bool HasText(const Value& value) { return value.Find("text") != nullptr; }

// A file of one JSON text, which is not JSON Lines.
ParsedFile ReadWhole(Value value, std::string text, const ParseSource& source) {
  Collector collector(source);
  if (value.is_array() && !value.as_array().empty() && HasText(value.as_array().front())) {
    size_t number = 0;
    for (Value& element : value.as_array()) {
      ++number;
      collector.Add(std::move(element), number, StrCat(number));
    }
    return std::move(collector).Finish();
  }
  if (HasText(value)) {
    Result<Document> document = ReadObject(std::move(value), source.path, source);
    if (document.ok()) {
      return OneDocument(std::move(document).value());
    }
  }
  Document document = MakeDocument(source, "application/json");
  document.text = std::move(text);
  const ByteRange all = TrimRange(document.text, {0, static_cast<uint32_t>(document.text.size())});
  Block block;
  block.kind = BlockKind::kCode;
  block.begin = all.begin;
  block.end = all.end;
  document.blocks.push_back(block);
  return OneDocument(std::move(document));
}

}  // namespace

Result<ParsedFile> ParseJsonl(std::string_view content, const ParseSource& source) {
  RAG_ASSIGN_OR_RETURN(std::string text, DecodeText(content));
  if (LowerExtension(source.path) == "json") {
    Result<Value> whole = ParseJson(text, kLimits);
    if (whole.ok()) return ReadWhole(std::move(whole).value(), std::move(text), source);
    // Some name JSON Lines so: then the first line alone is an object.
    const std::string_view first = std::string_view(text).substr(0, text.find('\n'));
    const Result<Value> line = ParseJson(first, kLimits);
    if (!line.ok() || !line->is_object()) return whole.status();
  }
  Collector collector(source);
  size_t number = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t newline = rest.find('\n');
    const std::string_view line = rest.substr(0, newline);
    rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
    ++number;
    if (Trim(line).empty()) continue;
    if (source.cancel != nullptr && source.cancel->cancelled()) return CancelledError("cancelled");
    collector.Add(ParseJson(line, kLimits), number, StrCat("L", number));
  }
  return std::move(collector).Finish();
}

}  // namespace rag
