#include "engine/evaluate/beir.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "engine/check_text.h"
#include "lib/base/value.h"

namespace rag {
namespace {

constexpr size_t kDocumentsAtOnce = 256;
constexpr size_t kMaxLineBytes = size_t{64} << 20;

class LineReader {
 public:
  static Result<LineReader> Open(const std::string& path) {
    LineReader reader;
    reader.path_ = path;
    reader.in_.open(path, std::ios::binary);
    if (!std::filesystem::is_regular_file(path) || !reader.in_) {
      return NotFoundError("cannot open '", path, "'");
    }
    return reader;
  }
  // False at the end. A line that is empty is given too.
  Result<bool> Next(std::string& line) {
    if (!std::getline(in_, line)) {
      if (in_.bad()) return IoError("cannot read '", path_, "' after line ", number_);
      return false;
    }
    ++number_;
    if (line.size() > kMaxLineBytes) return At(ResourceExhaustedError("the line is too long"));
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return true;
  }
  Status At(Status status) const {
    return std::move(status).WithContext(StrCat(path_, ":", number_));
  }
  size_t number() const { return number_; }

 private:
  std::string path_;
  std::ifstream in_;
  size_t number_ = 0;
};

// Ids are strings; some sets write them as numbers.
Result<std::string> IdOf(const Value& object) {
  for (const char* name : {"_id", "id"}) {
    const Value* id = object.Find(name);
    if (id == nullptr) continue;
    if (id->is_int()) return StrCat(id->as_int());
    if (id->is_string() && !id->as_string().empty()) return id->as_string();
    return InvalidArgumentError("'", name, "' is not a string or a whole number");
  }
  return InvalidArgumentError("no '_id'");
}

Result<Value> ParseLine(const std::string& line) {
  RAG_ASSIGN_OR_RETURN(Value value, ParseJson(line));
  if (!value.is_object()) {
    return InvalidArgumentError("expected an object, found ", value.type_name());
  }
  return value;
}

Result<Document> ParseDocument(const std::string& line) {
  RAG_ASSIGN_OR_RETURN(Value value, ParseLine(line));
  Document document;
  RAG_ASSIGN_OR_RETURN(document.key, IdOf(value));
  RAG_ASSIGN_OR_RETURN(document.title, value.GetString("title", ""));
  RAG_ASSIGN_OR_RETURN(document.text, value.GetString("text", ""));
  document.media_type = "text/plain";
  if (IsBlank(document.text)) document.text = document.title;
  for (const char* name : {"_id", "id", "title", "text"}) value.as_object().Erase(name);
  document.metadata = std::move(value);
  Block block;
  block.end = static_cast<uint32_t>(document.text.size());
  if (block.end != 0) document.blocks.push_back(block);
  return document;
}

std::vector<std::string_view> SplitTabs(std::string_view line) {
  std::vector<std::string_view> fields;
  while (true) {
    const size_t tab = line.find('\t');
    fields.push_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return fields;
    line.remove_prefix(tab + 1);
  }
}

Result<int> ParseScore(std::string_view text) {
  int score = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), score);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgumentError("score '", text, "' is not a whole number");
  }
  return score;
}

class Corpus : public BeirCorpus {
 public:
  Corpus(LineReader reader, std::string path, std::unordered_set<std::string>* keys,
         const CancelToken* cancel)
      : reader_(std::move(reader)), path_(std::move(path)), keys_(keys), cancel_(cancel) {}

  std::optional<SourceFile> Next() override {
    if (!error_.ok() || (cancel_ != nullptr && cancel_->cancelled())) return std::nullopt;
    SourceFile file;
    file.path = path_;
    file.many = true;
    file.tracked = false;
    error_ = Read(file);
    if (!error_.ok() || file.documents.empty()) return std::nullopt;
    return file;
  }
  Status error() const override { return error_; }
  uint64_t bytes() const override {
    std::error_code error;
    const uintmax_t size = std::filesystem::file_size(path_, error);
    return error ? 0 : size;
  }

 private:
  Status Read(SourceFile& file) {
    std::string line;
    while (file.documents.size() < kDocumentsAtOnce) {
      RAG_ASSIGN_OR_RETURN(const bool more, reader_.Next(line));
      if (!more) break;
      file.bytes += line.size() + 1;
      if (IsBlank(line)) continue;
      Result<Document> document = ParseDocument(line);
      if (!document.ok()) return reader_.At(document.status());
      if (!keys_->insert(document->key).second) {
        return reader_.At(InvalidArgumentError("id '", document->key, "' occurs a second time"));
      }
      file.documents.push_back(std::move(document).value());
    }
    return OkStatus();
  }

  LineReader reader_;
  const std::string path_;
  std::unordered_set<std::string>* const keys_;
  const CancelToken* const cancel_;
  Status error_;
};

std::string JoinPath(const std::string& folder, std::string_view name) {
  return (std::filesystem::path(folder) / name).string();
}

using QrelMap = std::unordered_map<std::string, std::pair<Judgements, size_t>>;  // and first line

Result<QrelMap> ReadQrels(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  QrelMap qrels;
  std::string line;
  while (true) {
    RAG_ASSIGN_OR_RETURN(const bool more, reader.Next(line));
    if (!more) return qrels;
    if (IsBlank(line)) continue;
    const std::vector<std::string_view> fields = SplitTabs(line);
    if (fields.size() != 3) {
      return reader.At(
          InvalidArgumentError("expected 3 fields with tabs between, found ", fields.size()));
    }
    if (reader.number() == 1 && fields[0] == "query-id") continue;
    const Result<int> score = ParseScore(fields[2]);
    if (!score.ok()) return reader.At(score.status());
    auto& [judgements, first_line] = qrels[std::string(fields[0])];
    if (first_line == 0) first_line = reader.number();
    judgements[std::string(fields[1])] = *score;
  }
}

}  // namespace

Result<std::vector<BeirQuery>> ReadBeirQueries(const std::string& folder) {
  std::string qrels_path = JoinPath(folder, "qrels/test.tsv");
  if (!std::filesystem::exists(qrels_path)) qrels_path = JoinPath(folder, "qrels.tsv");
  RAG_ASSIGN_OR_RETURN(QrelMap qrels, ReadQrels(qrels_path));
  RAG_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(JoinPath(folder, "queries.jsonl")));
  std::vector<BeirQuery> queries;
  std::string line;
  while (true) {
    RAG_ASSIGN_OR_RETURN(const bool more, reader.Next(line));
    if (!more) break;
    if (IsBlank(line)) continue;
    BeirQuery query;
    const auto read = [&]() -> Status {
      RAG_ASSIGN_OR_RETURN(const Value value, ParseLine(line));
      RAG_ASSIGN_OR_RETURN(query.id, IdOf(value));
      RAG_ASSIGN_OR_RETURN(query.text, value.GetString("text", ""));
      if (IsBlank(query.text)) return InvalidArgumentError("query '", query.id, "' has no text");
      return OkStatus();
    };
    if (const Status status = read(); !status.ok()) return reader.At(status);
    const auto judged = qrels.find(query.id);
    if (judged == qrels.end()) continue;
    query.judgements = std::move(judged->second.first);
    qrels.erase(judged);
    queries.push_back(std::move(query));
  }
  if (!qrels.empty()) {
    const auto& [id, judged] = *qrels.begin();
    return InvalidArgumentError(qrels_path, ":", judged.second, ": query '", id,
                                "' is not in queries.jsonl");
  }
  if (queries.empty()) return InvalidArgumentError(qrels_path, ": no query is judged");
  return queries;
}

Result<std::unique_ptr<BeirCorpus>> BeirCorpus::Open(const std::string& folder,
                                                     std::unordered_set<std::string>* keys,
                                                     const CancelToken* cancel) {
  std::string path = JoinPath(folder, "corpus.jsonl");
  RAG_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  return std::unique_ptr<BeirCorpus>(
      std::make_unique<Corpus>(std::move(reader), std::move(path), keys, cancel));
}

}  // namespace rag
