// How records are written as bytes: varints (LEB128), and strings as their length and bytes.
// Reading checks every length, since a database file may be damaged.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace rag {

class RecordWriter {
 public:
  void PutVarint(uint64_t value) {
    while (value >= 0x80) {
      bytes_ += static_cast<char>(value | 0x80);
      value >>= 7;
    }
    bytes_ += static_cast<char>(value);
  }
  void PutString(std::string_view text) {
    PutVarint(text.size());
    bytes_ += text;
  }
  std::string Take() { return std::move(bytes_); }
  size_t size() const { return bytes_.size(); }

 private:
  std::string bytes_;
};

// Each read returns false at the end or at bytes that are no record; after that all do.
class RecordReader {
 public:
  explicit RecordReader(std::string_view bytes) : rest_(bytes) {}

  bool ReadVarint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    rest_ = {};
    return false;
  }
  bool ReadString(std::string_view& text) {
    uint64_t size = 0;
    if (!ReadVarint(size) || size > rest_.size()) {
      rest_ = {};
      return false;
    }
    text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  bool AtEnd() const { return rest_.empty(); }
  size_t remaining() const { return rest_.size(); }

 private:
  std::string_view rest_;
};

}  // namespace rag
