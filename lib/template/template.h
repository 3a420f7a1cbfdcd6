// Templates: the subset of Jinja that chat templates and our prompt templates need.
//
// Language: https://jinja.palletsprojects.com/templates/. Supported and unsupported parts are
// listed in the documentation of Template::Parse.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

struct TemplateLimits {
  size_t max_output_bytes = size_t{64} << 20;
  size_t max_steps = 10'000'000;  // nodes evaluated: a bound on hostile or endless templates
};

// Immutable after Parse; Render may be called from several threads.
class Template {
 public:
  // `name` is used in messages ("chat template of x.gguf"). Trim and lstrip blocks as chat
  // templates expect (trim_blocks and lstrip_blocks are on, as in
  // transformers.apply_chat_template). Errors: invalid_argument with name:line.
  static Result<Template> Parse(std::string_view source, std::string_view name);
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // `variables` is an object. Values are inserted as they are, never parsed again, so text from a
  // document cannot open a block or an expression.
  // Errors: invalid_argument (unknown filter, wrong types, raise_exception's message), with
  // name:line; resource_exhausted past a limit.
  Result<std::string> Render(const Value& variables, const TemplateLimits& limits = {}) const;

 private:
  struct Impl;
  explicit Template(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rag
