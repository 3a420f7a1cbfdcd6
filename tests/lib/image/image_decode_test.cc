// Decoding against Pillow (tests/golden/images/make_images.py): small files of every form, and the
// pictures of the shared data.
#include <catch2/catch.hpp>
#include <random>

#include "lib/base/hash.h"
#include "lib/image/image.h"
#include "tests/lib/image/image_support.h"

namespace rag::test {
namespace {

TEST_CASE("Every form of image gives Pillow's pixels") {
  const Value rows = GoldenImages("decode.json");
  CHECK(rows.as_array().size() >= 40);
  for (const Value& row : rows.as_array()) {
    INFO(row.Find("name")->as_string());
    const Result<Image> image = DecodeImage(DecodeField(row, "file"), "x");
    REQUIRE_OK(image);
    CheckEqual(*image, ReadImage(row));
  }
}

TEST_CASE("The shared pictures give Pillow's pixels") {
  const auto data = SharedData("img-captioned");
  if (!data.has_value()) RAG_SKIP("the shared data is not here");
  const std::filesystem::path root = data->parent_path();
  const Value rows = GoldenImages("shared.json");
  size_t damaged = 0;
  for (const Value& row : rows.as_array()) {
    const std::string file = row.Find("file")->as_string();
    INFO(file);
    const Result<Image> image = DecodeImage(ReadAll(root / file), file);
    if (row.Find("hash")->is_null()) {
      CHECK(image.status().code() == StatusCode::kInvalidArgument);
      CHECK(image.status().message().starts_with(file + ": damaged"));
      ++damaged;
      continue;
    }
    REQUIRE_OK(image);
    CHECK(static_cast<int64_t>(image->width) == row.Find("width")->as_int());
    CHECK(static_cast<int64_t>(image->height) == row.Find("height")->as_int());
    CHECK(HashToHex(Hash64(std::as_bytes(std::span(image->rgb)))) == row.Find("hash")->as_string());
  }
  CHECK(damaged == 1);
}

TEST_CASE("What is no image is refused by name") {
  for (const std::string_view bytes : {"", "a", "GIF88a", "RIFF....WAVE", "BM......", "II*"}) {
    CHECK_FALSE(DetectImageFormat(bytes).has_value());
    const Result<Image> image = DecodeImage(bytes, "folder/thing");
    CHECK(image.status().code() == StatusCode::kInvalidArgument);
    CHECK(image.status().message().starts_with("folder/thing: "));
  }
}

TEST_CASE("Names of the formats") {
  CHECK(ImageFormatName(ImageFormat::kWebp) == "WebP");
  CHECK(ImageFormatMediaType(ImageFormat::kJpeg) == "image/jpeg");
  const Value rows = GoldenImages("decode.json");
  for (const Value& row : rows.as_array()) {
    const auto format = DetectImageFormat(DecodeField(row, "file"));
    REQUIRE(format.has_value());
    const std::string media_type(ImageFormatMediaType(*format));
    CHECK(row.Find("name")->as_string().starts_with(media_type.substr(media_type.find('/') + 1)));
  }
}

TEST_CASE("A picture past the limit is refused before its pixels are there") {
  const Value rows = GoldenImages("decode.json");
  for (const Value& row : rows.as_array()) {
    const Image image = ReadImage(row);
    const std::string file = DecodeField(row, "file");
    INFO(row.Find("name")->as_string());
    REQUIRE_OK(DecodeImage(file, "x", {.max_pixels = image.width * image.height}));
    const Result<Image> refused =
        DecodeImage(file, "x", {.max_pixels = image.width * image.height - 1});
    CHECK(refused.status().code() == StatusCode::kResourceExhausted);
    CHECK(refused.status().message().starts_with("x: an image of"));
    // A strip of few pixels is refused for its length.
    const size_t edge = std::max(image.width, image.height);
    REQUIRE_OK(DecodeImage(file, "x", {.max_edge = edge}));
    if (edge == 1) continue;
    const Result<Image> strip = DecodeImage(file, "x", {.max_edge = edge - 1});
    CHECK(strip.status().code() == StatusCode::kResourceExhausted);
    CHECK(strip.status().message().find("row or column") != std::string::npos);
  }
  // A header of 2^31 - 1 x 2^31 - 1 pixels.
  std::string png = DecodeField(FindRow(rows, "png-rgb"), "file");
  for (const size_t at : {16, 20}) png.replace(at, 4, "\x7f\xff\xff\xff");
  png.replace(29, 4, "\xb1\xf4\x2a\x07");
  CHECK_FALSE(DecodeImage(png, "x").ok());
}

TEST_CASE("Cut files are refused") {
  const Value rows = GoldenImages("decode.json");
  for (const Value& row : rows.as_array()) {
    const std::string file = DecodeField(row, "file");
    INFO(row.Find("name")->as_string());
    for (size_t size = 0; size < file.size(); ++size) {
      const Result<Image> image = DecodeImage(std::string_view(file).substr(0, size), "x");
      // What stands behind the pixels is not needed.
      if (image.ok()) {
        CHECK(size > file.size() / 3);
      } else {
        CHECK(image.status().code() == StatusCode::kInvalidArgument);
      }
      if (size < file.size() / 3) CHECK_FALSE(image.ok());
    }
  }
}

TEST_CASE("Flipped bits give an image or an error, and no crash") {
  const Value rows = GoldenImages("decode.json");
  std::mt19937 random(11);
  const size_t tries = Workload(400, 100, "damaged copies of each image");
  size_t refused = 0;
  for (const Value& row : rows.as_array()) {
    const std::string file = DecodeField(row, "file");
    for (size_t i = 0; i < tries; ++i) {
      std::string damaged = file;
      for (size_t flips = 1 + random() % 6; flips > 0; --flips) {
        damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
      }
      const Result<Image> image = DecodeImage(damaged, "x", {.max_pixels = 1 << 20});
      if (image.ok()) {
        CHECK(image->rgb.size() == image->width * image->height * 3);
      } else {
        CHECK(image.status().message().starts_with("x: "));
        ++refused;
      }
    }
  }
  CHECK(refused > 0);
}

}  // namespace
}  // namespace rag::test
