// Store and Collection: records, vectors and postings made durable in RocksDB, and the vector index
// derived from them.
//
// Truth is RocksDB. A document with its chunks, vectors, attributes and postings is one WriteBatch,
// synced before the call returns (concurrent writers share a sync). The vector index lies in memory
// (or its codes and graph do: VectorIndexOptions::rows); it is saved beside the database now and
// then and on Close, and opening loads the last snapshot and replays only the records written after
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "index/filter.h"
#include "index/tune.h"
#include "index/vector_index.h"
#include "lib/base/cancel.h"
#include "lib/base/progress.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/tensor/sparse_vector.h"

namespace rag {

using ChunkId = uint64_t;  // never used twice in a collection

struct CollectionConfig {
  std::string name;                 // 1 .. 128 bytes of [A-Za-z0-9._-], not starting with '.'
  VectorIndexOptions vectors;       // dim 0: no vectors, lexical search only
  std::string encoder_fingerprint;  // of the encoder whose vectors are stored; "" without one
  uint32_t sparse_dim = 0;          // tokens of sparse vectors are below; 0: no sparse vectors
  std::string sparse_fingerprint;   // of the encoder that makes them; "" without one
  bool attachments = false;         // chunks may have some
  Value properties;  // the engine's own settings (chunking …), an object; not looked at
  // What `vectors` was chosen for, or is to be chosen for once there are enough (Tune).
  std::optional<TuneGoal> goal;
  uint64_t tuned_chunks = 0;  // how many there were when it was chosen; 0: never
};

struct ChunkInput {
  std::string payload;        // opaque to the index, at most 64 MiB
  std::string lexical_text;   // tokenized for BM25; "" leaves the chunk out of lexical search
  std::vector<float> vector;  // [dim], or empty in a collection without vectors
  SparseVector sparse;        // perhaps empty; so in a collection without sparse vectors
  std::string attachment;     // opaque, read apart from the payload, at most 64 MiB; "": none
  Value attributes;           // an object, or null; a chunk's filter sees the document's attributes
                              // with these laid over them
};

struct DocumentInput {
  std::string key;      // unique in the collection, 1 .. 4,096 bytes
  std::string payload;  // opaque, at most 1 GiB together with the body
  std::string body;     // opaque and possibly large; read apart from the payload
  Value attributes;     // an object, or null
  std::vector<ChunkInput> chunks;
};

struct DocumentRecord {
  std::string key;
  std::string payload;
  Value attributes;
  std::vector<ChunkId> chunk_ids;  // in the order they were given
};

struct ChunkRecord {
  ChunkId id = 0;
  std::string document_key;
  uint32_t ordinal = 0;  // position among its document's chunks
  std::string payload;
  Value attributes;  // the document's with the chunk's laid over them
};

struct WriteResult {
  bool replaced = false;  // a document of that key was there
  size_t chunks_added = 0;
  size_t chunks_removed = 0;
};

// What a vector index finds of what exact search finds.
struct RecallReport {
  uint64_t queries = 0;  // stored vectors; fewer than asked for when there are fewer
  uint64_t k = 0;
  double recall = 1;   // of the k nearest besides the query itself, the mean share found
  double seconds = 0;  // of both searches
};

struct CollectionStats {
  uint64_t documents = 0;
  uint64_t chunks = 0;
  uint64_t index_memory_bytes = 0;
  uint64_t index_disk_bytes = 0;     // of vectors that the index reads from files
  uint64_t sparse_memory_bytes = 0;  // of sparse vectors' lists that are kept
  uint64_t disk_bytes = 0;           // of the whole store, shared by its collections
  uint64_t replayed = 0;             // records replayed when it was opened, and by refreshes
  double open_seconds = 0;
  std::optional<RecallReport> recall;  // when it was last measured, since opening
};

struct VerifyReport {
  uint64_t documents = 0;
  uint64_t chunks = 0;
  std::vector<std::string> problems;  // empty: sound
};

struct BackupReport {
  uint64_t files = 0;
  uint64_t bytes = 0;
  double seconds = 0;
};

struct VacuumReport {
  uint64_t bytes_before = 0;  // of the store on disk
  uint64_t bytes_after = 0;
  double seconds = 0;
};

// Threads: all methods may be called at once. Lifetime: a Collection is used through a shared_ptr
// that the Store hands out; after Drop or Close its methods return failed_precondition.
class Collection {
 public:
  virtual ~Collection() = default;
  // Stays as it is; a later call may give another (Tune).
  virtual const CollectionConfig& config() const = 0;

  // Adds the document or replaces the one with its key: all or nothing, durable on return.
  // Errors: invalid_argument (naming key, chunk and bound), resource_exhausted when the index's
  // memory budget is used up, io_error; after a failed sync the store
  // refuses further writes with io_error until it is reopened.
  virtual Result<WriteResult> Replace(const DocumentInput& document) = 0;
  // Several documents in one batch with one sync; keys must differ.
  virtual Result<std::vector<WriteResult>> ReplaceMany(
      std::span<const DocumentInput> documents) = 0;
  // Errors: not_found.
  virtual Result<WriteResult> Remove(std::string_view key) = 0;
  // Several documents in one batch with one sync; keys must differ. Those that are not there are
  // passed over: their results say that nothing was replaced.
  virtual Result<std::vector<WriteResult>> RemoveMany(std::span<const std::string_view> keys) = 0;

  virtual Result<DocumentRecord> GetDocument(std::string_view key) const = 0;
  virtual Result<std::string> GetBody(std::string_view key) const = 0;
  virtual Result<ChunkRecord> GetChunk(ChunkId id) const = 0;
  virtual Result<std::vector<float>> GetVector(ChunkId id) const = 0;
  // With weights as they are kept: rounded by one part in 512 at most. Empty when it was so.
  // Errors: not_found; failed_precondition in a collection without sparse vectors.
  virtual Result<SparseVector> GetSparseVector(ChunkId id) const = 0;
  // Errors: not_found when the chunk is not there or has none.
  virtual Result<std::string> GetAttachment(ChunkId id) const = 0;
  // Documents in key order from `after` (exclusive), at most `limit`.
  virtual Result<std::vector<DocumentRecord>> ListDocuments(std::string_view after,
                                                            size_t limit) const = 0;

  // Nearest chunks by vector; query [dim]. filter may be null. At most k, best first.
  virtual Result<std::vector<Neighbor>> SearchVectors(std::span<const float> query, size_t k,
                                                      const Filter* filter, size_t ef_search = 0,
                                                      bool exact = false) const = 0;
  // BM25 (Robertson & Zaragoza 2009, eq. 3.15; Lucene's idf) over the chunks' lexical text.
  virtual Result<std::vector<Neighbor>> SearchLexical(std::string_view query, size_t k,
                                                      const Filter* filter) const = 0;

  // The chunks whose sparse vectors have the largest products with the query's, exactly, by the
  // weights that are kept; those that share no token with it are not found. Errors:
  // failed_precondition in a collection without sparse vectors; invalid_argument naming what the
  // query breaks. Of a write that goes on meanwhile it sees all of the weights or none.
  virtual Result<std::vector<Neighbor>> SearchSparse(const SparseVector& query, size_t k,
                                                     const Filter* filter) const = 0;

  // Why the filter allows no chunk: "no passage has a field 'yaer' (they have lang, year)"; ""
  // where it allows some, or that is not known.
  virtual Result<std::string> ExplainFilter(const Filter& filter) const = 0;

  virtual Result<CollectionStats> Stats() const = 0;
  // Reads everything: records against each other, postings, and the vector index against the stored
  // vectors.
  virtual Result<VerifyReport> Verify(const CancelToken* cancel = nullptr) const = 0;
  // Searches with `sample` stored vectors (1 .. 100,000; the same ones each time while nothing
  // changes) for k (1 .. 1,000), through the index with its default width and exactly. Of
  // neighbours at the same distance either is right. Errors: invalid_argument;
  // failed_precondition without vectors; cancelled.
  virtual Result<RecallReport> MeasureRecall(size_t sample, size_t k,
                                             const CancelToken* cancel = nullptr) const = 0;
  // Looks for the index that reaches the goal: tries kinds, codes and widths on a sample of the
  // stored vectors (index/tune.h). With `apply` it then builds the picked index beside the present
  // one, which answers meanwhile, while writes go on, widens its search until the goal is met among
  // all vectors, and puts it in the other's place and into config(), with the goal. Both are in
  // memory for that time. Errors: those of TuneIndex; failed_precondition without vectors or
  // read-only; unavailable while another call is at it. The collection is as before then.
  virtual Result<TuneReport> Tune(const TuneGoal& goal, bool apply,
                                  CareProgress* progress = nullptr,
                                  const CancelToken* cancel = nullptr) = 0;
  // Writes the vector index's snapshot now.
  virtual Status Checkpoint() = 0;
};

struct StoreOptions {
  bool create_if_missing = true;
  // Any number of processes read beside one that writes, without its lock, also where nobody may
  // write. They see the store as it was when they opened or last refreshed it; a collection that
  // the writer has saved anew before it was opened here, or what needs a file that it has removed
  // since, is unavailable until then. A store that a killed process left is first put in order and
  // closed, by one that writes for that time, where that can be done: so not every reader replays
  // the same records.
  bool read_only = false;
  size_t cache_bytes = size_t{64} << 20;  // RocksDB's block cache
  size_t write_buffer_bytes = size_t{32} << 20;
  // Sparse vectors' lists that searches keep in memory, of all collections together; the others are
  // read from the database. 0: none is kept.
  size_t sparse_cache_bytes = size_t{256} << 20;
  // Named and opt-in: acknowledge before the log is synced; a crash of the machine (not of the
  // process) may lose the last writes.
  bool sync_writes = true;
};

class Store {
 public:
  // `path` is a folder. Errors: unavailable "in use by pid N" when another process writes it, or,
  // with read_only, when it changes again and again while it is read;
  // not_found; data_loss naming the file; failed_precondition for a newer format version. A store
  // that was closed in order and has damaged files of records since is opened read-only: what the
  // damage does not touch is served, the rest is data_loss naming the collection. A damaged
  // snapshot of a vector index is rebuilt from the records.
  static Result<std::unique_ptr<Store>> Open(const std::string& path, const StoreOptions& options,
                                             const Runtime& runtime);
  virtual ~Store() = default;  // closes

  // Errors: already_exists, invalid_argument.
  virtual Result<std::shared_ptr<Collection>> CreateCollection(const CollectionConfig& config) = 0;
  // Errors: not_found naming the collections that exist.
  virtual Result<std::shared_ptr<Collection>> OpenCollection(std::string_view name) = 0;
  virtual std::vector<std::string> ListCollections() const = 0;  // sorted
  // Removes all of it from disk.
  virtual Status DropCollection(std::string_view name) = 0;

  // Writes a copy of the store, as it was at one moment, into the new folder `destination`, while
  // reads and writes go on; progress and cancel may be null. The copy is made beside its place and
  // renamed, so that a folder of that name is always a whole backup. It stands by itself (nothing
  // is linked to the store's files), with a checksum of every file. Backups and vacuums wait for
  // each other. Errors: already_exists when the destination is not empty; invalid_argument when it
  // lies inside the store; cancelled; io_error. Nothing is left at `destination` then.
  virtual Result<BackupReport> Backup(const std::string& destination,
                                      CareProgress* progress = nullptr,
                                      const CancelToken* cancel = nullptr) = 0;
  // Makes a store in the new folder `path` from a backup, checking every file. Errors: not_found
  // when `backup` is none; data_loss naming the damaged file; already_exists when `path` is not
  // empty; cancelled; io_error. Nothing is left at `path` then.
  static Result<BackupReport> Restore(const std::string& backup, const std::string& path,
                                      CareProgress* progress = nullptr,
                                      const CancelToken* cancel = nullptr);
  // Rewrites the store's files so that none of them holds a byte of what was deleted or replaced
  // before the call, and gives the space back; reads and writes go on. What running reads still
  // hold open goes when they end. Errors: cancelled, io_error, data_loss naming the file or
  // collection; the store is sound then, and the space partly returned.
  virtual Result<VacuumReport> Vacuum(CareProgress* progress = nullptr,
                                      const CancelToken* cancel = nullptr) = 0;

  // Ok, or why nothing can be written: failed_precondition when it is open for reading alone,
  // io_error after a failed write, until it is opened again.
  virtual Status CheckWrites() const = 0;

  // Of a store open for reading: what another process has written since is seen from now on, also
  // through the collections that are open, of which those that were dropped are closed. Whether
  // there was anything; nothing is where the store is open for writing. It takes a look at the
  // folder while nothing was written. Otherwise the database's log, up to 128 MiB, is read again,
  // and of each open collection's vectors what was written since, or all where the writer has saved
  // them anew. Searches go on, and may find a part of the changes meanwhile, or less than k.
  // Errors: those of Open, data_loss for a damaged store that is still as it was, and the first of
  // a collection that cannot be brought up to date; what was seen before is seen as far as it is
  // there, and another call tries again.
  virtual Result<bool> Refresh() = 0;

  // Saves snapshots and closes; called by the destructor. Errors are those of the last saves.
  virtual Status Close() = 0;
  virtual const std::string& path() const = 0;
};

}  // namespace rag
