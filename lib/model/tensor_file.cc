#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/folder.h"
#include "lib/model/model_file.h"
#include "lib/model/tensor_parsers.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

// The largest published indexes take under 10 MB.
constexpr size_t kMaxIndexBytes = size_t{32} << 20;
constexpr size_t kMaxShards = 4096;
constexpr std::string_view kIndexSuffix = ".safetensors.index.json";
constexpr std::string_view kFileSuffix = ".safetensors";
constexpr std::string_view kTorchIndexSuffix = ".bin.index.json";
constexpr std::string_view kTorchSuffix = ".bin";
// Of a folder's *.bin these alone are weights for certain.
constexpr std::string_view kTorchNames[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};

const TensorView* FindSorted(const std::vector<NamedTensorView>& tensors, std::string_view name) {
  const auto found = std::lower_bound(
      tensors.begin(), tensors.end(), name,
      [](const NamedTensorView& tensor, std::string_view key) { return tensor.first < key; });
  return found != tensors.end() && found->first == name ? &found->second : nullptr;
}

// By name. Errors: invalid_argument for one that is there twice.
Status SortTensors(std::vector<NamedTensorView>& tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const NamedTensorView& a, const NamedTensorView& b) { return a.first < b.first; });
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i].first == tensors[i - 1].first) {
      return InvalidArgumentError("tensor '", tensors[i].first, "' is there twice");
    }
  }
  return OkStatus();
}

// Its tensors sorted by name.
Result<TensorShard> OpenShard(const std::string& path) {
  TensorShard shard;
  RAG_ASSIGN_OR_RETURN(shard.file, MappedFile::Open(path));
  const Status parsed = path.ends_with(kTorchSuffix) ? ParseTorch(shard) : ParseSafetensors(shard);
  RAG_RETURN_IF_ERROR(parsed.WithContext(path));
  RAG_RETURN_IF_ERROR(SortTensors(shard.tensors).WithContext(path));
  return shard;
}

Result<std::string> FindInFolder(const std::string& folder) {
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(folder));
  std::vector<std::string> files, indexes;
  for (const fs::path& path : paths) {
    const std::string name = path.filename().string();
    if (name.ends_with(kIndexSuffix)) indexes.push_back(path.string());
    if (name.ends_with(kFileSuffix)) files.push_back(path.string());
  }
  const std::string usual = (fs::path(folder) / "model.safetensors").string();
  if (std::find(files.begin(), files.end(), usual) != files.end()) return usual;
  if (indexes.size() == 1) return indexes[0];
  if (indexes.empty() && files.size() == 1) return files[0];
  if (indexes.empty() && files.empty()) {
    for (const std::string_view name : kTorchNames) {
      const fs::path path = fs::path(folder) / name;
      if (std::find(paths.begin(), paths.end(), path) != paths.end()) return path.string();
    }
    return NotFoundError(folder, ": no *.safetensors file and no pytorch_model.bin in this folder");
  }
  return InvalidArgumentError(folder, ": several safetensors files and no model.safetensors; ",
                              "name the one to open");
}

}  // namespace

struct TensorFile::Impl {
  std::vector<TensorShard> shards;
  std::vector<NamedTensorView> tensors;  // of all shards, sorted by name
  std::shared_ptr<const void> storage;   // of tensors that are not in the shards
  Value metadata = Value::Object();
};

TensorFile::TensorFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TensorFile::TensorFile(TensorFile&&) noexcept = default;
TensorFile& TensorFile::operator=(TensorFile&&) noexcept = default;
TensorFile::~TensorFile() = default;

Result<TensorFile> TensorFile::Open(const std::string& path) {
  std::string file = path;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    RAG_ASSIGN_OR_RETURN(file, FindInFolder(path));
  }
  auto impl = std::make_unique<Impl>();
  if (!file.ends_with(".json")) {
    RAG_ASSIGN_OR_RETURN(TensorShard shard, OpenShard(file));
    impl->tensors = std::move(shard.tensors);
    impl->metadata = std::move(shard.metadata);
    impl->shards.push_back(std::move(shard));
    return TensorFile(std::move(impl));
  }

  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxIndexBytes));
  auto index = ParseJson(text, {.max_bytes = kMaxIndexBytes, .max_depth = 8});
  if (!index.ok()) return std::move(index).status().WithContext(file);
  const Value* weight_map = index->Find("weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) {
    return InvalidArgumentError(file, ": weight_map is missing or no object");
  }
  if (const Value* metadata = index->Find("metadata"); metadata && metadata->is_object()) {
    impl->metadata = *metadata;
  }
  const std::string_view suffix = file.ends_with(kTorchIndexSuffix) ? kTorchSuffix : kFileSuffix;
  std::map<std::string, size_t, std::less<>> shard_of;
  for (const auto& [tensor, value] : weight_map->as_object()) {
    if (!value.is_string() || value.as_string().find('/') != std::string::npos ||
        !value.as_string().ends_with(suffix)) {
      return InvalidArgumentError(file, ": weight_map of '", tensor, "' is not the name of a ",
                                  suffix, " file beside it");
    }
    auto found = shard_of.find(value.as_string());
    if (found == shard_of.end()) {
      if (impl->shards.size() == kMaxShards) {
        return ResourceExhaustedError(file, ": more than ", kMaxShards, " shards");
      }
      const fs::path shard_path = fs::path(file).parent_path() / value.as_string();
      RAG_ASSIGN_OR_RETURN(TensorShard shard, OpenShard(shard_path.string()));
      found = shard_of.emplace(value.as_string(), impl->shards.size()).first;
      impl->shards.push_back(std::move(shard));
    }
    const TensorView* view = FindSorted(impl->shards[found->second].tensors, tensor);
    if (view == nullptr) {
      return DataLossError(file, ": tensor '", tensor, "' is not in ", value.as_string());
    }
    impl->tensors.emplace_back(tensor, *view);
  }
  RAG_RETURN_IF_ERROR(SortTensors(impl->tensors).WithContext(file));
  return TensorFile(std::move(impl));
}

Result<TensorFile> TensorFile::WithTensors(std::vector<NamedTensorView> tensors,
                                           std::shared_ptr<const void> storage) && {
  impl_->tensors = std::move(tensors);
  RAG_RETURN_IF_ERROR(SortTensors(impl_->tensors));
  impl_->storage = std::move(storage);
  return std::move(*this);
}

const TensorView* TensorFile::Find(std::string_view name) const {
  return FindSorted(impl_->tensors, name);
}

std::vector<std::string> TensorFile::TensorNames() const {
  std::vector<std::string> names;
  names.reserve(impl_->tensors.size());
  for (const auto& [name, view] : impl_->tensors) names.push_back(name);
  return names;
}

void TensorFile::Forget(std::span<const std::byte> bytes) const {
  for (const TensorShard& shard : impl_->shards) shard.file.Forget(bytes);
}

const Value& TensorFile::metadata() const { return impl_->metadata; }

}  // namespace rag
