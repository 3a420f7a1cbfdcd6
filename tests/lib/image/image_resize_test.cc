// Resizing against Pillow's Image.resize (tests/golden/images/make_images.py).
#include "lib/image/resize.h"
#include "tests/lib/image/image_support.h"

namespace rag::test {
namespace {

TEST_CASE("Resized pictures are Pillow's, byte for byte") {
  const Value rows = GoldenImages("resize.json");
  Image image;
  size_t checked = 0;
  for (const Value& row : rows.as_array()) {
    // What the rows behind it are made from.
    if (row.Find("filter") == nullptr) {
      image = ReadImage(row);
      continue;
    }
    const Image expected = ReadImage(row);
    INFO("filter " << row.Find("filter")->as_int() << ", " << expected.width << " x "
                   << expected.height);
    CheckEqual(Resize(image, expected.width, expected.height,
                      static_cast<ResampleFilter>(row.Find("filter")->as_int())),
               expected);
    ++checked;
  }
  CHECK(checked == 45);
}

TEST_CASE("A part of a resized picture is that part of the whole") {
  const Image image = ReadImage(GoldenImages("resize.json").as_array().front());
  for (int filter = 0; filter <= 5; ++filter) {
    const auto kind = static_cast<ResampleFilter>(filter);
    const Image whole = Resize(image, 20, 40, kind);
    const PixelBox box{.x = 3, .y = 11, .width = 14, .height = 9};
    const Image part = ResizeBox(image, 20, 40, box, kind);
    REQUIRE(part.rgb.size() == box.width * box.height * 3);
    for (size_t y = 0; y < box.height; ++y) {
      CHECK(std::equal(part.row(y), part.row(y) + box.width * 3, whole.row(box.y + y) + box.x * 3));
    }
  }
}

TEST_CASE("A part of a strip that would be huge is cheap") {
  Image strip{.width = 1, .height = 1'000'000};
  strip.rgb.assign(3'000'000, 7);
  const size_t tall = strip.height * 4'096;
  const Image part = ResizeBox(strip, 4'096, tall, {.x = 0, .y = tall / 2, .width = 9, .height = 5},
                               ResampleFilter::kBicubic);
  CHECK(part.rgb == std::vector<uint8_t>(9 * 5 * 3, 7));
}

}  // namespace
}  // namespace rag::test
