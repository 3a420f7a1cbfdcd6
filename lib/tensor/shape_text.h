// ShapeText: how errors and fingerprints name a shape.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rag {

// "[384, 1536]"; "[]" of a scalar.
std::string ShapeText(std::span<const size_t> shape);

}  // namespace rag
