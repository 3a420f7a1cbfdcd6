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

  // Makes the folders above `path` too. Errors: already_exists when there is something at `path`,
  // be it a link, besides an empty folder, or at `PATH.partial` besides a folder; unavailable when
  // another process is filling it; invalid_argument; as ErrnoError.
  static Result<PartialFolder> Create(const std::string& path);
  PartialFolder(PartialFolder&&) noexcept = default;
  ~PartialFolder();  // removes what was not finished

  const std::filesystem::path& path() const { return partial_; }
  // Makes all names in it durable and puts it into its place. The files are synced already. Errors:
  // already_exists as Create, when that came meanwhile; as ErrnoError.
  Status Finish();

 private:
  PartialFolder() = default;
  std::filesystem::path target_;
  std::filesystem::path partial_;  // empty: not ours, or no longer
  ProcessLock lock_;
};

}  // namespace rag
