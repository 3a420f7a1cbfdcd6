#include "lib/tokenizer/tokenizer_config.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "lib/base/file.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

// Far more than any published one has.
constexpr size_t kMaxConfigBytes = size_t{64} << 20;

constexpr std::string_view kTokenKeys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                           "pad_token", "cls_token", "mask_token"};

Status ReadObject(const fs::path& path, Value& into) {
  std::error_code error;
  if (!fs::exists(path, error)) return OkStatus();
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path.string(), kMaxConfigBytes));
  auto json = ParseJson(text);
  if (!json.ok()) return std::move(json).status().WithContext(path.string());
  if (!json->is_object()) return InvalidArgumentError(path.string(), ": is no JSON object");
  into = std::move(json).value();
  return OkStatus();
}

// A token as both files have it; null when it is no string and no object with one.
const std::string* Content(const Value& value) {
  const Value* content = value.is_object() ? value.Find("content") : &value;
  return content != nullptr && content->is_string() ? &content->as_string() : nullptr;
}

Status CheckTokens(const fs::path& path, const Value& object) {
  for (const std::string_view key : kTokenKeys) {
    const Value* value = object.Find(key);
    if (value == nullptr || value->is_null() || Content(*value) != nullptr) continue;
    return InvalidArgumentError(path.string(), ": '", key, "' is ", ToJson(*value),
                                ", neither a string nor an object with a string 'content'");
  }
  return OkStatus();
}

TokenizerClass ClassOf(std::string_view name) {
  for (const std::string_view known :
       {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"}) {
    if (name == known) return TokenizerClass::kBert;
  }
  for (const std::string_view known :
       {"RobertaTokenizer", "LongformerTokenizer", "BartTokenizer"}) {
    if (name == known) return TokenizerClass::kRoberta;
  }
  if (name == "MPNetTokenizer") return TokenizerClass::kMpnet;
  if (name == "GPT2Tokenizer") return TokenizerClass::kGpt2;
  if (name == "CLIPTokenizer") return TokenizerClass::kClip;
  return TokenizerClass::kNone;
}

std::string_view ClassOfModel(std::string_view type) {
  constexpr std::pair<std::string_view, std::string_view> kClasses[] = {
      {"bert", "BertTokenizer"},
      {"distilbert", "BertTokenizer"},
      {"electra", "BertTokenizer"},
      {"mobilebert", "BertTokenizer"},
      {"nomic_bert", "BertTokenizer"},
      {"roberta", "RobertaTokenizer"},
      {"longformer", "RobertaTokenizer"},
      {"bart", "RobertaTokenizer"},
      {"data2vec-text", "RobertaTokenizer"},
      {"mpnet", "MPNetTokenizer"},
      {"gpt2", "GPT2Tokenizer"},
      {"clip", "CLIPTokenizer"},
      {"qwen2", "Qwen2Tokenizer"},
      {"qwen3", "Qwen2Tokenizer"},
      {"xlm-roberta", "XLMRobertaTokenizer"},
      {"camembert", "CamembertTokenizer"},
      {"albert", "AlbertTokenizer"},
      {"siglip", "SiglipTokenizer"},
      {"t5", "T5Tokenizer"},
  };
  for (const auto& [model, name] : kClasses) {
    if (type == model) return name;
  }
  return "";
}

// Models of whose files the class is not believed.
bool ClassIsWrong(std::string_view model_type) {
  return model_type == "modernbert" || model_type == "qwen2" || model_type == "phi3";
}

}  // namespace

Result<TokenizerConfig> TokenizerConfig::Read(const std::string& folder) {
  TokenizerConfig config;
  const fs::path base(folder);
  Value model = Value::Object();
  RAG_RETURN_IF_ERROR(ReadObject(base / "tokenizer_config.json", config.json));
  RAG_RETURN_IF_ERROR(CheckTokens(base / "tokenizer_config.json", config.json));
  if (config.CountsOldFiles()) {
    RAG_RETURN_IF_ERROR(ReadObject(base / "special_tokens_map.json", config.special_tokens));
    RAG_RETURN_IF_ERROR(CheckTokens(base / "special_tokens_map.json", config.special_tokens));
    RAG_RETURN_IF_ERROR(ReadObject(base / "added_tokens.json", config.added_tokens));
  }
  RAG_RETURN_IF_ERROR(ReadObject(base / "config.json", model));
  const auto text = [](const Value& object, std::string_view key) {
    const Value* value = object.Find(key);
    return value != nullptr && value->is_string() ? value->as_string() : std::string();
  };
  RAG_ASSIGN_OR_RETURN(std::string name, config.json.GetString("tokenizer_class", ""));
  if (name.empty()) name = text(model, "tokenizer_class");
  const std::string type = text(model, "model_type");
  if (ClassIsWrong(type)) {
    config.class_name = ClassOfModel(type);
    return config;
  }
  config.names_class = !name.empty();
  if (name.empty()) name = ClassOfModel(type);
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  config.own_class = ClassOf(name);
  config.class_name = std::move(name);
  return config;
}

bool TokenizerConfig::CountsOldFiles() const {
  const Value* decoder = json.Find("added_tokens_decoder");
  return decoder == nullptr || decoder->is_null();
}

std::string TokenizerConfig::Token(std::string_view key) const {
  for (const Value* object : {&special_tokens, &json}) {
    const Value* value = object->Find(key);
    const std::string* content = value != nullptr ? Content(*value) : nullptr;
    if (content != nullptr) return *content;
  }
  return "";
}

std::string TokenizerConfig::TokenOrUsual(std::string_view key) const {
  if (std::string name = Token(key); !name.empty()) return name;
  const size_t place = static_cast<size_t>(
      std::find(std::begin(kTokenKeys), std::end(kTokenKeys), key) - std::begin(kTokenKeys));
  if (place == std::size(kTokenKeys)) return "";
  // In kTokenKeys' order, by class.
  constexpr std::string_view kUsual[][std::size(kTokenKeys)] = {
      {"", "", "", "", "", "", ""},
      {"", "", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"},
      {"<s>", "</s>", "[UNK]", "</s>", "<pad>", "<s>", "<mask>"},
      {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"},
      {"<|endoftext|>", "<|endoftext|>", "<|endoftext|>", "", "", "", ""},
      {"<|startoftext|>", "<|endoftext|>", "<|endoftext|>", "", "<|endoftext|>", "", ""},
  };
  return std::string(kUsual[static_cast<size_t>(own_class)][place]);
}

bool TokenizerConfig::NamesSpecial(std::string_view content) const {
  for (const std::string_view key : kTokenKeys) {
    if (content == TokenOrUsual(key)) return true;
  }
  for (const Value* object : {&special_tokens, &json}) {
    for (const std::string_view key : {"additional_special_tokens", "extra_special_tokens"}) {
      const Value* list = object->Find(key);
      if (list == nullptr || !list->is_array()) continue;
      for (const Value& token : list->as_array()) {
        const std::string* name = Content(token);
        if (name != nullptr && *name == content) return true;
      }
    }
  }
  return false;
}

Result<bool> TokenizerConfig::TruncateLeft(bool fallback) const {
  RAG_ASSIGN_OR_RETURN(const std::string side, json.GetString("truncation_side", ""));
  if (side.empty()) return fallback;
  if (side == "left" || side == "right") return side == "left";
  return InvalidArgumentError("tokenizer_config.json: 'truncation_side' '", side,
                              "' is neither left nor right");
}

}  // namespace rag
