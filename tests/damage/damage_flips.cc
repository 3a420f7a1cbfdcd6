// Damages one file of a store, again and again, and looks at what opening and reading make of it.
//
//   damage_flips --flips N [--seed S] [--dir DIR] [--only PART]
//
// A store of three collections is made once. Each flip takes a copy of it and changes one file: a
// bit, a few bytes, or its end is cut off; half of the flips hit the vector indexes' snapshots, the
// others the database's files (--only: files whose name holds PART). A process of its own then
// opens the copy and reads everything that was ever written. Every answer must be right or a
// data_loss that names the file or the collection; a damaged snapshot must be rebuilt from the
// records; what takes over a minute hangs.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "index/store.h"
#include "lib/base/scratch_folder.h"

namespace rag {
namespace {
namespace fs = std::filesystem;

constexpr size_t kDim = 12;
constexpr unsigned kHangSeconds = 60;

struct Plan {
  const char* name;
  int documents;
  size_t dim;
  IndexKind kind;
  uint32_t sparse_dim;
  bool attachments;
};
constexpr Plan kPlans[] = {
    {"graph", 560, kDim, IndexKind::kHnsw, 0, false},
    {"flat", 90, kDim, IndexKind::kFlat, 0, true},
    {"words", 60, 0, IndexKind::kFlat, 1'000, false},
};

// What a flip led to, as the exit code of the process that looked.
enum Outcome : int {
  kUnnoticed = 0,  // all is right, nothing was said
  kRebuilt = 20,   // all is right, a vector index was rebuilt
  kRefused = 21,   // the store did not open
  kPartly = 22,    // some of one collection is refused, all of the others is right
  kSeveral = 23,   // the same of several collections
  kWrong = 40,
};

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "damage_flips: %s\n", what.c_str());
  std::fflush(stderr);
  std::_Exit(kWrong);
}

void Check(const Status& status, const char* what) {
  if (!status.ok()) Fail(StrCat(what, ": ", status.ToString()));
}

template <class T>
T Take(Result<T> result, const char* what) {
  Check(result.status(), what);
  return std::move(result).value();
}

DocumentInput MakeDocument(const Plan& plan, int number) {
  std::mt19937 random(static_cast<uint32_t>(number) * 31 + static_cast<uint32_t>(plan.documents));
  std::normal_distribution<float> normal;
  DocumentInput document;
  document.key = StrCat(plan.name, "-", number);
  document.payload = StrCat("payload of ", document.key);
  document.body = StrCat("body of ", document.key, " ");
  // Some lie in files of their own (over 4 KiB).
  const size_t bytes = number % 5 == 0 ? 6'000 : 200;
  while (document.body.size() < bytes) document.body += static_cast<char>('!' + random() % 90);
  document.attributes = Value(Value::Object{{"number", number}});
  ChunkInput chunk;
  chunk.payload = StrCat("chunk of ", document.key);
  chunk.lexical_text = StrCat("common word", number, plan.name);
  chunk.vector.resize(plan.dim);
  for (float& value : chunk.vector) value = normal(random);
  if (plan.sparse_dim != 0) {
    chunk.sparse = {{{7, 1.0f}, {100 + static_cast<uint32_t>(number), 9.0f}}};
  }
  if (plan.attachments) {
    chunk.attachment = StrCat("attached to ", document.key, " ");
    chunk.attachment.append(number % 4 == 0 ? 5'000 : 100, static_cast<char>('a' + number % 26));
  }
  document.chunks.push_back(std::move(chunk));
  return document;
}

void MakeStore(const std::string& folder) {
  const auto runtime = Take(Runtime::Create({}), "runtime");
  StoreOptions options;
  options.sync_writes = false;
  options.write_buffer_bytes = 64 << 10;  // several files
  const auto store = Take(Store::Open(folder, options, *runtime), "making the store");
  for (const Plan& plan : kPlans) {
    CollectionConfig config;
    config.name = plan.name;
    config.vectors.kind = plan.kind;
    config.vectors.dim = plan.dim;
    config.sparse_dim = plan.sparse_dim;
    config.attachments = plan.attachments;
    config.vectors.metric = Metric::kL2;
    config.vectors.hnsw.m = 8;
    config.vectors.hnsw.ef_construction = 40;
    const auto collection = Take(store->CreateCollection(config), "making a collection");
    for (int i = 0; i < plan.documents; ++i) {
      Take(collection->Replace(MakeDocument(plan, i)), "filling the store");
    }
  }
  Check(store->Close(), "closing the store");
}

// --- the process that looks ---

// What was read of one collection: a failure must be data_loss and say where.
class Reader {
 public:
  Reader(const std::string& folder, const Plan& plan) : folder_(folder), plan_(plan) {}

  // True when there is a value to compare.
  template <class T>
  bool Got(const Result<T>& result) {
    if (result.ok()) return true;
    Failed(result.status());
    return false;
  }
  void Failed(const Status& status) {
    CheckFailure(folder_, plan_.name, status);
    ++failures_;
  }
  void Equal(bool equal, const std::string& what) const {
    if (!equal) Fail(StrCat("silently wrong in '", plan_.name, "': ", what));
  }
  size_t failures() const { return failures_; }

  static void CheckFailure(const std::string& folder, const std::string& collection,
                           const Status& status) {
    if (status.code() != StatusCode::kDataLoss) Fail(StrCat("no data_loss: ", status.ToString()));
    if (status.message().find(folder) == std::string::npos &&
        status.message().find(StrCat("'", collection, "'")) == std::string::npos) {
      Fail(StrCat("neither file nor collection is named: ", status.ToString()));
    }
  }

 private:
  const std::string& folder_;
  const Plan& plan_;
  size_t failures_ = 0;
};

void ReadDocument(const Collection& collection, const Plan& plan, int number, Reader& reader) {
  const DocumentInput expected = MakeDocument(plan, number);
  const auto body = collection.GetBody(expected.key);
  if (reader.Got(body)) reader.Equal(*body == expected.body, "body of " + expected.key);
  const auto record = collection.GetDocument(expected.key);
  if (!reader.Got(record)) return;
  reader.Equal(record->payload == expected.payload && record->attributes == expected.attributes &&
                   record->chunk_ids.size() == 1,
               "record of " + expected.key);
  const ChunkId id = record->chunk_ids[0];
  const auto chunk = collection.GetChunk(id);
  if (reader.Got(chunk)) {
    reader.Equal(chunk->payload == expected.chunks[0].payload &&
                     chunk->document_key == expected.key &&
                     chunk->attributes == expected.attributes,
                 "chunk of " + expected.key);
  }
  if (plan.attachments) {
    const auto attachment = collection.GetAttachment(id);
    if (reader.Got(attachment)) {
      reader.Equal(*attachment == expected.chunks[0].attachment, "attachment of " + expected.key);
    }
  }
  const auto words =
      collection.SearchLexical(expected.chunks[0].lexical_text.substr(7), 5, nullptr);
  if (reader.Got(words)) {
    reader.Equal(words->size() == 1 && (*words)[0].id == id, "the word of " + expected.key);
  }
  if (plan.sparse_dim != 0) {
    const auto sparse = collection.SearchSparse(expected.chunks[0].sparse, 1, nullptr);
    if (reader.Got(sparse)) {
      reader.Equal(sparse->size() == 1 && (*sparse)[0].id == id, "sparse search " + expected.key);
    }
    const auto weights = collection.GetSparseVector(id);
    if (reader.Got(weights)) {
      reader.Equal(weights->entries.size() == 2 && weights->entries[1].weight == 9.0f,
                   "sparse vector of " + expected.key);
    }
  }
  if (plan.dim == 0) return;
  const std::vector<float>& query = expected.chunks[0].vector;
  const auto vector = collection.GetVector(id);
  if (reader.Got(vector)) reader.Equal(*vector == query, "vector of " + expected.key);
  for (const bool exact : {true, false}) {
    const auto near = collection.SearchVectors(query, 1, nullptr, 100, exact);
    if (reader.Got(near)) {
      reader.Equal(near->size() == 1 && (*near)[0].id == id, "search of " + expected.key);
    }
  }
}

// Returns how many reads failed; `rebuilt` is set when the vector index was made anew.
size_t ReadCollection(Store& store, const std::string& folder, const Plan& plan, bool& rebuilt) {
  Reader reader(folder, plan);
  const auto opened = store.OpenCollection(plan.name);
  if (!opened.ok()) {
    reader.Failed(opened.status());
    return reader.failures();
  }
  const Collection& collection = **opened;
  const auto stats = collection.Stats();
  if (reader.Got(stats)) {
    reader.Equal(stats->documents == static_cast<uint64_t>(plan.documents), "the count");
  }
  for (int i = 0; i < plan.documents; ++i) ReadDocument(collection, plan, i, reader);
  const auto listed = collection.ListDocuments("", 10'000);
  if (reader.Got(listed)) {
    reader.Equal(listed->size() == static_cast<size_t>(plan.documents), "the list of documents");
  }
  const auto all = collection.SearchLexical("common", 1'000, nullptr);
  if (reader.Got(all)) {
    reader.Equal(all->size() == static_cast<size_t>(plan.documents), "the common word");
  }
  const Result<Filter> filter = Filter::Parse("number < 10");
  const auto filtered = collection.SearchLexical("common", 1'000, &*filter);
  if (reader.Got(filtered)) reader.Equal(filtered->size() == 10, "the filter");
  // The index's rows are looked at when they are read, so that it is made anew as late as that.
  const auto after = collection.Stats();
  if (reader.Got(after)) rebuilt = rebuilt || after->replayed > 0;
  const auto report = collection.Verify();
  const bool had_failures = reader.failures() > 0;
  if (reader.Got(report)) {
    // What every read was right about, verify has nothing to say of.
    if (!had_failures && !report->problems.empty()) Fail("verify: " + report->problems[0]);
  }
  return reader.failures();
}

int Look(const std::string& folder, bool is_snapshot) {
  const auto runtime = Take(Runtime::Create({.threads = 1}), "runtime");
  bool rebuilt = false;
  size_t damaged = 0;
  {
    const auto store = Store::Open(folder, {}, *runtime);
    if (!store.ok()) {
      if (is_snapshot) Fail("a damaged snapshot closes the store: " + store.status().ToString());
      Reader::CheckFailure(folder, "", store.status());
      return kRefused;
    }
    const std::vector<std::string> names = (*store)->ListCollections();
    if (names.size() != std::size(kPlans)) Fail("silently wrong: collections are missing");
    for (const Plan& plan : kPlans) {
      if (ReadCollection(**store, folder, plan, rebuilt) > 0) ++damaged;
    }
    if (!is_snapshot) {
      return damaged == 0 ? (rebuilt ? kRebuilt : kUnnoticed) : damaged == 1 ? kPartly : kSeveral;
    }
    if (damaged > 0) Fail("a damaged snapshot has damaged records");
    if (!rebuilt) Fail("a damaged snapshot was taken for whole");
    Check((*store)->Close(), "closing");
  }
  // It is mended: the next opening has a whole one.
  const auto store = Take(Store::Open(folder, {}, *runtime), "opening again");
  for (const Plan& plan : kPlans) {
    const auto collection = Take(store->OpenCollection(plan.name), "opening again");
    if (Take(collection->Stats(), "stats").replayed > 0) Fail("a snapshot was not mended");
  }
  return kRebuilt;
}

// --- the parent, which has one thread, so that it may fork ---

// Runs body in a process of its own; its exit code, or what ended it.
template <class Body>
int InChild(std::string& failure, Body body) {
  const pid_t pid = ::fork();
  if (pid < 0) Fail("cannot fork");
  if (pid == 0) {
    ::alarm(kHangSeconds);
    std::_Exit(body());
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  failure = WTERMSIG(status) == SIGALRM ? "it hangs" : StrCat("signal ", WTERMSIG(status));
  return kWrong;
}

// The files that hold something, relative to the folder.
std::vector<fs::path> FilesOf(const fs::path& folder, const std::string& only) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || entry.file_size() == 0 || name == "rag.lock") continue;
    if (name.find(only) == std::string::npos) continue;
    files.push_back(entry.path().lexically_relative(folder));
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Links all but the damaged file and the lock: nothing else is written in place.
void CopyStore(const fs::path& from, const fs::path& to, const fs::path& damaged) {
  fs::remove_all(to);
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    const fs::path relative = entry.path().lexically_relative(from);
    if (entry.is_directory()) {
      fs::create_directories(to / relative);
      continue;
    }
    fs::create_directories((to / relative).parent_path());
    if (relative == damaged || relative == "rag.lock") {
      fs::copy_file(entry.path(), to / relative);
    } else {
      fs::create_hard_link(entry.path(), to / relative);
    }
  }
}

std::string Damage(const fs::path& path, std::mt19937_64& random) {
  const uint64_t size = fs::file_size(path);
  const uint64_t kind = random() % 10;
  const uint64_t at = random() % size;
  if (kind < 2) {
    fs::resize_file(path, at);
    return StrCat("cut from ", size, " to ", at, " bytes");
  }
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const uint64_t count = kind < 4 ? std::min<uint64_t>(1 + random() % 64, size - at) : 1;
  for (uint64_t i = at; i < at + count; ++i) {
    file.seekg(static_cast<std::streamoff>(i));
    const int old = file.get();
    // Never the same byte.
    const auto change = static_cast<int>(kind < 4 ? 1 + random() % 255 : 1u << (random() % 8));
    file.seekp(static_cast<std::streamoff>(i));
    file.put(static_cast<char>(old ^ change));
  }
  return StrCat(count, count == 1 ? " byte" : " bytes", " changed at ", at, " of ", size);
}

int Run(int flips, uint64_t seed, const std::string& scratch, const std::string& only) {
  const std::string whole = scratch + "/whole", damaged = scratch + "/damaged";
  std::string failure;
  if (InChild(failure, [&] {
        MakeStore(whole);
        return 0;
      }) != 0) {
    Fail("the store cannot be made: " + failure);
  }
  std::vector<fs::path> snapshots, others;
  for (const fs::path& file : FilesOf(whole, only)) {
    (file.extension() == ".vectors" ? snapshots : others).push_back(file);
  }
  if (snapshots.empty() && others.empty()) Fail("no such file");
  std::mt19937_64 random(seed);
  std::map<int, int> outcomes;
  std::map<std::string, std::map<int, int>> by_kind;
  for (int flip = 0; flip < flips; ++flip) {
    const bool is_snapshot = others.empty() || (!snapshots.empty() && random() % 2 == 0);
    const std::vector<fs::path>& files = is_snapshot ? snapshots : others;
    const fs::path file = files[random() % files.size()];
    CopyStore(whole, damaged, file);
    const std::string what = Damage(fs::path(damaged) / file, random);
    failure.clear();
    const int outcome = InChild(failure, [&] { return Look(damaged, is_snapshot); });
    if (outcome != kUnnoticed && (outcome < kRebuilt || outcome > kSeveral)) {
      std::fprintf(stderr, "damage_flips: flip %d, seed %llu: %s, %s: %s\n", flip,
                   static_cast<unsigned long long>(seed), file.c_str(), what.c_str(),
                   failure.empty() ? "see above" : failure.c_str());
      return 1;
    }
    ++outcomes[outcome];
    std::string extension = file.extension().string();
    if (extension.empty()) extension = file.string().substr(0, file.string().find('-'));
    ++by_kind[extension][outcome];
    if ((flip + 1) % 1'000 == 0) {
      std::printf("%d flips\n", flip + 1);
      std::fflush(stdout);
    }
  }
  std::printf("%-12s %9s %9s %9s %9s %9s\n", "files", "unnoticed", "rebuilt", "refused", "one part",
              "parts");
  for (const auto& [name, counts] : by_kind) {
    const auto count = [&](int outcome) {
      const auto found = counts.find(outcome);
      return found == counts.end() ? 0 : found->second;
    };
    std::printf("%-12s %9d %9d %9d %9d %9d\n", name.c_str(), count(kUnnoticed), count(kRebuilt),
                count(kRefused), count(kPartly), count(kSeveral));
  }
  std::printf("%d flips, seed %llu: nothing crashed, hung or was silently wrong\n", flips,
              static_cast<unsigned long long>(seed));
  if (flips >= 200 && only.empty() && outcomes[kPartly] == 0) {
    Fail("no flip left one collection damaged and the others served");
  }
  return 0;
}

int Main(int argc, char** argv) {
  int flips = 0;
  uint64_t seed = 1;
  std::string folder, only;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--flips") flips = std::atoi(argv[i + 1]);
    if (flag == "--seed") seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--dir") folder = argv[i + 1];
    if (flag == "--only") only = argv[i + 1];
  }
  if (flips <= 0) {
    std::fprintf(stderr, "usage: damage_flips --flips N [--seed S] [--dir DIR] [--only PART]\n");
    return 2;
  }
  if (!folder.empty()) return Run(flips, seed, folder, only);
  // A failure ends the process at once, which leaves the folder to be looked at.
  const ScratchFolder scratch = Take(ScratchFolder::Create("rag-damage"), "a folder");
  return Run(flips, seed, scratch.path(), only);
}

}  // namespace
}  // namespace rag

int main(int argc, char** argv) { return rag::Main(argc, argv); }
