#include "lib/base/partial_folder.h"

#include <cstdio>
#include <system_error>
#include <utility>

#include "lib/base/descriptor.h"

namespace rag {

namespace fs = std::filesystem;

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
  partial += kSuffix;
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
  std::error_code error;
  fs::recursive_directory_iterator entry(partial_, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->is_directory()) RAG_RETURN_IF_ERROR(SyncFolder(entry->path().string()));
  }
  if (error) return IoError("cannot list '", partial_.string(), "': ", error.message());
  RAG_RETURN_IF_ERROR(SyncFolder(partial_.string()));
  fs::remove(partial_ / ProcessLock::kFileName, error);
  if (::rename(partial_.c_str(), target_.c_str()) != 0) {
    return ErrnoError("cannot rename to", target_);
  }
  partial_.clear();
  return SyncFolder(target_.parent_path());
}

}  // namespace rag
