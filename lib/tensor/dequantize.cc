#include <cstring>

#include "lib/kernels/quantized_blocks.h"
#include "lib/tensor/tensor.h"

namespace rag {
namespace {

template <class T, class Convert>
void ConvertElements(const std::byte* from, std::span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, from + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

template <class T>
void CastElements(const std::byte* from, std::span<float> out) {
  ConvertElements<T>(from, out, [](T value) { return static_cast<float>(value); });
}

void DequantizeBlocks(DType type, const std::byte* from, std::span<float> out) {
  const DTypeInfo& info = GetDTypeInfo(type);
  DecodedBlock block;
  for (size_t begin = 0; begin < out.size(); begin += info.block_size) {
    DecodeBlock(type, from, block);
    for (size_t i = 0; i < info.block_size; ++i) {
      out[begin + i] = block.scale[i / kScaleGroup] * static_cast<float>(block.q[i]) -
                       block.offset[i / kScaleGroup];
    }
    from += info.block_bytes;
  }
}

}  // namespace

Status DequantizeTo(const TensorView& tensor, size_t offset, std::span<float> out) {
  const DTypeInfo& info = GetDTypeInfo(tensor.type);
  const size_t available = tensor.bytes.size() / info.block_bytes * info.block_size;
  if (offset > available || out.size() > available - offset) {
    return OutOfRangeError("elements ", offset, " to ", offset, " + ", out.size(),
                           " are not in a tensor of ", available);
  }
  if (offset % info.block_size != 0 || out.size() % info.block_size != 0) {
    return InvalidArgumentError("elements ", offset, " and ", out.size(),
                                " are not whole blocks of ", info.block_size, " (", info.name, ")");
  }
  const std::byte* from = tensor.bytes.data() + offset / info.block_size * info.block_bytes;
  switch (tensor.type) {
    case DType::kF32:
      CastElements<float>(from, out);
      break;
    case DType::kF16:
      ConvertElements<uint16_t>(from, out, HalfToFloat);
      break;
    case DType::kBF16:
      ConvertElements<uint16_t>(from, out, BFloat16ToFloat);
      break;
    case DType::kF64:
      CastElements<double>(from, out);
      break;
    case DType::kI8:
      CastElements<int8_t>(from, out);
      break;
    case DType::kI16:
      CastElements<int16_t>(from, out);
      break;
    case DType::kI32:
      CastElements<int32_t>(from, out);
      break;
    case DType::kI64:
      CastElements<int64_t>(from, out);
      break;
    case DType::kU8:
      CastElements<uint8_t>(from, out);
      break;
    case DType::kU16:
      CastElements<uint16_t>(from, out);
      break;
    case DType::kU32:
      CastElements<uint32_t>(from, out);
      break;
    case DType::kU64:
      CastElements<uint64_t>(from, out);
      break;
    case DType::kBool:
      ConvertElements<uint8_t>(from, out, [](uint8_t value) { return value != 0 ? 1.0f : 0.0f; });
      break;
    default:
      DequantizeBlocks(tensor.type, from, out);
  }
  return OkStatus();
}

}  // namespace rag
