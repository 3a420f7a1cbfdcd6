// The folder of a backup:
//   backup.json   two lines: {"format", "files": [{"path", "bytes", "hash"}]}, and the first line's
//                 hash
//   store/...     the files
// A file's hash is that of its blocks of kHashBlock bytes, each seeded with the hash before it.
#pragma once

#include <filesystem>
#include <string>

#include "index/store.h"
#include "lib/base/cancel.h"
#include "lib/base/status.h"

namespace rag {

// Copies every file below `source` into `folder`, syncs and lists them there, the list last. The
// folders' names are left to PartialFolder::Finish, as ReadBackup's are.
Status WriteBackup(const std::filesystem::path& source, const std::filesystem::path& folder,
                   BackupReport& report, CareProgress* progress, const CancelToken* cancel);
// Copies the files that the backup lists into `folder`. Errors: data_loss naming the file when one
// is missing, shorter, longer or of another hash; not_found when there is no backup.
Status ReadBackup(const std::filesystem::path& backup, const std::filesystem::path& folder,
                  BackupReport& report, CareProgress* progress, const CancelToken* cancel);

// Of every file below; those that vanish meanwhile are left out.
uint64_t FolderBytes(const std::filesystem::path& folder);

}  // namespace rag
