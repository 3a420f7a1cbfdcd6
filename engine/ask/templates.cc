#include "engine/ask/templates.h"

namespace rag {

Result<std::string_view> FindEmbeddedTemplate(std::string_view name) {
  for (size_t i = 0; i < kEmbeddedTemplateCount; ++i) {
    if (kEmbeddedTemplates[i].name == name) return kEmbeddedTemplates[i].source;
  }
  return NotFoundError("there is no built-in template '", name, "'");
}

}  // namespace rag
