// Which files a list of paths stands for.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ingest.h"
#include "lib/base/cancel.h"

namespace rag {

inline constexpr std::string_view kStandardInput = "-";

struct WalkResult {
  // Absolute and sorted within each given path, each file once; "-" as it was given.
  std::vector<std::string> files;
  std::vector<IngestFailure> failures;  // paths that are not there, folders that cannot be read
};

// Folders are walked to the bottom, symbolic links followed; a folder that was entered before (a
// loop, or a second way to it) is not entered again. Names that begin with a dot are passed over
// unless follow_hidden or given by the caller; `excluded_folder` (the store's own; "" for none) is
// never entered. Grows progress->files_total and bytes_total.
WalkResult WalkPaths(std::span<const std::string> paths, bool follow_hidden,
                     const std::string& excluded_folder, IngestProgress* progress,
                     const CancelToken* cancel);

// Absolute, without "." and ".." parts and trailing slash.
std::string AbsolutePath(const std::string& path);

}  // namespace rag
