#include "index/store/checked_json.h"

#include "lib/base/file.h"
#include "lib/base/hash.h"

namespace rag {
namespace {

constexpr size_t kMaxBytes = size_t{256} << 20;

}  // namespace

Status WriteCheckedJson(const std::string& path, const Value& value) {
  const std::string line = ToJson(value);
  return WriteFileAtomic(path, StrCat(line, "\n", HashToHex(Hash64(line)), "\n"));
}

Result<Value> ReadCheckedJson(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  const size_t end = text.find('\n');
  const std::string_view line = std::string_view(text).substr(0, end);
  if (end == std::string::npos || text.substr(end + 1) != StrCat(HashToHex(Hash64(line)), "\n")) {
    return DataLossError("'", path, "' is damaged: its checksum differs");
  }
  JsonLimits limits;
  limits.max_bytes = kMaxBytes;
  Result<Value> value = ParseJson(line, limits);
  if (!value.ok()) return DataLossError("'", path, "' is damaged: ", value.status().message());
  return value;
}

}  // namespace rag
