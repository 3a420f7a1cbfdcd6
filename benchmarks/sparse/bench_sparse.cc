// Search by learned sparse vectors in a store, beside a scan of all vectors and inverted lists in
// memory without pruning, and BM25 over the same texts.
//
//   bench_sparse --model FOLDER --queries FILE.jsonl --texts FILE.jsonl [--texts …] [--copies N]
//                [--k 10] [--rounds 5] [--threads T]
//
// Lines are BEIR's: "text", perhaps "title". --copies stores every text N times, each copy with
// another tenth of its tokens left out, so that scores differ. The systems take turns, one query at
// a time; the store's results are compared with the scan's. Afterwards the store answers without
// keeping lists in memory. Prints one line of JSON.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "embed/sparse_encoder.h"
#include "index/lexical/sparse_postings.h"
#include "index/store.h"
#include "lib/base/scratch_folder.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"

namespace rag {
namespace {

struct Arguments {
  std::string model;
  std::string queries;
  std::vector<std::string> texts;
  size_t copies = 1;
  size_t k = 10;
  int rounds = 5;
  int threads = 2;
};

[[noreturn]] void Fail(const Status& status) {
  std::fprintf(stderr, "bench_sparse: %s\n", status.ToString().c_str());
  std::exit(1);
}

template <class T>
T Take(Result<T> result) {
  if (!result.ok()) Fail(result.status());
  return std::move(result).value();
}

std::vector<std::string> ReadTexts(const std::string& path) {
  std::vector<std::string> texts;
  std::ifstream in(path);
  if (!in) Fail(NotFoundError(path));
  for (std::string line; std::getline(in, line);) {
    const Value value = Take(ParseJson(line));
    const std::string title = Take(value.GetString("title", ""));
    texts.push_back((title.empty() ? "" : title + " ") + Take(value.GetString("text", "")));
  }
  return texts;
}

std::vector<SparseVector> Encode(const SparseEncoder& encoder,
                                 const std::vector<std::string>& texts, TextRole role) {
  std::vector<SparseVector> vectors;
  constexpr size_t kBatch = 256;
  for (size_t begin = 0; begin < texts.size(); begin += kBatch) {
    const size_t end = std::min(begin + kBatch, texts.size());
    const std::vector<std::string_view> views(texts.begin() + static_cast<ptrdiff_t>(begin),
                                              texts.begin() + static_cast<ptrdiff_t>(end));
    SparseEmbeddings encoded = Take(encoder.Encode(views, role));
    for (SparseVector& vector : encoded.vectors) {
      for (SparseVector::Entry& entry : vector.entries) {
        entry.weight = DecodeWeight(EncodeWeight(entry.weight));
      }
      vectors.push_back(std::move(vector));
    }
  }
  return vectors;
}

SparseVector WithoutTenth(const SparseVector& vector, std::mt19937& random) {
  SparseVector left;
  for (const SparseVector::Entry& entry : vector.entries) {
    if (random() % 10 != 0) left.entries.push_back(entry);
  }
  return left;
}

bool Better(const Neighbor& a, const Neighbor& b) {
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

std::vector<Neighbor> Best(std::vector<Neighbor> all, size_t k) {
  const size_t kept = std::min(k, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(kept), all.end(), Better);
  all.resize(kept);
  return all;
}

// Chunk ids are 1 and on, in the vectors' order.
std::vector<Neighbor> Scan(const std::vector<SparseVector>& vectors, const SparseVector& query,
                           size_t k) {
  std::vector<Neighbor> all;
  for (size_t i = 0; i < vectors.size(); ++i) {
    const float product = DotProduct(query, vectors[i]);
    if (product > 0) all.push_back({i + 1, product});
  }
  return Best(std::move(all), k);
}

// Every posting of the query's tokens is added up.
class InvertedLists {
 public:
  InvertedLists(const std::vector<SparseVector>& vectors, size_t vocab)
      : lists_(vocab), sums_(vectors.size() + 1) {
    for (size_t i = 0; i < vectors.size(); ++i) {
      for (const SparseVector::Entry& entry : vectors[i].entries) {
        lists_[entry.token].push_back({static_cast<uint32_t>(i + 1), entry.weight});
      }
    }
  }
  std::vector<Neighbor> Search(const SparseVector& query, size_t k) {
    std::vector<uint32_t> touched;
    for (const SparseVector::Entry& entry : query.entries) {
      for (const auto& [id, weight] : lists_[entry.token]) {
        if (sums_[id] == 0) touched.push_back(id);
        sums_[id] += entry.weight * weight;
      }
    }
    std::vector<Neighbor> all;
    all.reserve(touched.size());
    for (const uint32_t id : touched) {
      all.push_back({id, sums_[id]});
      sums_[id] = 0;
    }
    return Best(std::move(all), k);
  }

 private:
  std::vector<std::vector<std::pair<uint32_t, float>>> lists_;
  std::vector<float> sums_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Value Run(const Arguments& arguments) {
  const auto runtime = Take(Runtime::Create({.threads = arguments.threads}));
  const auto encoder = Take(SparseEncoder::Load(arguments.model, *runtime));
  std::vector<std::string> texts;
  for (const std::string& path : arguments.texts) {
    for (std::string& text : ReadTexts(path)) texts.push_back(std::move(text));
  }
  const std::vector<SparseVector> encoded = Encode(*encoder, texts, TextRole::kDocument);
  const std::vector<std::string> query_texts = ReadTexts(arguments.queries);
  const std::vector<SparseVector> queries = Encode(*encoder, query_texts, TextRole::kQuery);

  const ScratchFolder folder = Take(ScratchFolder::Create("bench-sparse"));
  auto store = Take(Store::Open(folder.file("db"), {.sync_writes = false}, *runtime));
  CollectionConfig config;
  config.name = "c";
  config.sparse_dim = static_cast<uint32_t>(encoder->info().vocab);
  auto collection = Take(store->CreateCollection(config));
  std::vector<SparseVector> vectors;
  std::mt19937 random(1);
  double write_seconds = 0;
  for (size_t copy = 0; copy < arguments.copies; ++copy) {
    std::vector<DocumentInput> documents;
    for (size_t i = 0; i < texts.size(); ++i) {
      DocumentInput document;
      document.key = StrCat(copy, "-", i);
      document.chunks.resize(1);
      document.chunks[0].lexical_text = texts[i];
      document.chunks[0].sparse = copy == 0 ? encoded[i] : WithoutTenth(encoded[i], random);
      vectors.push_back(document.chunks[0].sparse);
      documents.push_back(std::move(document));
      if (documents.size() < 256 && i + 1 < texts.size()) continue;
      const auto start = std::chrono::steady_clock::now();
      Take(collection->ReplaceMany(documents));
      write_seconds +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      documents.clear();
    }
  }
  InvertedLists lists(vectors, encoder->info().vocab);
  size_t weights = 0, query_weights = 0;
  for (const SparseVector& vector : vectors) weights += vector.entries.size();
  for (const SparseVector& query : queries) query_weights += query.entries.size();

  size_t wrong = 0;
  const std::vector<std::pair<const char*, std::function<std::vector<Neighbor>(size_t)>>> systems =
      {{"scan", [&](size_t i) { return Scan(vectors, queries[i], arguments.k); }},
       {"lists_in_memory", [&](size_t i) { return lists.Search(queries[i], arguments.k); }},
       {"store_sparse",
        [&](size_t i) { return Take(collection->SearchSparse(queries[i], arguments.k, nullptr)); }},
       {"store_bm25", [&](size_t i) {
          return Take(collection->SearchLexical(query_texts[i], arguments.k, nullptr));
        }}};
  constexpr size_t kStore = 2;
  std::vector<std::vector<double>> milliseconds(systems.size());
  const auto timed = [&](size_t query, const auto& search, std::vector<double>& times) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<Neighbor> found = search(query);
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
    return found;
  };
  // The scan alone would take most of the time: it answers every 20th query.
  constexpr size_t kScanEvery = 20;
  for (int round = 0; round < arguments.rounds; ++round) {
    for (size_t i = 0; i < queries.size(); ++i) {
      std::vector<Neighbor> expected;
      for (size_t s = 0; s < systems.size(); ++s) {
        if (s == 0 && i % kScanEvery != 0) continue;
        const std::vector<Neighbor> found = timed(i, systems[s].second, milliseconds[s]);
        if (s == 0) expected = found;
        if (s == kStore && !expected.empty() && found != expected) ++wrong;
      }
    }
  }
  if (wrong != 0) Fail(DataLossError(wrong, " results of the store differ from the scan's"));
  Value::Object out{{"texts", vectors.size()},
                    {"weights_per_text", static_cast<double>(weights) / vectors.size()},
                    {"queries", queries.size()},
                    {"weights_per_query", static_cast<double>(query_weights) / queries.size()},
                    {"k", arguments.k},
                    {"write_seconds", write_seconds}};
  const auto set = [&](const char* name, const std::vector<double>& times) {
    double sum = 0;
    for (const double value : times) sum += value;
    out.Set(name, Value::Object{{"median_ms", Median(times)},
                                {"mean_ms", sum / static_cast<double>(times.size())}});
  };
  for (size_t s = 0; s < systems.size(); ++s) set(systems[s].first, milliseconds[s]);
  out.Set("sparse_memory_bytes", Take(collection->Stats()).sparse_memory_bytes);

  if (const Status closed = store->Close(); !closed.ok()) Fail(closed);
  store = Take(Store::Open(folder.file("db"), {.sparse_cache_bytes = 0}, *runtime));
  collection = Take(store->OpenCollection(config.name));
  std::vector<double> read;
  for (int round = 0; round < arguments.rounds; ++round) {
    for (size_t i = 0; i < queries.size(); ++i) timed(i, systems[kStore].second, read);
  }
  set("store_sparse_read", read);
  return Value(std::move(out));
}

}  // namespace
}  // namespace rag

int main(int argc, char** argv) {
  rag::Arguments arguments;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--model") arguments.model = argv[i + 1];
    if (flag == "--queries") arguments.queries = argv[i + 1];
    if (flag == "--texts") arguments.texts.push_back(argv[i + 1]);
    if (flag == "--copies") arguments.copies = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--k") arguments.k = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--rounds") arguments.rounds = std::atoi(argv[i + 1]);
    if (flag == "--threads") arguments.threads = std::atoi(argv[i + 1]);
  }
  if (arguments.model.empty() || arguments.queries.empty() || arguments.texts.empty() ||
      arguments.copies == 0 || arguments.rounds < 1) {
    std::fprintf(stderr,
                 "usage: bench_sparse --model FOLDER --queries FILE --texts FILE [--texts FILE] "
                 "[--copies N] [--k K] [--rounds R] [--threads T]\n");
    return 2;
  }
  std::printf("%s\n", rag::ToJson(rag::Run(arguments)).c_str());
  return 0;
}
