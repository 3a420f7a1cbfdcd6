// The folder of a backup:
//   backup.json   two lines: {"format", "files": [{"path", "bytes", "hash"}]}, and the first line's
//                 hash
//   store/...     the files
// A file's hash is that of its blocks of kHashBlock bytes, each seeded with the hash before it.
#pragma once

#include <filesystem>
#include <string>

#include "index/store.h"
#include "index/store/process_lock.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// A folder that comes into being whole: it is filled beside its place, as `PATH.partial`, and
// renamed into it. What a killed process left there is cleared by the next one.
class PartialFolder {
 public:
  // Errors: already_exists when there is something at `path` besides an empty folder; unavailable
  // when another process is filling it; io_error.
  static Result<PartialFolder> Create(const std::string& path);
  PartialFolder(PartialFolder&&) noexcept = default;
  ~PartialFolder();  // removes what was not finished

  const std::filesystem::path& path() const { return partial_; }
  // Makes the names durable and puts the folder into its place. The files are synced already.
  Status Finish();

 private:
  PartialFolder() = default;
  std::filesystem::path target_;
  std::filesystem::path partial_;
  ProcessLock lock_;
};

// Copies every file below `source` into `folder`, syncs and lists them there, the list last.
Status WriteBackup(const std::filesystem::path& source, const std::filesystem::path& folder,
                   BackupReport& report, CareProgress* progress, const CancelToken* cancel);
// Copies the files that the backup lists into `folder`. Errors: data_loss naming the file when one
// is missing, shorter, longer or of another hash; not_found when there is no backup.
Status ReadBackup(const std::filesystem::path& backup, const std::filesystem::path& folder,
                  BackupReport& report, CareProgress* progress, const CancelToken* cancel);

// Of every file below; those that vanish meanwhile are left out.
uint64_t FolderBytes(const std::filesystem::path& folder);

}  // namespace rag
