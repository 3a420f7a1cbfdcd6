#include "lib/template/template.h"

#include "lib/template/machine.h"
#include "lib/template/parser.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

// A chat template has a few kilobytes; the bound keeps the syntax tree small.
constexpr size_t kMaxSourceBytes = size_t{4} << 20;

}  // namespace

struct Template::Impl {
  std::string name;
  jinja::Block block;
};

Template::Template(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::Parse(std::string_view source, std::string_view name) {
  if (source.size() > kMaxSourceBytes) {
    return ResourceExhaustedError(name, ": a template of ", source.size(), " bytes; the limit is ",
                                  kMaxSourceBytes);
  }
  if (!IsValidUtf8(source)) return InvalidArgumentError(name, ": the template is not UTF-8");
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  RAG_ASSIGN_OR_RETURN(impl->block, jinja::ParseTemplate(source, name));
  return Template(std::move(impl));
}

Result<std::string> Template::Render(const Value& variables, const TemplateLimits& limits) const {
  return jinja::Machine(impl_->name, limits).Render(impl_->block, variables);
}

}  // namespace rag
