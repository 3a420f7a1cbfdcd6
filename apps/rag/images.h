// Pictures named on the command line.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/classify.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/image/image.h"

namespace rag {

inline constexpr size_t kMaxImageBytes = size_t{64} << 20;

// The file's bytes. Errors: those of ReadFile.
Result<std::string> ReadImageFile(const std::string& path);
Result<Image> ReadImage(const std::string& path);
// The files, decoded. Errors: of the first that cannot be read.
Result<std::vector<Image>> ReadImages(std::span<const std::string> paths);
// What stands for one picture among those of rag classify and rag probe predict: printed, or added
// to the list that --json gives.
void AddClassification(const std::string& path, const Classification& scores, bool json,
                       Value::Array& list);

// Pictures decoded at a time.
inline constexpr size_t kImagesAtOnce = 32;

}  // namespace rag
