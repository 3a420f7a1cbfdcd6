// Resizing with antialiasing, as the models' own preprocessing does it.
#pragma once

#include <cstddef>

#include "lib/image/image.h"

namespace rag {

// Pillow's filters under its numbers, which preprocessor_config.json holds.
enum class ResampleFilter {
  kNearest = 0,
  kLanczos = 1,
  kBilinear = 2,
  kBicubic = 3,
  kBox = 4,
  kHamming = 5,
};

// A part of a picture, in pixels from its upper left corner.
struct PixelBox {
  size_t x = 0;
  size_t y = 0;
  size_t width = 0;
  size_t height = 0;
};

// The picture in width x height pixels, both at least 1, byte for byte as Image.resize of
// Pillow up to 12 gives it: a filter as wide as the reduction (a = -0.5 for the bicubic), across
// and then down with a rounding to 8 bits in between, weights in 22 bits of fraction.
Image Resize(const Image& image, size_t width, size_t height, ResampleFilter filter);
// Of that the part `box`, which lies in it; the rest, however large, costs nothing.
Image ResizeBox(const Image& image, size_t width, size_t height, const PixelBox& box,
                ResampleFilter filter);

}  // namespace rag
