#include "index/store/backup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "index/store/checked_json.h"
#include "lib/base/descriptor.h"
#include "lib/base/hash.h"

namespace rag {
namespace fs = std::filesystem;
namespace {

constexpr int kBackupFormat = 1;
constexpr size_t kHashBlock = size_t{4} << 20;
constexpr const char* kListName = "backup.json";
constexpr const char* kFilesFolder = "store";

struct Copied {
  uint64_t bytes = 0;
  uint64_t hash = 0;
};

// Reads with read(), not a mapping: a file of a backup that is truncated meanwhile gives an error.
Result<Copied> CopyFile(const fs::path& from, const fs::path& to, CareProgress* progress,
                        const CancelToken* cancel) {
  Descriptor in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (in.get() < 0) return ErrnoError("cannot read", from);
  Descriptor out(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (out.get() < 0) return ErrnoError("cannot create", to);
  std::vector<char> block(kHashBlock);
  Copied copied;
  for (bool ended = false; !ended;) {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
    size_t filled = 0;
    while (filled < block.size()) {
      const ssize_t got = ::read(in.get(), block.data() + filled, block.size() - filled);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError("cannot read", from);
      if (got == 0) {
        ended = true;
        break;
      }
      filled += static_cast<size_t>(got);
    }
    copied.hash = Hash64(std::string_view(block.data(), filled), copied.hash);
    copied.bytes += filled;
    for (size_t written = 0; written < filled;) {
      const ssize_t put = ::write(out.get(), block.data() + written, filled - written);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return ErrnoError("cannot write", to);
      written += static_cast<size_t>(put);
    }
    if (progress != nullptr) progress->done += filled;
  }
  if (::fsync(out.get()) != 0) return ErrnoError("cannot sync", to);
  return copied;
}

// Makes the folders between `root` and the file, and remembers them.
Status MakeFolders(const fs::path& root, const fs::path& relative, std::set<fs::path>& folders) {
  std::error_code error;
  for (fs::path folder = relative.parent_path(); !folder.empty(); folder = folder.parent_path()) {
    folders.insert(root / folder);
  }
  fs::create_directories((root / relative).parent_path(), error);
  if (error) return IoError("cannot make folders in '", root.string(), "': ", error.message());
  return OkStatus();
}

struct Listed {
  fs::path path;
  uint64_t bytes = 0;
  std::string hash;
};

// Below the backup's folder and nowhere else, whatever the list says.
bool IsInside(const fs::path& path) {
  if (path.empty() || path.is_absolute() || path.filename().empty()) return false;
  for (const fs::path& part : path) {
    if (part == ".." || part == ".") return false;
  }
  return true;
}

Result<std::vector<Listed>> ReadList(const fs::path& backup) {
  const std::string path = (backup / kListName).string();
  const Result<Value> checked = ReadCheckedJson(path);
  if (!checked.ok()) {
    if (checked.status().code() != StatusCode::kNotFound) return checked.status();
    return NotFoundError("'", backup.string(), "' holds no finished backup (no ", kListName, ")");
  }
  const Value& list = *checked;
  const auto read = [&]() -> Result<std::vector<Listed>> {
    RAG_ASSIGN_OR_RETURN(const int64_t format, list.GetInt("format", 0));
    if (format != kBackupFormat) {
      return FailedPreconditionError("'", path, "' has format ", format, "; this program knows ",
                                     kBackupFormat);
    }
    const Value* const files = list.Find("files");
    if (files == nullptr || !files->is_array()) return InvalidArgumentError("no 'files'");
    std::vector<Listed> listed;
    for (const Value& file : files->as_array()) {
      Listed entry;
      RAG_ASSIGN_OR_RETURN(const std::string name, file.GetString("path", ""));
      RAG_ASSIGN_OR_RETURN(const int64_t bytes, file.GetInt("bytes", -1));
      RAG_ASSIGN_OR_RETURN(entry.hash, file.GetString("hash", ""));
      entry.path = name;
      if (!IsInside(entry.path) || bytes < 0) {
        return InvalidArgumentError("file '", name, "' of ", bytes, " bytes");
      }
      entry.bytes = static_cast<uint64_t>(bytes);
      listed.push_back(std::move(entry));
    }
    return listed;
  };
  Result<std::vector<Listed>> listed = read();
  if (!listed.ok() && listed.status().code() == StatusCode::kInvalidArgument) {
    return DataLossError("'", path, "' is damaged: ", listed.status().message());
  }
  return listed;
}

}  // namespace

Result<PartialFolder> PartialFolder::Create(const std::string& path) {
  if (path.empty()) return InvalidArgumentError("the folder's path is empty");
  std::error_code error;
  PartialFolder folder;
  folder.target_ = fs::absolute(path, error).lexically_normal();
  if (error) return IoError("cannot resolve '", path, "': ", error.message());
  if (folder.target_.filename().empty()) folder.target_ = folder.target_.parent_path();
  if (fs::exists(folder.target_, error) && !fs::is_empty(folder.target_, error)) {
    return AlreadyExistsError("'", path, "' is there already and not an empty folder");
  }
  fs::path partial = folder.target_;
  partial += ".partial";
  fs::create_directories(partial, error);
  if (error) return IoError("cannot make the folder '", partial.string(), "': ", error.message());
  RAG_ASSIGN_OR_RETURN(folder.lock_,
                       ProcessLock::Take(partial, StrCat("'", partial.string(), "'")));
  for (const auto& entry : fs::directory_iterator(partial, error)) {
    if (entry.path().filename() == ProcessLock::kFileName) continue;
    fs::remove_all(entry.path(), error);
    if (error) return IoError("cannot clear '", partial.string(), "': ", error.message());
  }
  folder.partial_ = std::move(partial);  // from here on the destructor removes it
  return folder;
}

PartialFolder::~PartialFolder() {
  std::error_code ignored;
  if (!partial_.empty()) fs::remove_all(partial_, ignored);
}

Status PartialFolder::Finish() {
  RAG_RETURN_IF_ERROR(SyncFolder(partial_));
  std::error_code error;
  fs::remove(partial_ / ProcessLock::kFileName, error);
  if (::rename(partial_.c_str(), target_.c_str()) != 0) {
    return ErrnoError("cannot rename to", target_);
  }
  partial_.clear();
  return SyncFolder(target_.parent_path());
}

Status WriteBackup(const fs::path& source, const fs::path& folder, BackupReport& report,
                   CareProgress* progress, const CancelToken* cancel) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(source, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_regular_file(error)) files.push_back(entry->path().lexically_relative(source));
  }
  if (error) return IoError("cannot list '", source.string(), "': ", error.message());
  if (progress != nullptr) progress->total = FolderBytes(source);
  const fs::path root = folder / kFilesFolder;
  std::set<fs::path> folders = {root};
  Value::Array list;
  for (const fs::path& file : files) {
    RAG_RETURN_IF_ERROR(MakeFolders(root, file, folders));
    RAG_ASSIGN_OR_RETURN(const Copied copied,
                         CopyFile(source / file, root / file, progress, cancel));
    list.push_back(Value::Object{
        {"path", file.string()}, {"bytes", copied.bytes}, {"hash", HashToHex(copied.hash)}});
    ++report.files;
    report.bytes += copied.bytes;
  }
  for (const fs::path& made : folders) RAG_RETURN_IF_ERROR(SyncFolder(made));
  return WriteCheckedJson(
      (folder / kListName).string(),
      Value(Value::Object{{"format", kBackupFormat}, {"files", std::move(list)}}));
}

Status ReadBackup(const fs::path& backup, const fs::path& folder, BackupReport& report,
                  CareProgress* progress, const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(const std::vector<Listed> files, ReadList(backup));
  if (progress != nullptr) {
    uint64_t total = 0;
    for (const Listed& file : files) total += file.bytes;
    progress->total = total;
  }
  std::set<fs::path> folders;
  for (const Listed& file : files) {
    const fs::path from = backup / kFilesFolder / file.path;
    std::error_code error;
    if (!fs::is_regular_file(from, error)) {
      return DataLossError("the backup's file '", from.string(), "' is missing");
    }
    RAG_RETURN_IF_ERROR(MakeFolders(folder, file.path, folders));
    RAG_ASSIGN_OR_RETURN(const Copied copied, CopyFile(from, folder / file.path, progress, cancel));
    if (copied.bytes != file.bytes) {
      return DataLossError("the backup's file '", from.string(), "' has ", copied.bytes,
                           " bytes instead of ", file.bytes);
    }
    if (HashToHex(copied.hash) != file.hash) {
      return DataLossError("the backup's file '", from.string(), "' is damaged: checksum");
    }
    ++report.files;
    report.bytes += copied.bytes;
  }
  for (const fs::path& made : folders) RAG_RETURN_IF_ERROR(SyncFolder(made));
  return OkStatus();
}

uint64_t FolderBytes(const fs::path& folder) {
  uint64_t total = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;  // RocksDB deletes files meanwhile
    const uint64_t bytes = entry->is_regular_file(gone) ? entry->file_size(gone) : 0;
    if (!gone) total += bytes;
  }
  return total;
}

}  // namespace rag
