// What the tests of image encoders share: copies of tests/golden/image_encoders.
#pragma once

#include <string>
#include <vector>

#include "lib/image/image.h"
#include "tests/embed/encoder_support.h"
#include "tests/lib/image/image_support.h"

namespace rag::test {

// tests/golden/image_encoders/<name> with the tokenizer that it names.
class ImageEncoderFolder : public GoldenFolder {
 public:
  explicit ImageEncoderFolder(const std::string& name) : GoldenFolder("image_encoders/" + name) {
    TakeTokenizer("image_encoders/", "_tokenizer.json");
  }
};

inline std::vector<Image> GoldenPictures() {
  const Result<Value> rows = ParseJson(ReadAll(Golden("image_encoders/pictures.json")));
  REQUIRE_OK(rows);
  std::vector<Image> images;
  for (const Value& row : rows->as_array()) images.push_back(ReadImage(row));
  return images;
}

}  // namespace rag::test
