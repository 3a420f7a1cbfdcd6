#include "generate/folder/folder_vocabulary.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <set>

#include "lib/base/file.h"
#include "lib/tokenizer/loaders.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {
namespace {

// llama.cpp, llama.h, llama_token_type.
enum TokenType : int {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// Every object in a tree of components that has the type.
void ForEach(const Value& component, std::string_view type,
             const std::function<void(const Value&)>& visit) {
  const Value* found = component.Find("type");
  if (found != nullptr && *found == Value(type)) visit(component);
  for (const std::string_view list : {"pretokenizers", "normalizers", "decoders"}) {
    const Value* items = component.Find(list);
    if (items == nullptr || !items->is_array()) continue;
    for (const Value& item : items->as_array()) ForEach(item, type, visit);
  }
}

bool Has(const Value& component, std::string_view type) {
  bool has = false;
  ForEach(component, type, [&](const Value&) { has = true; });
  return has;
}

Value Member(const Value& object, std::string_view key) {
  const Value* found = object.Find(key);
  return found == nullptr ? Value() : *found;
}

// tokenizer.ggml.pre: the split pattern's name.
Result<std::string> PreTokenizerName(const Value& pre_tokenizer) {
  std::string pattern;
  ForEach(pre_tokenizer, "Split", [&](const Value& split) {
    const Value regex = Member(Member(split, "pattern"), "Regex");
    if (regex.is_string()) pattern = regex.as_string();
  });
  if (pattern.empty()) return std::string(Has(pre_tokenizer, "Digits") ? "smollm" : "gpt-2");
  const std::string_view name = GgufPreTokenizerName(pattern);
  if (name.empty()) {
    return UnsupportedError("the split pattern '", pattern, "' has no name in GGUF");
  }
  return std::string(name);
}

Result<Value::Array> Merges(const Value& model) {
  const Value merges = Member(model, "merges");
  if (!merges.is_array()) return InvalidArgumentError("model.merges is no list");
  Value::Array out;
  for (const Value& merge : merges.as_array()) {
    if (merge.is_string()) {
      out.push_back(merge);
    } else if (merge.is_array() && merge.as_array().size() == 2 &&
               merge.as_array()[0].is_string() && merge.as_array()[1].is_string()) {
      out.emplace_back(
          StrCat(merge.as_array()[0].as_string(), " ", merge.as_array()[1].as_string()));
    } else {
      return InvalidArgumentError("model.merges[", out.size(), "] is no pair");
    }
  }
  return out;
}

bool IsByte(std::string_view piece) {
  return piece.size() == 6 && piece.starts_with("<0x") && piece.ends_with('>');
}

void AddTokens(const Tokenizer& tokenizer, const std::set<int64_t>& added, bool byte_level,
               size_t rows, Value::Object& metadata) {
  Value::Array pieces, types, scores;
  for (size_t i = 0; i < rows; ++i) {
    const TokenId id = static_cast<TokenId>(i);
    const std::string_view piece =
        i < tokenizer.vocab_size() ? tokenizer.Piece(id) : std::string_view();
    int type = kNormal;
    if (piece.empty()) {
      type = kUnused;
    } else if (tokenizer.unk_id() == id && !byte_level) {
      type = kUnknown;
    } else if (tokenizer.IsSpecial(id)) {
      type = kControl;
    } else if (added.count(id) != 0) {
      type = kUserDefined;
    } else if (!byte_level && IsByte(piece)) {
      type = kByte;
    }
    pieces.emplace_back(piece.empty() ? StrCat("[PAD", i, "]") : std::string(piece));
    types.emplace_back(type);
    scores.emplace_back(type == kNormal ? -static_cast<double>(i) : -1000.0);
  }
  metadata.Set("tokenizer.ggml.tokens", std::move(pieces));
  metadata.Set("tokenizer.ggml.token_type", std::move(types));
  if (!byte_level) metadata.Set("tokenizer.ggml.scores", std::move(scores));
}

void AddIds(const Tokenizer& tokenizer, Value::Object& metadata) {
  const auto set = [&](std::string_view key, std::optional<TokenId> id) {
    const std::string name = StrCat("tokenizer.ggml.", key, "_token_id");
    if (id && metadata.Find(name) == nullptr) metadata.Set(name, *id);
  };
  set("bos", tokenizer.bos_id());
  set("eos", tokenizer.eos_id());
  set("padding", tokenizer.pad_id());
  set("unknown", tokenizer.unk_id());
  const Encoding empty = tokenizer.Encode("");
  const bool begins =
      tokenizer.bos_id() && !empty.ids.empty() && empty.ids.front() == *tokenizer.bos_id();
  metadata.Set("tokenizer.ggml.add_bos_token", begins);
}

Status Add(const std::string& folder, size_t rows, Value::Object& metadata) {
  const auto path = std::filesystem::path(folder) / "tokenizer.json";
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path.string(), kMaxTokenizerBytes));
  RAG_ASSIGN_OR_RETURN(const Value json, ParseJson(text));
  RAG_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(folder));
  const Value model = Member(json, "model");
  RAG_ASSIGN_OR_RETURN(const std::string kind, model.GetString("type", "BPE"));
  const Value pre_tokenizer = Member(json, "pre_tokenizer");
  const bool byte_level = Has(pre_tokenizer, "ByteLevel");
  RAG_ASSIGN_OR_RETURN(const bool byte_fallback, model.GetBool("byte_fallback", false));
  if (kind != "BPE" || (!byte_level && !byte_fallback)) {
    return UnsupportedError("a tokenizer of the model '", kind,
                            "' without byte-level pieces has no form in GGUF here");
  }
  std::set<int64_t> added;
  if (const Value tokens = Member(json, "added_tokens"); tokens.is_array()) {
    for (const Value& token : tokens.as_array()) {
      if (const Value id = Member(token, "id"); id.is_int()) added.insert(id.as_int());
    }
  }
  if (tokenizer->vocab_size() > rows) {
    return InvalidArgumentError("the vocabulary has ", tokenizer->vocab_size(),
                                " tokens, the embeddings ", rows, " rows");
  }
  metadata.Set("tokenizer.ggml.model", byte_level ? "gpt2" : "llama");
  if (byte_level) {
    RAG_ASSIGN_OR_RETURN(std::string name, PreTokenizerName(pre_tokenizer));
    metadata.Set("tokenizer.ggml.pre", std::move(name));
    RAG_ASSIGN_OR_RETURN(Value::Array merges, Merges(model));
    metadata.Set("tokenizer.ggml.merges", std::move(merges));
  } else {
    const bool prefix =
        Has(Member(json, "normalizer"), "Prepend") || Has(pre_tokenizer, "Metaspace");
    metadata.Set("tokenizer.ggml.add_space_prefix", prefix);
  }
  AddTokens(*tokenizer, added, byte_level, rows, metadata);
  AddIds(*tokenizer, metadata);
  return OkStatus();
}

}  // namespace

Status AddVocabulary(const std::string& folder, size_t rows, Value::Object& metadata) {
  return Add(folder, rows, metadata).WithContext(StrCat(folder, ": tokenizer.json"));
}

}  // namespace rag
