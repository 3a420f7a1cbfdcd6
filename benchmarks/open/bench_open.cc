// How long a collection of many vectors takes to open, and to answer its first search.
//
//   bench_open make FOLDER --rows N --dim D --index SPEC [--threads T]
//   bench_open open FOLDER [--threads T]
//
// `make` fills a store with clustered vectors, a hundred chunks a document; `open` opens it in a
// process of its own. Both print one line of JSON.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "index/index_spec.h"
#include "index/store.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {
namespace {

constexpr size_t kChunks = 100;  // of a document
constexpr size_t kClusters = 2'000;

struct Arguments {
  std::string what;
  std::string folder;
  std::string index = "hnsw";
  size_t rows = 200'000;
  size_t dim = 384;
  int threads = 2;
};

double Seconds(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

[[noreturn]] void Fail(const Status& status) {
  std::fprintf(stderr, "bench_open: %s\n", status.ToString().c_str());
  std::exit(1);
}

template <class T>
T Take(Result<T> result) {
  if (!result.ok()) Fail(result.status());
  return std::move(result).value();
}

// Of this process, by the line's name in /proc/self/status.
uint64_t Memory(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;) {
    uint64_t kib = 0;
    if (word == name && in >> kib) return kib << 10;
  }
  return 0;
}

// Gaussian clusters; the centres are always the same.
class Source {
 public:
  Source(size_t dim, uint32_t seed) : dim_(dim), random_(seed), centres_(kClusters, dim) {
    std::mt19937 random(1);
    for (size_t i = 0; i < kClusters * dim; ++i) centres_.data()[i] = normal_(random);
  }
  std::vector<float> Next() {
    const auto centre = centres_.row(random_() % kClusters);
    std::vector<float> out(dim_);
    for (size_t i = 0; i < dim_; ++i) out[i] = centre[i] + 0.5f * normal_(random_);
    return out;
  }

 private:
  size_t dim_;
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  Matrix centres_;
};

void Make(const Arguments& arguments, const Runtime& runtime) {
  StoreOptions options;
  options.sync_writes = false;
  const auto start = std::chrono::steady_clock::now();
  const auto store = Take(Store::Open(arguments.folder, options, runtime));
  CollectionConfig config;
  config.name = "c";
  config.vectors = Take(ParseIndexSpec(arguments.index));
  config.vectors.dim = arguments.dim;
  config.vectors.metric = Metric::kCosine;
  const auto collection = Take(store->CreateCollection(config));
  Source source(arguments.dim, 2);
  for (size_t row = 0; row < arguments.rows;) {
    std::vector<DocumentInput> documents(10);
    for (DocumentInput& document : documents) {
      document.key = StrCat("d", row);
      for (size_t i = 0; i < kChunks && row < arguments.rows; ++i, ++row) {
        document.chunks.emplace_back().vector = source.Next();
      }
    }
    Take(collection->ReplaceMany(documents));
    if (row % 50'000 == 0) std::fprintf(stderr, "%zu vectors, %.0f s\n", row, Seconds(start));
  }
  if (const Status closed = store->Close(); !closed.ok()) Fail(closed);
  std::printf(
      "%s\n",
      ToJson(Value(Value::Object{{"rows", arguments.rows}, {"seconds", Seconds(start)}})).c_str());
}

void Open(const Arguments& arguments, const Runtime& runtime) {
  const uint64_t before = Memory("VmRSS:");
  const auto start = std::chrono::steady_clock::now();
  const auto store = Take(Store::Open(arguments.folder, {.read_only = true}, runtime));
  const double store_seconds = Seconds(start);
  const auto collection = Take(store->OpenCollection("c"));
  const double open_seconds = Seconds(start);
  const uint64_t opened = Memory("VmRSS:") - before, opened_anonymous = Memory("RssAnon:");
  const CollectionStats stats = Take(collection->Stats());
  const size_t dim = collection->config().vectors.dim;
  Source source(dim, 3);
  std::vector<double> searches;
  double first = 0;
  for (int i = 0; i < 1'001; ++i) {
    const std::vector<float> query = source.Next();
    const auto begin = std::chrono::steady_clock::now();
    if (Take(collection->SearchVectors(query, 10, nullptr)).size() != 10) {
      Fail(InternalError("a search found too few"));
    }
    if (i == 0) {
      first = Seconds(begin);
    } else {
      searches.push_back(Seconds(begin));
    }
  }
  const auto share = [&](size_t from, size_t percent) {
    std::vector<double> some(searches.begin() + static_cast<ptrdiff_t>(from),
                             searches.begin() + static_cast<ptrdiff_t>(from) + 500);
    std::sort(some.begin(), some.end());
    return some[some.size() * percent / 100];
  };
  std::printf("%s\n",
              ToJson(Value(Value::Object{{"chunks", stats.chunks},
                                         {"replayed", stats.replayed},
                                         {"store_seconds", store_seconds},
                                         {"open_seconds", open_seconds},
                                         {"first_search_seconds", first},
                                         {"median_search_seconds_early", share(0, 50)},
                                         {"median_search_seconds", share(500, 50)},
                                         {"p99_search_seconds", share(500, 99)},
                                         {"resident_bytes_opened", opened},
                                         {"anonymous_bytes_opened", opened_anonymous},
                                         {"resident_bytes_searched", Memory("VmRSS:") - before},
                                         {"index_memory_bytes", stats.index_memory_bytes},
                                         {"index_disk_bytes", stats.index_disk_bytes}}))
                  .c_str());
}

int Main(int count, char** words) {
  Arguments arguments;
  if (count < 3) Fail(InvalidArgumentError("usage: bench_open make|open FOLDER [OPTIONS]"));
  arguments.what = words[1];
  arguments.folder = words[2];
  for (int i = 3; i + 1 < count; i += 2) {
    const std::string flag = words[i];
    const char* const value = words[i + 1];
    if (flag == "--rows") arguments.rows = std::strtoull(value, nullptr, 10);
    if (flag == "--dim") arguments.dim = std::strtoull(value, nullptr, 10);
    if (flag == "--index") arguments.index = value;
    if (flag == "--threads") arguments.threads = std::atoi(value);
  }
  const auto runtime = Take(Runtime::Create({.threads = arguments.threads}));
  if (arguments.what == "make") {
    Make(arguments, *runtime);
  } else {
    Open(arguments, *runtime);
  }
  return 0;
}

}  // namespace
}  // namespace rag

int main(int count, char** words) { return rag::Main(count, words); }
