// The blocks of a PrefixTree in a file, so that a later process need not run again what they hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "generate/kv_pool.h"
#include "generate/prefix_tree.h"
#include "lib/base/atomic_file.h"
#include "lib/base/status.h"

namespace rag {

struct CacheContents {
  size_t blocks = 0;
  size_t tokens = 0;
  size_t bytes = 0;
};

// The blocks of a tree's space {} as they are when it is made, for another thread to write while
// the tree's goes on. Blocks are lent and not copied, but for a begun one that a sequence still
// writes to: that is copied into a block of the pool, and left out where none is free.
//
// The pool stays within its limit and nobody starves: a sequence that needs a block evicts what was
// used least recently, as ever, and if that is lent it waits until it is given back. The copies are
// written first, then what was used least recently, and each block is given back as soon as it is
// written, or when the snapshot ends; so the one who holds a snapshot must not wait for the tree's
// thread.
class CacheSnapshot {
 public:
  // By the thread of the tree and the pool; the pool outlives it.
  CacheSnapshot(const PrefixTree& tree, KvPool& pool);
  ~CacheSnapshot();
  CacheSnapshot(const CacheSnapshot&) = delete;
  CacheSnapshot& operator=(const CacheSnapshot&) = delete;

  // Once, by any thread. In the file those blocks stand first that are worth most: if a smaller
  // cache reads them, it takes the first. fingerprint: of all that their bits depend on. Errors:
  // AtomicFile's.
  Result<CacheContents> Write(uint64_t fingerprint, AtomicFile& file);

 private:
  struct Record {
    uint32_t parent;  // index of its record
    std::vector<TokenId> tokens;
    KvPool::BlockId block;
    std::span<const std::byte> bytes;
    bool is_copy;
  };
  explicit CacheSnapshot(KvPool& pool) : pool_(pool) {}
  void GiveBackLast();

  KvPool& pool_;
  std::vector<Record> records_;
  std::vector<size_t> lent_;  // the records whose blocks are lent; the last is written next
};

// Fills the space {} of an empty tree, as far as the pool has room, with what CacheSnapshot wrote.
// vocab_size: every token is below it. A file that is not there or empty holds nothing. Errors,
// which leave the tree empty: invalid_argument when the file is something else, which is not to be
// written over; failed_precondition when it was written with another fingerprint, kind of blocks or
// version of the format; data_loss when it is damaged.
Result<CacheContents> ReadCacheFile(const std::string& path, uint64_t fingerprint,
                                    size_t vocab_size, KvPool& pool, PrefixTree& tree);

}  // namespace rag
