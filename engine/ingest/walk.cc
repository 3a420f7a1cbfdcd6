#include "engine/ingest/walk.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <unordered_set>
#include <utility>

namespace rag {
namespace {

namespace fs = std::filesystem;

class Walker {
 public:
  Walker(bool follow_hidden, const std::string& excluded_folder, IngestProgress* progress,
         const CancelToken* cancel)
      : follow_hidden_(follow_hidden), progress_(progress), cancel_(cancel) {
    struct stat info;
    if (!excluded_folder.empty() && ::stat(excluded_folder.c_str(), &info) == 0) {
      seen_folders_.insert({info.st_dev, info.st_ino});
    }
  }

  void Add(const std::string& given) {
    if (given == kStandardInput) return AddFile(given, 0);
    if (given.empty()) return Fail(given, InvalidArgumentError("a path is empty"));
    const std::string path = AbsolutePath(given);
    struct stat info;
    if (::stat(path.c_str(), &info) != 0) return Fail(path, StatError(path));
    if (S_ISDIR(info.st_mode)) {
      WalkFolder(path, info);
    } else {
      AddFile(path, info.st_size);
    }
  }

  WalkResult Take() { return std::move(result_); }

 private:
  static Status StatError(const std::string& path) {
    const std::string message = StrCat("cannot look at '", path, "': ", std::strerror(errno));
    if (errno == ENOENT || errno == ENOTDIR) return NotFoundError(message);
    if (errno == EACCES) return PermissionDeniedError(message);
    return IoError(message);
  }

  void Fail(const std::string& path, Status error) {
    result_.failures.push_back({path, std::move(error)});
  }

  void AddFile(const std::string& path, off_t bytes) {
    if (!seen_files_.insert(path).second) return;
    result_.files.push_back(path);
    if (progress_ == nullptr) return;
    progress_->files_total.fetch_add(1, std::memory_order_relaxed);
    progress_->bytes_total.fetch_add(static_cast<uint64_t>(bytes), std::memory_order_relaxed);
  }

  // An explicit stack instead of recursion: a folder tree may be deeper than the thread's stack.
  void WalkFolder(const std::string& top, const struct stat& top_info) {
    if (!seen_folders_.insert({top_info.st_dev, top_info.st_ino}).second) return;
    std::vector<std::string> pending = {top};
    while (!pending.empty()) {
      if (cancel_ != nullptr && cancel_->cancelled()) return;
      const std::string path = std::move(pending.back());
      pending.pop_back();
      struct stat info;
      if (::stat(path.c_str(), &info) != 0) {
        Fail(path, StatError(path));
        continue;
      }
      if (!S_ISDIR(info.st_mode)) {
        AddFile(path, info.st_size);
        continue;
      }
      if (path != top && !seen_folders_.insert({info.st_dev, info.st_ino}).second) continue;
      std::vector<std::string> entries = ReadFolder(path);
      // The stack hands out the last entry first.
      std::sort(entries.begin(), entries.end(), std::greater<>());
      std::move(entries.begin(), entries.end(), std::back_inserter(pending));
    }
  }

  std::vector<std::string> ReadFolder(const std::string& path) {
    std::vector<std::string> entries;
    std::error_code error;
    fs::directory_iterator it(path, error);
    while (!error && it != fs::directory_iterator()) {
      const std::string name = it->path().filename().string();
      if (follow_hidden_ || name.front() != '.') entries.push_back(it->path().string());
      it.increment(error);
    }
    if (error) {
      const std::string message = StrCat("cannot read the folder '", path, "': ", error.message());
      Fail(path, error == std::errc::permission_denied ? PermissionDeniedError(message)
                                                       : IoError(message));
    }
    return entries;
  }

  const bool follow_hidden_;
  IngestProgress* const progress_;
  const CancelToken* const cancel_;
  WalkResult result_;
  std::set<std::pair<dev_t, ino_t>> seen_folders_;
  std::unordered_set<std::string> seen_files_;
};

}  // namespace

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  std::string text = (error ? fs::path(path) : absolute).lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

WalkResult WalkPaths(std::span<const std::string> paths, bool follow_hidden,
                     const std::string& excluded_folder, IngestProgress* progress,
                     const CancelToken* cancel) {
  Walker walker(follow_hidden, excluded_folder, progress, cancel);
  for (const std::string& path : paths) walker.Add(path);
  if (progress != nullptr) progress->walking.store(false, std::memory_order_relaxed);
  return walker.Take();
}

}  // namespace rag
