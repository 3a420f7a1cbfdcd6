// PartialFolder: a folder that is filled and becomes what others see at once.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "lib/base/process_lock.h"
#include "lib/base/status.h"

namespace rag {

// It is filled beside its place, as `PATH.partial`, and renamed into it. What a killed process left
// there is cleared by the next one.
class PartialFolder {
 public:
  static constexpr std::string_view kSuffix = ".partial";

  // Errors: already_exists when there is something at `path` besides an empty folder; unavailable
  // when another process is filling it; invalid_argument, permission_denied, io_error.
  static Result<PartialFolder> Create(const std::string& path);
  PartialFolder(PartialFolder&&) noexcept = default;
  ~PartialFolder();  // removes what was not finished

  const std::filesystem::path& path() const { return partial_; }
  // Makes all names in it durable and puts it into its place. The files are synced already.
  Status Finish();

 private:
  PartialFolder() = default;
  std::filesystem::path target_;
  std::filesystem::path partial_;
  ProcessLock lock_;
};

}  // namespace rag
