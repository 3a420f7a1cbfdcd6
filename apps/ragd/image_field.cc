#include "apps/ragd/image_field.h"

#include <utility>

#include "lib/tokenizer/base64.h"

namespace rag {

std::string ReadImageField(Fields& fields, std::string_view key) {
  const std::string text = fields.RequiredString(key);
  std::string_view digits = text;
  // A media type is short; a picture is not looked through for the mark.
  constexpr size_t kLongestHead = 100;
  constexpr std::string_view kMark = ";base64,";
  const size_t mark = digits.substr(0, kLongestHead).find(kMark);
  if (digits.starts_with("data:") && mark != std::string_view::npos) {
    digits.remove_prefix(mark + kMark.size());
  }
  Result<std::string> bytes = DecodeBase64(digits);
  if (!bytes.ok()) {
    fields.Check(key, bytes.status());
    return "";
  }
  if (bytes->empty()) fields.Fail(key, "holds no bytes");
  return std::move(bytes).value();
}

}  // namespace rag
