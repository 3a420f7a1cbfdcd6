// Pictures named on the command line.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/image/image.h"

namespace rag {

inline constexpr size_t kMaxImageBytes = size_t{64} << 20;

// The file's bytes. Errors: those of ReadFile.
Result<std::string> ReadImageFile(const std::string& path);
// The files, decoded. Errors: of the first that cannot be read.
Result<std::vector<Image>> ReadImages(std::span<const std::string> paths);

}  // namespace rag
