// Database: the store's RocksDB with its column families, in our terms: Status instead of
// rocksdb::Status, and a failed sync that stops all writing.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "index/store.h"
#include "index/store/keys.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"
#include "lib/runtime/runtime.h"

namespace rag {

// Changes that are written together.
class Batch {
 public:
  Batch();
  ~Batch();
  void Put(Family family, std::string_view key, std::string_view value);
  void Delete(Family family, std::string_view key);
  void DeletePrefix(Family family, const std::string& prefix);

 private:
  friend class Database;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Keys that begin with a prefix, in order, as they were when it was made.
class PrefixScan {
 public:
  PrefixScan(PrefixScan&&) noexcept;
  ~PrefixScan();
  bool Valid() const;
  void Next();
  // Goes to the first key at or after `key`.
  void Seek(std::string_view key);
  std::string_view key() const;    // without the prefix
  std::string_view value() const;  // both until the next move
  Status status() const;           // ok unless reading failed

 private:
  friend class Database;
  struct Impl;
  explicit PrefixScan(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Thread-safe.
class Database {
 public:
  static Result<std::unique_ptr<Database>> Open(const std::string& path,
                                                const StoreOptions& options,
                                                const Runtime& runtime);
  // For a database some of whose files of records are damaged while its log and manifest are known
  // to be whole: for reading alone, and what lies in the damaged files is data_loss when it is
  // read.
  static Result<std::unique_ptr<Database>> OpenDamaged(const std::string& path,
                                                       StoreOptions options,
                                                       const Runtime& runtime);
  ~Database();

  // Of one open for reading: as the files are now, with the blocks that this one has in memory.
  Result<std::unique_ptr<Database>> OpenAgain(const Runtime& runtime) const;
  // Of one open for reading: from now on its reads are those of `newer`; scans that were begun go
  // on as they were. Gives what it has read until now, to be let go of.
  std::shared_ptr<const void> ReadFrom(std::unique_ptr<Database> newer);
  // The same for one database in all its states; "" when that is not known.
  std::string Identity() const;

  // Errors: not_found, io_error, data_loss; unavailable when it is open for reading alone and a
  // writer has removed the file since.
  Result<std::string> Get(Family family, std::string_view key) const;
  // Durable on return, unless sync_writes is off. After a failure every later Write is
  // an io_error: what the log holds is then unknown.
  Status Write(Batch& batch, bool sync = true);
  // Ok, or what Write would say at once.
  Status CheckWrites() const;
  std::filesystem::file_time_type opened_at() const;
  PrefixScan Scan(Family family, std::string prefix) const;
  // Gives the space of deleted keys that begin with `prefix` back to the file system.
  Status Compact(Family family, const std::string& prefix);
  Status Flush();
  // A copy of the files at one moment in the new folder `path`, as links where the file system has
  // them.
  Status Checkpoint(const std::string& path);
  // Leaves no file that holds something deleted or overwritten before the call. Adds kVacuumSteps
  // to progress.
  Status Vacuum(CareProgress* progress, const CancelToken* cancel);
  static constexpr uint64_t kVacuumSteps = kFamilyCount + 2;

 private:
  friend class PrefixScan;
  struct Files;  // as they were at one moment
  struct Impl;
  // With the cache of `earlier`, unless that is null.
  static Result<std::unique_ptr<Database>> OpenWith(const std::string& path,
                                                    const StoreOptions& options, bool damaged,
                                                    const Database* earlier,
                                                    const Runtime& runtime);
  explicit Database(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rag
