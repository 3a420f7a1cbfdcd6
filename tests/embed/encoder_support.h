// What the encoder tests share: copies of the small golden encoders that a test may change.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
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

// A copy of a folder of tests/golden that a test may change.
class GoldenFolder {
 public:
  explicit GoldenFolder(const std::string& name) {
    std::filesystem::copy(Golden(name), path(), std::filesystem::copy_options::recursive);
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
    Write(name, text.replace(at, from.size(), to));
  }
  Result<std::unique_ptr<Encoder>> Load(const Runtime& runtime,
                                        const EncoderOptions& options = {}) const {
    return Encoder::Load(path().string(), runtime, options);
  }

 protected:
  // The tokenizer that tokenizer.txt names: BEGINNING + name + END of tests/golden.
  void TakeTokenizer(const std::string& beginning, const std::string& end) const {
    std::string name = ReadAll(path() / "tokenizer.txt");
    name.resize(name.find('\n'));
    std::filesystem::copy_file(Golden(beginning + name + end), path() / "tokenizer.json");
  }

 private:
  TemporaryFolder folder_;
};

// tests/golden/encoders/<name>.
class EncoderFolder : public GoldenFolder {
 public:
  explicit EncoderFolder(const std::string& name) : GoldenFolder("encoders/" + name) {}

  void SetPooling(std::string_view mode) const {
    Write("1_Pooling/config.json",
          StrCat("{\"word_embedding_dimension\": 32, \"pooling_mode_", mode, "\": true}"));
    // Without this file no pooling is looked for.
    if (std::filesystem::exists(path() / "modules.json")) return;
    Write("modules.json",
          R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
              {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}])");
  }
};

// tests/golden/<set>/<name> with the tokenizer that it names.
class FamilyFolder : public GoldenFolder {
 public:
  explicit FamilyFolder(const std::string& name, const std::string& set = "encoder_families")
      : GoldenFolder(set + "/" + name) {
    TakeTokenizer("encoder_families/tokenizers/", ".json");
  }
};

// tests/golden/<set>/<name>/expected.json.
inline Value Expected(const FamilyFolder& folder) {
  Result<Value> json = ParseJson(ReadAll(folder.path() / "expected.json"));
  REQUIRE_OK(json);
  return std::move(json).value();
}

inline std::vector<std::string> Strings(const Value& array) {
  std::vector<std::string> strings;
  for (const Value& value : array.as_array()) strings.push_back(value.as_string());
  return strings;
}

inline std::vector<std::string_view> Views(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

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

inline bool SameBits(const Matrix& a, const Matrix& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.data(), b.data(), a.rows() * a.cols() * sizeof(float)) == 0;
}

// The places of the scores, the best first.
inline std::vector<size_t> Order(std::span<const float> scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  return order;
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
