#include "lib/base/partial_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "lib/base/descriptor.h"
#include "lib/base/folder.h"

namespace rag {

namespace fs = std::filesystem;

namespace {

constexpr int kTries = 64;

// OK when a folder can be renamed to `path`: files and links cannot be replaced by one.
Status CheckPlace(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) return OkStatus();
  bool empty = false;
  if (!error && fs::is_directory(status)) empty = fs::is_empty(path, error);
  if (error) return IoError("cannot look at '", path.string(), "': ", error.message());
  if (empty) return OkStatus();
  return AlreadyExistsError("'", path.string(), "' is there already and not an empty folder");
}

// Makes the folder that is filled, where none was left.
Status MakePartial(const fs::path& path) {
  if (::mkdir(path.c_str(), 0777) == 0) return OkStatus();
  if (errno != EEXIST) return ErrnoError("cannot make the folder", path.string());
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (fs::is_directory(status) || status.type() == fs::file_type::not_found) return OkStatus();
  return AlreadyExistsError("'", path.string(), "' is there already and not a folder");
}

// Removes all but the lock.
Status Clear(const fs::path& folder) {
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(folder));
  for (const fs::path& path : paths) {
    if (path.filename() == ProcessLock::kFileName) continue;
    std::error_code error;
    fs::remove_all(path, error);
    if (error) return IoError("cannot remove '", path.string(), "': ", error.message());
  }
  return OkStatus();
}

}  // namespace

Result<PartialFolder> PartialFolder::Create(const std::string& path) {
  if (path.empty()) return InvalidArgumentError("the folder's path is empty");
  std::error_code error;
  PartialFolder folder;
  folder.target_ = fs::absolute(path, error).lexically_normal();
  if (error) return IoError("cannot resolve '", path, "': ", error.message());
  if (folder.target_.filename().empty()) folder.target_ = folder.target_.parent_path();
  fs::path partial = folder.target_;
  partial += kSuffix;
  for (int i = 0; i < kTries; ++i) {
    RAG_RETURN_IF_ERROR(CheckPlace(folder.target_));
    RAG_RETURN_IF_ERROR(MakeFolders(partial.parent_path()));
    RAG_RETURN_IF_ERROR(MakePartial(partial));
    Result<ProcessLock> lock = ProcessLock::Take(partial, StrCat("'", partial.string(), "'"));
    // Who had it has finished or removed it.
    if (lock.status().code() == StatusCode::kNotFound) continue;
    RAG_ASSIGN_OR_RETURN(folder.lock_, std::move(lock));
    folder.partial_ = std::move(partial);  // from here on the destructor removes it
    // Another process may have finished since the place was looked at; from here on none does.
    RAG_RETURN_IF_ERROR(CheckPlace(folder.target_));
    RAG_RETURN_IF_ERROR(Clear(folder.partial_));
    return folder;
  }
  return UnavailableError("'", partial.string(), "' is made and removed by others");
}

PartialFolder::~PartialFolder() {
  if (partial_.empty()) return;
  // The lock is the last thing in it: who comes after its removal makes another, with which the
  // folder cannot be removed.
  Clear(partial_).Ignore();
  std::error_code ignored;
  fs::remove(partial_ / ProcessLock::kFileName, ignored);
  fs::remove(partial_, ignored);
}

Status PartialFolder::Finish() {
  std::error_code error;
  for (fs::recursive_directory_iterator entry(partial_, error), end; !error && entry != end;
       entry.increment(error)) {
    const bool folder = fs::is_directory(entry->symlink_status(error));
    if (error) break;
    if (folder) RAG_RETURN_IF_ERROR(SyncFolder(entry->path().string()));
  }
  if (error) return IoError("cannot list '", partial_.string(), "': ", error.message());
  RAG_RETURN_IF_ERROR(SyncFolder(partial_.string()));
  // With the lock in it: without, another process could take it and clear the folder before.
  if (::rename(partial_.c_str(), target_.c_str()) != 0) {
    Status failed = ErrnoError("cannot rename to", target_.string());
    RAG_RETURN_IF_ERROR(CheckPlace(target_));
    return failed;
  }
  partial_.clear();
  const fs::path lock = target_ / ProcessLock::kFileName;
  if (::unlink(lock.c_str()) != 0) return ErrnoError("cannot remove", lock.string());
  RAG_RETURN_IF_ERROR(SyncFolder(target_.string()));
  return SyncFolder(target_.parent_path().string());
}

}  // namespace rag
