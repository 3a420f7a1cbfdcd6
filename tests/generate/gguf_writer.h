// Writes GGUF files for tests: version 3, little-endian (github.com/ggml-org/ggml, docs/gguf.md).
#pragma once

#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/tensor/tensor.h"

namespace rag::test {

// ggml.h's ggml_type.
inline uint32_t GgufTypeId(DType type) {
  switch (type) {
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ5_0:
      return 6;
    case DType::kQ5_1:
      return 7;
    case DType::kQ8_0:
      return 8;
    case DType::kQ2_K:
      return 10;
    case DType::kQ3_K:
      return 11;
    case DType::kQ4_K:
      return 12;
    case DType::kQ5_K:
      return 13;
    case DType::kQ6_K:
      return 14;
    case DType::kIQ4_NL:
      return 20;
    case DType::kIQ4_XS:
      return 23;
    case DType::kMXFP4:
      return 39;
    case DType::kI8:
      return 24;
    case DType::kBF16:
      return 30;
    default:
      return 0;  // F32
  }
}

class GgufWriter {
 public:
  void Text(const std::string& key, std::string_view value) {
    Key(key, 8);
    AppendText(metadata_, value);
  }
  void Integer(const std::string& key, uint32_t value) {
    Key(key, 4);
    Append(metadata_, value);
  }
  void Float(const std::string& key, float value) {
    Key(key, 6);
    Append(metadata_, value);
  }
  void Boolean(const std::string& key, bool value) {
    Key(key, 7);
    Append(metadata_, static_cast<uint8_t>(value));
  }
  void Texts(const std::string& key, const std::vector<std::string>& values) {
    Array(key, 8, values.size());
    for (const std::string& value : values) AppendText(metadata_, value);
  }
  void Integers(const std::string& key, const std::vector<int32_t>& values) {
    Array(key, 5, values.size());
    for (const int32_t value : values) Append(metadata_, value);
  }
  void Floats(const std::string& key, const std::vector<float>& values) {
    Array(key, 6, values.size());
    for (const float value : values) Append(metadata_, value);
  }
  // shape is outermost first, as TensorView's.
  void Tensor(const std::string& name, DType type, const std::vector<size_t>& shape,
              std::span<const std::byte> bytes) {
    data_.resize((data_.size() + 31) / 32 * 32);
    AppendText(tensors_, name);
    Append(tensors_, static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) Append(tensors_, static_cast<uint64_t>(shape[i]));
    Append(tensors_, GgufTypeId(type));
    Append(tensors_, static_cast<uint64_t>(data_.size()));
    data_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ++tensor_count_;
  }

  void Write(const std::string& path) const {
    std::string out = "GGUF";
    Append(out, uint32_t{3});
    Append(out, tensor_count_);
    Append(out, key_count_);
    out += metadata_ + tensors_;
    out.resize((out.size() + 31) / 32 * 32);
    out += data_;
    std::ofstream(path, std::ios::binary) << out;
  }

 private:
  template <class T>
  static void Append(std::string& out, T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out.append(bytes, sizeof(T));
  }
  static void AppendText(std::string& out, std::string_view text) {
    Append(out, static_cast<uint64_t>(text.size()));
    out += text;
  }
  void Key(const std::string& key, uint32_t type) {
    AppendText(metadata_, key);
    Append(metadata_, type);
    ++key_count_;
  }
  void Array(const std::string& key, uint32_t type, size_t count) {
    Key(key, 9);
    Append(metadata_, type);
    Append(metadata_, static_cast<uint64_t>(count));
  }
  std::string metadata_;
  std::string tensors_;
  std::string data_;
  uint64_t key_count_ = 0;
  uint64_t tensor_count_ = 0;
};

}  // namespace rag::test
