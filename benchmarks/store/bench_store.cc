// A collection of vectors, texts and attributes, driven by run.py as it drives the peers.
//
//   bench_store [--threads T] [--index SPEC] [--lexical]
//
// Speaks the lines of JSON that benchmarks/peers/store_peers.py describes. A row is a document of
// one chunk; --lexical indexes its text for BM25 too.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "index/filter.h"
#include "index/index_spec.h"
#include "index/store.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"

namespace rag {
namespace {

constexpr const char* kCollection = "rows";
// Widths of a search; 0 is the collection's own.
constexpr size_t kWidths[] = {0, 128, 256, 512};
constexpr size_t kMostRows = 100'000'000;

struct Arguments {
  RuntimeOptions runtime;
  std::string index = "hnsw:pca8";  // a new collection's of the engine
  bool lexical = false;
};

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Result<size_t> Number(const Value& request, std::string_view key) {
  RAG_ASSIGN_OR_RETURN(const int64_t number, request.GetInt(key, -1));
  if (number < 0 || static_cast<size_t>(number) > kMostRows) {
    return InvalidArgumentError("'", key, "' is ", number);
  }
  return static_cast<size_t>(number);
}

Result<std::vector<size_t>> Rows(const Value& request) {
  const Value* rows = request.Find("rows");
  if (rows == nullptr || !rows->is_array()) return InvalidArgumentError("'rows' is no array");
  std::vector<size_t> numbers;
  for (const Value& row : rows->as_array()) {
    if (!row.is_int() || row.as_int() < 0) return InvalidArgumentError("'rows' holds no row");
    numbers.push_back(static_cast<size_t>(row.as_int()));
  }
  return numbers;
}

template <class T>
Status WriteFile(const std::string& path, const std::vector<T>& values) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(T)));
  return out.flush() ? OkStatus() : IoError(path, " cannot be written");
}

class Session {
 public:
  Session(const Arguments& arguments, const Runtime& runtime)
      : arguments_(arguments), runtime_(runtime) {}

  Result<Value> Answer(const Value& request) {
    RAG_ASSIGN_OR_RETURN(const std::string what, request.GetString("do", ""));
    if (what == "open") return Open(request);
    if (collection_ == nullptr) return FailedPreconditionError("no store is open");
    if (what == "insert") return Insert(request);
    if (what == "finish") return Value(Value::Object{{"seconds", 0.0}});
    if (what == "search") return Search(request);
    if (what == "own") return Own(request);
    if (what == "remove") return Remove(request);
    if (what == "count") return Count();
    if (what == "present") return Present(request);
    if (what == "recover") return Value(Value::Object{{"rows", nullptr}});
    if (what == "compact") return Compact();
    if (what == "close") return Close();
    return InvalidArgumentError("unknown request ", what);
  }

 private:
  // Errors: io_error.
  Result<std::vector<float>> Vectors(const char* name, size_t first, size_t count) const {
    std::vector<float> vectors(count * dim_);
    std::ifstream in(data_ + "/" + name, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(first * dim_ * sizeof(float)));
    in.read(reinterpret_cast<char*>(vectors.data()),
            static_cast<std::streamsize>(vectors.size() * sizeof(float)));
    if (!in) return IoError(data_, "/", name, " ends before row ", first + count);
    return vectors;
  }

  Result<Value> Open(const Value& request) {
    RAG_ASSIGN_OR_RETURN(data_, request.GetString("data", ""));
    RAG_ASSIGN_OR_RETURN(const std::string folder, request.GetString("store", ""));
    RAG_ASSIGN_OR_RETURN(dim_, Number(request, "dim"));
    const auto start = std::chrono::steady_clock::now();
    RAG_ASSIGN_OR_RETURN(store_, Store::Open(folder, StoreOptions(), runtime_));
    if (store_->ListCollections().empty()) {
      CollectionConfig config;
      config.name = kCollection;
      RAG_ASSIGN_OR_RETURN(config.vectors, ParseIndexSpec(arguments_.index));
      config.vectors.dim = dim_;
      config.vectors.metric = Metric::kCosine;
      RAG_ASSIGN_OR_RETURN(collection_, store_->CreateCollection(config));
    } else {
      RAG_ASSIGN_OR_RETURN(collection_, store_->OpenCollection(kCollection));
    }
    return Value(Value::Object{{"seconds", Seconds(start)}});
  }

  Result<Value> Insert(const Value& request) {
    RAG_ASSIGN_OR_RETURN(const size_t first, Number(request, "first"));
    RAG_ASSIGN_OR_RETURN(const size_t count, Number(request, "count"));
    // Not before, so that a process that only searches does not hold them.
    if (lines_.empty()) {
      std::ifstream in(data_ + "/rows.jsonl");
      for (std::string line; std::getline(in, line);) lines_.push_back(line);
    }
    if (first + count > lines_.size()) return InvalidArgumentError("there are fewer rows");
    RAG_ASSIGN_OR_RETURN(const std::vector<float> vectors, Vectors("base.f32", first, count));
    std::vector<DocumentInput> documents(count);
    for (size_t i = 0; i < count; ++i) {
      RAG_ASSIGN_OR_RETURN(const Value row, ParseJson(lines_[first + i]));
      documents[i].key = std::to_string(first + i);
      ChunkInput& chunk = documents[i].chunks.emplace_back();
      RAG_ASSIGN_OR_RETURN(chunk.payload, row.GetString("text", ""));
      if (arguments_.lexical) chunk.lexical_text = chunk.payload;
      chunk.vector.assign(vectors.begin() + static_cast<ptrdiff_t>(i * dim_),
                          vectors.begin() + static_cast<ptrdiff_t>((i + 1) * dim_));
      RAG_ASSIGN_OR_RETURN(const int64_t number, row.GetInt("number", 0));
      RAG_ASSIGN_OR_RETURN(const std::string tag, row.GetString("tag", ""));
      documents[i].attributes = Value(Value::Object{{"number", number}, {"tag", tag}});
    }
    const auto start = std::chrono::steady_clock::now();
    RAG_RETURN_IF_ERROR(collection_->ReplaceMany(documents).status());
    return Value(Value::Object{{"seconds", Seconds(start)}});
  }

  // The rows of the hits; their texts are read too.
  Result<std::vector<int32_t>> Find(std::span<const float> query, size_t k,
                                    const std::string& filter_text, size_t width) const {
    std::optional<Filter> filter;
    if (!filter_text.empty()) {
      RAG_ASSIGN_OR_RETURN(filter, Filter::Parse(filter_text));
    }
    RAG_ASSIGN_OR_RETURN(
        const std::vector<Neighbor> found,
        collection_->SearchVectors(query, k, filter.has_value() ? &*filter : nullptr, width));
    std::vector<int32_t> rows;
    for (const Neighbor& neighbor : found) {
      RAG_ASSIGN_OR_RETURN(const ChunkRecord chunk, collection_->GetChunk(neighbor.id));
      rows.push_back(std::atoi(chunk.document_key.c_str()));
    }
    rows.resize(k, -1);
    return rows;
  }

  Result<Value> Search(const Value& request) const {
    RAG_ASSIGN_OR_RETURN(const size_t first, Number(request, "first"));
    RAG_ASSIGN_OR_RETURN(const size_t count, Number(request, "count"));
    RAG_ASSIGN_OR_RETURN(const size_t k, Number(request, "k"));
    RAG_ASSIGN_OR_RETURN(const size_t setting, Number(request, "setting"));
    RAG_ASSIGN_OR_RETURN(const double most_seconds, request.GetDouble("most_seconds", 60));
    RAG_ASSIGN_OR_RETURN(const std::string out, request.GetString("out", ""));
    if (setting >= std::size(kWidths)) return InvalidArgumentError("no setting ", setting);
    std::string filter;
    if (const Value* given = request.Find("filter"); given != nullptr && given->is_object()) {
      if (const Value* below = given->Find("below"); below != nullptr && below->is_int()) {
        filter = StrCat("number < ", below->as_int());
      } else {
        RAG_ASSIGN_OR_RETURN(const std::string tag, given->GetString("tag", ""));
        filter = StrCat("tag = \"", tag, "\"");
      }
    }
    RAG_ASSIGN_OR_RETURN(const std::vector<float> queries, Vectors("queries.f32", first, count));
    std::vector<int32_t> rows;
    std::vector<double> seconds;
    const auto begin = std::chrono::steady_clock::now();
    while (seconds.size() < count && (seconds.empty() || Seconds(begin) < most_seconds)) {
      const std::span<const float> query(queries.data() + seconds.size() * dim_, dim_);
      const auto start = std::chrono::steady_clock::now();
      RAG_ASSIGN_OR_RETURN(const std::vector<int32_t> found,
                           Find(query, k, filter, kWidths[setting]));
      seconds.push_back(Seconds(start));
      rows.insert(rows.end(), found.begin(), found.end());
    }
    RAG_RETURN_IF_ERROR(WriteFile(out + ".rows", rows));
    RAG_RETURN_IF_ERROR(WriteFile(out + ".seconds", seconds));
    return Value(Value::Object{{"searched", seconds.size()}});
  }

  Result<Value> Own(const Value& request) const {
    RAG_ASSIGN_OR_RETURN(const std::vector<size_t> rows, Rows(request));
    size_t hits = 0;
    for (const size_t row : rows) {
      RAG_ASSIGN_OR_RETURN(const std::vector<float> vector, Vectors("base.f32", row, 1));
      RAG_ASSIGN_OR_RETURN(const std::vector<int32_t> found, Find(vector, 1, "", 0));
      hits += found[0] >= 0 && static_cast<size_t>(found[0]) == row;
    }
    return Value(Value::Object{{"found", hits}});
  }

  Result<Value> Remove(const Value& request) {
    RAG_ASSIGN_OR_RETURN(const std::vector<size_t> rows, Rows(request));
    std::vector<std::string> keys;
    for (const size_t row : rows) keys.push_back(std::to_string(row));
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    const auto start = std::chrono::steady_clock::now();
    RAG_RETURN_IF_ERROR(collection_->RemoveMany(views).status());
    return Value(Value::Object{{"seconds", Seconds(start)}});
  }

  Result<Value> Count() const {
    RAG_ASSIGN_OR_RETURN(const CollectionStats stats, collection_->Stats());
    return Value(Value::Object{{"rows", stats.documents}});
  }

  Result<Value> Present(const Value& request) const {
    RAG_ASSIGN_OR_RETURN(const size_t first, Number(request, "first"));
    RAG_ASSIGN_OR_RETURN(const size_t count, Number(request, "count"));
    size_t rows = 0;
    for (size_t row = first; row < first + count; ++row) {
      const Status status = collection_->GetDocument(std::to_string(row)).status();
      if (status.code() == StatusCode::kNotFound) continue;
      RAG_RETURN_IF_ERROR(status);
      ++rows;
    }
    return Value(Value::Object{{"rows", rows}});
  }

  Result<Value> Compact() {
    RAG_ASSIGN_OR_RETURN(const VacuumReport report, store_->Vacuum());
    return Value(Value::Object{{"seconds", report.seconds}, {"how", "Store::Vacuum"}});
  }

  Result<Value> Close() {
    collection_.reset();
    RAG_RETURN_IF_ERROR(store_->Close());
    store_.reset();
    return Value(Value::Object());
  }

  const Arguments& arguments_;
  const Runtime& runtime_;
  std::string data_;
  size_t dim_ = 0;
  std::vector<std::string> lines_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<Collection> collection_;
};

void Say(const Value& value) {
  std::printf("%s\n", ToJson(value).c_str());
  std::fflush(stdout);
}

int Main(int count, char** words) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(words[i], "--lexical") == 0) {
      arguments.lexical = true;
    } else if (std::strcmp(words[i], "--threads") == 0 && i + 1 < count) {
      arguments.runtime.threads = std::atoi(words[++i]);
    } else if (std::strcmp(words[i], "--index") == 0 && i + 1 < count) {
      arguments.index = words[++i];
    } else {
      std::fprintf(stderr, "usage: bench_store [--threads T] [--index SPEC] [--lexical]\n");
      return 2;
    }
  }
  const auto start = std::chrono::steady_clock::now();
  const Result<std::unique_ptr<Runtime>> runtime = Runtime::Create(arguments.runtime);
  if (!runtime.ok()) {
    std::fprintf(stderr, "bench_store: %s\n", runtime.status().ToString().c_str());
    return 1;
  }
  Value::Array settings;
  for (const size_t width : kWidths) {
    settings.emplace_back(width == 0 ? Value::Object() : Value::Object{{"ef_search", width}});
  }
  Say(Value(Value::Object{
      {"name", "rag"},
      {"version", RAG_VERSION},
      {"index", StrCat(arguments.index, arguments.lexical ? ", made as rows come; BM25 postings"
                                                          : ", made as rows come")},
      {"settings", std::move(settings)},
      {"import_seconds", Seconds(start)}}));
  Session session(arguments, **runtime);
  for (std::string line; std::getline(std::cin, line);) {
    const Result<Value> request = ParseJson(line);
    const Result<Value> answer =
        request.ok() ? session.Answer(*request) : Result<Value>(request.status());
    Say(answer.ok() ? *answer : Value(Value::Object{{"error", answer.status().ToString()}}));
  }
  return 0;
}

}  // namespace
}  // namespace rag

int main(int count, char** words) { return rag::Main(count, words); }
