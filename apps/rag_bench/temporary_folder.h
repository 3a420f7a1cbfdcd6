// A folder that is removed with everything in it at the end of its life.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "lib/base/status.h"

namespace rag::bench {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    path_ = (std::filesystem::temp_directory_path(error) / "rag-bench.XXXXXX").string();
    if (!error && ::mkdtemp(path_.data()) != nullptr) return;
    status_ = IoError("cannot make the temporary folder '", path_, "'");
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (status_.ok()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  // Whether there is a folder.
  const Status& status() const { return status_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  Status status_;
};

}  // namespace rag::bench
