// What the encoder tests share: copies of the small golden encoders that a test may change.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "embed/encoder.h"
#include "lib/base/value.h"
#include "lib/kernels/kernels.h"
#include "tests/support/support.h"

namespace rag::test {

inline void WriteText(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  REQUIRE(out.good());
}

// A copy of tests/golden/encoders/<name>.
class EncoderFolder {
 public:
  explicit EncoderFolder(const std::string& name) {
    std::filesystem::copy(Golden("encoders/" + name), path(),
                          std::filesystem::copy_options::recursive);
  }

  std::filesystem::path path() const { return folder_.path() / "model"; }
  void Write(const std::string& name, std::string_view text) const {
    WriteText(path() / name, text);
  }
  void Replace(const std::string& name, const std::string& from, const std::string& to) const {
    std::string text = ReadAll(path() / name);
    const size_t at = text.find(from);
    INFO(name << " has no " << from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    Write(name, text);
  }
  void SetPooling(std::string_view mode) const {
    Write("1_Pooling/config.json",
          StrCat("{\"word_embedding_dimension\": 32, \"pooling_mode_", mode, "\": true}"));
  }
  Result<std::unique_ptr<Encoder>> Load(const Runtime& runtime) const {
    return Encoder::Load(path().string(), runtime);
  }

 private:
  TemporaryFolder folder_;
};

// A copy of a folder of tests/golden/<set> with the tokenizer that it names.
class FamilyFolder {
 public:
  explicit FamilyFolder(const std::string& name, const std::string& set = "encoder_families") {
    std::filesystem::copy(Golden(set + "/" + name), path(),
                          std::filesystem::copy_options::recursive);
    std::string tokenizer = ReadAll(path() / "tokenizer.txt");
    tokenizer.resize(tokenizer.find('\n'));
    std::filesystem::copy_file(Golden("encoder_families/tokenizers/" + tokenizer + ".json"),
                               path() / "tokenizer.json");
  }
  std::filesystem::path path() const { return folder_.path() / "model"; }
  void Replace(const std::string& file, const std::string& from, const std::string& to) const {
    std::string text = ReadAll(path() / file);
    const size_t at = text.find(from);
    INFO(file << " has no " << from);
    REQUIRE(at != std::string::npos);
    WriteText(path() / file, text.replace(at, from.size(), to));
  }

 private:
  TemporaryFolder folder_;
};

// A file of little-endian half-precision floats.
inline std::vector<float> ReadHalves(const std::filesystem::path& path) {
  const std::string bytes = ReadAll(path);
  std::vector<float> values(bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, bytes.data() + i * sizeof(half), sizeof(half));
    values[i] = HalfToFloat(half);
  }
  return values;
}

// The texts of tests/golden/encoder_families: real ones of many languages.
inline constexpr size_t kFamilyTexts = 320;

inline std::vector<std::string> FamilyTexts() {
  std::vector<std::string> texts;
  std::istringstream lines(ReadAll(Golden("embeddings/texts.jsonl")));
  size_t row = 0;
  for (std::string line; std::getline(lines, line); ++row) {
    if (row % 7 >= 4) continue;
    const Result<Value> entry = ParseJson(line);
    REQUIRE_OK(entry);
    texts.push_back(entry->Find("text")->as_string());
  }
  REQUIRE(texts.size() == kFamilyTexts);
  return texts;
}

inline std::vector<std::string> GoldenTexts() {
  const Result<Value> json = ParseJson(ReadAll(Golden("encoders/texts.json")));
  REQUIRE_OK(json);
  std::vector<std::string> texts;
  for (const Value& text : json->as_array()) texts.push_back(text.as_string());
  return texts;
}

inline Embeddings EncodeAll(const Encoder& encoder, const std::vector<std::string>& texts,
                            TextRole role = TextRole::kPlain) {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  Result<Embeddings> embeddings = encoder.Encode(views, role);
  REQUIRE_OK(embeddings);
  return std::move(embeddings).value();
}

inline double Cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return dot / std::sqrt(aa * bb);
}

}  // namespace rag::test
