#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <tuple>

#include "lib/base/folder.h"
#include "lib/model/model_file.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

// The reference implementation allows 100 MB; the largest published headers and indexes take under
// 10 MB, and a parsed header may take forty times its bytes in memory.
constexpr uint64_t kMaxHeaderBytes = uint64_t{32} << 20;
constexpr size_t kMaxDimensions = 8;
constexpr size_t kMaxShards = 4096;
constexpr std::string_view kIndexSuffix = ".safetensors.index.json";
constexpr std::string_view kFileSuffix = ".safetensors";

struct NamedTensor {
  std::string name;
  TensorView view;
};

struct Shard {
  MappedFile file;
  std::vector<NamedTensor> tensors;  // sorted by name
  Value metadata = Value::Object();
};

const TensorView* FindSorted(const std::vector<NamedTensor>& tensors, std::string_view name) {
  const auto found = std::lower_bound(
      tensors.begin(), tensors.end(), name,
      [](const NamedTensor& tensor, std::string_view key) { return tensor.name < key; });
  return found != tensors.end() && found->name == name ? &found->view : nullptr;
}

// By name. Errors: invalid_argument for one that is there twice.
Status SortTensors(std::vector<NamedTensor>& tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const NamedTensor& a, const NamedTensor& b) { return a.name < b.name; });
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i].name == tensors[i - 1].name) {
      return InvalidArgumentError("tensor '", tensors[i].name, "' is there twice");
    }
  }
  return OkStatus();
}

std::optional<DType> ParseDType(std::string_view name) {
  static constexpr DType kTypes[] = {
      DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64, DType::kI32, DType::kI16,
      DType::kI8,  DType::kU64, DType::kU32, DType::kU16,  DType::kU8,  DType::kBool};
  for (const DType type : kTypes) {
    if (GetDTypeInfo(type).name == name) return type;
  }
  return std::nullopt;
}

Result<size_t> NonNegative(const Value& value, std::string_view what) {
  if (!value.is_int() || value.as_int() < 0) {
    return InvalidArgumentError(what, " is not a count");
  }
  return static_cast<size_t>(value.as_int());
}

// `data` is what follows the header; offsets in the header count from its start.
Result<TensorView> ParseTensor(const Value& entry, std::span<const std::byte> data) {
  if (!entry.is_object()) return InvalidArgumentError("its entry is no object");
  RAG_ASSIGN_OR_RETURN(const std::string type_name, entry.GetString("dtype", ""));
  const std::optional<DType> type = ParseDType(type_name);
  if (!type) return UnimplementedError("dtype '", type_name, "' is not supported");

  TensorView view;
  view.type = *type;
  const Value* shape = entry.Find("shape");
  if (shape == nullptr || !shape->is_array()) return InvalidArgumentError("shape is missing");
  if (shape->as_array().size() > kMaxDimensions) {
    return InvalidArgumentError("shape has ", shape->as_array().size(), " dimensions, over ",
                                kMaxDimensions);
  }
  size_t elements = 1;
  for (const Value& extent : shape->as_array()) {
    RAG_ASSIGN_OR_RETURN(const size_t count, NonNegative(extent, "an extent of shape"));
    if (count != 0 && elements > std::numeric_limits<size_t>::max() / count) {
      return InvalidArgumentError("shape has too many elements");
    }
    elements *= count;
    view.shape.push_back(count);
  }
  RAG_ASSIGN_OR_RETURN(const size_t bytes, RowBytes(*type, elements));

  const Value* offsets = entry.Find("data_offsets");
  if (offsets == nullptr || !offsets->is_array() || offsets->as_array().size() != 2) {
    return InvalidArgumentError("data_offsets is not a pair");
  }
  RAG_ASSIGN_OR_RETURN(const size_t begin, NonNegative(offsets->as_array()[0], "data_offsets[0]"));
  RAG_ASSIGN_OR_RETURN(const size_t end, NonNegative(offsets->as_array()[1], "data_offsets[1]"));
  if (begin > end) return InvalidArgumentError("data_offsets ", begin, "..", end, " run backwards");
  if (end > data.size()) {
    return DataLossError("data_offsets end at ", end, ", past the ", data.size(),
                         " bytes of data in the file");
  }
  if (end - begin != bytes) {
    return InvalidArgumentError("shape and dtype need ", bytes, " bytes, data_offsets give ",
                                end - begin);
  }
  view.bytes = data.subspan(begin, bytes);
  return view;
}

// The format asks that tensors cover the data without holes, so any overlap, gap or tail is damage
// (or a second file hidden in this one).
Status CheckCoverage(const std::vector<NamedTensor>& tensors, std::span<const std::byte> data) {
  std::vector<const NamedTensor*> by_offset;
  by_offset.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return std::make_tuple(a->view.bytes.data(), a->view.bytes.size()) <
           std::make_tuple(b->view.bytes.data(), b->view.bytes.size());
  });
  size_t covered = 0;
  for (const NamedTensor* tensor : by_offset) {
    const size_t begin = static_cast<size_t>(tensor->view.bytes.data() - data.data());
    if (begin < covered) {
      return InvalidArgumentError("tensor '", tensor->name, "' overlaps another one at byte ",
                                  begin, " of the data");
    }
    if (begin > covered) {
      return InvalidArgumentError("bytes ", covered, "..", begin,
                                  " of the data belong to no tensor");
    }
    covered = begin + tensor->view.bytes.size();
  }
  if (covered != data.size()) {
    return InvalidArgumentError("bytes ", covered, "..", data.size(),
                                " of the data belong to no tensor");
  }
  return OkStatus();
}

Status ParseShard(Shard& shard) {
  const std::span<const std::byte> bytes = shard.file.bytes();
  if (bytes.size() < 8) {
    return DataLossError("file of ", bytes.size(), " bytes is too short for a safetensors header");
  }
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) {
    header_bytes = header_bytes << 8 | std::to_integer<uint64_t>(bytes[static_cast<size_t>(i)]);
  }
  if (header_bytes > kMaxHeaderBytes) {
    return InvalidArgumentError("header of ", header_bytes, " bytes is over the limit of ",
                                kMaxHeaderBytes, " (is this a safetensors file?)");
  }
  if (header_bytes > bytes.size() - 8) {
    return DataLossError("header of ", header_bytes, " bytes reaches past the end of the file (",
                         bytes.size(), " bytes)");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
  if (text.empty() || text.front() != '{') {
    return InvalidArgumentError("header does not begin with '{'");
  }
  auto parsed = ParseJson(text, {.max_bytes = kMaxHeaderBytes, .max_depth = 8});
  if (!parsed.ok()) return std::move(parsed).status().WithContext("header");
  if (!parsed->is_object()) return InvalidArgumentError("header is no object");

  const std::span<const std::byte> data = bytes.subspan(8 + header_bytes);
  bool has_metadata = false;
  for (auto& [name, entry] : parsed->as_object()) {
    if (name == "__metadata__") {
      if (has_metadata || !entry.is_object()) {
        return InvalidArgumentError("__metadata__ is not one object");
      }
      for (const auto& [key, value] : entry.as_object()) {
        if (!value.is_string()) {
          return InvalidArgumentError("__metadata__ '", key, "' is no string");
        }
      }
      has_metadata = true;
      shard.metadata = std::move(entry);
      continue;
    }
    auto view = ParseTensor(entry, data);
    if (!view.ok()) {
      return std::move(view).status().WithContext(StrCat("tensor '", name, "'"));
    }
    shard.tensors.push_back({name, std::move(view).value()});
  }
  RAG_RETURN_IF_ERROR(SortTensors(shard.tensors));
  return CheckCoverage(shard.tensors, data);
}

Result<Shard> OpenShard(const std::string& path) {
  Shard shard;
  RAG_ASSIGN_OR_RETURN(shard.file, MappedFile::Open(path));
  RAG_RETURN_IF_ERROR(ParseShard(shard).WithContext(path));
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
    return NotFoundError(folder, ": no *.safetensors file in this folder");
  }
  return InvalidArgumentError(folder, ": several safetensors files and no model.safetensors; ",
                              "name the one to open");
}

}  // namespace

struct SafetensorsFile::Impl {
  std::vector<Shard> shards;
  std::vector<NamedTensor> tensors;     // of all shards, sorted by name
  std::shared_ptr<const void> storage;  // of tensors that are not in the shards
  Value metadata = Value::Object();
};

SafetensorsFile::SafetensorsFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;
SafetensorsFile::~SafetensorsFile() = default;

Result<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  std::string file = path;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    RAG_ASSIGN_OR_RETURN(file, FindInFolder(path));
  }
  auto impl = std::make_unique<Impl>();
  if (!file.ends_with(".json")) {
    RAG_ASSIGN_OR_RETURN(Shard shard, OpenShard(file));
    impl->tensors = std::move(shard.tensors);
    impl->metadata = std::move(shard.metadata);
    impl->shards.push_back(std::move(shard));
    return SafetensorsFile(std::move(impl));
  }

  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxHeaderBytes));
  auto index = ParseJson(text, {.max_bytes = kMaxHeaderBytes, .max_depth = 8});
  if (!index.ok()) return std::move(index).status().WithContext(file);
  const Value* weight_map = index->Find("weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) {
    return InvalidArgumentError(file, ": weight_map is missing or no object");
  }
  if (const Value* metadata = index->Find("metadata"); metadata && metadata->is_object()) {
    impl->metadata = *metadata;
  }
  std::map<std::string, size_t, std::less<>> shard_of;
  for (const auto& [tensor, value] : weight_map->as_object()) {
    if (!value.is_string() || value.as_string().find('/') != std::string::npos ||
        !value.as_string().ends_with(kFileSuffix)) {
      return InvalidArgumentError(file, ": weight_map of '", tensor,
                                  "' is not the name of a .safetensors file beside it");
    }
    auto found = shard_of.find(value.as_string());
    if (found == shard_of.end()) {
      if (impl->shards.size() == kMaxShards) {
        return ResourceExhaustedError(file, ": more than ", kMaxShards, " shards");
      }
      const fs::path shard_path = fs::path(file).parent_path() / value.as_string();
      RAG_ASSIGN_OR_RETURN(Shard shard, OpenShard(shard_path.string()));
      found = shard_of.emplace(value.as_string(), impl->shards.size()).first;
      impl->shards.push_back(std::move(shard));
    }
    const TensorView* view = FindSorted(impl->shards[found->second].tensors, tensor);
    if (view == nullptr) {
      return DataLossError(file, ": tensor '", tensor, "' is not in ", value.as_string());
    }
    impl->tensors.push_back({tensor, *view});
  }
  RAG_RETURN_IF_ERROR(SortTensors(impl->tensors).WithContext(file));
  return SafetensorsFile(std::move(impl));
}

Result<SafetensorsFile> SafetensorsFile::WithTensors(
    std::vector<std::pair<std::string, TensorView>> tensors,
    std::shared_ptr<const void> storage) && {
  impl_->tensors.clear();
  for (auto& [name, view] : tensors) impl_->tensors.push_back({std::move(name), std::move(view)});
  RAG_RETURN_IF_ERROR(SortTensors(impl_->tensors));
  impl_->storage = std::move(storage);
  return std::move(*this);
}

const TensorView* SafetensorsFile::Find(std::string_view name) const {
  return FindSorted(impl_->tensors, name);
}

std::vector<std::string> SafetensorsFile::TensorNames() const {
  std::vector<std::string> names;
  names.reserve(impl_->tensors.size());
  for (const NamedTensor& tensor : impl_->tensors) names.push_back(tensor.name);
  return names;
}

void SafetensorsFile::Forget(std::span<const std::byte> bytes) const {
  for (const Shard& shard : impl_->shards) shard.file.Forget(bytes);
}

const Value& SafetensorsFile::metadata() const { return impl_->metadata; }

}  // namespace rag
