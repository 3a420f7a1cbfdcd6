#include "lib/model/tensor_hash.h"

#include <algorithm>

#include "lib/base/hash.h"

namespace rag {

uint64_t HashTensors(std::span<const NamedTensorView> tensors, const TensorHashForm& form,
                     ThreadPool& pool, FunctionRef<void(std::span<const std::byte>)> forget) {
  std::string description;
  std::vector<std::span<const std::byte>> pieces;
  for (const auto& [name, tensor] : tensors) {
    description +=
        StrCat(name, ' ', GetDTypeInfo(tensor.type).name, form.shape_text(tensor.shape), '\n');
    for (size_t begin = 0; begin < tensor.bytes.size(); begin += form.piece_bytes) {
      pieces.push_back(
          tensor.bytes.subspan(begin, std::min(form.piece_bytes, tensor.bytes.size() - begin)));
    }
  }
  std::vector<uint64_t> hashes(pieces.size());
  pool.ParallelFor(pieces.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      hashes[i] = Hash64(pieces[i]);
      forget(pieces[i]);
    }
  });
  return Hash64(std::as_bytes(std::span(hashes)), Hash64(description));
}

}  // namespace rag
