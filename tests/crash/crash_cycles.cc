// Kills a process that writes to a store, again and again, and checks what is left against a
// ledger.
//
//   crash_cycles --cycles N [--seed S] [--dir DIR]
//
// Each cycle starts this program as a writer, which opens the store and runs operations from where
// its predecessor was killed: replace a document, replace several in one batch, remove one, save a
// snapshot, vacuum the store, back it up. What an operation does follows from the seed, its thread
// and its number alone, and the writer writes (thread, number) to a pipe after the store
// acknowledged it. SIGKILL comes after a random time, which may fall into opening, writing, saving,
// compacting or copying. Then the store is opened here: every thread's documents must be exactly
// those after its last acknowledged operation, or after the one that was under way, as a whole; the
// vector index must find as much as one that is built afresh; and every backup that is there must
// restore to a state that was.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "index/store.h"
#include "lib/base/scratch_folder.h"

extern char** environ;

namespace rag {
namespace {

constexpr size_t kDim = 24;
constexpr uint32_t kThreads = 3;
// More vectors than an index scans instead of walking its graph.
constexpr uint32_t kKeysPerThread = 130;
constexpr size_t kMostChunks = 8;  // of a document
constexpr uint32_t kSparseDim = 8 + kThreads * kKeysPerThread * kMostChunks;
constexpr size_t kRecallK = 10;
constexpr double kRecallLoss = 0.01;

struct Acknowledgement {
  uint32_t thread;
  uint32_t number;
};
// What a writer says first: that it has opened the store.
constexpr uint32_t kOpened = ~uint32_t{0};
constexpr uint64_t kMostPatience = 32;

// SplitMix64 (Steele et al. 2014): a number from numbers, the same in every process.
uint64_t Mix(uint64_t a, uint64_t b = 0, uint64_t c = 0) {
  uint64_t x = a * 0x9e3779b97f4a7c15u + b * 0xbf58476d1ce4e5b9u + c + 0x94d049bb133111ebu;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "crash_cycles: %s\n", what.c_str());
  std::exit(1);
}

void Check(const Status& status, const char* what) {
  if (!status.ok()) Fail(StrCat(what, ": ", status.ToString()));
}

template <class T>
T Take(Result<T> result, const char* what) {
  Check(result.status(), what);
  return std::move(result).value();
}

std::string KeyOf(uint32_t thread, uint32_t key) { return StrCat("t", thread, "-k", key); }

// A word that only this version of this document has.
std::string UniqueWord(const std::string& key, uint32_t version) {
  std::string word = "w";
  for (const char c : StrCat(key, "v", version)) {
    word += static_cast<char>(c == '-' ? 'x' : c >= '0' && c <= '9' ? 'a' + (c - '0') : c);
  }
  return word + "q";
}

std::vector<float> VectorOf(const std::string& key, uint32_t version, size_t chunk) {
  uint64_t state = Mix(version, chunk);
  for (const char c : key) state = Mix(state, static_cast<uint64_t>(c));
  std::vector<float> vector(kDim);
  for (float& value : vector) {
    state = Mix(state);
    value = static_cast<float>(static_cast<int64_t>(state >> 40) - (1 << 23)) * 0x1p-23f;
  }
  return vector;
}

// The token 7, which every chunk has, and one that no other chunk has at the same time.
SparseVector SparseOf(const std::string& key, uint32_t version, size_t chunk) {
  unsigned thread = 0, number = 0;
  if (std::sscanf(key.c_str(), "t%u-k%u", &thread, &number) != 2) Fail(key);
  const auto token =
      static_cast<uint32_t>(8 + (thread * kKeysPerThread + number) * kMostChunks + chunk);
  return {{{7, 0.5f + static_cast<float>(Mix(version, chunk) % 16)}, {token, 1000.0f}}};
}

// Every third version has none; some lie in files of their own (over 4 KiB).
std::string AttachmentOf(const std::string& key, uint32_t version, size_t chunk) {
  if (version % 3 == 0) return "";
  std::string attachment = StrCat("attached to ", key, " version ", version, " chunk ", chunk, " ");
  attachment.append(Mix(version, chunk) % 6000, 'a');
  return attachment;
}

size_t ChunkCount(const std::string& key, uint32_t version) {
  return 3 + Mix(version, std::hash<std::string>()(key)) % 6;
}

DocumentInput MakeDocument(const std::string& key, uint32_t version) {
  DocumentInput document;
  document.key = key;
  document.payload = StrCat(version);
  document.body = StrCat("body of ", key, " version ", version);
  document.body.append(Mix(version, key.size()) % 5000, 'b');
  document.attributes = Value(Value::Object{{"version", version}});
  for (size_t i = 0; i < ChunkCount(key, version); ++i) {
    ChunkInput chunk;
    chunk.payload = StrCat(key, "/", version, "/", i);
    chunk.lexical_text = StrCat("common ", i == 0 ? UniqueWord(key, version) : "rest");
    chunk.vector = VectorOf(key, version, i);
    chunk.sparse = SparseOf(key, version, i);
    chunk.attachment = AttachmentOf(key, version, i);
    document.chunks.push_back(std::move(chunk));
  }
  return document;
}

// Key number -> version; absent: no document. The state that a thread's first `operations` lead to.
using State = std::map<uint32_t, uint32_t>;

enum class Kind { kReplace, kReplaceMany, kRemove, kCheckpoint, kVacuum, kBackup };

struct Operation {
  Kind kind;
  std::vector<uint32_t> keys;
};

Operation OperationOf(uint64_t seed, uint32_t thread, uint32_t number) {
  const uint64_t random = Mix(seed, thread, number);
  const auto key = static_cast<uint32_t>(random % kKeysPerThread);
  switch ((random >> 20) % 16) {
    case 0:
    case 1:
    case 2:
      return {Kind::kRemove, {key}};
    case 3:
    case 4: {
      Operation operation{Kind::kReplaceMany, {}};
      for (uint32_t i = 0; i < 5; ++i) operation.keys.push_back((key + i * 7) % kKeysPerThread);
      return operation;
    }
    case 5:
      switch ((random >> 30) % 16) {
        case 0:
        case 1:
          return {Kind::kCheckpoint, {}};
        case 2:
          return {Kind::kVacuum, {}};
        case 3:
        case 4:
          return {Kind::kBackup, {}};
        default:
          return {Kind::kReplace, {key}};
      }
    default:
      return {Kind::kReplace, {key}};
  }
}

void Apply(const Operation& operation, uint32_t number, State& state) {
  for (const uint32_t key : operation.keys) {
    if (operation.kind == Kind::kRemove) {
      state.erase(key);
    } else {
      state[key] = number;
    }
  }
}

std::shared_ptr<Collection> OpenCollection(Store& store) {
  if (store.ListCollections().empty()) {
    CollectionConfig config;
    config.name = "crash";
    config.vectors.dim = kDim;
    config.vectors.hnsw.m = 8;
    config.vectors.hnsw.ef_construction = 40;
    config.encoder_fingerprint = "crash";
    config.sparse_dim = kSparseDim;
    config.sparse_fingerprint = "crash";
    config.attachments = true;
    return Take(store.CreateCollection(config), "creating the collection");
  }
  return Take(store.OpenCollection("crash"), "opening the collection");
}

// --- the writer ---

std::string BackupsFolder(const std::string& folder) { return folder + "-backups"; }

void RunOperation(Store& store, Collection& collection, uint32_t thread, uint32_t number,
                  const Operation& operation) {
  switch (operation.kind) {
    case Kind::kReplace:
      Take(collection.Replace(MakeDocument(KeyOf(thread, operation.keys[0]), number)), "replace");
      return;
    case Kind::kReplaceMany: {
      std::vector<DocumentInput> documents;
      for (const uint32_t key : operation.keys) {
        documents.push_back(MakeDocument(KeyOf(thread, key), number));
      }
      Take(collection.ReplaceMany(documents), "replace many");
      return;
    }
    case Kind::kRemove: {
      const auto removed = collection.Remove(KeyOf(thread, operation.keys[0]));
      if (!removed.ok() && removed.status().code() != StatusCode::kNotFound) {
        Check(removed.status(), "remove");
      }
      return;
    }
    case Kind::kCheckpoint:
      Check(collection.Checkpoint(), "checkpoint");
      return;
    case Kind::kVacuum:
      Take(store.Vacuum(), "vacuum");
      return;
    case Kind::kBackup: {
      const auto made = store.Backup(StrCat(BackupsFolder(store.path()), "/", thread, "-", number));
      // It was made before the kill, and not acknowledged.
      if (!made.ok() && made.status().code() != StatusCode::kAlreadyExists) {
        Check(made.status(), "backup");
      }
      return;
    }
  }
}

int Write(const std::string& folder, uint64_t seed, const std::vector<uint32_t>& first) {
  RuntimeOptions options;
  options.threads = 2;
  const auto runtime = Take(Runtime::Create(options), "runtime");
  const auto store = Take(Store::Open(folder, {}, *runtime), "opening the store");
  const std::shared_ptr<Collection> collection = OpenCollection(*store);
  const Acknowledgement opened{kOpened, 0};
  if (::write(STDOUT_FILENO, &opened, sizeof(opened)) != sizeof(opened)) return 0;
  std::vector<std::thread> threads;
  for (uint32_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint32_t number = first[thread];; ++number) {
        RunOperation(*store, *collection, thread, number, OperationOf(seed, thread, number));
        const Acknowledgement done{thread, number};
        // 8 bytes to a pipe are written whole; a closed pipe means that the parent is gone.
        if (::write(STDOUT_FILENO, &done, sizeof(done)) != sizeof(done)) std::_Exit(0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}

// --- the parent ---

struct Child {
  pid_t pid;
  int pipe;
};

Child StartWriter(const char* program, const std::string& folder, uint64_t seed,
                  const std::vector<uint32_t>& next) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) Fail("cannot make a pipe");
  std::vector<std::string> words = {program, "--write", folder, StrCat(seed)};
  for (const uint32_t number : next) words.push_back(StrCat(number));
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  pid_t pid = 0;
  if (::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, arguments.data(), environ) != 0) {
    Fail("cannot start the writer");
  }
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  return {pid, ends[0]};
}

// Whether the stored documents of a thread are exactly `state`; if not, `why` says what differs.
bool Matches(const Collection& collection, uint32_t thread, const State& state, std::string& why) {
  for (uint32_t key = 0; key < kKeysPerThread; ++key) {
    const std::string name = KeyOf(thread, key);
    const auto found = collection.GetDocument(name);
    const auto expected = state.find(key);
    if (expected == state.end()) {
      if (found.ok()) {
        why = StrCat(name, " is there at version ", found->payload, " and was removed");
        return false;
      }
      if (found.status().code() != StatusCode::kNotFound) Check(found.status(), "reading");
      continue;
    }
    const uint32_t version = expected->second;
    if (!found.ok()) {
      why = StrCat(name, " of version ", version, " is lost: ", found.status().ToString());
      return false;
    }
    if (found->payload != StrCat(version)) {
      why = StrCat(name, " is at version ", found->payload, ", acknowledged was ", version);
      return false;
    }
  }
  return true;
}

struct Vectors {
  std::vector<uint64_t> ids;
  std::vector<float> values;  // [ids, kDim]
};

// The parts of one document: body, chunks with their attachments, and that the three searches find
// it. Appends its vectors.
void CheckDocument(const Collection& collection, const std::string& key, uint32_t version,
                   Vectors& vectors) {
  const DocumentInput expected = MakeDocument(key, version);
  const DocumentRecord record = Take(collection.GetDocument(key), "document");
  if (Take(collection.GetBody(key), "body") != expected.body) Fail(StrCat(key, ": wrong body"));
  if (record.chunk_ids.size() != expected.chunks.size()) Fail(StrCat(key, ": wrong chunk count"));
  for (size_t i = 0; i < record.chunk_ids.size(); ++i) {
    const ChunkRecord chunk = Take(collection.GetChunk(record.chunk_ids[i]), "chunk");
    if (chunk.payload != expected.chunks[i].payload || chunk.document_key != key) {
      Fail(StrCat(key, ": chunk ", i, " is '", chunk.payload, "'"));
    }
    const Result<std::string> attachment = collection.GetAttachment(record.chunk_ids[i]);
    const std::string& attached = expected.chunks[i].attachment;
    if (attached.empty() ? attachment.status().code() != StatusCode::kNotFound
                         : !attachment.ok() || *attachment != attached) {
      Fail(StrCat(key, ": chunk ", i, " has another attachment: ", attachment.status().ToString()));
    }
    vectors.ids.push_back(record.chunk_ids[i]);
    vectors.values.insert(vectors.values.end(), expected.chunks[i].vector.begin(),
                          expected.chunks[i].vector.end());
    for (const bool exact : {true, false}) {
      const auto near = Take(
          collection.SearchVectors(expected.chunks[i].vector, 1, nullptr, 200, exact), "search");
      if (near.size() != 1 || near[0].id != record.chunk_ids[i]) {
        Fail(StrCat(key, ": chunk ", i, " is not found by its vector (exact: ", exact, ")"));
      }
    }
  }
  for (size_t i = 0; i < record.chunk_ids.size(); ++i) {
    const auto sparse =
        Take(collection.SearchSparse(expected.chunks[i].sparse, 1, nullptr), "sparse search");
    if (sparse.size() != 1 || sparse[0].id != record.chunk_ids[i]) {
      Fail(StrCat(key, ": chunk ", i, " is not found by its sparse vector"));
    }
  }
  const auto lexical = Take(collection.SearchLexical(UniqueWord(key, version), 5, nullptr), "bm25");
  if (lexical.size() != 1 || lexical[0].id != record.chunk_ids[0]) {
    Fail(StrCat(key, ": its word is found ", lexical.size(), " times"));
  }
}

size_t CountCommon(const std::vector<Neighbor>& found, const std::vector<Neighbor>& exact) {
  size_t common = 0;
  for (const Neighbor& one : found) {
    for (const Neighbor& other : exact) common += one.id == other.id ? 1 : 0;
  }
  return common;
}

// Every stored vector as a query: the opened index finds as much of what exact search finds as one
// that is built from the same vectors now. Returns the opened one's recall.
double CheckRecall(const Collection& collection, const Vectors& vectors, const Runtime& runtime) {
  if (vectors.ids.empty()) return 1;
  const auto fresh = Take(VectorIndex::Create(collection.config().vectors, runtime), "fresh index");
  const MatrixView all(vectors.values.data(), vectors.ids.size(), kDim);
  Check(fresh->Add(vectors.ids, all), "building a fresh index");
  SearchOptions options;
  options.k = kRecallK;
  const auto walked = Take(fresh->Search(all, options), "fresh search");
  options.exact = true;
  const auto exact = Take(fresh->Search(all, options), "exact search");
  size_t of_fresh = 0, of_opened = 0, expected = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const std::span<const float> query(vectors.values.data() + i * kDim, kDim);
    const auto found = Take(collection.SearchVectors(query, kRecallK, nullptr), "search");
    expected += exact[i].size();
    of_fresh += CountCommon(walked[i], exact[i]);
    of_opened += CountCommon(found, exact[i]);
  }
  const double total = static_cast<double>(expected);
  const double opened_recall = static_cast<double>(of_opened) / total;
  const double fresh_recall = static_cast<double>(of_fresh) / total;
  if (opened_recall < fresh_recall - kRecallLoss) {
    Fail(StrCat("recall is ", opened_recall, " after opening and ", fresh_recall,
                " of a fresh index"));
  }
  return opened_recall;
}

struct Ledger {
  std::vector<uint32_t> next = std::vector<uint32_t>(kThreads, 0);  // operations known to be done
  std::vector<State> states = std::vector<State>(kThreads);         // after them
};

// The documents of a thread, as they are stored.
State StoredState(const Collection& collection, uint32_t thread) {
  State state;
  for (uint32_t key = 0; key < kKeysPerThread; ++key) {
    const auto found = collection.GetDocument(KeyOf(thread, key));
    if (found.ok()) {
      state[key] = static_cast<uint32_t>(std::strtoul(found->payload.c_str(), nullptr, 10));
    } else if (found.status().code() != StatusCode::kNotFound) {
      Check(found.status(), "reading a restored store");
    }
  }
  return state;
}

// Restores the backup that `maker` made as its operation `number`: the maker's documents must be
// those after the operations before, and the others' those after some number of theirs.
void CheckBackup(const std::string& path, uint32_t maker, uint32_t number, uint64_t seed,
                 const Ledger& ledger, const Runtime& runtime) {
  const std::string restored = path + ".restored";
  std::filesystem::remove_all(restored);
  Take(Store::Restore(path, restored), "restoring a backup");
  {
    const auto store = Take(Store::Open(restored, {}, runtime), "opening a restored store");
    const std::shared_ptr<Collection> collection = OpenCollection(*store);
    Vectors vectors;
    for (uint32_t thread = 0; thread < kThreads; ++thread) {
      const State stored = StoredState(*collection, thread);
      State state;
      bool matches = false;
      for (uint32_t done = 0; done <= ledger.next[thread] + 1 && !matches; ++done) {
        matches = state == stored && (thread != maker || done == number);
        Apply(OperationOf(seed, thread, done), done, state);
      }
      if (!matches) Fail(StrCat("backup ", path, ": thread ", thread, " never was in that state"));
      for (const auto& [key, version] : stored) {
        CheckDocument(*collection, KeyOf(thread, key), version, vectors);
      }
    }
    CheckRecall(*collection, vectors, runtime);
    const VerifyReport report = Take(collection->Verify(), "verify of a restored store");
    if (!report.problems.empty()) Fail(StrCat("backup ", path, ": ", report.problems[0]));
  }
  std::filesystem::remove_all(restored);
}

// Checks every finished backup and removes it. Returns how many there were.
uint64_t CheckBackups(const std::string& folder, uint64_t seed, const Ledger& ledger,
                      const Runtime& runtime) {
  uint64_t checked = 0;
  std::error_code error;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(BackupsFolder(folder), error)) {
    // What a kill left unfinished is cleared when the operation comes again.
    if (entry.path().extension() != ".partial") paths.push_back(entry.path());
  }
  for (const std::filesystem::path& path : paths) {
    unsigned maker = 0, number = 0;
    if (std::sscanf(path.filename().c_str(), "%u-%u", &maker, &number) != 2) Fail(path.string());
    CheckBackup(path.string(), maker, number, seed, ledger, runtime);
    std::filesystem::remove_all(path);
    ++checked;
  }
  return checked;
}

struct Checked {
  uint64_t replayed = 0;
  double recall = 1;
};

// Opens the store and settles what was under way when the writer was killed.
Checked CheckStore(const std::string& folder, uint64_t seed, Ledger& ledger,
                   const Runtime& runtime) {
  const auto store = Take(Store::Open(folder, {}, runtime), "opening after the kill");
  if (store->ListCollections().empty()) {
    for (const uint32_t next : ledger.next) {
      if (next != 0) Fail("the collection is gone");
    }
    return {};
  }
  const std::shared_ptr<Collection> collection = OpenCollection(*store);
  uint64_t documents = 0;
  Vectors vectors;
  for (uint32_t thread = 0; thread < kThreads; ++thread) {
    State& state = ledger.states[thread];
    State with_next = state;
    const Operation next = OperationOf(seed, thread, ledger.next[thread]);
    Apply(next, ledger.next[thread], with_next);
    std::string why, why_not_next;
    if (!Matches(*collection, thread, state, why)) {
      if (!Matches(*collection, thread, with_next, why_not_next)) {
        Fail(StrCat("thread ", thread, " after ", ledger.next[thread], " operations: ", why,
                    "; with the next one: ", why_not_next));
      }
      state = with_next;
      ++ledger.next[thread];
    }
    documents += state.size();
    for (const auto& [key, version] : state) {
      CheckDocument(*collection, KeyOf(thread, key), version, vectors);
    }
  }
  const CollectionStats stats = Take(collection->Stats(), "stats");
  if (stats.documents != documents) {
    Fail(StrCat("the store counts ", stats.documents, " documents, the ledger ", documents));
  }
  const VerifyReport report = Take(collection->Verify(), "verify");
  if (!report.problems.empty()) Fail(StrCat("verify: ", report.problems[0]));
  return {stats.replayed, CheckRecall(*collection, vectors, runtime)};
}

int Run(const char* program, int cycles, uint64_t seed, const std::string& folder) {
  const auto runtime = Take(Runtime::Create({.threads = 2}), "runtime");
  Ledger ledger;
  uint64_t most_replayed = 0, backups = 0;
  double least_recall = 1;
  // How much longer a writer lives after one that did nothing: on a busy machine no thread may come
  // to the end of a vacuum or a backup otherwise, ever.
  uint64_t patience = 1;
  for (int cycle = 0; cycle < cycles; ++cycle) {
    const Child child = StartWriter(program, folder, seed, ledger.next);
    // Every fourth kill falls into the first 40 ms: opening and replaying. The others come within
    // 400 ms of writing.
    const uint64_t random = Mix(seed, 1'000'000, static_cast<uint64_t>(cycle));
    const bool opening = cycle % 4 == 3;
    const auto delay = std::chrono::milliseconds(random % (opening ? 40 : 400 * patience));
    Acknowledgement done{};
    if (!opening &&
        (::read(child.pipe, &done, sizeof(done)) != sizeof(done) || done.thread != kOpened)) {
      Fail(StrCat("the writer of cycle ", cycle, " did not open the store"));
    }
    std::thread killer([&] {
      std::this_thread::sleep_for(delay);
      ::kill(child.pid, SIGKILL);
    });
    uint64_t acknowledged = 0;
    ssize_t got = 0;
    while ((got = ::read(child.pipe, &done, sizeof(done))) == sizeof(done)) {
      if (done.thread == kOpened) continue;
      if (done.thread >= kThreads || done.number != ledger.next[done.thread]) Fail("broken pipe");
      Apply(OperationOf(seed, done.thread, done.number), done.number, ledger.states[done.thread]);
      ++ledger.next[done.thread];
      ++acknowledged;
    }
    killer.join();
    if (!opening) patience = acknowledged > 0 ? 1 : std::min(2 * patience, kMostPatience);
    ::close(child.pipe);
    int status = 0;
    ::waitpid(child.pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
      Fail(StrCat("the writer ended by itself in cycle ", cycle, " with status ", status));
    }
    const Checked checked = CheckStore(folder, seed, ledger, *runtime);
    const uint64_t whole = CheckBackups(folder, seed, ledger, *runtime);
    most_replayed = std::max(most_replayed, checked.replayed);
    least_recall = std::min(least_recall, checked.recall);
    backups += whole;
    std::printf(
        "cycle %d: killed after %lld ms, %llu operations acknowledged, %llu replayed, recall %.4f, "
        "%llu backups\n",
        cycle, static_cast<long long>(delay.count()), static_cast<unsigned long long>(acknowledged),
        static_cast<unsigned long long>(checked.replayed), checked.recall,
        static_cast<unsigned long long>(whole));
    std::fflush(stdout);
  }
  uint64_t operations = 0;
  for (const uint32_t next : ledger.next) operations += next;
  if (operations == 0) Fail("no operation was ever acknowledged; the test showed nothing");
  std::printf(
      "%d cycles, seed %llu: %llu operations, none lost; at most %llu records replayed; recall@%zu "
      "at least %.4f; %llu backups, all whole\n",
      cycles, static_cast<unsigned long long>(seed), static_cast<unsigned long long>(operations),
      static_cast<unsigned long long>(most_replayed), kRecallK, least_recall,
      static_cast<unsigned long long>(backups));
  return 0;
}

int Main(int argc, char** argv) {
  if (argc == 4 + static_cast<int>(kThreads) && std::strcmp(argv[1], "--write") == 0) {
    std::vector<uint32_t> first;
    for (uint32_t i = 0; i < kThreads; ++i) {
      first.push_back(static_cast<uint32_t>(std::strtoul(argv[4 + i], nullptr, 10)));
    }
    return Write(argv[2], std::strtoull(argv[3], nullptr, 10), first);
  }
  int cycles = 0;
  uint64_t seed = 1;
  std::string folder;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--cycles") cycles = std::atoi(argv[i + 1]);
    if (flag == "--seed") seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (flag == "--dir") folder = argv[i + 1];
  }
  if (cycles <= 0) {
    std::fprintf(stderr, "usage: crash_cycles --cycles N [--seed S] [--dir DIR]\n");
    return 2;
  }
  if (!folder.empty()) return Run(argv[0], cycles, seed, folder);
  // A failure ends the process at once, which leaves the folder to be looked at.
  const ScratchFolder scratch = Take(ScratchFolder::Create("rag-crash"), "a folder");
  return Run(argv[0], cycles, seed, scratch.file("db"));
}

}  // namespace
}  // namespace rag

int main(int argc, char** argv) { return rag::Main(argc, argv); }
