// What GgufFile::Open makes its file from: one file's bytes, parsed and checked.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Reads little-endian fields; every read is checked against the end of the file.
class GgufCursor {
 public:
  explicit GgufCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  template <class T>
  Result<T> Read(std::string_view what) {
    static_assert(std::endian::native == std::endian::little);
    if (remaining() < sizeof(T)) return EndOfFile(what);
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  Result<std::string> ReadString(std::string_view what, uint64_t max_bytes) {
    const size_t start = position_;
    RAG_ASSIGN_OR_RETURN(const uint64_t length, Read<uint64_t>(what));
    if (length > max_bytes) {
      return InvalidArgumentError(what, " at byte ", start, ": length ", length,
                                  " is over the limit of ", max_bytes);
    }
    if (length > remaining()) return EndOfFile(what);
    std::string text(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return text;
  }

  Status EndOfFile(std::string_view what) const {
    return DataLossError("the file ends in ", what, " at byte ", position_);
  }

 private:
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

class GgufParser {
 public:
  explicit GgufParser(std::span<const std::byte> bytes) : bytes_(bytes), cursor_(bytes) {}

  Status Run();

  uint32_t version = 0;
  Value::Object metadata;
  // Of each key of metadata, its type and value as they stand in the file.
  std::vector<std::span<const std::byte>> raw_metadata;
  struct Tensor {
    std::string name;
    TensorView view;
    uint64_t offset = 0;
    size_t bytes = 0;
  };
  std::vector<Tensor> tensors;

 private:
  Status ReadMetadata(uint64_t count);
  Status ReadTensors(uint64_t count);
  Status PlaceTensors();
  Result<Value> ReadValue(uint32_t type, int depth);
  Result<Value> ReadArray(int depth);
  Result<Tensor> ReadTensor();

  std::span<const std::byte> bytes_;
  GgufCursor cursor_;
  uint64_t array_elements_ = 0;
  uint64_t alignment_ = 32;  // the specification's default
};

}  // namespace rag
