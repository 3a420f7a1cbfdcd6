// The cache of keys and values in a file: what comes back is what was kept, or nothing.
#include "generate/cache_file.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <thread>

#include "generate/generator.h"
#include "generate/kv_sequence.h"
#include "tests/generate/chat_model.h"
#include "tests/generate/small_cache.h"
#include "tests/support/support.h"

namespace rag {
namespace {

using Catch::Matchers::Contains;

constexpr size_t kContext = 256;

class Messages : public LogSink {
 public:
  void Write(LogLevel, std::string_view message) override { text += StrCat(message, "\n"); }
  std::string text;
};

struct Loaded {
  Messages log;
  std::unique_ptr<Runtime> runtime;
  std::unique_ptr<Generator> generator;
  Status status;
};

struct Choice {
  DType type = DType::kQ8_0;  // of the weights
  DType cache_type = DType::kF32;
  std::string isa;
  bool mapped = false;
  bool draft = false;  // the model guesses for itself
  size_t layers = 2;
  size_t cache_bytes = 0;
};

// A generator of a tiny model with its cache at `path`.
std::unique_ptr<Loaded> Load(const std::string& path, const Choice& choice = {}) {
  const test::TemporaryFolder folder;
  test::RandomModel model = test::ChatModel("");
  model.type = choice.type;
  model.layers = choice.layers;
  test::WriteRandomModel(model, folder.file("tiny.gguf"));
  auto loaded = std::make_unique<Loaded>();
  auto runtime = Runtime::Create({.threads = 2, .isa = choice.isa, .log = &loaded->log});
  REQUIRE_OK(runtime);
  loaded->runtime = std::move(runtime).value();
  auto generator = Generator::Load(folder.file("tiny.gguf"),
                                   {.context_tokens = kContext,
                                    .draft_model = choice.draft ? folder.file("tiny.gguf") : "",
                                    .cache_type = choice.cache_type,
                                    .cache_bytes = choice.cache_bytes,
                                    .cache_path = path,
                                    .mapped_weights = choice.mapped},
                                   *loaded->runtime);
  loaded->status = generator.status();
  if (generator.ok()) loaded->generator = std::move(generator).value();
  return loaded;
}

GenerateRequest Request(size_t length, TokenId first) {
  GenerateRequest request;
  for (size_t i = 0; i < length; ++i) {
    request.prompt.push_back(265 + static_cast<TokenId>((static_cast<size_t>(first) + 7 * i) % 90));
  }
  request.max_tokens = 20;
  request.logprobs = true;
  return request;
}

GenerateResult Generate(Generator& generator, const GenerateRequest& request) {
  const auto result = generator.Generate(request);
  REQUIRE_OK(result);
  return *result;
}

void RequireSame(const GenerateResult& a, const GenerateResult& b) {
  REQUIRE(a.tokens == b.tokens);
  REQUIRE(a.logprobs.size() == b.logprobs.size());
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    REQUIRE(a.logprobs[i].chosen.logprob == b.logprobs[i].chosen.logprob);
  }
}

// What a generation finds in the cache at `path`, and what the log says.
std::pair<size_t, std::string> Found(const std::string& path, const Choice& choice = {}) {
  const auto loaded = Load(path, choice);
  REQUIRE_OK(loaded->status);
  const GenerateResult result = Generate(*loaded->generator, Request(150, 3));
  return {result.cached_tokens, loaded->log.text};
}

void Save(const std::string& path, const Choice& choice = {}) {
  const auto loaded = Load(path, choice);
  REQUIRE_OK(loaded->status);
  Generate(*loaded->generator, Request(150, 3));
  REQUIRE_OK(loaded->generator->SaveCache());
}

TEST_CASE("a later process finds what was kept, with the same bits") {
  for (const Choice& choice : std::vector<Choice>{{},
                                                  {.cache_type = DType::kF16},
                                                  {.cache_type = DType::kQ8_0},
                                                  {.cache_type = DType::kQ4_0},
                                                  {.draft = true}}) {
    INFO(GetDTypeInfo(choice.cache_type).name << (choice.draft ? ", guessing" : ""));
    const test::TemporaryFolder folder;
    const std::string path = folder.file("kept.kv");
    std::vector<GenerateRequest> requests = {Request(150, 3), Request(10, 40), Request(200, 3)};
    std::vector<GenerateResult> fresh;
    std::vector<GenerateResult> again;
    {
      const auto loaded = Load(path, choice);
      REQUIRE_OK(loaded->status);
      CHECK_FALSE(loaded->generator->CacheChanged());
      for (const auto& request : requests) {
        fresh.push_back(Generate(*loaded->generator, request));
      }
      for (const auto& request : requests) {
        again.push_back(Generate(*loaded->generator, request));
      }
      CHECK(loaded->generator->CacheChanged());
      const auto report = loaded->generator->SaveCache();
      REQUIRE_OK(report);
      CHECK(report->tokens >= 200);
      CHECK(report->bytes <= loaded->generator->activity().cache_max_bytes);
      CHECK_FALSE(loaded->generator->CacheChanged());
    }
    struct stat info;
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    for (size_t round = 0; round < 2; ++round) {  // the second reads what the first wrote of it
      const auto loaded = Load(path, choice);
      REQUIRE_OK(loaded->status);
      CHECK_THAT(loaded->log.text, Contains("tokens in"));
      CHECK_FALSE(loaded->generator->CacheChanged());
      for (size_t i = 0; i < requests.size(); ++i) {
        const GenerateResult result = Generate(*loaded->generator, requests[i]);
        CHECK(result.cached_tokens == again[i].cached_tokens);
        CHECK(result.cached_tokens + 1 == requests[i].prompt.size());
        RequireSame(result, fresh[i]);
      }
      REQUIRE_OK(loaded->generator->SaveCache());
    }
  }
}

TEST_CASE("another model's cache, or one of another kind, is not used, and written anew") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("kept.kv");
  std::vector<Choice> others = {
      {.type = DType::kF32}, {.layers = 3}, {.cache_type = DType::kF16}, {.mapped = true}};
  if (GetKvBlockKernels(Isa::kAvx2) != nullptr) others.push_back({.isa = "scalar"});
  for (const Choice& other : others) {
    Save(path);
    CHECK(Found(path).first == 149);
    const auto [tokens, log] = Found(path, other);
    CHECK(tokens == 0);
    CHECK_THAT(log, Contains("another model"));
    CHECK(Found(path).first == 149);  // reading changed nothing
    Save(path, other);
    CHECK(Found(path, other).first == 149);
    CHECK(Found(path).first == 0);
  }
}

TEST_CASE("a damaged cache is refused whole") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("kept.kv");
  Save(path);
  const std::string sound = test::ReadAll(path);
  const auto write = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  };
  const auto refused = [&](const std::string& bytes) {
    write(bytes);
    const auto [tokens, log] = Found(path);
    CHECK(tokens == 0);
    CHECK_THAT(log, Contains("is damaged"));
  };
  std::mt19937_64 random(4);
  for (size_t round = 0; round < test::Workload(60, 10, "flips"); ++round) {
    // Behind the magic number; in the header and the first record's head more often.
    const size_t at = 8 + random() % (round % 2 == 0 ? 192 : sound.size() - 8);
    INFO("bit " << round % 8 << " of byte " << at);
    std::string bytes = sound;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << round % 8));
    refused(bytes);
  }
  for (size_t round = 0; round < 10; ++round)
    refused(sound.substr(0, 9 + random() % (sound.size() - 9)));
  refused(sound + "x");
  // Two blocks of the same file in each other's place.
  const size_t record = (sound.size() - 48) / 6;
  REQUIRE(48 + 6 * record == sound.size());
  std::string swapped = sound;
  std::copy_n(sound.begin() + 48, record, swapped.begin() + 48 + static_cast<ptrdiff_t>(record));
  std::copy_n(sound.begin() + 48 + static_cast<ptrdiff_t>(record), record, swapped.begin() + 48);
  refused(swapped);

  write(sound);
  CHECK(Found(path).first == 149);
  write("");
  CHECK(Found(path).first == 0);
}

TEST_CASE(
    "what is no cache is not written over, and a place that cannot be written is told at once") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("letter.txt");
  for (const std::string text : {"Dear reader,", "x"}) {
    std::ofstream(path) << text;
    const Status status = Load(path)->status;
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK_THAT(status.message(), Contains("letter.txt"));
    CHECK(test::ReadAll(path) == text);
    std::filesystem::remove(path);
  }
  CHECK(Load(folder.path().string())->status.code() == StatusCode::kInvalidArgument);
  CHECK(Load(folder.file("nowhere/kept.kv"))->status.code() == StatusCode::kNotFound);
  const auto without = Load("");
  CHECK(without->generator->SaveCache().status().code() == StatusCode::kFailedPrecondition);
  CHECK_FALSE(without->generator->CacheChanged());
}

TEST_CASE("what a process that was killed has left is removed") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("kept.kv");
  const std::string left = path + ".tmp.2147483647";  // more than a process's number can be
  std::ofstream(left) << "half";
  std::ofstream(path + ".tmp.notes") << "not ours";
  Save(path);
  CHECK_FALSE(std::filesystem::exists(left));
  CHECK(std::filesystem::exists(path + ".tmp.notes"));
  CHECK(Found(path).first == 149);
}

// Each node as (all tokens up to it), in the tree's order.
std::vector<std::vector<TokenId>> Paths(const PrefixTree& tree) {
  std::vector<std::vector<TokenId>> paths;
  for (const PrefixTree::Node* node : tree.Ordered({})) {
    std::vector<TokenId> path;
    for (; node->space == nullptr; node = node->parent) {
      path.insert(path.begin(), node->tokens->begin(), node->tokens->end());
    }
    paths.push_back(std::move(path));
  }
  return paths;
}

Status WriteTo(const std::string& path, CacheSnapshot& snapshot) {
  RAG_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path, 0600));
  RAG_RETURN_IF_ERROR(snapshot.Write(7, *file).status());
  return file->Commit();
}

std::string Written(CacheSnapshot& snapshot, const std::string& path) {
  REQUIRE_OK(WriteTo(path, snapshot));
  return test::ReadAll(path);
}

TEST_CASE("a tree comes back with its order, and a smaller one with what was used last") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("tree.kv");
  constexpr size_t kBlocks = 60;
  std::mt19937 random(11);
  for (size_t round = 0; round < 10; ++round) {
    const SmallCache cache(kBlocks);
    KvPool& pool = *cache.pool;
    PrefixTree& tree = *cache.tree;
    // What adapters gave stands among the rest, and stays behind.
    PrefixTree::Node* const roots[] = {tree.Enter({}), tree.Enter({9, 1})};
    for (size_t text = 0; text < 15; ++text) {
      std::vector<PrefixTree::Node*> nodes;
      PrefixTree::Node* const root = roots[text % 4 == 3];
      for (size_t length = 1 + random() % 6; nodes.size() < length;) {
        const bool begun = nodes.size() + 1 == length && random() % 2 == 0;
        std::vector<TokenId> tokens(begun ? 1 + random() % 31 : KvPool::kBlockTokens,
                                    static_cast<TokenId>(random() % 3));
        std::optional<KvPool::BlockId> block = pool.Take();
        while (!block && tree.Evict()) block = pool.Take();
        REQUIRE(block);
        for (std::byte& byte : pool.bytes(*block)) byte = static_cast<std::byte>(random());
        nodes.push_back(tree.Insert(nodes.empty() ? root : nodes.back(), tokens, *block));
        pool.Release(*block);
        tree.Pin(nodes.back());
        if (nodes.back()->tokens->size() < KvPool::kBlockTokens) break;
      }
      for (; !nodes.empty(); nodes.pop_back()) tree.Unpin(nodes.back());
    }
    {
      CacheSnapshot snapshot(tree, pool);
      REQUIRE_OK(WriteTo(path, snapshot));
    }
    const auto paths = Paths(tree);
    CHECK(paths.size() < tree.size());
    for (const size_t blocks : {kBlocks, size_t{5}}) {
      const SmallCache other(blocks);
      PrefixTree& read = *other.tree;
      const auto contents = ReadCacheFile(path, 7, 3, *other.pool, read);
      REQUIRE_OK(contents);
      CHECK(contents->blocks == std::min(blocks, paths.size()));
      CHECK(other.pool->used() == contents->blocks);
      CHECK(Paths(read) ==
            std::vector<std::vector<TokenId>>(
                paths.begin(), paths.begin() + static_cast<ptrdiff_t>(contents->blocks)));
      const auto kept = tree.Ordered({});
      const auto found = read.Ordered({});
      for (size_t i = 0; i < found.size(); ++i) {
        const auto a = pool.bytes(kept[i]->block);
        const auto b = other.pool->bytes(found[i]->block);
        REQUIRE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
      }
      // Leaves go first, as ever.
      while (read.Evict()) {
      }
      CHECK(other.pool->used() == 0);
    }
    const SmallCache other(kBlocks);
    PrefixTree& read = *other.tree;
    CHECK(ReadCacheFile(path, 8, 3, *other.pool, read).status().code() ==
          StatusCode::kFailedPrecondition);
    CHECK(ReadCacheFile(path, 7, 1, *other.pool, read).status().code() == StatusCode::kDataLoss);
    CHECK(read.size() == 0);
    CHECK(other.pool->used() == 0);
    for (PrefixTree::Node* const root : roots) tree.Leave(root);
  }
}

// Of random keys and values, the same ones in every cache.
struct RandomCache : SmallCache {
  using SmallCache::SmallCache;
  // Keeps `history` as a sequence that is over leaves it.
  void Keep(const std::vector<TokenId>& history) {
    KvSequence sequence(*pool, *tree);
    Run(sequence, history);
  }
  void Run(KvSequence& sequence, const std::vector<TokenId>& history) {
    REQUIRE(sequence.Reserve(history.size() - sequence.size()));
    for (const KvPool::BlockId block : sequence.blocks()) {
      for (std::byte& byte : pool->bytes(block)) byte = static_cast<std::byte>(random());
    }
    sequence.Commit(history, history.size() - sequence.size());
    sequence.Publish(history);
  }

  std::mt19937 random{5};
};

std::vector<TokenId> Tokens(size_t count, TokenId token) {
  return std::vector<TokenId>(count, token);
}

TEST_CASE("a snapshot is written as the tree was, whatever becomes of it meanwhile") {
  const test::TemporaryFolder folder;
  RandomCache cache(20);
  for (TokenId token = 0; token < 3; ++token) cache.Keep(Tokens(100 + 10 * token, token));
  std::string sound;
  {
    CacheSnapshot snapshot(*cache.tree, *cache.pool);
    sound = Written(snapshot, folder.file("sound.kv"));
  }
  CacheSnapshot snapshot(*cache.tree, *cache.pool);
  while (cache.tree->Evict()) {
  }
  // What is lent is not given to others.
  std::vector<KvPool::BlockId> others;
  while (const auto block = cache.pool->Take()) {
    std::ranges::fill(cache.pool->bytes(*block), std::byte{0x55});
    others.push_back(*block);
  }
  CHECK(others.size() == 20 - 12);
  CHECK(Written(snapshot, folder.file("later.kv")) == sound);
  // And now it is.
  for (const KvPool::BlockId block : others) cache.pool->Release(block);
  CHECK(cache.pool->used() == 0);
}

TEST_CASE("a snapshot that is given up gives its blocks back") {
  RandomCache cache(4);
  cache.Keep(Tokens(100, 1));
  {
    const CacheSnapshot snapshot(*cache.tree, *cache.pool);
    while (cache.tree->Evict()) {
    }
    CHECK(cache.pool->used() == 4);
    CHECK_FALSE(cache.pool->Take());
  }
  CHECK(cache.pool->used() == 0);
}

TEST_CASE("a begun block that a sequence goes on with is written as it was, or left out") {
  const test::TemporaryFolder folder;
  const bool full = GENERATE(false, true);
  RandomCache cache(full ? 2 : 3);
  std::string sound;
  {
    RandomCache other(3);
    other.Keep(Tokens(40, 1));
    CacheSnapshot snapshot(*other.tree, *other.pool);
    sound = Written(snapshot, folder.file("sound.kv"));
  }
  KvSequence sequence(*cache.pool, *cache.tree);
  cache.Run(sequence, Tokens(40, 1));
  CacheSnapshot snapshot(*cache.tree, *cache.pool);
  std::ranges::fill(cache.pool->bytes(sequence.blocks()[1]), std::byte{0x55});
  const std::string path = folder.file("later.kv");
  if (!full) {
    CHECK(Written(snapshot, path) == sound);
    CHECK(cache.pool->used() == 2);
    return;
  }
  Written(snapshot, path);
  SmallCache read(3);
  const auto contents = ReadCacheFile(path, 7, 3, *read.pool, *read.tree);
  REQUIRE_OK(contents);
  CHECK(contents->tokens == 32);
}

TEST_CASE("a full cache that is being written evicts as many as ever, and waits for those") {
  const test::TemporaryFolder folder;
  constexpr size_t kBlocks = 16;
  RandomCache cache(kBlocks);
  for (TokenId token = 0; token < 4; ++token) cache.Keep(Tokens(128, token));
  std::string sound;
  {
    CacheSnapshot snapshot(*cache.tree, *cache.pool);
    sound = Written(snapshot, folder.file("sound.kv"));
  }
  CacheSnapshot snapshot(*cache.tree, *cache.pool);
  REQUIRE(cache.pool->used() == kBlocks);
  std::atomic<bool> begun{false};
  Status written;
  {
    std::jthread writer([&] {
      while (!begun) std::this_thread::yield();
      written = WriteTo(folder.file("later.kv"), snapshot);
    });
    KvSequence sequence(*cache.pool, *cache.tree);
    begun = true;
    for (size_t i = 1; i <= 5; ++i) {
      CHECK(sequence.Reserve(i * KvPool::kBlockTokens));
      CHECK(cache.tree->size() == kBlocks - i);
    }
  }
  REQUIRE_OK(written);
  CHECK(test::ReadAll(folder.file("later.kv")) == sound);
  CHECK(cache.pool->used() == kBlocks - 5);
}

// Files end before `bytes` while it lives: what is written behind fails.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(size_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before_) == 0);
    const rlimit limit = {.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_;
  void (*const handler_)(int);
};

TEST_CASE("the copy of a begun block is written first, and its block is free then") {
  const test::TemporaryFolder folder;
  constexpr size_t kBlocks = 8;
  RandomCache cache(kBlocks);
  for (TokenId token = 0; token < 3; ++token) cache.Keep(Tokens(64, token));
  KvSequence sequence(*cache.pool, *cache.tree);
  cache.Run(sequence, Tokens(20, 5));
  CacheSnapshot snapshot(*cache.tree, *cache.pool);
  REQUIRE(cache.pool->used() == kBlocks);
  {
    // The copy is what was used last, and so the first in the file.
    const FileSizeLimit limit(2 * cache.pool->block_bytes());
    CHECK_FALSE(WriteTo(folder.file("short.kv"), snapshot).ok());
  }
  // What holds the rest back has no say in whether the sequence goes on.
  const size_t kept = cache.tree->size();
  REQUIRE(cache.pool->used() == kBlocks - 1);
  CHECK(sequence.Reserve(KvPool::kBlockTokens));
  CHECK(cache.tree->size() == kept);
}

TEST_CASE("what is lent and was not evicted is waited for only where nothing can be evicted") {
  const test::TemporaryFolder folder;
  constexpr size_t kBlocks = 6;
  RandomCache cache(kBlocks);
  const CacheSpace others = {1};  // whose blocks are not lent
  {
    KvSequence other(*cache.pool, *cache.tree, others);
    cache.Run(other, Tokens(64, 0));
  }
  std::optional<KvSequence> sequence(std::in_place, *cache.pool, *cache.tree);
  cache.Run(*sequence, Tokens(20, 5));
  const bool copied = GENERATE(true, false);
  if (!copied) sequence.reset();
  CacheSnapshot snapshot(*cache.tree, *cache.pool);
  if (!copied) {
    // Another text goes on with the begun block, which the tree drops.
    sequence.emplace(*cache.pool, *cache.tree);
    cache.Run(*sequence, Tokens(32, 5));
  }
  KvSequence next(*cache.pool, *cache.tree);
  std::vector<KvPool::BlockId> taken;
  while (const auto block = cache.pool->Take()) taken.push_back(*block);
  REQUIRE(cache.pool->owed() == 1);
  // Nothing has been written yet.
  CHECK(next.Reserve(2 * KvPool::kBlockTokens));
  CHECK(cache.pool->owed() == 1);
  CHECK(cache.tree->size() == 1);
  next.Clear();
  while (const auto block = cache.pool->Take()) taken.push_back(*block);
  sequence.reset();
  for (const KvPool::BlockId block : taken) cache.pool->Release(block);
}

TEST_CASE("what need not be had waits for nothing that is lent, and evicts one block for it") {
  constexpr size_t kBlocks = 6;
  RandomCache cache(kBlocks);
  for (TokenId token = 0; token < 3; ++token) cache.Keep(Tokens(64, token));
  std::optional<CacheSnapshot> snapshot(std::in_place, *cache.tree, *cache.pool);
  REQUIRE(cache.pool->used() == kBlocks);
  KvSequence sequence(*cache.pool, *cache.tree);
  for (size_t i = 0; i < 3; ++i) {
    CHECK_FALSE(sequence.Reserve(1, KvSequence::Await::kNothing));
    CHECK(sequence.CopyBeginning(Tokens(10, 2)) == 0);
    CHECK(cache.tree->size() == kBlocks - 1);
  }
  snapshot.reset();
  CHECK(sequence.CopyBeginning(Tokens(10, 2)) == 9);
  CHECK(sequence.Reserve(KvPool::kBlockTokens, KvSequence::Await::kNothing));
  CHECK(cache.tree->size() == kBlocks - 2);
}

TEST_CASE("every bit of a file counts, and so does its length") {
  const test::TemporaryFolder folder;
  const std::string path = folder.file("tree.kv");
  const SmallCache cache(8, DType::kQ8_0);
  KvPool& pool = *cache.pool;
  PrefixTree& tree = *cache.tree;
  {
    PrefixTree::Node* const root = tree.Enter({});
    std::vector<PrefixTree::Node*> nodes = {root};
    for (const size_t count : {size_t{32}, size_t{32}, size_t{5}}) {
      const std::vector<TokenId> tokens(count, 2);
      const std::optional<KvPool::BlockId> block = pool.Take();
      REQUIRE(block);
      for (std::byte& byte : pool.bytes(*block)) byte = static_cast<std::byte>(count);
      nodes.push_back(tree.Insert(nodes.back(), tokens, *block));
      pool.Release(*block);
      tree.Pin(nodes.back());
    }
    for (; nodes.size() > 1; nodes.pop_back()) tree.Unpin(nodes.back());
    CacheSnapshot snapshot(tree, pool);
    REQUIRE_OK(WriteTo(path, snapshot));
    tree.Leave(root);
  }
  const std::string sound = test::ReadAll(path);
  REQUIRE(sound.size() < 4096);
  const std::string wrong = folder.file("wrong.kv");
  const auto read = [&](std::string_view bytes) {
    std::ofstream(wrong, std::ios::binary | std::ios::trunc) << bytes;
    while (tree.Evict()) {
    }
    const StatusCode code = ReadCacheFile(wrong, 7, 3, pool, tree).status().code();
    if (code != StatusCode::kOk && tree.size() + pool.used() > 0) {
      FAIL("something is left of what was refused");
    }
    return code;
  };
  CHECK(read(sound) == StatusCode::kOk);
  constexpr size_t kMagicBytes = 8;
  for (size_t bit = 0; bit < 8 * sound.size(); ++bit) {
    std::string bytes = sound;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    const StatusCode expected =
        bit / 8 < kMagicBytes ? StatusCode::kInvalidArgument : StatusCode::kDataLoss;
    if (read(bytes) != expected) FAIL("bit " << bit);
  }
  for (size_t size = 1; size < sound.size(); ++size) {
    const StatusCode expected =
        size < kMagicBytes ? StatusCode::kInvalidArgument : StatusCode::kDataLoss;
    if (read(std::string_view(sound).substr(0, size)) != expected) FAIL(size << " bytes");
  }
  for (const size_t more : {size_t{1}, (sound.size() - 48) / 3}) {
    CHECK(read(sound + std::string(more, 'x')) == StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace rag
