#include "lib/tensor/shape_text.h"

#include "lib/base/status.h"

namespace rag {

std::string ShapeText(std::span<const size_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += StrCat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

}  // namespace rag
