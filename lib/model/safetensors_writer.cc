#include "lib/model/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "lib/base/descriptor.h"
#include "lib/base/value.h"

namespace rag {
namespace {

Status WriteAll(int descriptor, const std::string& path, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return IoError("cannot write '", path, "': ", std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return OkStatus();
}

Status WriteFile(const std::string& path, std::string_view header,
                 std::span<const NamedTensorView* const> tensors) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (file.get() < 0) return IoError("cannot write '", path, "': ", std::strerror(errno));
  const uint64_t size = header.size();
  RAG_RETURN_IF_ERROR(WriteAll(file.get(), path, std::as_bytes(std::span(&size, 1))));
  RAG_RETURN_IF_ERROR(WriteAll(file.get(), path, std::as_bytes(std::span(header))));
  for (const NamedTensorView* const tensor : tensors) {
    RAG_RETURN_IF_ERROR(WriteAll(file.get(), path, tensor->second.bytes));
  }
  if (::fsync(file.get()) != 0) {
    return IoError("cannot sync '", path, "': ", std::strerror(errno));
  }
  return OkStatus();
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
  const std::string temporary = path + ".partial";
  Status status = WriteFile(temporary, text, order);
  std::error_code error;
  if (status.ok()) {
    std::filesystem::rename(temporary, path, error);
    if (error) status = IoError("cannot write '", path, "': ", error.message());
  }
  if (!status.ok()) std::filesystem::remove(temporary, error);
  return status;
}

}  // namespace rag
