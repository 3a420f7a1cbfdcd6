// The built-in prompt templates: engine/templates/*.jinja, embedded at build time.
#pragma once

#include <cstddef>
#include <string_view>

#include "lib/base/status.h"

namespace rag {

struct EmbeddedTemplate {
  std::string_view name;  // the file's name without ".jinja"
  std::string_view source;
};
extern const EmbeddedTemplate kEmbeddedTemplates[];
extern const size_t kEmbeddedTemplateCount;

// Errors: not_found.
Result<std::string_view> FindEmbeddedTemplate(std::string_view name);

}  // namespace rag
