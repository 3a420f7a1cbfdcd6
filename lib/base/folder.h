// Folders that outlast a loss of power, and where they lie.
#pragma once

#include <filesystem>

#include "lib/base/status.h"

namespace rag {

// Makes a folder and those above it that are missing, and syncs the name of each. Errors: as
// ErrnoError.
Status MakeFolders(const std::filesystem::path& path);

// Whether `path` is `folder` or lies below it once links are followed; neither has to exist. False
// where that cannot be told.
bool IsBelow(const std::filesystem::path& path, const std::filesystem::path& folder);

}  // namespace rag
