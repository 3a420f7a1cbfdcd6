// Numbers one after another in a section of a snapshot.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace rag {

class StreamWriter {
 public:
  template <class T>
  void Put(std::span<const T> values) {
    const auto* const from = reinterpret_cast<const uint8_t*>(values.data());
    bytes_.insert(bytes_.end(), from, from + values.size_bytes());
  }
  template <class T>
  void PutOne(T value) {
    Put(std::span<const T>(&value, 1));
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

class StreamReader {
 public:
  explicit StreamReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  size_t rest() const { return rest_.size(); }

  // False, with nothing read, when there are not as many.
  template <class T>
  bool Get(std::span<T> values) {
    if (values.size_bytes() > rest_.size()) return false;
    if (!values.empty()) std::memcpy(values.data(), rest_.data(), values.size_bytes());
    rest_ = rest_.subspan(values.size_bytes());
    return true;
  }
  // The same, and all of them must be finite.
  bool GetFinite(std::span<float> values) {
    if (!Get(values)) return false;
    for (const float value : values) {
      if (!std::isfinite(value)) return false;
    }
    return true;
  }
  template <class T>
  bool GetOne(T& value) {
    return Get(std::span<T>(&value, 1));
  }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace rag
