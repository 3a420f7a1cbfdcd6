// The blocks of a PrefixTree in a file, so that a later process need not run again what they hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

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

// Writes the tree's blocks of the space {}, those that are worth most first: if a smaller cache
// reads them, it takes the first. fingerprint: of all that their bits depend on. Errors:
// AtomicFile's.
Result<CacheContents> WriteCacheFile(const PrefixTree& tree, KvPool& pool, uint64_t fingerprint,
                                     AtomicFile& file);

// Fills the space {} of an empty tree, as far as the pool has room, with what WriteCacheFile wrote.
// vocab_size: every token is below it. A file that is not there or empty holds nothing. Errors,
// which leave the tree empty: invalid_argument when the file is something else, which is not to be
// written over; failed_precondition when it was written with another fingerprint, kind of blocks or
// version of the format; data_loss when it is damaged.
Result<CacheContents> ReadCacheFile(const std::string& path, uint64_t fingerprint,
                                    size_t vocab_size, KvPool& pool, PrefixTree& tree);

}  // namespace rag
