#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "lib/model/tensor_parsers.h"

namespace rag {
namespace {

// The reference implementation allows 100 MB; the largest published headers take under 10 MB, and a
// parsed header may take forty times its bytes in memory.
constexpr uint64_t kMaxHeaderBytes = uint64_t{32} << 20;

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
  if (!type) return UnsupportedError("dtype '", type_name, "' is not supported");

  TensorView view;
  view.type = *type;
  const Value* shape = entry.Find("shape");
  if (shape == nullptr || !shape->is_array()) return InvalidArgumentError("shape is missing");
  if (shape->as_array().size() > kMaxTensorDimensions) {
    return InvalidArgumentError("shape has ", shape->as_array().size(), " dimensions, over ",
                                kMaxTensorDimensions);
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
Status CheckCoverage(const std::vector<NamedTensorView>& tensors, std::span<const std::byte> data) {
  std::vector<const NamedTensorView*> by_offset;
  by_offset.reserve(tensors.size());
  for (const NamedTensorView& tensor : tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const NamedTensorView* a, const NamedTensorView* b) {
              return std::make_tuple(a->second.bytes.data(), a->second.bytes.size()) <
                     std::make_tuple(b->second.bytes.data(), b->second.bytes.size());
            });
  size_t covered = 0;
  for (const NamedTensorView* tensor : by_offset) {
    const size_t begin = static_cast<size_t>(tensor->second.bytes.data() - data.data());
    if (begin < covered) {
      return InvalidArgumentError("tensor '", tensor->first, "' overlaps another one at byte ",
                                  begin, " of the data");
    }
    if (begin > covered) {
      return InvalidArgumentError("bytes ", covered, "..", begin,
                                  " of the data belong to no tensor");
    }
    covered = begin + tensor->second.bytes.size();
  }
  if (covered != data.size()) {
    return InvalidArgumentError("bytes ", covered, "..", data.size(),
                                " of the data belong to no tensor");
  }
  return OkStatus();
}

}  // namespace

Status ParseSafetensors(TensorShard& shard) {
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
    shard.tensors.emplace_back(name, std::move(view).value());
  }
  return CheckCoverage(shard.tensors, data);
}

}  // namespace rag
