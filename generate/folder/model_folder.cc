#include "generate/folder/model_folder.h"

#include <filesystem>
#include <memory>

#include "generate/folder/folder_config.h"
#include "generate/folder/folder_tensors.h"
#include "lib/base/file.h"
#include "lib/template/chat_template.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxJsonBytes = size_t{16} << 20;

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Null when the file does not exist.
Result<Value> ReadJsonFile(const fs::path& path) {
  if (!Exists(path)) return Value();
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path.string(), kMaxJsonBytes));
  auto json = ParseJson(text, {.max_bytes = kMaxJsonBytes, .max_depth = 32});
  if (!json.ok()) return std::move(json).status().WithContext(path.string());
  if (!json->is_object()) return InvalidArgumentError(path.string(), ": is no object");
  return json;
}

Result<Value> ReadConfig(const fs::path& folder) {
  RAG_ASSIGN_OR_RETURN(Value config, ReadJsonFile(folder / "config.json"));
  if (config.is_null()) return NotFoundError((folder / "config.json").string(), " does not exist");
  return config;
}

// generation_config.json, else config.json: one id or several.
Status ReadEndTokens(const fs::path& folder, const Value& config, Value::Object& metadata) {
  RAG_ASSIGN_OR_RETURN(const Value generation, ReadJsonFile(folder / "generation_config.json"));
  const Value* ids = generation.Find("eos_token_id");
  if (ids == nullptr || ids->is_null()) ids = config.Find("eos_token_id");
  if (ids == nullptr) return OkStatus();
  const Value::Array list = ids->is_array() ? ids->as_array() : Value::Array{*ids};
  constexpr std::string_view kKeys[] = {
      "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  for (size_t i = 0; i < list.size() && i < std::size(kKeys); ++i) {
    if (list[i].is_int()) metadata.Set(kKeys[i], list[i]);
  }
  return OkStatus();
}

}  // namespace

bool IsDecoderFolder(const std::string& folder) {
  const fs::path path(folder);
  if (Exists(path / "modules.json")) return false;
  const auto config = ReadConfig(path);
  if (!config.ok()) return false;
  const Value* type = config->Find("model_type");
  return type != nullptr && type->is_string() && FindFamily(type->as_string()) != nullptr;
}

Result<GgufFile> OpenModelFolder(const std::string& folder) {
  const fs::path path(folder);
  RAG_ASSIGN_OR_RETURN(const Value config, ReadConfig(path));
  RAG_ASSIGN_OR_RETURN(FolderConfig translated,
                       TranslateConfig(config, (path / "config.json").string()));
  RAG_ASSIGN_OR_RETURN(TensorFile file, TensorFile::Open(folder));
  const auto tensors = std::make_shared<FolderTensors>(std::move(file));
  RAG_RETURN_IF_ERROR(RenameTensors(translated, folder, *tensors));
  Value::Object metadata = std::move(translated.metadata);
  const fs::path name = path.has_filename() ? path.filename() : path.parent_path().filename();
  metadata.Set("general.name", name.string());
  RAG_ASSIGN_OR_RETURN(std::string chat_template, ReadChatTemplate(folder));
  if (!chat_template.empty()) metadata.Set("tokenizer.chat_template", std::move(chat_template));
  RAG_RETURN_IF_ERROR(ReadEndTokens(path, config, metadata));
  return GgufFile::FromParts({.path = folder,
                              .metadata = std::move(metadata),
                              .tensors = tensors->tensors,
                              .storage = tensors});
}

}  // namespace rag
