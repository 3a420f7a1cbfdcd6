#include "index/store/backup.h"

#include <utility>
#include <vector>

#include "index/store/checked_json.h"
#include "lib/base/copy_file.h"
#include "lib/base/hash.h"

namespace rag {
namespace fs = std::filesystem;
namespace {

constexpr int kBackupFormat = 1;
// A part of the format: a file's hash is chained from block to block, so that other blocks would
// give another.
constexpr size_t kHashBlock = size_t{4} << 20;
constexpr const char* kListName = "backup.json";
constexpr const char* kFilesFolder = "store";

struct Copied {
  uint64_t bytes = 0;
  uint64_t hash = 0;
};

Result<Copied> CopyHashed(const fs::path& from, const fs::path& to, CareProgress* progress,
                          const CancelToken* cancel) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (error) return IoError("cannot make '", to.parent_path().string(), "': ", error.message());
  Copied copied;
  RAG_RETURN_IF_ERROR(
      CopyFile(from.string(), to.string(), kHashBlock, [&](std::span<const std::byte> block) {
        if (cancel != nullptr && cancel->cancelled()) return CancelledError("cancelled");
        copied.hash = Hash64(block, copied.hash);
        copied.bytes += block.size();
        if (progress != nullptr) progress->done += block.size();
        return OkStatus();
      }));
  return copied;
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
  Value::Array list;
  for (const fs::path& file : files) {
    RAG_ASSIGN_OR_RETURN(const Copied copied,
                         CopyHashed(source / file, root / file, progress, cancel));
    list.push_back(Value::Object{
        {"path", file.string()}, {"bytes", copied.bytes}, {"hash", HashToHex(copied.hash)}});
    ++report.files;
    report.bytes += copied.bytes;
  }
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
  for (const Listed& file : files) {
    const fs::path from = backup / kFilesFolder / file.path;
    std::error_code error;
    if (!fs::is_regular_file(from, error)) {
      return DataLossError("the backup's file '", from.string(), "' is missing");
    }
    RAG_ASSIGN_OR_RETURN(const Copied copied,
                         CopyHashed(from, folder / file.path, progress, cancel));
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
