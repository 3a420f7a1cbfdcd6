#include "lib/base/scratch_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace rag {

Result<ScratchFolder> ScratchFolder::Create(std::string_view name) {
  std::error_code error;
  const std::filesystem::path place = std::filesystem::temp_directory_path(error);
  if (error) return IoError("no folder for temporary files: ", error.message());
  // mkdtemp replaces the six letters.
  std::string path = (place / StrCat(name, "-XXXXXX")).string();
  if (::mkdtemp(path.data()) == nullptr) {
    return IoError("cannot make a folder in '", place.string(), "': ", std::strerror(errno));
  }
  return ScratchFolder(std::move(path));
}

ScratchFolder::ScratchFolder(std::string path) : path_(std::move(path)) {}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

ScratchFolder::ScratchFolder(ScratchFolder&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

ScratchFolder& ScratchFolder::operator=(ScratchFolder&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

}  // namespace rag
