// Builds model files field by field, so that a test can write any of them wrongly.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace rag::test {

class Bytes {
 public:
  template <class T>
  Bytes& Put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Bytes& PutString(std::string_view text) {
    Put<uint64_t>(text.size());
    text_ += text;
    return *this;
  }
  Bytes& Append(std::string_view text) {
    text_ += text;
    return *this;
  }
  Bytes& PadTo(size_t alignment) {
    text_.resize((text_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// A new file each time: what replaces a file's content is written to the disk at once by some file
// systems.
inline void WriteBytes(const std::string& path, std::string_view bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// The 64-bit FNV-1a hash, as tests/golden's listings use it.
inline std::string Fnv(std::string_view bytes) {
  uint64_t value = 0xCBF29CE484222325;
  for (const char byte : bytes) {
    value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
  }
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace rag::test
