#include "index/store/database.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include <sys/resource.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include "index/store/seal.h"
#include "lib/base/folder.h"

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

// Whether that leaves the process at least half of its descriptors.
bool MayOpenAll(const std::string& path) {
  const Result<std::vector<std::filesystem::path>> files = ListFolder(path);
  rlimit limit;
  if (!files.ok() || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  return files->size() < limit.rlim_cur / 2;
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
  if (family == Family::kBodies || family == Family::kRecords) {
    // A document's text, or a chunk's attachment, is moved by compactions once, not at every level.
    result.enable_blob_files = true;
    result.min_blob_size = 4 << 10;
    result.blob_compression_type = BestCompression();
    result.enable_blob_garbage_collection = true;
  }
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return result;
}

// RocksDB's messages, which may quote keys, go to the library's log; there is no file of them, so
// that vacuum need not clean one.
class ForwardingLogger final : public rocksdb::Logger {
 public:
  explicit ForwardingLogger(const Runtime& runtime)
      : rocksdb::Logger(rocksdb::InfoLogLevel::WARN_LEVEL), runtime_(runtime) {}
  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    Logv(rocksdb::InfoLogLevel::INFO_LEVEL, format, arguments);
  }
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < rocksdb::InfoLogLevel::WARN_LEVEL || level == rocksdb::InfoLogLevel::HEADER_LEVEL) {
      return;
    }
    char text[1024];
    std::vsnprintf(text, sizeof(text), format, arguments);
    runtime_.Log(level == rocksdb::InfoLogLevel::WARN_LEVEL ? LogLevel::kDebug : LogLevel::kWarning,
                 StrCat("database: ", text));
  }
  void LogHeader(const char*, va_list) override {}

 private:
  const Runtime& runtime_;
};

// Sets a flag soon after a token is cancelled: RocksDB looks at a flag, not at a token.
class CancelWatch {
 public:
  explicit CancelWatch(const CancelToken* cancel) {
    if (cancel == nullptr) return;
    thread_ = std::jthread([this, cancel](const std::stop_token& stop) {
      while (!stop.stop_requested() && !flag_.load()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        flag_.store(cancel->cancelled());
      }
    });
  }
  std::atomic<bool>* flag() { return &flag_; }

 private:
  std::atomic<bool> flag_{false};
  std::jthread thread_;  // joined before the flag goes
};

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

struct Database::Files {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  bool read_only = false;
  std::string path;
  std::string manifest;                  // at opening
  std::filesystem::file_time_type time;  // of opening

  Files() = default;
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() {
    if (db == nullptr) return;
    for (rocksdb::ColumnFamilyHandle* family : families) {
      db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
    }
    db->Close().PermitUncheckedError();
  }

  rocksdb::ColumnFamilyHandle* Handle(Family family) const {
    return families[static_cast<size_t>(family)];
  }

  Status FromRead(const rocksdb::Status& status, std::string_view what) const {
    if (read_only && status.IsPathNotFound() && CurrentManifest(path) != manifest) {
      return UnavailableError(
          what, ": another process has removed a file since the store was opened; open it again (",
          status.ToString(), ")");
    }
    return FromRocksDb(status, what);
  }
};

struct Database::Impl {
  StoreOptions options;
  std::shared_ptr<rocksdb::Cache> cache;  // of blocks

  mutable std::mutex files_mutex;      // guards files of a database that is open for reading;
  std::shared_ptr<const Files> files;  // a writer's stay the same

  mutable std::mutex mutex;  // guards failure
  Status failure;            // of the write after which no other is taken

  std::shared_ptr<const Files> Now() const {
    std::unique_lock<std::mutex> lock;
    if (options.read_only) lock = std::unique_lock(files_mutex);
    return files;
  }
};

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                 const StoreOptions& options,
                                                 const Runtime& runtime) {
  return OpenWith(path, options, /*damaged=*/false, /*earlier=*/nullptr, runtime);
}

Result<std::unique_ptr<Database>> Database::OpenDamaged(const std::string& path,
                                                        StoreOptions options,
                                                        const Runtime& runtime) {
  options.read_only = true;
  return OpenWith(path, options, /*damaged=*/true, /*earlier=*/nullptr, runtime);
}

Result<std::unique_ptr<Database>> Database::OpenAgain(const Runtime& runtime) const {
  return OpenWith(impl_->Now()->path, impl_->options, /*damaged=*/false, this, runtime);
}

std::shared_ptr<const void> Database::ReadFrom(std::unique_ptr<Database> newer) {
  std::shared_ptr<const Files> files = newer->impl_->Now();
  std::lock_guard lock(impl_->files_mutex);
  impl_->files.swap(files);
  return files;
}

std::string Database::Identity() const {
  std::string identity;
  return impl_->Now()->db->GetDbIdentity(identity).ok() ? identity : "";
}

Result<std::unique_ptr<Database>> Database::OpenWith(const std::string& path,
                                                     const StoreOptions& options, bool damaged,
                                                     const Database* earlier,
                                                     const Runtime& runtime) {
  const std::shared_ptr<rocksdb::Cache> cache =
      earlier != nullptr ? earlier->impl_->cache : rocksdb::NewLRUCache(options.cache_bytes);
  rocksdb::DBOptions db_options;
  db_options.create_if_missing = options.create_if_missing;
  // Off, a file that cannot be opened does not keep the others from being read; every block that is
  // read is checked all the same.
  db_options.paranoid_checks = !damaged;
  db_options.create_missing_column_families = true;
  db_options.max_background_jobs = 2;
  db_options.info_log = std::make_shared<ForwardingLogger>(runtime);
  // A manifest names the smallest and the largest key of every file. Every change starts a new one,
  // so that keys of files that are gone are not kept.
  db_options.max_manifest_file_size = 1;
  // A reader opens all files at once, where it may: a writer may remove them.
  db_options.max_open_files = options.read_only && MayOpenAll(path) ? -1 : 256;
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
  if (!options.read_only) {
    // Of programs that had RocksDB write its messages there.
    const Result<std::vector<std::filesystem::path>> files = ListFolder(path);
    for (const auto& file : files.ok() ? *files : std::vector<std::filesystem::path>()) {
      const std::string name = file.filename().string();
      std::error_code ignored;
      if (name == "LOG" || name.starts_with("LOG.old.")) std::filesystem::remove(file, ignored);
    }
  }
  auto files = std::make_shared<Files>();
  files->read_only = options.read_only;
  files->path = path;
  files->manifest = CurrentManifest(path);
  files->time = std::filesystem::file_time_type::clock::now();
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      options.read_only
          ? rocksdb::DB::OpenForReadOnly(db_options, path, descriptors, &files->families, &db)
          : rocksdb::DB::Open(db_options, path, descriptors, &files->families, &db);
  if (!status.ok()) return FromRocksDb(status, StrCat("cannot open the database '", path, "'"));
  files->db.reset(db);
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->cache = cache;
  impl->files = std::move(files);
  return std::unique_ptr<Database>(new Database(std::move(impl)));
}

Result<std::string> Database::Get(Family family, std::string_view key) const {
  const std::shared_ptr<const Files> files = impl_->Now();
  std::string value;
  const rocksdb::Status status =
      files->db->Get(rocksdb::ReadOptions(), files->Handle(family), ToSlice(key), &value);
  if (!status.ok()) return files->FromRead(status, "reading the database");
  return value;
}

std::filesystem::file_time_type Database::opened_at() const { return impl_->Now()->time; }

Status Database::CheckWrites() const {
  if (impl_->options.read_only) return FailedPreconditionError("the store was opened read-only");
  std::lock_guard lock(impl_->mutex);
  if (impl_->failure.ok()) return OkStatus();
  return IoError("the store takes no writes after a failed one until it is opened again (",
                 impl_->failure.message(), ")");
}

Status Database::Write(Batch& batch, bool sync) {
  RAG_RETURN_IF_ERROR(CheckWrites());
  rocksdb::WriteBatch rocks;
  rocksdb::Status status;
  for (const Batch::Impl::Operation& operation : batch.impl_->operations) {
    rocksdb::ColumnFamilyHandle* family = impl_->files->Handle(operation.family);
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
  write_options.sync = sync && impl_->options.sync_writes;
  status = impl_->files->db->Write(write_options, &rocks);
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
  std::shared_ptr<const Database::Files> files;  // outlive the iterator
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
  return impl_->files->FromRead(impl_->iterator->status(), "scanning the database");
}

PrefixScan Database::Scan(Family family, std::string prefix) const {
  auto scan = std::make_unique<PrefixScan::Impl>();
  scan->prefix = std::move(prefix);
  scan->files = impl_->Now();
  scan->end = PrefixEnd(scan->prefix);
  scan->end_slice = scan->end;
  rocksdb::ReadOptions options;
  if (!scan->end.empty()) options.iterate_upper_bound = &scan->end_slice;
  scan->iterator.reset(scan->files->db->NewIterator(options, scan->files->Handle(family)));
  scan->iterator->Seek(scan->prefix);
  return PrefixScan(std::move(scan));
}

Status Database::Compact(Family family, const std::string& prefix) {
  const std::string end = PrefixEnd(prefix);
  const rocksdb::Slice first = prefix, last = end;
  rocksdb::CompactRangeOptions options;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  return FromRocksDb(
      impl_->files->db->CompactRange(options, impl_->files->Handle(family), &first, &last),
      "compacting the database");
}

Status Database::Checkpoint(const std::string& path) {
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(impl_->files->db.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  // 0: the memory's records go into files first, so that no log is part of the copy.
  if (status.ok()) status = checkpoint->CreateCheckpoint(path, /*log_size_for_flush=*/0);
  return FromRocksDb(status, StrCat("making a checkpoint of the database in '", path, "'"));
}

Status Database::Vacuum(CareProgress* progress, const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(CheckWrites());
  const auto step = [&] {
    if (progress != nullptr) ++progress->done;
  };
  CancelWatch watch(cancel);
  // The logs before are of no use then, and are removed.
  RAG_RETURN_IF_ERROR(Flush());
  step();
  for (rocksdb::ColumnFamilyHandle* family : impl_->files->families) {
    rocksdb::CompactRangeOptions options;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    options.blob_garbage_collection_policy = rocksdb::BlobGarbageCollectionPolicy::kForce;
    options.blob_garbage_collection_age_cutoff = 1.0;
    options.canceled = watch.flag();
    const rocksdb::Status status =
        impl_->files->db->CompactRange(options, family, nullptr, nullptr);
    if (watch.flag()->load()) return CancelledError("vacuum was cancelled");
    RAG_RETURN_IF_ERROR(FromRocksDb(status, "compacting the database"));
    step();
  }
  // The manifest that the last compaction began lists the files before it, too: another change
  // begins one that does not. The format is written again as it is.
  RAG_ASSIGN_OR_RETURN(const std::string format, Get(Family::kDefault, kFormatKey));
  Batch batch;
  batch.Put(Family::kDefault, kFormatKey, format);
  RAG_RETURN_IF_ERROR(Write(batch));
  RAG_RETURN_IF_ERROR(Flush());
  // Switching deletions back on looks for every file that nothing uses.
  rocksdb::Status status = impl_->files->db->DisableFileDeletions();
  if (status.ok()) status = impl_->files->db->EnableFileDeletions(/*force=*/false);
  step();
  return FromRocksDb(status, "removing the database's old files");
}

Status Database::Flush() {
  return FromRocksDb(impl_->files->db->Flush(rocksdb::FlushOptions(), impl_->files->families),
                     "flushing the database");
}

}  // namespace rag
