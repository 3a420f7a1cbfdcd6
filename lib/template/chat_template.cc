#include "lib/template/chat_template.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "lib/base/file.h"
#include "lib/base/value.h"

namespace rag {
namespace {

constexpr size_t kMaxFileBytes = size_t{16} << 20;

// Guards stand in plane 15: code point U+F0000 + 64 * block + index, whose UTF-8 form has the block
// in its first three bytes and the index in the fourth.
constexpr size_t kGuardBlocks = 1024;
constexpr size_t kGuardsInBlock = 64;

std::string BlockPrefix(size_t block) {
  return {static_cast<char>(0xF3), static_cast<char>(0xB0 + block / 64),
          static_cast<char>(0x80 + block % 64)};
}

size_t CharacterLength(char lead) {
  const unsigned char byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

std::string FirstCharacter(const std::string& text) {
  return text.substr(0, CharacterLength(text.front()));
}

std::string LastCharacter(const std::string& text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return text.substr(begin);
}

std::string PieceOrEmpty(const Tokenizer& tokenizer, std::optional<TokenId> id) {
  return id ? std::string(tokenizer.Piece(*id)) : std::string();
}

}  // namespace

Result<std::string> ReadChatTemplate(const std::string& folder) {
  namespace fs = std::filesystem;
  const std::string own = (fs::path(folder) / "chat_template.jinja").string();
  const std::string path = (fs::path(folder) / "tokenizer_config.json").string();
  std::error_code ignored;
  if (fs::exists(own, ignored)) return ReadFile(own, kMaxFileBytes);
  if (!fs::exists(path, ignored)) return std::string();
  RAG_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  auto config = ParseJson(text, {.max_bytes = kMaxFileBytes, .max_depth = 32});
  if (!config.ok()) return std::move(config).status().WithContext(path);
  if (!config->is_object()) return InvalidArgumentError(path, ": is no object");
  const Value* found = config->Find("chat_template");
  if (found == nullptr || found->is_null()) return std::string();
  if (found->is_string()) return found->as_string();
  if (!found->is_array()) {
    return InvalidArgumentError(path, ": 'chat_template' is a ", found->type_name(),
                                ", not a string or a list of named ones");
  }
  std::string chosen;
  for (const Value& item : found->as_array()) {
    const Value* name = item.Find("name");
    const Value* source = item.Find("template");
    if (name != nullptr && *name == Value("default") && source != nullptr && source->is_string()) {
      chosen = source->as_string();
    }
  }
  return chosen;
}

ChatTemplate::ChatTemplate(Template parsed, std::string source, const Tokenizer& tokenizer)
    : template_(std::move(parsed)), source_(std::move(source)), tokenizer_(&tokenizer) {
  std::set<std::string> guards;
  for (size_t i = 0; i < tokenizer.vocab_size(); ++i) {
    const TokenId id = static_cast<TokenId>(i);
    const std::string piece(tokenizer.Piece(id));
    if (!tokenizer.IsSpecial(id) || piece.empty()) continue;
    guards.insert(FirstCharacter(piece));
    guards.insert(LastCharacter(piece));
    control_pieces_.emplace_back(piece, id);
  }
  guards_.assign(guards.begin(), guards.end());
  std::stable_sort(control_pieces_.begin(), control_pieces_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

Result<ChatTemplate> ChatTemplate::Parse(std::string_view source, std::string_view name,
                                         const Tokenizer& tokenizer) {
  RAG_ASSIGN_OR_RETURN(Template parsed, Template::Parse(source, name));
  return ChatTemplate(std::move(parsed), std::string(source), tokenizer);
}

Result<std::string> ChatTemplate::ChooseGuardPrefix(std::span<const ChatMessage> messages) const {
  if (guards_.size() > kGuardsInBlock) {
    return UnsupportedError("control tokens of this model begin or end with ", guards_.size(),
                            " different characters, more than ", kGuardsInBlock);
  }
  for (size_t block = 0; block < kGuardBlocks; ++block) {
    std::string prefix = BlockPrefix(block);
    if (source_.find(prefix) != std::string::npos) continue;
    const bool used = std::any_of(messages.begin(), messages.end(), [&](const ChatMessage& m) {
      return m.content.find(prefix) != std::string::npos;
    });
    if (!used) return prefix;
  }
  return InvalidArgumentError("the messages use all private-use characters of plane 15");
}

std::string ChatTemplate::Guard(std::string_view content, std::string_view prefix) const {
  std::string out;
  while (!content.empty()) {
    const auto found = std::find_if(guards_.begin(), guards_.end(), [&](const std::string& guard) {
      return content.starts_with(guard);
    });
    if (found == guards_.end()) {
      out += content.front();
      content.remove_prefix(1);
      continue;
    }
    out += prefix;
    out += static_cast<char>(0x80 + (found - guards_.begin()));
    content.remove_prefix(found->size());
  }
  return out;
}

std::string ChatTemplate::Unguard(std::string_view text, std::string_view prefix) const {
  std::string out;
  for (;;) {
    const size_t at = prefix.empty() ? std::string_view::npos : text.find(prefix);
    if (at == std::string_view::npos || at + prefix.size() == text.size()) return out.append(text);
    out += text.substr(0, at);
    const size_t index = static_cast<unsigned char>(text[at + prefix.size()]) - size_t{0x80};
    if (index < guards_.size()) out += guards_[index];
    text.remove_prefix(at + prefix.size() + 1);
  }
}

std::vector<TokenId> ChatTemplate::Tokenize(std::string_view rendered,
                                            std::string_view prefix) const {
  std::vector<TokenId> ids;
  const auto add_plain = [&](std::string_view text) {
    if (text.empty()) return;
    const Encoding encoding =
        tokenizer_->Encode(Unguard(text, prefix), {.add_special_tokens = false});
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
  };
  size_t plain = 0;
  for (size_t at = 0; at < rendered.size();) {
    const std::string_view rest = rendered.substr(at);
    const auto found =
        std::find_if(control_pieces_.begin(), control_pieces_.end(),
                     [&](const auto& control) { return rest.starts_with(control.first); });
    if (found == control_pieces_.end()) {
      ++at;
      continue;
    }
    add_plain(rendered.substr(plain, at - plain));
    ids.push_back(found->second);
    at += found->first.size();
    plain = at;
  }
  add_plain(rendered.substr(plain));
  return ids;
}

Result<std::vector<TokenId>> ChatTemplate::Render(std::span<const ChatMessage> messages,
                                                  bool add_generation_prompt) const {
  RAG_ASSIGN_OR_RETURN(const std::string prefix, ChooseGuardPrefix(messages));
  Value::Array list;
  for (const ChatMessage& message : messages) {
    list.push_back(
        Value::Object{{"role", message.role}, {"content", Guard(message.content, prefix)}});
  }
  // What transformers' apply_chat_template passes.
  const Value variables = Value::Object{
      {"messages", std::move(list)},
      {"tools", nullptr},
      {"documents", nullptr},
      {"add_generation_prompt", add_generation_prompt},
      {"bos_token", PieceOrEmpty(*tokenizer_, tokenizer_->bos_id())},
      {"eos_token", PieceOrEmpty(*tokenizer_, tokenizer_->eos_id())},
      {"pad_token", PieceOrEmpty(*tokenizer_, tokenizer_->pad_id())},
      {"unk_token", PieceOrEmpty(*tokenizer_, tokenizer_->unk_id())},
  };
  RAG_ASSIGN_OR_RETURN(const std::string rendered, template_.Render(variables));
  return Tokenize(rendered, prefix);
}

}  // namespace rag
