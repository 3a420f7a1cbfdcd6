// Folders: made so that they outlast a loss of power, listed, and where they lie.
#pragma once

#include <filesystem>
#include <vector>

#include "lib/base/status.h"

namespace rag {

// Makes a folder and those above it that are missing, and syncs the name of each. Errors: as
// ErrnoError.
Status MakeFolders(const std::filesystem::path& path);

// Syncs the names of a folder and of those above it, up to where their file system is mounted: who
// made them may have been killed before it did. Those that may not be read are passed over, since
// their names were made by others. Errors: as ErrnoError; io_error when there is no such folder.
Status SyncNames(const std::filesystem::path& path);

// The paths of what lies in a folder, in no order. Errors: io_error, naming the folder.
Result<std::vector<std::filesystem::path>> ListFolder(const std::filesystem::path& folder);

// Whether `path` is `folder` or lies below it once links are followed; neither has to exist. False
// where that cannot be told.
bool IsBelow(const std::filesystem::path& path, const std::filesystem::path& folder);

}  // namespace rag
