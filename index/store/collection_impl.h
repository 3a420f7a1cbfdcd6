// The Collection over a Database.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "index/lexical/postings.h"
#include "index/lexical/sparse_lists.h"
#include "index/lexical/sparse_search.h"
#include "index/store.h"
#include "index/store/collection_records.h"
#include "index/store/database.h"
#include "index/store/filter_cache.h"

namespace rag {

// Writes go through one queue: the first writer that finds no leader takes everything that waits,
// writes it as one synced batch, brings the sparse lists in memory, the vector index and the
// filters up to date, and wakes the others. So concurrent writers share a sync, and nothing else
// ever changes the collection.
class CollectionImpl final : public Collection {
 public:
  // `folder` holds the vector index's snapshots.
  static Result<std::shared_ptr<CollectionImpl>> Open(Database& database,
                                                      SparseListCache& sparse_cache,
                                                      uint32_t number,
                                                      const CollectionConfig& config,
                                                      const std::string& folder, bool read_only,
                                                      const Runtime& runtime);

  const CollectionConfig& config() const override {
    return *config_.load(std::memory_order_acquire);
  }
  Result<WriteResult> Replace(const DocumentInput& document) override;
  Result<std::vector<WriteResult>> ReplaceMany(std::span<const DocumentInput> documents) override;
  Result<WriteResult> Remove(std::string_view key) override;
  Result<std::vector<WriteResult>> RemoveMany(std::span<const std::string_view> keys) override;

  Result<DocumentRecord> GetDocument(std::string_view key) const override;
  Result<std::string> GetBody(std::string_view key) const override;
  Result<ChunkRecord> GetChunk(ChunkId id) const override;
  Result<std::vector<float>> GetVector(ChunkId id) const override;
  Result<SparseVector> GetSparseVector(ChunkId id) const override;
  Result<std::string> GetAttachment(ChunkId id) const override;
  Result<std::vector<DocumentRecord>> ListDocuments(std::string_view after,
                                                    size_t limit) const override;

  Result<std::vector<Neighbor>> SearchVectors(std::span<const float> query, size_t k,
                                              const Filter* filter, size_t ef_search,
                                              bool exact) const override;
  Result<std::vector<Neighbor>> SearchLexical(std::string_view query, size_t k,
                                              const Filter* filter) const override;
  Result<std::vector<Neighbor>> SearchSparse(const SparseVector& query, size_t k,
                                             const Filter* filter) const override;

  Result<std::string> ExplainFilter(const Filter& filter) const override;
  Result<CollectionStats> Stats() const override;
  Result<VerifyReport> Verify(const CancelToken* cancel) const override;
  Result<RecallReport> MeasureRecall(size_t sample, size_t k,
                                     const CancelToken* cancel) const override;
  Result<TuneReport> Tune(const TuneGoal& goal, bool apply, CareProgress* progress,
                          const CancelToken* cancel) override;
  Status Checkpoint() override;

  uint32_t number() const { return number_; }
  // Saves a snapshot even when there is nothing new: an earlier one may hold the vectors of removed
  // chunks that a search was looking at when it was saved.
  Status RewriteSnapshot();
  // Of a store open for reading, whose database now reads what another process has written since,
  // `config` among it: it continues what was read before, unless `continues` is false. Then
  // FollowRecords brings what lies in memory up to date, while searches go on. After a failure of
  // either both may be tried again.
  Status TakeRecords(const CollectionConfig& config, bool continues);
  Status FollowRecords();
  // Saves a snapshot when there is something new, then refuses everything with `why`. For the
  // Store, which the Collection must not outlive otherwise.
  Status Close(bool save, const std::string& why);

 private:
  // One caller's writes: documents to put, or keys to remove.
  struct Request {
    std::span<const DocumentInput> documents;
    std::span<const std::string_view> removed_keys;  // used when documents is empty
    std::vector<WriteResult> results;
    Status status;
    bool done = false;
  };
  struct Change;  // of one group of requests

  CollectionImpl(Database& database, SparseListCache& sparse_cache, uint32_t number,
                 const CollectionConfig& config, const std::string& folder, bool read_only,
                 const Runtime& runtime);

  Status ReadState(CollectionState& state) const;
  // The newest snapshot that can be read, or a new index, as of `state`.
  Status LoadVectorIndex(const CollectionState& state);  // needs commit_mutex_, or nobody else here
  // What was written after `sequence`, in sum: the chunks that are left, and those to remove.
  Result<LogEntry> ReadLog(uint64_t sequence);
  Status UpdateFilters(const LogEntry& written);
  // From the vectors of the scan, or of all there are.
  Result<std::unique_ptr<VectorIndex>> BuildVectorIndex(const VectorIndexOptions& options,
                                                        PrefixScan scan,
                                                        const CancelToken* cancel = nullptr) const;
  Result<std::unique_ptr<VectorIndex>> BuildVectorIndex() const;
  std::string SnapshotPath(uint64_t sequence) const;

  Status CheckOpen() const;
  Status CheckDocument(const DocumentInput& document) const;
  // `what` names it in messages.
  Status CheckSparse(const SparseVector& vector, const std::string& what) const;
  Status CheckHasSparse() const;
  // Null when there is no filter.
  Result<std::shared_ptr<const ChunkSet>> Allowed(const Filter* filter) const;
  Status Submit(Request& request);
  std::vector<Request*> TakeGroup();                           // needs queue_mutex_
  Status CheckRoom(const std::vector<Request*>& group) const;  // needs commit_mutex_
  void Commit(const std::vector<Request*>& group);
  Status PrepareDocument(const DocumentInput& document, Change& change, WriteResult& result);
  // Nothing to do when there is no such document.
  Status PrepareRemoval(std::string_view key, Change& change, WriteResult& result);
  // The batch of the group, which must be whole.
  Status Write(Change& change);
  void Apply(const Change& change);
  Status SaveSnapshot(bool rewrite = false);  // needs commit_mutex_

  // The index as it is now; what is begun on it may be ended on it.
  std::shared_ptr<VectorIndex> index() const;
  void SetIndex(std::shared_ptr<VectorIndex> index);
  VectorIndexOptions IndexOptions() const;
  void SetConfig(CollectionConfig config);  // needs commit_mutex_, or nobody else here

  // --- collection_tune.cc ---
  Result<Matrix> DrawVectors(size_t count, const CancelToken* cancel) const;
  Status ChangeIndex(const TuneGoal& goal, const VectorIndexOptions& picked,
                     const CancelToken* cancel);
  // Brings an index up to date with what was written since its vectors were read. A later write may
  // have removed some of it only if `may_be_gone`.
  Status CatchUp(VectorIndex& index, const LogEntry& missed, bool may_be_gone) const;
  // The least width from the options' own on that is enough; widens the options.
  Status Widen(const VectorIndex& index, const TuneGoal& goal, VectorIndexOptions& options,
               const CancelToken* cancel) const;
  Status WriteConfig(const CollectionConfig& config);  // needs commit_mutex_
  // A saved index was found damaged while it was searched: makes another from the records, unless
  // somebody has done so meanwhile.
  Status ReplaceDamaged(const std::shared_ptr<VectorIndex>& damaged, const Status& why);
  // So that the next opening makes another.
  void RemoveDamagedSnapshot(const Status& why);  // needs commit_mutex_
  // The snapshot on disk is of no more use.
  void ForgetSnapshot();  // needs commit_mutex_

  // Reads of the database: a failure besides not_found names the collection, since RocksDB does not
  // always name the damaged file.
  Result<std::string> Read(Family family, std::string_view key) const;
  Status Named(const Status& status) const;
  Status NoDocument(std::string_view key) const;
  // An empty object where there are none.
  Result<Value> ReadAttributes(ChunkId id) const;
  Result<std::vector<ChunkId>> ChunkIdsOf(std::string_view key) const;
  CollectionState state() const;

  Database& database_;
  SparseListCache& sparse_cache_;
  const uint32_t number_;
  std::atomic<const CollectionConfig*> config_{nullptr};
  // All that there were: config() hands them out. Guarded by commit_mutex_.
  std::vector<std::unique_ptr<const CollectionConfig>> configs_;
  const std::string folder_;
  const bool read_only_;
  const Runtime& runtime_;

  std::mutex queue_mutex_;  // guards queue_, leading_ and the requests' results until done
  std::condition_variable queue_changed_;
  std::deque<Request*> queue_;
  bool leading_ = false;

  std::mutex tune_mutex_;    // held while the index is tuned; taken before commit_mutex_
  std::mutex commit_mutex_;  // held while a group is written or a snapshot saved
  std::atomic<uint64_t> snapshot_sequence_{0};  // changed with commit_mutex_ held
  uint64_t vectors_since_snapshot_ = 0;         // guarded by commit_mutex_
  // Of a reader: the records that index_ and filters_ follow; nullopt: others, or nobody knows.
  std::optional<uint64_t> memory_sequence_;  // guarded by commit_mutex_
  bool rebuilding_ = false;                  // guarded by commit_mutex_
  std::vector<LogEntry> missed_;             // since rebuilding_; guarded by commit_mutex_

  mutable std::mutex state_mutex_;  // guards the three below
  CollectionState state_;
  mutable std::optional<RecallReport> recall_;  // last measured
  std::string closed_;                          // why; "": open

  // Readers and the leader share it; Close takes it alone, so that nobody still uses the database.
  mutable std::shared_mutex use_mutex_;
  mutable std::mutex index_mutex_;      // guards index_
  std::shared_ptr<VectorIndex> index_;  // null without vectors; replaced with commit_mutex_ held
  mutable FilterCache filters_;
  const SparseSearcher sparse_;
  std::atomic<uint64_t> replayed_{0};
  double open_seconds_ = 0;
};

}  // namespace rag
