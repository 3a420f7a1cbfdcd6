#include "embed/encoder.h"

namespace rag {

std::string_view PoolingName(Pooling pooling) {
  switch (pooling) {
    case Pooling::kMean:
      return "mean";
    case Pooling::kCls:
      return "cls";
    case Pooling::kMax:
      return "max";
  }
  return "unknown";
}

std::string_view TextRoleName(TextRole role) {
  switch (role) {
    case TextRole::kPlain:
      return "plain";
    case TextRole::kQuery:
      return "query";
    case TextRole::kDocument:
      return "document";
  }
  return "unknown";
}

Result<TextRole> ParseTextRole(std::string_view name) {
  for (const TextRole role : {TextRole::kPlain, TextRole::kQuery, TextRole::kDocument}) {
    if (name == TextRoleName(role)) return role;
  }
  return InvalidArgumentError("text role '", name, "' is none of plain, query and document");
}

}  // namespace rag
