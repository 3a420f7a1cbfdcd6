// ProcessLock: a folder that one process alone works in.
#pragma once

#include <filesystem>
#include <string_view>

#include "lib/base/descriptor.h"
#include "lib/base/status.h"

namespace rag {

// The kernel frees the lock when the process ends, however it ends, so that there is no stale one;
// the file's content only says who has it.
class ProcessLock {
 public:
  static constexpr const char* kFileName = "rag.lock";
  // What its holder does. Who wants it to work waits for one that recovers, a minute at most.
  enum class Holder { kWorks, kRecovers };

  // Errors: unavailable "`what` is in use by pid N"; as ErrnoError, not_found when there is no
  // `folder`.
  static Result<ProcessLock> Take(const std::filesystem::path& folder, std::string_view what,
                                  Holder holder = Holder::kWorks);

  ProcessLock() = default;

 private:
  Descriptor file_;
};

}  // namespace rag
