#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "lib/model/gguf_parser.h"

namespace rag {
namespace {

// Bounds of what a model file can reasonably hold; the largest published ones have a few hundred
// keys, a few thousand tensors and some 1.5 million array elements (vocabulary and merges).
constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 17;
// Over all arrays. A Value takes 40 bytes where the file may have one: so many are read of any
// file, and more as the file's size speaks for them. That of a vocabulary by itself has about 12
// bytes an element.
constexpr uint64_t kArrayElements = 1 << 19;
constexpr uint64_t kBytesOfMoreElement = 16;
constexpr uint64_t kMaxKeyBytes = 65535;  // specification: "up to 2^16-1 bytes long"
constexpr uint64_t kMaxTensorNameBytes = 64;
constexpr uint32_t kMaxDimensions = 4;
constexpr int kMaxArrayDepth = 4;
constexpr uint64_t kMaxAlignment = 1 << 20;

enum ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBoolean,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

// Fewest bytes that a value of the type takes in the file; 0 for an unknown type.
constexpr size_t MinimumBytes(uint32_t type) {
  constexpr size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

struct GgmlType {
  std::string_view name;
  std::optional<DType> type;
};

// Ids of ggml.h's ggml_type; those without a DType are named so that the error can name them.
GgmlType LookUpGgmlType(uint32_t id) {
  switch (id) {
    case 0:
      return {"F32", DType::kF32};
    case 1:
      return {"F16", DType::kF16};
    case 2:
      return {"Q4_0", DType::kQ4_0};
    case 3:
      return {"Q4_1", DType::kQ4_1};
    case 6:
      return {"Q5_0", DType::kQ5_0};
    case 7:
      return {"Q5_1", DType::kQ5_1};
    case 8:
      return {"Q8_0", DType::kQ8_0};
    case 9:
      return {"Q8_1", std::nullopt};
    case 10:
      return {"Q2_K", DType::kQ2_K};
    case 11:
      return {"Q3_K", DType::kQ3_K};
    case 12:
      return {"Q4_K", DType::kQ4_K};
    case 13:
      return {"Q5_K", DType::kQ5_K};
    case 14:
      return {"Q6_K", DType::kQ6_K};
    case 15:
      return {"Q8_K", std::nullopt};
    case 16:
      return {"IQ2_XXS", std::nullopt};
    case 17:
      return {"IQ2_XS", std::nullopt};
    case 18:
      return {"IQ3_XXS", std::nullopt};
    case 19:
      return {"IQ1_S", std::nullopt};
    case 20:
      return {"IQ4_NL", DType::kIQ4_NL};
    case 21:
      return {"IQ3_S", std::nullopt};
    case 22:
      return {"IQ2_S", std::nullopt};
    case 23:
      return {"IQ4_XS", DType::kIQ4_XS};
    case 24:
      return {"I8", DType::kI8};
    case 25:
      return {"I16", DType::kI16};
    case 26:
      return {"I32", DType::kI32};
    case 27:
      return {"I64", DType::kI64};
    case 28:
      return {"F64", DType::kF64};
    case 29:
      return {"IQ1_M", std::nullopt};
    case 30:
      return {"BF16", DType::kBF16};
    case 34:
      return {"TQ1_0", std::nullopt};
    case 35:
      return {"TQ2_0", std::nullopt};
    case 39:
      return {"MXFP4", DType::kMXFP4};
    default:
      return {"", std::nullopt};
  }
}

}  // namespace

Status GgufParser::Run() {
  RAG_ASSIGN_OR_RETURN(const uint32_t magic, cursor_.Read<uint32_t>("the magic number"));
  if (magic != 0x46554747) return InvalidArgumentError("does not begin with 'GGUF'");
  RAG_ASSIGN_OR_RETURN(version, cursor_.Read<uint32_t>("the version"));
  if (version != 0 && (version & 0xFFFF) == 0) {
    return UnsupportedError("big-endian GGUF is not supported");
  }
  if (version != 2 && version != 3) {
    return UnsupportedError("GGUF version ", version, " is not supported (2 and 3 are)");
  }
  RAG_ASSIGN_OR_RETURN(const uint64_t tensor_count, cursor_.Read<uint64_t>("the tensor count"));
  RAG_ASSIGN_OR_RETURN(const uint64_t key_count, cursor_.Read<uint64_t>("the key count"));
  RAG_RETURN_IF_ERROR(ReadMetadata(key_count));
  RAG_RETURN_IF_ERROR(ReadTensors(tensor_count));
  return PlaceTensors();
}

Status GgufParser::ReadMetadata(uint64_t count) {
  if (count > kMaxKeys) {
    return InvalidArgumentError("key count ", count, " is over the limit of ", kMaxKeys);
  }
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < count; ++i) {
    RAG_ASSIGN_OR_RETURN(std::string key,
                         cursor_.ReadString(StrCat("the name of key ", i), kMaxKeyBytes));
    if (key.empty()) return InvalidArgumentError("the name of key ", i, " is empty");
    const size_t begin = cursor_.position();
    RAG_ASSIGN_OR_RETURN(const uint32_t type, cursor_.Read<uint32_t>(StrCat("key '", key, "'")));
    auto value = ReadValue(type, 0);
    if (!value.ok()) return std::move(value).status().WithContext(StrCat("key '", key, "'"));
    if (key == "general.alignment") {
      // The specification: u32, a multiple of 8; ggml: a power of two.
      if (type != kUint32) return InvalidArgumentError("general.alignment is no uint32");
      const uint64_t alignment = static_cast<uint64_t>(value->as_int());
      if (!std::has_single_bit(alignment) || alignment < 8 || alignment > kMaxAlignment) {
        return InvalidArgumentError("general.alignment ", alignment,
                                    " is no power of two between 8 and ", kMaxAlignment);
      }
      alignment_ = alignment;
    }
    raw_metadata.push_back(bytes_.subspan(begin, cursor_.position() - begin));
    keys.push_back(key);
    metadata.Append(std::move(key), std::move(value).value());
  }
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end()) return InvalidArgumentError("key '", *twice, "' is there twice");
  return OkStatus();
}

Result<Value> GgufParser::ReadValue(uint32_t type, int depth) {
  constexpr std::string_view kWhat = "a value";
  const auto read = [&]<class T>(T) -> Result<Value> {
    RAG_ASSIGN_OR_RETURN(const T value, cursor_.Read<T>(kWhat));
    return Value(value);
  };
  switch (type) {
    case kUint8:
      return read(uint8_t{});
    case kInt8:
      return read(int8_t{});
    case kUint16:
      return read(uint16_t{});
    case kInt16:
      return read(int16_t{});
    case kUint32:
      return read(uint32_t{});
    case kInt32:
      return read(int32_t{});
    case kInt64:
      return read(int64_t{});
    case kFloat32:
      return read(float{});
    case kFloat64:
      return read(double{});
    case kUint64: {
      RAG_ASSIGN_OR_RETURN(const uint64_t value, cursor_.Read<uint64_t>(kWhat));
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Value(static_cast<double>(value));
      }
      return Value(static_cast<int64_t>(value));
    }
    case kBoolean: {
      RAG_ASSIGN_OR_RETURN(const uint8_t value, cursor_.Read<uint8_t>(kWhat));
      if (value > 1) return InvalidArgumentError("bool of value ", value, " is neither 0 nor 1");
      return Value(value == 1);
    }
    case kString: {
      RAG_ASSIGN_OR_RETURN(std::string text, cursor_.ReadString("a string", bytes_.size()));
      return Value(std::move(text));
    }
    case kArray:
      return ReadArray(depth);
    default:
      return InvalidArgumentError("value type ", type, " does not exist");
  }
}

Result<Value> GgufParser::ReadArray(int depth) {
  if (depth == kMaxArrayDepth) {
    return InvalidArgumentError("arrays are nested deeper than ", kMaxArrayDepth, " levels");
  }
  RAG_ASSIGN_OR_RETURN(const uint32_t type, cursor_.Read<uint32_t>("an array's type"));
  RAG_ASSIGN_OR_RETURN(const uint64_t count, cursor_.Read<uint64_t>("an array's length"));
  if (MinimumBytes(type) == 0) {
    return InvalidArgumentError("array element type ", type, " does not exist");
  }
  if (count > cursor_.remaining() / MinimumBytes(type)) {
    return DataLossError("an array of ", count, " elements does not fit into the ",
                         cursor_.remaining(), " bytes left in the file");
  }
  const uint64_t max_elements = kArrayElements + bytes_.size() / kBytesOfMoreElement;
  if (count > max_elements - array_elements_) {
    return ResourceExhaustedError("arrays hold more than ", max_elements,
                                  " elements, too many for a file of ", bytes_.size(), " bytes");
  }
  array_elements_ += count;
  Value::Array items;
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    RAG_ASSIGN_OR_RETURN(Value item, ReadValue(type, depth + 1));
    items.push_back(std::move(item));
  }
  return Value(std::move(items));
}

Status GgufParser::ReadTensors(uint64_t count) {
  if (count > kMaxTensors) {
    return InvalidArgumentError("tensor count ", count, " is over the limit of ", kMaxTensors);
  }
  for (uint64_t i = 0; i < count; ++i) {
    auto tensor = ReadTensor();
    if (!tensor.ok()) return std::move(tensor).status().WithContext(StrCat("tensor ", i));
    tensors.push_back(std::move(tensor).value());
  }
  return OkStatus();
}

Result<GgufParser::Tensor> GgufParser::ReadTensor() {
  Tensor tensor;
  RAG_ASSIGN_OR_RETURN(tensor.name, cursor_.ReadString("its name", kMaxTensorNameBytes));
  RAG_ASSIGN_OR_RETURN(const uint32_t dimensions, cursor_.Read<uint32_t>("its dimensions"));
  if (dimensions > kMaxDimensions) {
    return InvalidArgumentError("'", tensor.name, "' has ", dimensions, " dimensions, over ",
                                kMaxDimensions);
  }
  uint64_t rows = 1;
  uint64_t row = 1;
  uint64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    RAG_ASSIGN_OR_RETURN(const uint64_t extent, cursor_.Read<uint64_t>("its shape"));
    if (extent != 0 && elements > std::numeric_limits<int64_t>::max() / extent) {
      return InvalidArgumentError("'", tensor.name, "' has too many elements");
    }
    elements *= extent;
    (i == 0 ? row : rows) *= extent;
    tensor.view.shape.push_back(extent);
  }
  std::reverse(tensor.view.shape.begin(), tensor.view.shape.end());
  RAG_ASSIGN_OR_RETURN(const uint32_t type_id, cursor_.Read<uint32_t>("its type"));
  RAG_ASSIGN_OR_RETURN(tensor.offset, cursor_.Read<uint64_t>("its offset"));

  const GgmlType type = LookUpGgmlType(type_id);
  if (type.name.empty()) {
    return InvalidArgumentError("'", tensor.name, "' has type ", type_id, ", which does not exist");
  }
  if (!type.type) {
    return UnsupportedError("'", tensor.name, "' has type ", type.name, ", which is not supported");
  }
  tensor.view.type = *type.type;
  auto row_bytes = RowBytes(*type.type, row);
  if (!row_bytes.ok()) {
    return std::move(row_bytes).status().WithContext(StrCat("'", tensor.name, "'"));
  }
  if (rows != 0 && *row_bytes > std::numeric_limits<size_t>::max() / rows) {
    return InvalidArgumentError("'", tensor.name, "' has too many bytes");
  }
  tensor.bytes = *row_bytes * rows;
  if (tensor.offset % alignment_ != 0) {
    return InvalidArgumentError("'", tensor.name, "' begins at offset ", tensor.offset,
                                ", no multiple of the alignment ", alignment_);
  }
  return tensor;
}

Status GgufParser::PlaceTensors() {
  if (tensors.empty()) return OkStatus();
  // Cannot wrap: a position is at most the file's size, and the alignment at most 1 MiB.
  const size_t start = (cursor_.position() + alignment_ - 1) / alignment_ * alignment_;
  const size_t available = start <= bytes_.size() ? bytes_.size() - start : 0;
  std::vector<Tensor*> by_offset;
  std::vector<const std::string*> names;
  for (Tensor& tensor : tensors) {
    if (tensor.offset > available || tensor.bytes > available - tensor.offset) {
      return DataLossError("tensor '", tensor.name, "' of ", tensor.bytes, " bytes at offset ",
                           tensor.offset, " reaches past the end of the file (", available,
                           " bytes of data)");
    }
    if (tensor.bytes > 0) {
      tensor.view.bytes = bytes_.subspan(start + tensor.offset, tensor.bytes);
      by_offset.push_back(&tensor);
    }
    names.push_back(&tensor.name);
  }
  std::sort(names.begin(), names.end(),
            [](const std::string* a, const std::string* b) { return *a < *b; });
  for (size_t i = 1; i < names.size(); ++i) {
    if (*names[i] == *names[i - 1]) {
      return InvalidArgumentError("tensor '", *names[i], "' is there twice");
    }
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const Tensor* a, const Tensor* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const Tensor& before = *by_offset[i - 1];
    if (by_offset[i]->offset < before.offset + before.bytes) {
      return InvalidArgumentError("tensor '", by_offset[i]->name, "' overlaps '", before.name, "'");
    }
  }
  return OkStatus();
}

}  // namespace rag
