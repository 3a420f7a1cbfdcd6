// EXIF: which way up a camera held the picture.
#pragma once

#include <string_view>

#include "lib/image/image.h"

namespace rag {

// The orientation, 1 to 8, in an EXIF block (a TIFF header and its first directory, with or without
// "Exif\0\0" before it); 1, upright, when it says none or is damaged.
int ExifOrientation(std::string_view exif);

// The picture as it is meant to be seen: turned and mirrored as `orientation`, 1 to 8, says.
Image ApplyOrientation(Image image, int orientation);

}  // namespace rag
