#include <algorithm>
#include <cstdio>

#include "lib/model/gguf_parser.h"
#include "lib/model/model_file.h"

namespace rag {
namespace {

constexpr int64_t kMaxSplits = 4096;

// "model-00001-of-00003.gguf" -> the name of another of its parts (llama.cpp, llama_split_path).
Result<std::string> SplitPath(const std::string& first, int64_t number, int64_t count) {
  char suffix[64];
  std::snprintf(suffix, sizeof(suffix), "-%05d-of-%05d.gguf", 1, static_cast<int>(count));
  if (!first.ends_with(suffix)) {
    return InvalidArgumentError(first, ": is the first of ", count,
                                " parts, but its name does not end in '", suffix, "'");
  }
  const std::string stem = first.substr(0, first.size() - std::string_view(suffix).size());
  std::snprintf(suffix, sizeof(suffix), "-%05d-of-%05d.gguf", static_cast<int>(number + 1),
                static_cast<int>(count));
  return stem + suffix;
}

Result<int64_t> SplitKey(const std::string& path, const Value::Object& metadata,
                         std::string_view key, int64_t fallback, int64_t max) {
  const Value* value = metadata.Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_int() || value->as_int() < 0 || value->as_int() > max) {
    return InvalidArgumentError(path, ": key '", key, "' is ", ToJson(*value),
                                ", not an integer between 0 and ", max);
  }
  return value->as_int();
}

}  // namespace

struct GgufFile::Impl {
  std::string path;
  std::vector<MappedFile> files;        // one for each part
  std::shared_ptr<const void> storage;  // of FromParts
  uint32_t version = 0;
  Value::Object metadata;
  std::vector<std::span<const std::byte>> raw_metadata;  // empty for FromParts
  std::vector<NamedTensorView> tensors;                  // file order
  std::vector<uint32_t> by_name;                         // indexes of tensors, sorted by name

  // Errors: invalid_argument for a name that is there twice.
  Status IndexTensors();
  Status AddFile(const std::string& file_path, Value::Object& file_metadata);
  Status AddSplits();
};

Status GgufFile::Impl::IndexTensors() {
  for (size_t i = 0; i < tensors.size(); ++i) by_name.push_back(static_cast<uint32_t>(i));
  std::sort(by_name.begin(), by_name.end(),
            [this](uint32_t a, uint32_t b) { return tensors[a].first < tensors[b].first; });
  for (size_t i = 1; i < by_name.size(); ++i) {
    const std::string& name = tensors[by_name[i]].first;
    if (name == tensors[by_name[i - 1]].first) {
      return InvalidArgumentError(path, ": tensor '", name, "' is there twice");
    }
  }
  return OkStatus();
}

Status GgufFile::Impl::AddFile(const std::string& file_path, Value::Object& file_metadata) {
  RAG_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(file_path));
  GgufParser parser(file.bytes());
  RAG_RETURN_IF_ERROR(parser.Run().WithContext(file_path));
  version = parser.version;
  file_metadata = std::move(parser.metadata);
  if (files.empty()) raw_metadata = std::move(parser.raw_metadata);
  for (GgufParser::Tensor& tensor : parser.tensors) {
    tensors.emplace_back(std::move(tensor.name), std::move(tensor.view));
  }
  files.push_back(std::move(file));
  return OkStatus();
}

Status GgufFile::Impl::AddSplits() {
  RAG_ASSIGN_OR_RETURN(const int64_t count, SplitKey(path, metadata, "split.count", 0, kMaxSplits));
  if (count < 2) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const int64_t number, SplitKey(path, metadata, "split.no", 0, kMaxSplits));
  if (number != 0) {
    return InvalidArgumentError(path, ": is part ", number + 1, " of ", count,
                                " (key 'split.no'); open the first");
  }
  for (int64_t i = 1; i < count; ++i) {
    RAG_ASSIGN_OR_RETURN(const std::string part, SplitPath(path, i, count));
    Value::Object own;
    RAG_RETURN_IF_ERROR(AddFile(part, own));
    RAG_ASSIGN_OR_RETURN(const int64_t own_number, SplitKey(part, own, "split.no", -1, kMaxSplits));
    if (own_number != i) {
      return InvalidArgumentError(part, ": key 'split.no' is ", own_number, ", not ", i);
    }
  }
  RAG_ASSIGN_OR_RETURN(const int64_t expected,
                       SplitKey(path, metadata, "split.tensors.count",
                                static_cast<int64_t>(tensors.size()), int64_t{1} << 30));
  if (expected != static_cast<int64_t>(tensors.size())) {
    return DataLossError(path, ": key 'split.tensors.count' is ", expected, ", but the parts hold ",
                         tensors.size(), " tensors");
  }
  return OkStatus();
}

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

Result<GgufFile> GgufFile::Open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  RAG_RETURN_IF_ERROR(impl->AddFile(path, impl->metadata));
  RAG_RETURN_IF_ERROR(impl->AddSplits());
  RAG_RETURN_IF_ERROR(impl->IndexTensors());
  return GgufFile(std::move(impl));
}

Result<GgufFile> GgufFile::FromParts(GgufParts parts) {
  auto impl = std::make_unique<Impl>();
  impl->path = std::move(parts.path);
  impl->version = 3;
  impl->metadata = std::move(parts.metadata);
  impl->tensors = std::move(parts.tensors);
  impl->storage = std::move(parts.storage);
  RAG_RETURN_IF_ERROR(impl->IndexTensors());
  return GgufFile(std::move(impl));
}

uint32_t GgufFile::version() const { return impl_->version; }

const Value* GgufFile::FindMetadata(std::string_view key) const {
  return impl_->metadata.Find(key);
}

std::span<const std::byte> GgufFile::RawMetadata(size_t index) const {
  return index < impl_->raw_metadata.size() ? impl_->raw_metadata[index]
                                            : std::span<const std::byte>();
}

const Value::Object& GgufFile::metadata() const { return impl_->metadata; }

const TensorView* GgufFile::Find(std::string_view name) const {
  const auto found = std::lower_bound(
      impl_->by_name.begin(), impl_->by_name.end(), name,
      [this](uint32_t i, std::string_view key) { return impl_->tensors[i].first < key; });
  if (found == impl_->by_name.end() || impl_->tensors[*found].first != name) return nullptr;
  return &impl_->tensors[*found].second;
}

std::vector<std::string> GgufFile::TensorNames() const {
  std::vector<std::string> names;
  names.reserve(impl_->tensors.size());
  for (const auto& [name, view] : impl_->tensors) names.push_back(name);
  return names;
}

void GgufFile::Forget(std::span<const std::byte> bytes) const {
  for (const MappedFile& file : impl_->files) file.Forget(bytes);
}

const std::string& GgufFile::path() const { return impl_->path; }

}  // namespace rag
