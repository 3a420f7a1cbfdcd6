// HashTensors: one number for all tensors of a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// What the number depends on besides the tensors. Collections and files record such numbers, so
// that a form, once used, never changes.
struct TensorHashForm {
  size_t piece_bytes;
  std::string (*shape_text)(std::span<const size_t> shape);  // what stands behind name and type
};

// The hash of names, types and shapes in their order, and of the bytes in pieces of
// form.piece_bytes, on all threads. `forget` is given each piece as soon as it is hashed, on any
// thread, and may let go of the memory: only the pieces that are being hashed are needed.
uint64_t HashTensors(std::span<const NamedTensorView> tensors, const TensorHashForm& form,
                     ThreadPool& pool, FunctionRef<void(std::span<const std::byte>)> forget);

// All tensors of a TensorFile or a GgufFile, in the order of its TensorNames().
template <class File>
std::vector<NamedTensorView> FileTensors(const File& file) {
  std::vector<NamedTensorView> tensors;
  for (const std::string& name : file.TensorNames()) tensors.emplace_back(name, *file.Find(name));
  return tensors;
}

}  // namespace rag
