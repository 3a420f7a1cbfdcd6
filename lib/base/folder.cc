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

Status SyncNames(const fs::path& path) {
  std::error_code error;
  fs::path folder = fs::canonical(path, error);
  if (error) return IoError("cannot find the folder '", path.string(), "': ", error.message());
  for (; folder.has_relative_path(); folder = folder.parent_path()) {
    const fs::path parent = folder.parent_path();
    struct stat here;
    struct stat above;
    if (::stat(folder.c_str(), &here) != 0 || ::stat(parent.c_str(), &above) != 0) {
      return ErrnoError("cannot look at the folder", folder.string());
    }
    if (here.st_dev != above.st_dev) break;
    Status synced = SyncFolder(parent.string());
    if (!synced.ok() && synced.code() != StatusCode::kPermissionDenied) return synced;
  }
  return OkStatus();
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
