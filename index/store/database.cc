#include "index/store/database.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace rag {
namespace {

Status FromRocksDb(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return OkStatus();
  const std::string message = StrCat(what, ": ", status.ToString());
  if (status.IsNotFound()) return NotFoundError(message);
  if (status.IsCorruption()) return DataLossError(message);
  if (status.IsInvalidArgument()) return InvalidArgumentError(message);
  return IoError(message);
}

rocksdb::Slice ToSlice(std::string_view text) { return {text.data(), text.size()}; }

rocksdb::CompressionType BestCompression() {
  const auto supported = rocksdb::GetSupportedCompressions();
  for (const auto wanted :
       {rocksdb::kZSTD, rocksdb::kLZ4Compression, rocksdb::kSnappyCompression}) {
    if (std::find(supported.begin(), supported.end(), wanted) != supported.end()) return wanted;
  }
  return rocksdb::kNoCompression;
}

rocksdb::ColumnFamilyOptions FamilyOptions(Family family, const StoreOptions& options,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions result;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.cache_index_and_filter_blocks = true;  // counted in the cache's budget
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;
  result.write_buffer_size = options.write_buffer_bytes;
  result.compression = BestCompression();
  if (family == Family::kVectors) {
    // Floats do not compress, and a vector is read alone.
    result.compression = rocksdb::kNoCompression;
    table.block_size = 16 << 10;
  }
  if (family == Family::kBodies) {
    // A document's text is moved by compactions once, not at every level.
    result.enable_blob_files = true;
    result.min_blob_size = 4 << 10;
    result.blob_compression_type = BestCompression();
    result.enable_blob_garbage_collection = true;
  }
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return result;
}

}  // namespace

struct Batch::Impl {
  struct Operation {
    enum class Kind { kPut, kDelete, kDeleteRange } kind;
    Family family;
    std::string key;
    std::string value;  // or the range's end
  };
  std::vector<Operation> operations;
};

Batch::Batch() : impl_(std::make_unique<Impl>()) {}
Batch::~Batch() = default;

void Batch::Put(Family family, std::string_view key, std::string_view value) {
  impl_->operations.push_back(
      {Impl::Operation::Kind::kPut, family, std::string(key), std::string(value)});
}
void Batch::Delete(Family family, std::string_view key) {
  impl_->operations.push_back({Impl::Operation::Kind::kDelete, family, std::string(key), ""});
}
void Batch::DeletePrefix(Family family, const std::string& prefix) {
  impl_->operations.push_back(
      {Impl::Operation::Kind::kDeleteRange, family, prefix, PrefixEnd(prefix)});
}

struct Database::Impl {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  bool sync_writes = true;
  bool read_only = false;

  mutable std::mutex mutex;  // guards failure
  Status failure;            // of the write after which no other is taken

  rocksdb::ColumnFamilyHandle* Handle(Family family) const {
    return families[static_cast<size_t>(family)];
  }
};

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Database::~Database() {
  if (impl_->db == nullptr) return;
  for (rocksdb::ColumnFamilyHandle* family : impl_->families) {
    impl_->db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }
  impl_->db->Close().PermitUncheckedError();
}

Result<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                 const StoreOptions& options) {
  const auto cache = rocksdb::NewLRUCache(options.cache_bytes);
  rocksdb::DBOptions db_options;
  db_options.create_if_missing = options.create_if_missing;
  db_options.create_missing_column_families = true;
  db_options.max_background_jobs = 2;
  db_options.keep_log_file_num = 2;
  db_options.max_open_files = 256;
  db_options.max_total_wal_size = std::max<size_t>(64 << 20, 4 * options.write_buffer_bytes);
  db_options.db_write_buffer_size = 4 * options.write_buffer_bytes;
  // A torn last record of the log is a write that was never acknowledged; anything worse is an
  // error.
  db_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (int i = 0; i < kFamilyCount; ++i) {
    descriptors.emplace_back(kFamilyNames[i],
                             FamilyOptions(static_cast<Family>(i), options, cache));
  }
  auto impl = std::make_unique<Impl>();
  impl->sync_writes = options.sync_writes;
  impl->read_only = options.read_only;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      options.read_only
          ? rocksdb::DB::OpenForReadOnly(db_options, path, descriptors, &impl->families, &db)
          : rocksdb::DB::Open(db_options, path, descriptors, &impl->families, &db);
  if (!status.ok()) return FromRocksDb(status, StrCat("cannot open the database '", path, "'"));
  impl->db.reset(db);
  return std::unique_ptr<Database>(new Database(std::move(impl)));
}

Result<std::string> Database::Get(Family family, std::string_view key) const {
  std::string value;
  const rocksdb::Status status =
      impl_->db->Get(rocksdb::ReadOptions(), impl_->Handle(family), ToSlice(key), &value);
  if (!status.ok()) return FromRocksDb(status, "reading the database");
  return value;
}

Status Database::Write(Batch& batch, bool sync) {
  if (impl_->read_only) return FailedPreconditionError("the store was opened read-only");
  {
    std::lock_guard lock(impl_->mutex);
    if (!impl_->failure.ok()) {
      return FailedPreconditionError(
          "the store takes no writes after a failed one; open it again (", impl_->failure.message(),
          ")");
    }
  }
  rocksdb::WriteBatch rocks;
  rocksdb::Status status;
  for (const Batch::Impl::Operation& operation : batch.impl_->operations) {
    rocksdb::ColumnFamilyHandle* family = impl_->Handle(operation.family);
    switch (operation.kind) {
      case Batch::Impl::Operation::Kind::kPut:
        status = rocks.Put(family, operation.key, operation.value);
        break;
      case Batch::Impl::Operation::Kind::kDelete:
        status = rocks.Delete(family, operation.key);
        break;
      case Batch::Impl::Operation::Kind::kDeleteRange:
        status = rocks.DeleteRange(family, operation.key, operation.value);
        break;
    }
    if (!status.ok()) return FromRocksDb(status, "preparing a write");
  }
  rocksdb::WriteOptions write_options;
  write_options.sync = sync && impl_->sync_writes;
  status = impl_->db->Write(write_options, &rocks);
  if (status.ok()) return OkStatus();
  Status failure = FromRocksDb(status, "writing to the database");
  std::lock_guard lock(impl_->mutex);
  if (impl_->failure.ok()) impl_->failure = failure;
  return failure;
}

struct PrefixScan::Impl {
  std::string prefix;
  std::string end;
  rocksdb::Slice end_slice;
  std::unique_ptr<rocksdb::Iterator> iterator;
};

PrefixScan::PrefixScan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PrefixScan::PrefixScan(PrefixScan&&) noexcept = default;
PrefixScan::~PrefixScan() = default;

bool PrefixScan::Valid() const { return impl_->iterator->Valid(); }
void PrefixScan::Next() { impl_->iterator->Next(); }
void PrefixScan::Seek(std::string_view key) {
  impl_->iterator->Seek(std::string(impl_->prefix).append(key));
}
std::string_view PrefixScan::key() const {
  return impl_->iterator->key().ToStringView().substr(impl_->prefix.size());
}
std::string_view PrefixScan::value() const { return impl_->iterator->value().ToStringView(); }
Status PrefixScan::status() const {
  return FromRocksDb(impl_->iterator->status(), "scanning the database");
}

PrefixScan Database::Scan(Family family, std::string prefix) const {
  auto scan = std::make_unique<PrefixScan::Impl>();
  scan->prefix = std::move(prefix);
  scan->end = PrefixEnd(scan->prefix);
  scan->end_slice = scan->end;
  rocksdb::ReadOptions options;
  if (!scan->end.empty()) options.iterate_upper_bound = &scan->end_slice;
  scan->iterator.reset(impl_->db->NewIterator(options, impl_->Handle(family)));
  scan->iterator->Seek(scan->prefix);
  return PrefixScan(std::move(scan));
}

Status Database::Compact(Family family, const std::string& prefix) {
  const std::string end = PrefixEnd(prefix);
  const rocksdb::Slice first = prefix, last = end;
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  return FromRocksDb(impl_->db->CompactRange(options, impl_->Handle(family), &first, &last),
                     "compacting the database");
}

Status Database::Flush() {
  return FromRocksDb(impl_->db->Flush(rocksdb::FlushOptions(), impl_->families),
                     "flushing the database");
}

}  // namespace rag
