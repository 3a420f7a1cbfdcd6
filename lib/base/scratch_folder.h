// ScratchFolder: an empty folder among the system's temporary files, removed with all that is in
// it.
#pragma once

#include <string>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

class ScratchFolder {
 public:
  // In $TMPDIR, else /tmp; its name begins with `name`, so that what a killed process leaves behind
  // says whose it was. Errors: io_error naming the place.
  static Result<ScratchFolder> Create(std::string_view name);
  ~ScratchFolder();
  ScratchFolder(ScratchFolder&& other) noexcept;
  ScratchFolder& operator=(ScratchFolder&& other) noexcept;

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return StrCat(path_, "/", name); }

 private:
  explicit ScratchFolder(std::string path);
  std::string path_;  // "": moved away
};

}  // namespace rag
