// What the tests of images share: the golden pictures.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lib/base/base64.h"
#include "lib/base/value.h"
#include "lib/image/image.h"
#include "tests/support/support.h"

namespace rag::test {

// A file of tests/golden/images: an array of objects.
inline Value GoldenImages(const std::string& name) {
  Result<Value> json = ParseJson(ReadAll(Golden("images/" + name)));
  REQUIRE_OK(json);
  return std::move(json).value();
}

inline const Value& FindRow(const Value& rows, std::string_view name) {
  for (const Value& row : rows.as_array()) {
    if (row.Find("name")->as_string() == name) return row;
  }
  FAIL("no image " << name);
  return rows;
}

inline std::string DecodeField(const Value& row, std::string_view field) {
  Result<std::string> bytes = DecodeBase64(row.Find(field)->as_string());
  REQUIRE_OK(bytes);
  return std::move(bytes).value();
}

// "width", "height" and "rgb" of a row.
inline Image ReadImage(const Value& row) {
  Image image{.width = static_cast<size_t>(row.Find("width")->as_int()),
              .height = static_cast<size_t>(row.Find("height")->as_int())};
  const std::string rgb = DecodeField(row, "rgb");
  image.rgb.assign(rgb.begin(), rgb.end());
  REQUIRE(image.rgb.size() == image.width * image.height * 3);
  return image;
}

inline void CheckEqual(const Image& image, const Image& expected) {
  REQUIRE(image.width == expected.width);
  REQUIRE(image.height == expected.height);
  REQUIRE(image.rgb.size() == expected.rgb.size());
  int worst = 0;
  for (size_t i = 0; i < expected.rgb.size(); ++i) {
    worst = std::max(worst, std::abs(int{image.rgb[i]} - int{expected.rgb[i]}));
  }
  CHECK(worst == 0);
}

}  // namespace rag::test
