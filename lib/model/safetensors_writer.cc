#include "lib/model/safetensors_writer.h"

#include <algorithm>
#include <memory>

#include "lib/base/atomic_file.h"
#include "lib/base/value.h"

namespace rag {
namespace {

Status WriteFile(const std::string& path, std::string_view header,
                 std::span<const NamedTensorView* const> tensors) {
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path, 0666));
  const uint64_t size = header.size();
  RAG_RETURN_IF_ERROR(file->Write(std::as_bytes(std::span(&size, 1))));
  RAG_RETURN_IF_ERROR(file->Write(std::as_bytes(std::span(header))));
  for (const NamedTensorView* const tensor : tensors) {
    RAG_RETURN_IF_ERROR(file->Write(tensor->second.bytes));
  }
  return file->Commit();
}

}  // namespace

Status WriteSafetensors(const std::string& path, std::span<const NamedTensorView> tensors,
                        std::span<const std::pair<std::string, std::string>> metadata) {
  std::vector<const NamedTensorView*> order;
  for (const NamedTensorView& tensor : tensors) {
    const auto& [name, view] = tensor;
    const DTypeInfo& info = GetDTypeInfo(view.type);
    if (info.block_size != 1) {
      return InvalidArgumentError("tensor '", name, "': safetensors has no type ", info.name);
    }
    if (view.elements() * info.block_bytes != view.bytes.size()) {
      return InvalidArgumentError("tensor '", name, "' has ", view.elements(), " elements of ",
                                  info.name, " in ", view.bytes.size(), " bytes");
    }
    order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const NamedTensorView* a, const NamedTensorView* b) {
    const size_t wide_a = GetDTypeInfo(a->second.type).block_bytes;
    const size_t wide_b = GetDTypeInfo(b->second.type).block_bytes;
    return wide_a != wide_b ? wide_a > wide_b : a->first < b->first;
  });
  Value::Object header;
  if (!metadata.empty()) {
    Value::Object values;
    for (const auto& [key, value] : metadata) values.Set(key, value);
    header.Append("__metadata__", std::move(values));
  }
  std::vector<std::string_view> names;
  size_t begin = 0;
  for (const NamedTensorView* const tensor : order) {
    const TensorView& view = tensor->second;
    names.push_back(tensor->first);
    Value::Array shape(view.shape.begin(), view.shape.end());
    header.Append(tensor->first,
                  Value::Object{{"dtype", GetDTypeInfo(view.type).name},
                                {"shape", std::move(shape)},
                                {"data_offsets", Value::Array{begin, begin + view.bytes.size()}}});
    begin += view.bytes.size();
  }
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end()) {
    return InvalidArgumentError("tensor '", *twice, "' is there twice");
  }
  std::string text = ToJson(Value(std::move(header)));
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return WriteFile(path, text, order);
}

}  // namespace rag
