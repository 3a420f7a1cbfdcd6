// Copies of files that are on the disk when the copying ends.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "lib/base/status.h"

namespace rag {

inline constexpr size_t kCopyBlockBytes = size_t{4} << 20;

using TakeBlock = std::function<Status(std::span<const std::byte> block)>;

// Gives a file's content to `take` in blocks of block_bytes, the last of which is shorter, or
// empty. It is read and not mapped: what is cut off meanwhile is missing and raises no signal.
// Errors: as ErrnoError, and what `take` returns.
Status ReadBlocks(const std::string& path, size_t block_bytes, const TakeBlock& take);

// Writes a new file, with the mode of the other less the process's umask, and syncs it; its name
// is the caller's to sync (SyncFolder). `take` is given each block before it is written. Errors: as
// ReadBlocks; the file is left as far as it came.
Status CopyFile(const std::string& from, const std::string& to, size_t block_bytes,
                const TakeBlock& take);
Status CopyFile(const std::string& from, const std::string& to);

// Copies every file below `from` likewise, links followed, into the folder `to`, which is made
// where it is missing. Errors: as CopyFile; invalid_argument for what is neither file nor folder,
// and when `to` is `from` or below it, also by a link: such a copy would never end.
Status CopyFolder(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace rag
