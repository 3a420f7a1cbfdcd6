// What the tests of image encoders share: copies of tests/golden/image_encoders.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lib/image/image.h"
#include "tests/embed/encoder_support.h"
#include "tests/lib/image/image_support.h"

namespace rag::test {

// A copy of a folder of tests/golden/image_encoders with the tokenizer that it names.
class ImageEncoderFolder {
 public:
  explicit ImageEncoderFolder(const std::string& name) {
    std::filesystem::copy(Golden("image_encoders/" + name), path(),
                          std::filesystem::copy_options::recursive);
    std::string tokenizer = ReadAll(path() / "tokenizer.txt");
    tokenizer.resize(tokenizer.find('\n'));
    std::filesystem::copy_file(Golden("image_encoders/" + tokenizer + "_tokenizer.json"),
                               path() / "tokenizer.json");
  }
  std::filesystem::path path() const { return folder_.path() / "model"; }
  Result<std::unique_ptr<Encoder>> Load(const Runtime& runtime,
                                        const EncoderOptions& options = {}) const {
    return Encoder::Load(path().string(), runtime, options);
  }
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

inline std::vector<Image> GoldenPictures() {
  const Result<Value> rows = ParseJson(ReadAll(Golden("image_encoders/pictures.json")));
  REQUIRE_OK(rows);
  std::vector<Image> images;
  for (const Value& row : rows->as_array()) images.push_back(ReadImage(row));
  return images;
}

}  // namespace rag::test
