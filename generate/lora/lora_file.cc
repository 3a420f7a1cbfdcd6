#include "generate/lora/lora_file.h"

#include <filesystem>

#include "generate/lora/lora_pairs.h"
#include "generate/lora/peft_folder.h"
#include "lib/model/gguf_keys.h"
#include "lib/model/model_file.h"

namespace rag {
namespace {

Status CheckKey(const GgufKeys& keys, const std::string& path, std::string_view name,
                std::string_view expected) {
  RAG_ASSIGN_OR_RETURN(const std::string found, keys.Text(name, ""));
  if (found == expected) return OkStatus();
  return InvalidArgumentError(path, ": key '", name, "' is '", found, "', not '", expected, "'");
}

Result<LoraFile> OpenLoraGguf(const std::string& path, const DecoderConfig& model) {
  RAG_ASSIGN_OR_RETURN(GgufFile opened, GgufFile::Open(path));
  const auto file = std::make_shared<GgufFile>(std::move(opened));
  const GgufKeys keys(*file, "");
  RAG_RETURN_IF_ERROR(CheckKey(keys, path, "general.type", "adapter"));
  RAG_RETURN_IF_ERROR(CheckKey(keys, path, "adapter.type", "lora"));
  RAG_RETURN_IF_ERROR(CheckKey(keys, path, "general.architecture", model.architecture));
  if (keys.Has("adapter.alora.invocation_tokens")) {
    return UnsupportedError(path,
                            ": key 'adapter.alora.invocation_tokens' makes it work from a "
                            "place in the text on, which is not known here");
  }
  RAG_ASSIGN_OR_RETURN(const double alpha, keys.NonNegative("adapter.lora.alpha", 0));
  if (alpha > kMaxLoraAlpha) {
    return InvalidArgumentError(path, ": key 'adapter.lora.alpha' is ", alpha,
                                ", over the limit of ", kMaxLoraAlpha);
  }
  LoraPairs pairs(path, model.experts);
  for (const std::string& name : file->TensorNames()) {
    constexpr std::string_view kSuffixes[] = {".lora_a", ".lora_b"};
    const bool is_a = name.ends_with(kSuffixes[0]);
    if (!is_a && !name.ends_with(kSuffixes[1])) {
      return UnsupportedError(path, ": tensor '", name, "' is not part of a LoRA adapter");
    }
    RAG_RETURN_IF_ERROR(pairs.Add(name.substr(0, name.size() - kSuffixes[0].size()),
                                  is_a ? LoraPairs::Half::kA : LoraPairs::Half::kB, name,
                                  *file->Find(name)));
  }
  LoraFile out = {.path = path, .tensors = {}, .storage = file};
  RAG_ASSIGN_OR_RETURN(out.tensors, pairs.Take());
  // As llama.cpp has it, an alpha of 0 says that there is none.
  for (LoraTensor& tensor : out.tensors) {
    if (alpha != 0) tensor.scale = alpha / static_cast<double>(tensor.rank());
  }
  return out;
}

}  // namespace

Result<LoraFile> OpenLora(const std::string& path, const DecoderConfig& model) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored) ? OpenPeftFolder(path, model)
                                                      : OpenLoraGguf(path, model);
}

}  // namespace rag
