#include "apps/ragd/image_field.h"

#include <utility>

#include "lib/base/base64.h"

namespace rag {

Result<std::string> DecodeImageText(std::string_view text) {
  // A media type is short; a picture is not looked through for the mark.
  constexpr size_t kLongestHead = 100;
  constexpr std::string_view kMark = ";base64,";
  const size_t mark = text.substr(0, kLongestHead).find(kMark);
  if (text.starts_with("data:") && mark != std::string_view::npos) {
    text.remove_prefix(mark + kMark.size());
  }
  RAG_ASSIGN_OR_RETURN(std::string bytes, DecodeBase64(text));
  if (bytes.empty()) return InvalidArgumentError("the image has no bytes");
  return bytes;
}

std::string ReadImageField(Fields& fields, std::string_view key) {
  const std::string text = fields.RequiredString(key);
  if (!fields.ok()) return "";
  Result<std::string> bytes = DecodeImageText(text);
  fields.Check(key, bytes.status());
  return bytes.ok() ? std::move(bytes).value() : "";
}

}  // namespace rag
