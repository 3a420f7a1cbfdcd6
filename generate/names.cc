#include "generate/generator.h"

namespace rag {

std::string LargerContext(const GeneratorInfo& info) {
  if (info.largest_context <= info.context_tokens) return "";
  const std::string option = "; --context-tokens (context_tokens) makes it larger, ";
  return info.trained_context > info.context_tokens
             ? StrCat(option, "up to the ", info.trained_context,
                      " tokens that the model was trained for")
             : StrCat(option, "though the model was trained for ", info.trained_context, " tokens");
}

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

Result<DType> ParseKvType(std::string_view name) {
  if (name == "f32") return DType::kF32;
  if (name == "f16") return DType::kF16;
  if (name == "q8_0") return DType::kQ8_0;
  if (name == "q4_0") return DType::kQ4_0;
  return InvalidArgumentError("a cache of '", name, "' is not known: f32, f16, q8_0 or q4_0");
}

}  // namespace rag
