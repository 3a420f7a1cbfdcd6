// A GGUF file with its tensors in another type.
#pragma once

#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "lib/kernels/quantized_encode.h"
#include "tests/generate/gguf_document.h"

namespace rag::test {

// Every tensor is written as the f32 that its bytes stand for, or, for another `type`, those of two
// dimensions in it.
inline void RewriteGguf(const std::string& from, const std::string& to, DType type = DType::kF32) {
  const auto file = GgufFile::Open(from);
  REQUIRE_OK(file);
  GgufDocument document = GgufDocument::Open(from);
  for (GgufDocument::Tensor& tensor : document.tensors) {
    const TensorView& view = *file->Find(tensor.name);
    std::vector<float> values(view.elements());
    REQUIRE_OK(DequantizeTo(view, 0, values));
    const DType written = view.shape.size() == 2 ? type : DType::kF32;
    const DTypeInfo& info = GetDTypeInfo(written);
    std::vector<std::byte> bytes(values.size() / info.block_size * info.block_bytes);
    REQUIRE_OK(EncodeBlocks(written, values, bytes));
    tensor.type = GgufTypeId(written);
    tensor.data.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  std::ofstream(to, std::ios::binary) << document.Bytes();
}

}  // namespace rag::test
