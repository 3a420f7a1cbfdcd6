#include "index/store/seal.h"

#include <filesystem>
#include <string_view>

#include "index/store/checked_json.h"
#include "lib/base/file.h"
#include "lib/base/folder.h"
#include "lib/base/hash.h"
#include "lib/base/value.h"

namespace rag {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSealName = "rag.seal";
constexpr const char* kCurrentName = "CURRENT";
// Longer ones are compared by their length alone; a closed store's logs are empty.
constexpr size_t kMaxHashedBytes = size_t{256} << 20;

bool IsData(const std::string& name) { return name.ends_with(".sst") || name.ends_with(".blob"); }

bool IsHashed(const std::string& name) {
  return name == kCurrentName || name.starts_with("MANIFEST-") || name.ends_with(".log");
}

Result<std::string> HashOf(const fs::path& path) {
  RAG_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path.string(), kMaxHashedBytes));
  return HashToHex(Hash64(bytes));
}

}  // namespace

std::string CurrentManifest(const std::string& folder) {
  Result<std::string> text = ReadFile((fs::path(folder) / kCurrentName).string(), 1 << 10);
  if (!text.ok()) return "";
  return text->substr(0, text->find('\n'));
}

Result<std::string> WrittenSoFar(const std::string& folder) {
  // Its time tells a store from another that was put in its place.
  std::error_code failed;
  const fs::file_time_type time = fs::last_write_time(fs::path(folder) / kCurrentName, failed);
  if (failed) return NotFoundError("there is no store in '", folder, "'");
  std::string written = StrCat(CurrentManifest(folder), ":", time.time_since_epoch().count());
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(folder));
  for (const fs::path& path : paths) {
    if (path.extension() != ".log") continue;
    std::error_code error;
    const uintmax_t bytes = fs::file_size(path, error);
    if (!error) written += StrCat(" ", path.filename().string(), ":", bytes);
  }
  return written;
}

Status WriteSeal(const std::string& folder) {
  Value::Array files;
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(folder));
  for (const fs::path& path : paths) {
    const std::string name = path.filename().string();
    if (!IsData(name) && !IsHashed(name)) continue;
    std::error_code error;
    Value::Object file{{"name", name}, {"bytes", fs::file_size(path, error)}};
    if (error) return IoError("cannot read the size of '", path.string(), "': ", error.message());
    if (IsHashed(name)) {
      RAG_ASSIGN_OR_RETURN(std::string hash, HashOf(path));
      file.Set("hash", std::move(hash));
    }
    files.push_back(std::move(file));
  }
  return WriteCheckedJson(
      (fs::path(folder) / kSealName).string(),
      Value(Value::Object{{"manifest", CurrentManifest(folder)}, {"files", std::move(files)}}));
}

Result<SealCheck> CheckSeal(const std::string& folder) {
  const fs::path root = folder;
  SealCheck check;
  const Result<Value> seal = ReadCheckedJson((root / kSealName).string());
  // A damaged seal says nothing about the files.
  if (!seal.ok()) return check;
  RAG_ASSIGN_OR_RETURN(const std::string manifest, seal->GetString("manifest", ""));
  const std::string current = CurrentManifest(folder);
  std::error_code error;
  if (current != manifest && !current.empty() && fs::exists(root / current, error)) return check;
  const Value* const files = seal->Find("files");
  if (files == nullptr || !files->is_array()) return check;
  check.sealed = true;
  for (const Value& file : files->as_array()) {
    RAG_ASSIGN_OR_RETURN(const std::string name, file.GetString("name", ""));
    RAG_ASSIGN_OR_RETURN(const int64_t bytes, file.GetInt("bytes", 0));
    RAG_ASSIGN_OR_RETURN(const std::string hash, file.GetString("hash", ""));
    const fs::path path = root / name;
    if (!fs::exists(path, error)) {
      return DataLossError("'", path.string(), "' is missing; the store was closed with it");
    }
    const uint64_t size = fs::file_size(path, error);
    if (error) return IoError("cannot look at '", path.string(), "': ", error.message());
    if (size != static_cast<uint64_t>(bytes)) {
      Status damage = DataLossError("'", path.string(), "' is damaged: it has ", size,
                                    " bytes, and had ", bytes, " when the store was closed");
      if (!IsData(name)) return damage;
      if (check.records.ok()) check.records = std::move(damage);
    }
    if (hash.empty()) continue;
    RAG_ASSIGN_OR_RETURN(const std::string now, HashOf(path));
    if (now != hash) return DataLossError("'", path.string(), "' is damaged: its checksum differs");
  }
  return check;
}

void RemoveSeal(const std::string& folder) {
  std::error_code ignored;
  fs::remove(fs::path(folder) / kSealName, ignored);
}

}  // namespace rag
