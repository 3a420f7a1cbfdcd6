#include "index/store/collection_impl.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>
#include <unordered_map>
#include <utility>

#include "index/lexical/analyzer.h"
#include "index/store/backup.h"
#include "index/store/collection_records.h"
#include "lib/base/folder.h"

namespace rag {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxKeyBytes = 4'096;
constexpr size_t kMaxChunkPayloadBytes = size_t{64} << 20;
constexpr size_t kMaxDocumentBytes = size_t{1} << 30;
constexpr size_t kMaxSearchK = 65'535;
// A group is closed when its documents reach this: RocksDB copies a batch whole.
constexpr size_t kMaxGroupBytes = size_t{64} << 20;
constexpr size_t kMaxListed = 100'000;
// A snapshot is saved when the tail holds this many vectors, or a quarter of the index when that is
// more: replaying them costs about as much as inserting them did, and saving costs a write of the
// whole index.
constexpr uint64_t kMinTail = 5'000;

size_t InputBytes(const DocumentInput& document) {
  size_t bytes = document.payload.size() + document.body.size();
  for (const ChunkInput& chunk : document.chunks) {
    bytes += chunk.payload.size() + chunk.lexical_text.size() + chunk.attachment.size() +
             chunk.vector.size() * sizeof(float) +
             chunk.sparse.entries.size() * sizeof(SparseVector::Entry);
  }
  return bytes;
}

Status CheckK(size_t k) {
  if (k != 0 && k <= kMaxSearchK) return OkStatus();
  return InvalidArgumentError("k ", k, " is not between 1 and ", kMaxSearchK);
}

Status SparseDamage(ChunkId id) {
  return DataLossError("the sparse vector of chunk ", id, " is damaged");
}

}  // namespace

struct CollectionImpl::Change {
  Change(const Database& database, uint32_t collection, const CollectionState& before)
      : state(before),
        postings(database, collection, before.sequence + 1),
        sparse(database, collection, before.next_chunk) {
    state.sequence = before.sequence + 1;
  }

  CollectionState state;
  PostingChanges postings;
  SparseChanges sparse;
  Batch batch;
  LogEntry log;
  std::vector<ChunkAttributes> attributes;  // of the added chunks
  std::vector<ChunkId> vector_ids;          // the added chunks with vectors,
  std::vector<float> vectors;               // and these [n, dim]
};

CollectionImpl::CollectionImpl(Database& database, SparseListCache& sparse_cache, uint32_t number,
                               const CollectionConfig& config, const std::string& folder,
                               bool read_only, const Runtime& runtime)
    : database_(database),
      sparse_cache_(sparse_cache),
      number_(number),
      folder_(folder),
      read_only_(read_only),
      runtime_(runtime),
      filters_(database, number),
      sparse_(database, sparse_cache, number, runtime) {
  SetConfig(config);
}

void CollectionImpl::SetConfig(CollectionConfig config) {
  configs_.push_back(std::make_unique<const CollectionConfig>(std::move(config)));
  config_.store(configs_.back().get(), std::memory_order_release);
}

// --- opening ---

Result<std::shared_ptr<CollectionImpl>> CollectionImpl::Open(
    Database& database, SparseListCache& sparse_cache, uint32_t number,
    const CollectionConfig& config, const std::string& folder, bool read_only,
    const Runtime& runtime) {
  const auto start = std::chrono::steady_clock::now();
  std::shared_ptr<CollectionImpl> collection(
      new CollectionImpl(database, sparse_cache, number, config, folder, read_only, runtime));
  RAG_RETURN_IF_ERROR(collection->ReadState(collection->state_));
  if (config.vectors.dim != 0) {
    RAG_RETURN_IF_ERROR(collection->LoadVectorIndex(collection->state_));
  }
  collection->memory_sequence_ = collection->state_.sequence;
  collection->open_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return collection;
}

Status CollectionImpl::ReadState(CollectionState& state) const {
  RAG_ASSIGN_OR_RETURN(const std::string bytes, database_.Get(Family::kDefault, StateKey(number_)));
  if (state.Decode(bytes)) return OkStatus();
  return DataLossError("the counters of collection '", config().name, "' are damaged");
}

std::string CollectionImpl::SnapshotPath(uint64_t sequence) const {
  return (fs::path(folder_) / StrCat(number_, "-", sequence, ".vectors")).string();
}

Status CollectionImpl::LoadVectorIndex(const CollectionState& state) {
  // A damaged snapshot costs time, never data.
  std::vector<uint64_t> sequences;
  const std::string prefix = StrCat(number_, "-");
  const Result<std::vector<fs::path>> paths = ListFolder(folder_);
  for (const fs::path& path : paths.ok() ? *paths : std::vector<fs::path>()) {
    const std::string name = path.filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(".vectors")) continue;
    sequences.push_back(std::strtoull(name.c_str() + prefix.size(), nullptr, 10));
  }
  std::sort(sequences.rbegin(), sequences.rend());
  const auto changed = [&] {
    return UnavailableError(
        "another process has saved it anew since the store was opened; open that again");
  };
  std::shared_ptr<VectorIndex> found;
  uint64_t found_sequence = 0;
  for (const uint64_t sequence : sequences) {
    if (read_only_ && sequence > state.sequence) {
      std::error_code error;
      const fs::file_time_type written = fs::last_write_time(SnapshotPath(sequence), error);
      if (error || written >= database_.opened_at()) return changed();
    }
    // Newer than the database, or older than the log reaches: of no use.
    if (found != nullptr || sequence > state.sequence || sequence + 1 < state.log_begin) {
      std::error_code ignored;
      if (!read_only_) fs::remove(SnapshotPath(sequence), ignored);
      continue;
    }
    Result<VectorIndex::Loaded> loaded =
        VectorIndex::Load(SnapshotPath(sequence), IndexOptions(), runtime_);
    if (read_only_ && loaded.status().code() == StatusCode::kNotFound) return changed();
    if (!loaded.ok() || loaded->tag != sequence) {
      runtime_.Log(LogLevel::kWarning,
                   StrCat("collection '", config().name, "': snapshot ", SnapshotPath(sequence),
                          " cannot be used: ", loaded.status().ToString(),
                          read_only_ ? "; its index is made anew at each opening until a process "
                                       "that writes has opened the store and saved it"
                                     : ""));
      continue;
    }
    found = std::move(loaded->index);
    found_sequence = sequence;
  }
  uint64_t behind = 0;
  if (found == nullptr) {
    RAG_ASSIGN_OR_RETURN(found, BuildVectorIndex());
    replayed_ += behind = found->size();
  } else if (found_sequence != state.sequence) {  // else no file of records is touched
    RAG_ASSIGN_OR_RETURN(const LogEntry missed, ReadLog(found_sequence));
    RAG_RETURN_IF_ERROR(CatchUp(*found, missed, /*may_be_gone=*/false));
    behind = missed.added.size() + missed.removed.size();
  }
  SetIndex(std::move(found));
  snapshot_sequence_ = found_sequence;
  vectors_since_snapshot_ = behind;
  return OkStatus();
}

Result<LogEntry> CollectionImpl::ReadLog(uint64_t sequence) {
  PrefixScan scan = database_.Scan(Family::kRecords, TaggedPrefix(number_, kLogTag));
  std::string first;
  AppendBigEndian(first, sequence + 1, 8);
  scan.Seek(first);
  // Later entries undo earlier ones, so only the chunks that are left at the end are read.
  std::set<ChunkId> added, removed;
  for (; scan.Valid(); scan.Next()) {
    LogEntry entry;
    if (!entry.Decode(scan.value()))
      return DataLossError("the log of '", config().name, "' is damaged");
    for (const ChunkId id : entry.removed) {
      added.erase(id);
      removed.insert(id);
    }
    added.insert(entry.added.begin(), entry.added.end());
    ++replayed_;
  }
  RAG_RETURN_IF_ERROR(scan.status());
  return LogEntry{{removed.begin(), removed.end()}, {added.begin(), added.end()}};
}

Result<std::unique_ptr<VectorIndex>> CollectionImpl::BuildVectorIndex() const {
  return BuildVectorIndex(IndexOptions(),
                          database_.Scan(Family::kVectors, CollectionPrefix(number_)));
}

Result<std::unique_ptr<VectorIndex>> CollectionImpl::BuildVectorIndex(
    const VectorIndexOptions& options, PrefixScan scan, const CancelToken* cancel) const {
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<VectorIndex> index, VectorIndex::Create(options, runtime_));
  const size_t dim = config().vectors.dim;
  constexpr size_t kBatch = 4'096;
  std::vector<uint64_t> ids;
  std::vector<float> vectors;
  while (scan.Valid()) {
    ids.clear();
    vectors.clear();
    for (; scan.Valid() && ids.size() < kBatch; scan.Next()) {
      const uint64_t id = ReadBigEndian(scan.key());
      RAG_ASSIGN_OR_RETURN(const std::vector<float> vector, DecodeVector(id, scan.value(), dim));
      ids.push_back(id);
      vectors.insert(vectors.end(), vector.begin(), vector.end());
    }
    RAG_RETURN_IF_ERROR(index->Add(ids, MatrixView(vectors.data(), ids.size(), dim), cancel));
  }
  RAG_RETURN_IF_ERROR(scan.status());
  return index;
}

// --- the index ---

VectorIndexOptions CollectionImpl::IndexOptions() const {
  VectorIndexOptions options = config().vectors;
  // What is in the records must be in the index: the budget is looked at before they are written.
  options.memory_budget_bytes = 0;
  if (!read_only_) options.folder = folder_;
  return options;
}

std::shared_ptr<VectorIndex> CollectionImpl::index() const {
  std::lock_guard lock(index_mutex_);
  return index_;
}

void CollectionImpl::SetIndex(std::shared_ptr<VectorIndex> index) {
  std::lock_guard lock(index_mutex_);
  index_.swap(index);
}

void CollectionImpl::RemoveDamagedSnapshot(const Status& why) {
  runtime_.Log(LogLevel::kError,
               StrCat("collection '", config().name,
                      "': the vector index is made anew from the records: ", why.ToString()));
  ForgetSnapshot();
}

void CollectionImpl::ForgetSnapshot() {
  std::error_code ignored;
  if (!read_only_ && snapshot_sequence_ != 0) fs::remove(SnapshotPath(snapshot_sequence_), ignored);
  snapshot_sequence_ = 0;
}

Status CollectionImpl::ReplaceDamaged(const std::shared_ptr<VectorIndex>& damaged,
                                      const Status& why) {
  std::lock_guard commit(commit_mutex_);
  if (index() != damaged) return OkStatus();
  RemoveDamagedSnapshot(why);
  RAG_ASSIGN_OR_RETURN(std::shared_ptr<VectorIndex> made, BuildVectorIndex());
  replayed_ += made->size();
  SetIndex(std::move(made));
  if (read_only_) return OkStatus();
  const Status saved = SaveSnapshot(/*rewrite=*/true);
  if (!saved.ok()) runtime_.Log(LogLevel::kWarning, saved.ToString());
  return OkStatus();
}

// --- reading beside a writer ---

Status CollectionImpl::TakeRecords(const CollectionConfig& config, bool continues) {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  std::lock_guard commit(commit_mutex_);
  const bool other = EncodeConfig(number_, config) != EncodeConfig(number_, this->config());
  if (!continues || other) memory_sequence_.reset();
  if (other) SetConfig(config);
  CollectionState now;
  RAG_RETURN_IF_ERROR(ReadState(now));
  std::lock_guard lock(state_mutex_);
  state_ = now;
  return OkStatus();
}

Status CollectionImpl::FollowRecords() {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  std::lock_guard commit(commit_mutex_);
  const CollectionState now = state();
  const std::optional<uint64_t> before = memory_sequence_;
  if (before == now.sequence) return OkStatus();
  memory_sequence_.reset();  // until all of it is done
  bool followed = false;
  // The log goes back to the writer's last snapshot, and there is none without vectors.
  if (config().vectors.dim != 0 && before.has_value() && *before < now.sequence &&
      *before + 1 >= now.log_begin) {
    RAG_ASSIGN_OR_RETURN(const LogEntry missed, ReadLog(*before));
    RAG_RETURN_IF_ERROR(UpdateFilters(missed));
    const Status status = CatchUp(*index(), missed, /*may_be_gone=*/false);
    followed = status.ok();
    if (!followed) runtime_.Log(LogLevel::kWarning, Named(status).ToString());
  }
  if (!followed) {
    filters_.Forget();
    if (config().vectors.dim == 0) {
      SetIndex(nullptr);
    } else {
      RAG_RETURN_IF_ERROR(LoadVectorIndex(now));
    }
  }
  memory_sequence_ = now.sequence;
  return OkStatus();
}

Status CollectionImpl::UpdateFilters(const LogEntry& written) {
  if (filters_.empty()) return OkStatus();
  std::vector<ChunkAttributes> added;
  for (const ChunkId id : written.added) {
    RAG_ASSIGN_OR_RETURN(Value attributes, ReadAttributes(id));
    added.push_back({id, std::move(attributes)});
  }
  filters_.Update(written.removed, added);
  return OkStatus();
}

// --- closing and snapshots ---

Status CollectionImpl::CheckOpen() const {
  std::lock_guard lock(state_mutex_);
  if (!closed_.empty()) {
    return FailedPreconditionError("collection '", config().name, "' ", closed_);
  }
  return OkStatus();
}

CollectionState CollectionImpl::state() const {
  std::lock_guard lock(state_mutex_);
  return state_;
}

Status CollectionImpl::Close(bool save, const std::string& why) {
  // Waits for readers and the leader, and turns away those that come after.
  std::unique_lock use(use_mutex_);
  std::lock_guard commit(commit_mutex_);
  {
    std::lock_guard lock(state_mutex_);
    if (!closed_.empty()) return OkStatus();
    closed_ = why;
  }
  const Status saved = save && !read_only_ ? SaveSnapshot() : OkStatus();
  SetIndex(nullptr);
  sparse_cache_.Forget(number_);
  return saved;
}

Status CollectionImpl::Checkpoint() {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  RAG_RETURN_IF_ERROR(database_.CheckWrites());
  std::lock_guard commit(commit_mutex_);
  return SaveSnapshot();
}

Status CollectionImpl::RewriteSnapshot() {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  std::lock_guard commit(commit_mutex_);
  return SaveSnapshot(/*rewrite=*/true);
}

Status CollectionImpl::SaveSnapshot(bool rewrite) {
  CollectionState after = state();
  if (index_ == nullptr || (snapshot_sequence_ == after.sequence && !rewrite)) return OkStatus();
  const uint64_t old_sequence = snapshot_sequence_;
  const Status written = index_->Save(SnapshotPath(after.sequence), after.sequence);
  if (written.code() == StatusCode::kDataLoss) RemoveDamagedSnapshot(written);
  RAG_RETURN_IF_ERROR(written);
  // Only now is the log before it of no more use.
  Batch batch;
  for (PrefixScan scan = database_.Scan(Family::kRecords, TaggedPrefix(number_, kLogTag));
       scan.Valid() && ReadBigEndian(scan.key()) <= after.sequence; scan.Next()) {
    batch.Delete(Family::kRecords, NumberedKey(number_, kLogTag, ReadBigEndian(scan.key())));
  }
  after.log_begin = after.sequence + 1;
  batch.Put(Family::kDefault, StateKey(number_), after.Encode());
  RAG_RETURN_IF_ERROR(database_.Write(batch));
  {
    std::lock_guard lock(state_mutex_);
    state_.log_begin = after.log_begin;
  }
  snapshot_sequence_ = after.sequence;
  vectors_since_snapshot_ = 0;
  std::error_code ignored;
  if (old_sequence != 0 && old_sequence != after.sequence) {
    fs::remove(SnapshotPath(old_sequence), ignored);
  }
  return OkStatus();
}

// --- writing ---

Status CollectionImpl::CheckDocument(const DocumentInput& document) const {
  if (document.key.empty() || document.key.size() > kMaxKeyBytes) {
    return InvalidArgumentError("a document key of ", document.key.size(),
                                " bytes is not between 1 and ", kMaxKeyBytes);
  }
  const auto place = [&](size_t chunk) {
    return StrCat("document '", document.key, "', chunk ", chunk);
  };
  if (document.payload.size() + document.body.size() > kMaxDocumentBytes) {
    return InvalidArgumentError("document '", document.key, "' has ",
                                document.payload.size() + document.body.size(),
                                " bytes, over the limit of ", kMaxDocumentBytes);
  }
  if (!document.attributes.is_null() && !document.attributes.is_object()) {
    return InvalidArgumentError("the attributes of document '", document.key, "' are ",
                                document.attributes.type_name(), ", not an object");
  }
  for (size_t i = 0; i < document.chunks.size(); ++i) {
    const ChunkInput& chunk = document.chunks[i];
    if (chunk.payload.size() > kMaxChunkPayloadBytes ||
        chunk.lexical_text.size() > kMaxChunkPayloadBytes ||
        chunk.attachment.size() > kMaxChunkPayloadBytes) {
      return InvalidArgumentError(place(i), " is larger than ", kMaxChunkPayloadBytes, " bytes");
    }
    if (!chunk.attributes.is_null() && !chunk.attributes.is_object()) {
      return InvalidArgumentError("the attributes of ", place(i), " are ",
                                  chunk.attributes.type_name(), ", not an object");
    }
    if (chunk.vector.size() != config().vectors.dim) {
      return InvalidArgumentError("the vector of ", place(i), " has ", chunk.vector.size(),
                                  " dimensions; collection '", config().name, "' has ",
                                  config().vectors.dim);
    }
    double squares = 0;
    for (const float value : chunk.vector) {
      if (!std::isfinite(value)) {
        return InvalidArgumentError("the vector of ", place(i), " holds ", value);
      }
      squares += static_cast<double>(value) * value;
    }
    if (squares == 0 && !chunk.vector.empty() && config().vectors.metric == Metric::kCosine) {
      return InvalidArgumentError("the vector of ", place(i), " is zero, which has no cosine");
    }
    if (!chunk.attachment.empty() && !config().attachments) {
      return InvalidArgumentError(place(i), " has an attachment; collection '", config().name,
                                  "' takes none");
    }
    RAG_RETURN_IF_ERROR(CheckSparse(chunk.sparse, StrCat("the sparse vector of ", place(i))));
  }
  return OkStatus();
}

Status CollectionImpl::CheckSparse(const SparseVector& vector, const std::string& what) const {
  uint64_t least = 0;
  for (const SparseVector::Entry& entry : vector.entries) {
    if (entry.token >= config().sparse_dim) {
      return InvalidArgumentError(what, " has token ", entry.token, "; collection '", config().name,
                                  "' takes those below ", config().sparse_dim);
    }
    if (entry.token < least) {
      return InvalidArgumentError(what, " has token ", entry.token, " after token ", least - 1);
    }
    if (!std::isfinite(entry.weight) || entry.weight <= 0) {
      return InvalidArgumentError(what, " has the weight ", entry.weight, " for token ",
                                  entry.token, ", not a number above 0");
    }
    least = uint64_t{entry.token} + 1;
  }
  return OkStatus();
}

Status CollectionImpl::CheckHasSparse() const {
  if (config().sparse_dim != 0) return OkStatus();
  return FailedPreconditionError("collection '", config().name, "' has no sparse vectors");
}

Result<WriteResult> CollectionImpl::Replace(const DocumentInput& document) {
  RAG_ASSIGN_OR_RETURN(const std::vector<WriteResult> results, ReplaceMany({&document, 1}));
  return results[0];
}

Result<std::vector<WriteResult>> CollectionImpl::ReplaceMany(
    std::span<const DocumentInput> documents) {
  std::set<std::string_view> keys;
  for (const DocumentInput& document : documents) {
    RAG_RETURN_IF_ERROR(CheckDocument(document));
    if (!keys.insert(document.key).second) {
      return InvalidArgumentError("document '", document.key, "' stands twice in one call");
    }
  }
  Request request;
  request.documents = documents;
  if (documents.empty()) return request.results;
  RAG_RETURN_IF_ERROR(Submit(request));
  return std::move(request.results);
}

Result<WriteResult> CollectionImpl::Remove(std::string_view key) {
  RAG_ASSIGN_OR_RETURN(const std::vector<WriteResult> results, RemoveMany({&key, 1}));
  if (!results[0].replaced) return NoDocument(key);
  return results[0];
}

Result<std::vector<WriteResult>> CollectionImpl::RemoveMany(
    std::span<const std::string_view> keys) {
  std::set<std::string_view> seen;
  for (const std::string_view key : keys) {
    if (!seen.insert(key).second) {
      return InvalidArgumentError("document '", key, "' stands twice in one call");
    }
  }
  Request request;
  request.removed_keys = keys;
  if (keys.empty()) return request.results;
  RAG_RETURN_IF_ERROR(Submit(request));
  return std::move(request.results);
}

Status CollectionImpl::Submit(Request& request) {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  RAG_RETURN_IF_ERROR(database_.CheckWrites());
  std::unique_lock queue(queue_mutex_);
  queue_.push_back(&request);
  while (!request.done) {
    if (leading_) {
      queue_changed_.wait(queue);
      continue;
    }
    leading_ = true;
    const std::vector<Request*> group = TakeGroup();
    queue.unlock();
    Commit(group);
    queue.lock();
    for (Request* member : group) member->done = true;
    leading_ = false;
    queue_changed_.notify_all();
  }
  return request.status;
}

std::vector<CollectionImpl::Request*> CollectionImpl::TakeGroup() {
  // A key may stand once in a group: what it replaces is looked up in the database.
  std::vector<Request*> group;
  std::set<std::string_view> keys;
  size_t bytes = 0;
  while (!queue_.empty()) {
    Request* next = queue_.front();
    bool clash = false;
    size_t next_bytes = 0;
    for (const std::string_view key : next->removed_keys) clash = clash || keys.contains(key);
    for (const DocumentInput& document : next->documents) {
      clash = clash || keys.contains(document.key);
      next_bytes += InputBytes(document);
    }
    if (!group.empty() && (clash || bytes + next_bytes > kMaxGroupBytes)) break;
    keys.insert(next->removed_keys.begin(), next->removed_keys.end());
    for (const DocumentInput& document : next->documents) keys.insert(document.key);
    bytes += next_bytes;
    group.push_back(next);
    queue_.pop_front();
  }
  return group;
}

// Removals alone are always welcome.
Status CollectionImpl::CheckRoom(const std::vector<Request*>& group) const {
  const bool adds = std::any_of(group.begin(), group.end(),
                                [](const Request* request) { return !request->documents.empty(); });
  if (!adds || index_ == nullptr) return OkStatus();
  return index_->CheckRoom(config().vectors.memory_budget_bytes)
      .WithContext(StrCat("collection '", config().name, "'"));
}

void CollectionImpl::Commit(const std::vector<Request*>& group) {
  std::lock_guard commit(commit_mutex_);
  const Status room = CheckRoom(group);
  if (!room.ok()) {
    for (Request* request : group) request->status = room;
    return;
  }
  Change change(database_, number_, state());
  bool changes = false;
  const auto fail_all = [&](const Status& status) {
    for (Request* request : group) request->status = status;
  };
  for (Request* request : group) {
    // A failure is damaged records of the store: nothing of the group is written.
    for (const std::string_view key : request->removed_keys) {
      WriteResult result;
      const Status status = PrepareRemoval(key, change, result);
      if (!status.ok()) return fail_all(Named(status));
      changes = changes || result.replaced;
      request->results.push_back(result);
    }
    for (const DocumentInput& document : request->documents) {
      WriteResult result;
      const Status status = PrepareDocument(document, change, result);
      if (!status.ok()) return fail_all(Named(status));
      changes = true;
      request->results.push_back(result);
    }
  }
  if (!changes) return;
  change.postings.AppendTo(change.batch);
  change.sparse.AppendTo(change.batch);
  if (config().vectors.dim != 0) {
    change.batch.Put(Family::kRecords, NumberedKey(number_, kLogTag, change.state.sequence),
                     change.log.Encode());
  }
  change.batch.Put(Family::kDefault, StateKey(number_), change.state.Encode());
  const Status written = Write(change);
  if (!written.ok()) return fail_all(written);
  Apply(change);
}

Status CollectionImpl::Write(Change& change) {
  if (change.sparse.segments().empty()) return database_.Write(change.batch);
  sparse_cache_.BeginWrite(number_);
  Status written = database_.Write(change.batch);
  if (written.ok()) {
    sparse_cache_.EndWrite(number_, change.sparse);
  } else {
    sparse_cache_.Forget(number_);
  }
  return written;
}

Status CollectionImpl::PrepareRemoval(std::string_view key, Change& change, WriteResult& result) {
  const Result<std::vector<ChunkId>> chunks = ChunkIdsOf(key);
  if (chunks.status().code() == StatusCode::kNotFound) return OkStatus();
  RAG_RETURN_IF_ERROR(chunks.status());
  for (const ChunkId id : *chunks) {
    const std::string terms_key = NumberedKey(number_, kTermsTag, id);
    const Result<std::string> bytes = database_.Get(Family::kRecords, terms_key);
    if (bytes.ok()) {
      ChunkTerms terms;
      if (!terms.Decode(*bytes)) return DataLossError("the terms of chunk ", id, " are damaged");
      RAG_RETURN_IF_ERROR(change.postings.Remove(id, terms));
      change.state.lexical_chunks -= 1;
      change.state.lexical_terms -= terms.length;
      change.batch.Delete(Family::kRecords, terms_key);
    } else if (bytes.status().code() != StatusCode::kNotFound) {
      return bytes.status();
    }
    if (config().sparse_dim != 0) {
      const std::string sparse_key = NumberedKey(number_, kSparseTag, id);
      const Result<std::string> sparse = database_.Get(Family::kRecords, sparse_key);
      if (sparse.ok()) {
        SparseVector vector;
        if (!DecodeSparseVector(*sparse, vector)) return SparseDamage(id);
        RAG_RETURN_IF_ERROR(change.sparse.Remove(id, vector));
        change.batch.Delete(Family::kRecords, sparse_key);
      } else if (sparse.status().code() != StatusCode::kNotFound) {
        return sparse.status();
      }
    }
    if (config().attachments) {
      change.batch.Delete(Family::kRecords, NumberedKey(number_, kAttachmentTag, id));
    }
    change.batch.Delete(Family::kRecords, NumberedKey(number_, kChunkTag, id));
    change.batch.Delete(Family::kRecords, NumberedKey(number_, kAttributesTag, id));
    if (config().vectors.dim != 0) change.batch.Delete(Family::kVectors, VectorKey(number_, id));
    change.log.removed.push_back(id);
  }
  change.batch.Delete(Family::kRecords, DocumentKey(number_, key));
  change.batch.Delete(Family::kBodies, BodyKey(number_, key));
  change.state.documents -= 1;
  change.state.chunks -= chunks->size();
  result.replaced = true;
  result.chunks_removed = chunks->size();
  return OkStatus();
}

Status CollectionImpl::PrepareDocument(const DocumentInput& document, Change& change,
                                       WriteResult& result) {
  RAG_RETURN_IF_ERROR(PrepareRemoval(document.key, change, result));
  DocumentRecord record;
  record.payload = document.payload;
  record.attributes = document.attributes;
  for (size_t i = 0; i < document.chunks.size(); ++i) {
    const ChunkInput& chunk = document.chunks[i];
    const ChunkId id = change.state.next_chunk++;
    record.chunk_ids.push_back(id);
    change.batch.Put(Family::kRecords, NumberedKey(number_, kChunkTag, id),
                     EncodeChunkRecord(document.key, static_cast<uint32_t>(i), chunk.payload));
    Value attributes = MergeAttributes(document.attributes, chunk.attributes);
    if (attributes.is_object()) {
      change.batch.Put(Family::kRecords, NumberedKey(number_, kAttributesTag, id),
                       ToJson(attributes));
    }
    change.attributes.push_back({id, std::move(attributes)});
    const ChunkTerms terms = change.postings.Add(id, chunk.lexical_text);
    if (!terms.terms.empty()) {
      change.batch.Put(Family::kRecords, NumberedKey(number_, kTermsTag, id), terms.Encode());
      change.state.lexical_chunks += 1;
      change.state.lexical_terms += terms.length;
    }
    if (!chunk.attachment.empty()) {
      change.batch.Put(Family::kRecords, NumberedKey(number_, kAttachmentTag, id),
                       chunk.attachment);
    }
    if (!chunk.sparse.entries.empty()) {
      change.batch.Put(Family::kRecords, NumberedKey(number_, kSparseTag, id),
                       EncodeSparseVector(chunk.sparse));
      RAG_RETURN_IF_ERROR(change.sparse.Add(id, chunk.sparse));
    }
    if (config().vectors.dim != 0) {
      change.batch.Put(Family::kVectors, VectorKey(number_, id), EncodeVector(chunk.vector));
      change.vector_ids.push_back(id);
      change.vectors.insert(change.vectors.end(), chunk.vector.begin(), chunk.vector.end());
    }
    change.log.added.push_back(id);
  }
  change.batch.Put(Family::kRecords, DocumentKey(number_, document.key),
                   EncodeDocumentRecord(record));
  change.batch.Put(Family::kBodies, BodyKey(number_, document.key), document.body);
  change.state.documents += 1;
  change.state.chunks += document.chunks.size();
  result.chunks_added = document.chunks.size();
  return OkStatus();
}

void CollectionImpl::Apply(const Change& change) {
  {
    std::lock_guard lock(state_mutex_);
    state_ = change.state;
  }
  filters_.Update(change.log.removed, change.attributes);
  if (rebuilding_) missed_.push_back(change.log);
  if (index_ == nullptr) return;
  // The batch is durable: what fails here is repaired by the replay of the next opening, and said.
  Status status = index_->Remove(change.log.removed).status();
  if (status.ok() && !change.vector_ids.empty()) {
    status = index_->Add(
        change.vector_ids,
        MatrixView(change.vectors.data(), change.vector_ids.size(), config().vectors.dim));
  }
  vectors_since_snapshot_ += change.vector_ids.size() + change.log.removed.size();
  if (status.ok() && vectors_since_snapshot_ >= std::max<uint64_t>(kMinTail, index_->size() / 4)) {
    status = SaveSnapshot();
  }
  if (!status.ok()) {
    runtime_.Log(LogLevel::kError,
                 StrCat("collection '", config().name,
                        "': the vector index is behind the records until the next "
                        "opening: ",
                        status.ToString()));
  }
}

// --- reading ---

Status CollectionImpl::Named(const Status& status) const {
  if (status.code() != StatusCode::kDataLoss && status.code() != StatusCode::kIoError) {
    return status;
  }
  return status.WithContext(StrCat("collection '", config().name, "'"));
}

Result<std::string> CollectionImpl::Read(Family family, std::string_view key) const {
  Result<std::string> value = database_.Get(family, key);
  if (!value.ok()) return Named(value.status());
  return value;
}

Status CollectionImpl::NoDocument(std::string_view key) const {
  return NotFoundError("no document '", key, "' in collection '", config().name, "'");
}

Result<std::vector<ChunkId>> CollectionImpl::ChunkIdsOf(std::string_view key) const {
  const Result<std::string> bytes = Read(Family::kRecords, DocumentKey(number_, key));
  if (!bytes.ok()) {
    if (bytes.status().code() != StatusCode::kNotFound) return bytes.status();
    return NoDocument(key);
  }
  RAG_ASSIGN_OR_RETURN(DocumentRecord record, DecodeDocumentRecord(key, *bytes));
  return std::move(record.chunk_ids);
}

Result<DocumentRecord> CollectionImpl::GetDocument(std::string_view key) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  const Result<std::string> bytes = Read(Family::kRecords, DocumentKey(number_, key));
  if (!bytes.ok()) {
    if (bytes.status().code() != StatusCode::kNotFound) return bytes.status();
    return NoDocument(key);
  }
  return DecodeDocumentRecord(key, *bytes);
}

Result<std::string> CollectionImpl::GetBody(std::string_view key) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  Result<std::string> body = Read(Family::kBodies, BodyKey(number_, key));
  if (!body.ok() && body.status().code() == StatusCode::kNotFound) {
    return NoDocument(key);
  }
  return body;
}

Result<ChunkRecord> CollectionImpl::GetChunk(ChunkId id) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  const Result<std::string> bytes = Read(Family::kRecords, NumberedKey(number_, kChunkTag, id));
  if (!bytes.ok()) {
    if (bytes.status().code() != StatusCode::kNotFound) return bytes.status();
    return NotFoundError("no chunk ", id, " in collection '", config().name, "'");
  }
  RAG_ASSIGN_OR_RETURN(ChunkRecord record, DecodeChunkRecord(id, *bytes));
  RAG_ASSIGN_OR_RETURN(record.attributes, ReadAttributes(id));
  return record;
}

Result<Value> CollectionImpl::ReadAttributes(ChunkId id) const {
  const Result<std::string> bytes =
      Read(Family::kRecords, NumberedKey(number_, kAttributesTag, id));
  if (bytes.status().code() == StatusCode::kNotFound) return Value(Value::Object());
  RAG_RETURN_IF_ERROR(bytes.status());
  Result<Value> parsed = ParseJson(*bytes);
  if (!parsed.ok()) return DataLossError("the attributes of chunk ", id, " are damaged");
  return parsed;
}

Result<std::vector<float>> CollectionImpl::GetVector(ChunkId id) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  const Result<std::string> bytes = Read(Family::kVectors, VectorKey(number_, id));
  if (!bytes.ok()) {
    if (bytes.status().code() != StatusCode::kNotFound) return bytes.status();
    return NotFoundError("no vector of chunk ", id, " in collection '", config().name, "'");
  }
  return DecodeVector(id, *bytes, config().vectors.dim);
}

Result<SparseVector> CollectionImpl::GetSparseVector(ChunkId id) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  RAG_RETURN_IF_ERROR(CheckHasSparse());
  SparseVector vector;
  const Result<std::string> bytes = Read(Family::kRecords, NumberedKey(number_, kSparseTag, id));
  if (bytes.ok()) {
    if (!DecodeSparseVector(*bytes, vector)) return Named(SparseDamage(id));
    return vector;
  }
  if (bytes.status().code() != StatusCode::kNotFound) return bytes.status();
  // An empty one has no record; a chunk has.
  const Status chunk = Read(Family::kRecords, NumberedKey(number_, kChunkTag, id)).status();
  if (chunk.code() == StatusCode::kNotFound) {
    return NotFoundError("no chunk ", id, " in collection '", config().name, "'");
  }
  RAG_RETURN_IF_ERROR(chunk);
  return vector;
}

Result<std::string> CollectionImpl::GetAttachment(ChunkId id) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  Result<std::string> bytes = Read(Family::kRecords, NumberedKey(number_, kAttachmentTag, id));
  if (!bytes.ok() && bytes.status().code() == StatusCode::kNotFound) {
    return NotFoundError("no attachment of chunk ", id, " in collection '", config().name, "'");
  }
  return bytes;
}

Result<std::vector<DocumentRecord>> CollectionImpl::ListDocuments(std::string_view after,
                                                                  size_t limit) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  std::vector<DocumentRecord> records;
  limit = std::min(limit, kMaxListed);
  PrefixScan scan = database_.Scan(Family::kRecords, TaggedPrefix(number_, kDocumentTag));
  scan.Seek(after);
  if (scan.Valid() && !after.empty() && scan.key() == after) scan.Next();
  for (; scan.Valid() && records.size() < limit; scan.Next()) {
    RAG_ASSIGN_OR_RETURN(DocumentRecord record, DecodeDocumentRecord(scan.key(), scan.value()));
    records.push_back(std::move(record));
  }
  RAG_RETURN_IF_ERROR(Named(scan.status()));
  return records;
}

Result<std::shared_ptr<const ChunkSet>> CollectionImpl::Allowed(const Filter* filter) const {
  if (filter == nullptr) return std::shared_ptr<const ChunkSet>();
  Result<std::shared_ptr<const ChunkSet>> found = filters_.Find(*filter);
  if (!found.ok()) return Named(found.status());
  return found;
}

Result<std::string> CollectionImpl::ExplainFilter(const Filter& filter) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  Result<std::string> findings = filters_.Explain(filter);
  if (!findings.ok()) return Named(findings.status());
  return findings;
}

Result<std::vector<Neighbor>> CollectionImpl::SearchVectors(std::span<const float> query, size_t k,
                                                            const Filter* filter, size_t ef_search,
                                                            bool exact) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  const std::shared_ptr<VectorIndex> searched = index();
  if (searched == nullptr) {
    return FailedPreconditionError("collection '", config().name, "' has no vectors");
  }
  if (query.size() != config().vectors.dim) {
    return InvalidArgumentError("a query of ", query.size(), " dimensions; collection '",
                                config().name, "' has ", config().vectors.dim);
  }
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<const ChunkSet> allowed, Allowed(filter));
  SearchOptions options = WidthOf(config().vectors, k);
  if (ef_search != 0) options.ef_search = ef_search;
  options.filter = allowed.get();
  options.exact = exact;
  const MatrixView view(query.data(), 1, query.size());
  Result<std::vector<std::vector<Neighbor>>> found = searched->Search(view, options);
  if (found.status().code() == StatusCode::kDataLoss ||
      found.status().code() == StatusCode::kIoError) {
    // Nothing about the collection changes but where its vectors are found.
    RAG_RETURN_IF_ERROR(
        const_cast<CollectionImpl*>(this)->ReplaceDamaged(searched, found.status()));
    found = index()->Search(view, options);
  }
  if (!found.ok()) return Named(found.status());
  return std::move((*found)[0]);
}

Result<std::vector<Neighbor>> CollectionImpl::SearchLexical(std::string_view query, size_t k,
                                                            const Filter* filter) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  RAG_RETURN_IF_ERROR(CheckK(k));
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<const ChunkSet> allowed, Allowed(filter));
  const CollectionState now = state();
  Result<std::vector<Neighbor>> found = SearchPostings(
      database_, number_, AnalyzeText(query),
      {now.lexical_chunks, now.lexical_terms, now.next_chunk}, Bm25Options(), k, allowed.get());
  if (!found.ok()) return Named(found.status());
  return found;
}

Result<std::vector<Neighbor>> CollectionImpl::SearchSparse(const SparseVector& query, size_t k,
                                                           const Filter* filter) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  RAG_RETURN_IF_ERROR(CheckHasSparse());
  RAG_RETURN_IF_ERROR(CheckK(k));
  RAG_RETURN_IF_ERROR(CheckSparse(query, "the query"));
  RAG_ASSIGN_OR_RETURN(const std::shared_ptr<const ChunkSet> allowed, Allowed(filter));
  Result<std::vector<Neighbor>> found = sparse_.Search(query, k, allowed.get());
  if (!found.ok()) return Named(found.status());
  return found;
}

Result<CollectionStats> CollectionImpl::Stats() const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  const CollectionState now = state();
  CollectionStats stats;
  stats.documents = now.documents;
  stats.chunks = now.chunks;
  if (const std::shared_ptr<VectorIndex> index = this->index()) {
    stats.index_memory_bytes = index->memory_bytes();
    stats.index_disk_bytes = index->disk_bytes();
  }
  stats.sparse_memory_bytes = sparse_cache_.bytes(number_);
  stats.replayed = replayed_;
  stats.open_seconds = open_seconds_;
  {
    std::lock_guard lock(state_mutex_);
    stats.recall = recall_;
  }
  stats.disk_bytes = FolderBytes(fs::path(folder_).parent_path());
  return stats;
}

}  // namespace rag
