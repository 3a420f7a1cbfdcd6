#include "lib/model/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "lib/base/atomic_file.h"

namespace rag {
namespace {

constexpr size_t kAlignment = 32;  // the specification's default

template <class T>
void Append(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void AppendText(std::string& out, std::string_view text) {
  Append(out, static_cast<uint64_t>(text.size()));
  out += text;
}

// The specification's gguf_metadata_value_type.
enum TypeId : uint32_t {
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kInt64 = 11,
};

bool FitsUint32(int64_t value) {
  return value >= 0 && value <= int64_t{std::numeric_limits<uint32_t>::max()};
}
bool FitsInt32(int64_t value) {
  return value >= std::numeric_limits<int32_t>::min() &&
         value <= std::numeric_limits<int32_t>::max();
}

// What every element of an array is written as; nothing when they have no common type.
std::optional<TypeId> ArrayType(const Value::Array& items) {
  const auto all = [&](auto is) { return std::all_of(items.begin(), items.end(), is); };
  if (all([](const Value& v) { return v.is_string(); })) return kString;
  if (all([](const Value& v) { return v.is_bool(); })) return kBool;
  if (all([](const Value& v) { return v.is_int() && FitsInt32(v.as_int()); })) return kInt32;
  if (all([](const Value& v) { return v.is_int(); })) return kInt64;
  if (all([](const Value& v) { return v.is_number(); })) return kFloat32;
  return std::nullopt;
}

std::optional<TypeId> ScalarType(const Value& value) {
  if (value.is_string()) return kString;
  if (value.is_bool()) return kBool;
  if (value.is_int()) return FitsUint32(value.as_int()) ? kUint32 : kInt64;
  if (value.is_double()) return kFloat32;
  return std::nullopt;
}

void AppendScalar(std::string& out, TypeId type, const Value& value) {
  switch (type) {
    case kUint32:
      return Append(out, static_cast<uint32_t>(value.as_int()));
    case kInt32:
      return Append(out, static_cast<int32_t>(value.as_int()));
    case kInt64:
      return Append(out, value.as_int());
    case kFloat32:
      return Append(out, static_cast<float>(value.as_double()));
    case kBool:
      return Append(out, static_cast<uint8_t>(value.as_bool() ? 1 : 0));
    case kString:
      return AppendText(out, value.as_string());
    case kArray:
      return;
  }
}

uint32_t GgmlTypeId(DType type) {
  static constexpr struct {
    DType type;
    uint32_t id;
  } kIds[] = {{DType::kF32, 0},     {DType::kF16, 1},     {DType::kQ4_0, 2},  {DType::kQ4_1, 3},
              {DType::kQ5_0, 6},    {DType::kQ5_1, 7},    {DType::kQ8_0, 8},  {DType::kQ2_K, 10},
              {DType::kQ3_K, 11},   {DType::kQ4_K, 12},   {DType::kQ5_K, 13}, {DType::kQ6_K, 14},
              {DType::kIQ4_NL, 20}, {DType::kIQ4_XS, 23}, {DType::kI8, 24},   {DType::kI16, 25},
              {DType::kI32, 26},    {DType::kI64, 27},    {DType::kF64, 28},  {DType::kBF16, 30},
              {DType::kMXFP4, 39}};
  for (const auto& entry : kIds) {
    if (entry.type == type) return entry.id;
  }
  return std::numeric_limits<uint32_t>::max();
}

size_t Padded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Status GgufWriter::AddKey(const std::string& key) {
  if (std::find(keys_.begin(), keys_.end(), key) != keys_.end()) {
    return InvalidArgumentError("key '", key, "' is there twice");
  }
  keys_.push_back(key);
  AppendText(metadata_, key);
  return OkStatus();
}

Status GgufWriter::Add(const std::string& key, const Value& value) {
  const auto type = value.is_array() ? ArrayType(value.as_array()) : ScalarType(value);
  if (!type) {
    return InvalidArgumentError("key '", key, "' of type ", value.type_name(),
                                " has no form in GGUF");
  }
  RAG_RETURN_IF_ERROR(AddKey(key));
  if (!value.is_array()) {
    Append(metadata_, static_cast<uint32_t>(*type));
    AppendScalar(metadata_, *type, value);
    return OkStatus();
  }
  Append(metadata_, static_cast<uint32_t>(kArray));
  Append(metadata_, static_cast<uint32_t>(*type));
  Append(metadata_, static_cast<uint64_t>(value.as_array().size()));
  for (const Value& item : value.as_array()) AppendScalar(metadata_, *type, item);
  return OkStatus();
}

Status GgufWriter::AddRaw(const std::string& key, std::span<const std::byte> type_and_value) {
  RAG_RETURN_IF_ERROR(AddKey(key));
  metadata_.append(reinterpret_cast<const char*>(type_and_value.data()), type_and_value.size());
  return OkStatus();
}

Status GgufWriter::Declare(const std::string& name, DType type, std::vector<size_t> shape) {
  if (shape.empty() || GgmlTypeId(type) == std::numeric_limits<uint32_t>::max()) {
    return InvalidArgumentError("tensor '", name, "' of type ", GetDTypeInfo(type).name, " and ",
                                shape.size(), " dimensions has no form in GGUF");
  }
  for (const Tensor& tensor : tensors_) {
    if (tensor.name == name) return InvalidArgumentError("tensor '", name, "' is there twice");
  }
  auto bytes = RowBytes(type, shape.back());
  if (!bytes.ok()) return std::move(bytes).status().WithContext(StrCat("tensor '", name, "'"));
  size_t total = *bytes;
  for (size_t i = 0; i + 1 < shape.size(); ++i) total *= shape[i];
  tensors_.push_back({name, type, std::move(shape), total});
  return OkStatus();
}

std::string GgufWriter::Header() const {
  std::string out = "GGUF";
  Append(out, uint32_t{3});
  Append(out, static_cast<uint64_t>(tensors_.size()));
  Append(out, static_cast<uint64_t>(keys_.size()));
  out += metadata_;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    AppendText(out, tensor.name);
    Append(out, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      Append(out, static_cast<uint64_t>(tensor.shape[i]));
    }
    Append(out, GgmlTypeId(tensor.type));
    Append(out, offset);
    offset += Padded(tensor.bytes);
  }
  out.resize(Padded(out.size()));
  return out;
}

Status GgufWriter::Write(const std::string& path, Fill fill) const {
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path, 0666));
  const std::string header = Header();
  RAG_RETURN_IF_ERROR(file->Write(std::as_bytes(std::span(header))));
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    bytes.assign(Padded(tensors_[i].bytes), std::byte{0});
    RAG_RETURN_IF_ERROR(fill(i, std::span(bytes).first(tensors_[i].bytes))
                            .WithContext(StrCat("tensor '", tensors_[i].name, "'")));
    RAG_RETURN_IF_ERROR(file->Write(bytes));
  }
  return file->Commit();
}

}  // namespace rag
