// A GGUF file taken apart, so that a test can change any piece of it and put it together again,
// rightly or wrongly.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/model/model_file.h"
#include "tests/generate/gguf_writer.h"
#include "tests/support/support.h"

namespace rag::test {

// A value as it stands in a file: its type and its bytes.
template <class T>
std::string GgufBytes(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}
template <class T>
std::string GgufValue(uint32_t type, T value) {
  return GgufBytes(type) + GgufBytes(value);
}
inline std::string GgufUint32(uint32_t value) { return GgufValue(4, value); }
inline std::string GgufInt64(int64_t value) { return GgufValue(11, value); }
inline std::string GgufUint64(uint64_t value) { return GgufValue(10, value); }
inline std::string GgufFloat(float value) { return GgufValue(6, value); }
inline std::string GgufDouble(double value) { return GgufValue(12, value); }
inline std::string GgufBool(uint8_t value) { return GgufValue(7, value); }
inline std::string GgufString(std::string_view text) {
  return GgufBytes(static_cast<uint64_t>(text.size())) + std::string(text);
}
inline std::string GgufText(std::string_view text) {
  return GgufBytes(uint32_t{8}) + GgufString(text);
}
inline std::string GgufArray(uint32_t type, uint64_t count, std::string_view items) {
  return GgufBytes(uint32_t{9}) + GgufBytes(type) + GgufBytes(count) + std::string(items);
}
inline std::string GgufTexts(const std::vector<std::string>& texts) {
  std::string items;
  for (const std::string& text : texts) items += GgufString(text);
  return GgufArray(8, texts.size(), items);
}
template <class T>
std::string GgufNumbers(uint32_t type, const std::vector<T>& numbers) {
  std::string items;
  for (const T number : numbers) items += GgufBytes(number);
  return GgufArray(type, numbers.size(), items);
}

struct GgufDocument {
  struct Key {
    std::string name;
    std::string value;
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> extents;  // the innermost first, as in the file
    uint32_t type = 0;
    std::string data;
    std::optional<uint64_t> offset;  // instead of where the data really lies
  };

  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> key_count;     // instead of how many there are
  std::optional<uint64_t> tensor_count;  // the same
  std::vector<Key> keys;
  std::vector<Tensor> tensors;
  std::string after_tensors;  // before the data

  static GgufDocument Open(const std::filesystem::path& path) {
    const auto file = GgufFile::Open(path.string());
    REQUIRE_OK(file);
    GgufDocument document;
    size_t index = 0;
    for (const auto& [name, value] : file->metadata()) {
      const auto raw = file->RawMetadata(index++);
      document.keys.push_back({name, {reinterpret_cast<const char*>(raw.data()), raw.size()}});
    }
    for (const std::string& name : file->TensorNames()) {
      const TensorView& view = *file->Find(name);
      document.tensors.push_back(
          {name,
           {view.shape.rbegin(), view.shape.rend()},
           GgufTypeId(view.type),
           {reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size()},
           std::nullopt});
    }
    return document;
  }

  // Null when there is none.
  Key* FindKey(std::string_view name) { return Find(keys, name); }
  Tensor* FindTensor(std::string_view name) { return Find(tensors, name); }
  void Set(const std::string& name, const std::string& value) {
    if (Key* key = FindKey(name)) {
      key->value = value;
    } else {
      keys.push_back({name, value});
    }
  }
  void Drop(std::string_view name) {
    std::erase_if(keys, [&](const Key& key) { return key.name == name; });
    std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name == name; });
  }

  // Everything before the tensors' data, without what fills it up to the alignment.
  std::string Head() const {
    std::string out = magic + GgufBytes(version);
    out += GgufBytes(tensor_count.value_or(tensors.size()));
    out += GgufBytes(key_count.value_or(keys.size()));
    for (const Key& key : keys) out += GgufString(key.name) + key.value;
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors) {
      out += GgufString(tensor.name) + GgufBytes(static_cast<uint32_t>(tensor.extents.size()));
      for (const uint64_t extent : tensor.extents) out += GgufBytes(extent);
      out += GgufBytes(tensor.type) + GgufBytes(tensor.offset.value_or(offset));
      offset += Padded(tensor.data.size());
    }
    return out + after_tensors;
  }
  std::string Bytes() const {
    std::string out = Head();
    out.resize(Padded(out.size()));
    for (const Tensor& tensor : tensors) {
      out += tensor.data;
      out.resize(Padded(out.size()));
    }
    return out;
  }

 private:
  static size_t Padded(size_t size) { return (size + 31) / 32 * 32; }
  template <class Item>
  static Item* Find(std::vector<Item>& items, std::string_view name) {
    for (Item& item : items) {
      if (item.name == name) return &item;
    }
    return nullptr;
  }
};

}  // namespace rag::test
