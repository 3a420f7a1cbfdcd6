// Chosen entries of a ZIP archive in memory.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

struct ZipLimits {
  size_t max_entries = 10'000;
  size_t max_entry_bytes = size_t{64} << 20;  // unpacked
  size_t max_total_bytes = size_t{96} << 20;  // of the chosen entries, unpacked
  // Unpacked bytes for each byte of the archive, past the first megabyte. XML of office files packs
  // to a tenth, of very regular tables to a hundredth; deflate's own bound is 1,032.
  size_t max_ratio = 250;
};

// Name -> content of the entries that `wanted` names; of two equal names the first. Errors:
// invalid_argument (not a ZIP archive, damaged, encrypted), resource_exhausted past a limit.
Result<std::map<std::string, std::string>> ReadZip(
    std::string_view archive, const std::function<bool(std::string_view name)>& wanted,
    const ZipLimits& limits = {});

}  // namespace rag
