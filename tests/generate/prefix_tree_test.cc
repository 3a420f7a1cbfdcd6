// Blocks shared by prefix: what is found, copied, evicted, and that nothing is lost.
#include "generate/prefix_tree.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <random>

#include "generate/kv_sequence.h"
#include "tests/generate/small_cache.h"
#include "tests/support/support.h"

namespace rag {
namespace {

constexpr size_t kBlock = KvPool::kBlockTokens;

size_t Match(KvSequence& sequence, std::span<const TokenId> history) {
  const size_t whole = sequence.MatchBlocks(history);
  return whole + sequence.CopyBeginning(history);
}

struct MarkedCache : SmallCache {
  using SmallCache::SmallCache;
  // Writes what stands for each token's key: the hash of the tokens up to it.
  static float Mark(std::span<const TokenId> history, size_t position) {
    uint32_t mark = 17;
    for (size_t i = 0; i <= position; ++i) {
      mark = (mark * 31 + static_cast<uint32_t>(history[i])) % 1'000'003;
    }
    return static_cast<float>(mark);
  }
  void Write(KvSequence& sequence, std::span<const TokenId> history, size_t tokens) {
    for (size_t i = sequence.size(); i < sequence.size() + tokens; ++i) {
      const std::vector<float> key(kShape.head_dim, Mark(history, i));
      StoreKey(DType::kF32, key.data(), kShape.head_dim, i % kBlock,
               pool->keys(sequence.blocks()[i / kBlock], 0, 0));
    }
    sequence.Commit(history, tokens);
  }
  bool Holds(const KvSequence& sequence, std::span<const TokenId> history) {
    for (size_t i = 0; i < sequence.size(); ++i) {
      float key;
      std::memcpy(&key, pool->keys(sequence.blocks()[i / kBlock], 0, 0) + i % kBlock * sizeof(key),
                  sizeof(key));
      if (key != Mark(history, i)) return false;
    }
    return true;
  }
  // Runs all of it; gives the tokens that were found.
  size_t RunAll(KvSequence& sequence, std::span<const TokenId> history) {
    const size_t found = Match(sequence, history);
    REQUIRE(Holds(sequence, history));
    REQUIRE(sequence.Reserve(history.size() - sequence.size()));
    Write(sequence, history, history.size() - sequence.size());
    return found;
  }
};

std::vector<TokenId> Tokens(size_t n, TokenId seed) {
  std::vector<TokenId> out;
  for (size_t i = 0; i < n; ++i) out.push_back(seed + static_cast<TokenId>(i % 7));
  return out;
}

TEST_CASE("texts that begin alike share whole blocks and copy the one where they part") {
  MarkedCache cache(16);
  auto text = Tokens(80, 5);
  KvSequence first(*cache.pool, *cache.tree);
  CHECK(cache.RunAll(first, text) == 0);
  first.Publish(text);
  CHECK(cache.pool->used() == 3);

  // The last token's logits are wanted, so it is run.
  KvSequence second(*cache.pool, *cache.tree);
  CHECK(cache.RunAll(second, text) == 79);
  CHECK(second.blocks()[0] == first.blocks()[0]);
  CHECK(second.blocks()[1] == first.blocks()[1]);
  CHECK(second.blocks()[2] != first.blocks()[2]);
  CHECK(cache.pool->used() == 4);

  // Both go on from the same begun block, differently.
  auto left = text;
  auto right = text;
  for (TokenId i = 0; i < 40; ++i) {
    left.push_back(100 + i);
    right.push_back(200 + i);
  }
  REQUIRE(first.Reserve(40));
  REQUIRE(second.Reserve(40));
  cache.Write(first, left, 40);
  cache.Write(second, right, 40);
  CHECK(cache.Holds(first, left));
  CHECK(cache.Holds(second, right));

  auto parted = text;
  parted[40] = 99;
  KvSequence third(*cache.pool, *cache.tree);
  CHECK(cache.RunAll(third, parted) == 40);
  CHECK(cache.Holds(first, left));
}

TEST_CASE("what two sequences wrote at the same time is kept once") {
  MarkedCache cache(16);
  const auto text = Tokens(64, 3);
  KvSequence a(*cache.pool, *cache.tree);
  KvSequence b(*cache.pool, *cache.tree);
  for (KvSequence* sequence : {&a, &b}) {
    REQUIRE(sequence->Reserve(64));
  }
  CHECK(cache.pool->used() == 4);
  cache.Write(a, text, 64);
  cache.Write(b, text, 64);
  CHECK(cache.pool->used() == 2);
  CHECK(std::ranges::equal(a.blocks(), b.blocks()));
}

TEST_CASE("the least recently used is evicted first, and never what a sequence stands on") {
  MarkedCache cache(6);
  const auto run = [&](TokenId seed) {
    KvSequence sequence(*cache.pool, *cache.tree);
    const size_t found = cache.RunAll(sequence, Tokens(64, seed));
    return found;
  };
  CHECK(run(10) == 0);
  CHECK(run(20) == 0);
  CHECK(run(30) == 0);
  CHECK(cache.pool->used() == 6);
  CHECK(run(10) == 63);  // used again; its second block was copied, which evicted one of 20's
  CHECK(run(40) == 0);
  CHECK(run(10) == 63);
  KvSequence pinned(*cache.pool, *cache.tree);
  cache.RunAll(pinned, Tokens(64, 50));
  KvSequence too_long(*cache.pool, *cache.tree);
  CHECK_FALSE(too_long.Reserve(5 * kBlock));
  too_long.Clear();
  CHECK(cache.Holds(pinned, Tokens(64, 50)));
  KvSequence fits(*cache.pool, *cache.tree);
  CHECK(fits.Reserve(4 * kBlock));
}

TEST_CASE("random texts: as much is found as was ever written, and all blocks come back") {
  std::mt19937 random(11);
  for (const size_t blocks : {size_t{4'096}, size_t{24}}) {
    MarkedCache cache(blocks);
    std::vector<std::vector<TokenId>> written;
    struct Open {
      std::unique_ptr<KvSequence> sequence;
      std::vector<TokenId> text;
    };
    std::deque<Open> open;
    for (size_t round = 0; round < test::Workload(400, 100, "texts"); ++round) {
      // Few different tokens, so that texts begin alike.
      std::vector<TokenId> text;
      if (!written.empty() && random() % 2 == 0) {
        text = written[random() % written.size()];
        text.resize(1 + random() % text.size());
      }
      const size_t more = 1 + random() % 70;
      for (size_t i = 0; i < more; ++i) text.push_back(static_cast<TokenId>(random() % 2));
      if (text.size() > 200) text.resize(200);
      size_t longest = 0;
      for (const auto& other : written) {
        const auto at = std::mismatch(text.begin(), text.end(), other.begin(), other.end()).first;
        longest = std::max(longest, static_cast<size_t>(at - text.begin()));
      }
      Open next{std::make_unique<KvSequence>(*cache.pool, *cache.tree), text};
      const size_t found = Match(*next.sequence, text);
      if (blocks > 1'000) {
        REQUIRE(found == std::min(longest, text.size() - 1));
      } else {
        REQUIRE(found <= std::min(longest, text.size() - 1));
      }
      REQUIRE(cache.Holds(*next.sequence, text));
      if (next.sequence->Reserve(text.size() - next.sequence->size())) {
        cache.Write(*next.sequence, text, text.size() - next.sequence->size());
        next.sequence->Publish(text);
        written.push_back(text);
        open.push_back(std::move(next));
      }
      while (open.size() > 2) open.pop_front();
      REQUIRE(cache.pool->used() <= cache.pool->capacity());
      for (const Open& other : open) REQUIRE(cache.Holds(*other.sequence, other.text));
    }
    open.clear();
    CHECK(cache.tree->evictable() == cache.tree->size());
    while (cache.tree->Evict()) {
    }
    CHECK(cache.tree->size() == 0);
    CHECK(cache.pool->used() == 0);
    CHECK(cache.pool->allocated_bytes() <= blocks * cache.pool->block_bytes());
  }
}

TEST_CASE("a limit below one block is refused") {
  CHECK(KvPool::Create(SmallCache::kShape, KvPool::BlockBytes(SmallCache::kShape) - 1)
            .status()
            .code() == StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace rag
