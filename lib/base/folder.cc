#include "lib/base/folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include "lib/base/descriptor.h"

namespace rag {

namespace fs = std::filesystem;

Status MakeFolders(const fs::path& path) {
  std::error_code ignored;
  if (path.empty() || fs::is_directory(path, ignored)) return OkStatus();
  const fs::path parent = path.parent_path();
  RAG_RETURN_IF_ERROR(MakeFolders(parent));
  if (::mkdir(path.c_str(), 0777) != 0) {
    Status failed = ErrnoError("cannot make the folder", path.string());
    if (!fs::is_directory(path, ignored)) return failed;  // else another process was first
  }
  return SyncFolder(parent.empty() ? "." : parent.string());
}

Result<std::vector<fs::path>> ListFolder(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    paths.push_back(entry->path());
  }
  if (error) return IoError("cannot list '", folder.string(), "': ", error.message());
  return paths;
}

bool IsBelow(const fs::path& path, const fs::path& folder) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(path, error);
  if (error) return false;
  const fs::path around = fs::weakly_canonical(folder, error);
  if (error) return false;
  return std::mismatch(around.begin(), around.end(), whole.begin(), whole.end()).first ==
         around.end();
}

}  // namespace rag
