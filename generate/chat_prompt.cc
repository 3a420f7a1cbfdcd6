#include "generate/chat_prompt.h"

#include <algorithm>
#include <set>

namespace rag {
namespace {

constexpr std::string_view kRoles[] = {"system", "user", "assistant", "tool"};

// Control tokens by which chat models end a turn, beside the file's end-of-text and end-of-turn
// ids.
constexpr std::string_view kEndPieces[] = {"<|im_end|>",      "<|eot_id|>", "<|eom_id|>",
                                           "<|end_of_text|>", "<|end|>",    "<|endoftext|>",
                                           "<end_of_turn>",   "<|eot|>",    "<|end_of_turn|>"};

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

ChatPrompt::ChatPrompt(const GgufFile& file, const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  const Value* source = file.FindMetadata("tokenizer.chat_template");
  if (source != nullptr && source->is_string() && !source->as_string().empty()) {
    source_ = source->as_string();
    template_ = Template::Parse(source_, StrCat("chat template of ", file.path()));
  }
  const Encoding empty = tokenizer.Encode("", {.add_special_tokens = true});
  if (!empty.ids.empty() && empty.ids.front() == tokenizer.bos_id()) {
    first_token_ = empty.ids.front();
  }
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
  FindEndTokens(file);
}

void ChatPrompt::FindEndTokens(const GgufFile& file) {
  std::set<TokenId> ends;
  if (const auto id = tokenizer_.eos_id()) ends.insert(*id);
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"}) {
    const Value* value = file.FindMetadata(key);
    if (value == nullptr || !value->is_int() || value->as_int() < 0 ||
        value->as_int() >= static_cast<int64_t>(tokenizer_.vocab_size())) {
      continue;
    }
    ends.insert(static_cast<TokenId>(value->as_int()));
  }
  for (const std::string_view piece : kEndPieces) {
    const auto id = tokenizer_.FindPiece(piece);
    if (id && tokenizer_.IsSpecial(*id)) ends.insert(*id);
  }
  // A model that begins another text has ended this one (llama2.c's models write no end of text).
  if (const auto id = tokenizer_.bos_id()) ends.insert(*id);
  end_tokens_.assign(ends.begin(), ends.end());
}

std::vector<TokenId> ChatPrompt::Encode(std::string_view text) const {
  std::vector<TokenId> ids;
  if (first_token_) ids.push_back(*first_token_);
  const Encoding encoding = tokenizer_.Encode(text, {.add_special_tokens = false});
  ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
  return ids;
}

Result<std::string> ChatPrompt::ChooseGuardPrefix(std::span<const ChatMessage> messages) const {
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

std::string ChatPrompt::Guard(std::string_view content, std::string_view prefix) const {
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

std::string ChatPrompt::Unguard(std::string_view text, std::string_view prefix) const {
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

std::vector<TokenId> ChatPrompt::Tokenize(std::string_view rendered,
                                          std::string_view prefix) const {
  std::vector<TokenId> ids;
  const auto add_plain = [&](std::string_view text) {
    if (text.empty()) return;
    const Encoding encoding =
        tokenizer_.Encode(Unguard(text, prefix), {.add_special_tokens = false});
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

Result<std::vector<TokenId>> ChatPrompt::Render(std::span<const ChatMessage> messages,
                                                bool add_generation_prompt) const {
  if (messages.empty()) return InvalidArgumentError("there are no messages");
  for (const ChatMessage& message : messages) {
    if (std::find(std::begin(kRoles), std::end(kRoles), message.role) == std::end(kRoles)) {
      return InvalidArgumentError("role '", message.role,
                                  "' is none of system, user, assistant and tool");
    }
  }
  if (!template_) {
    std::string text;
    for (const ChatMessage& message : messages) {
      text += StrCat(message.role, ": ", message.content, "\n");
    }
    if (add_generation_prompt) text += "assistant:";
    return Encode(text);
  }
  if (!template_->ok()) return template_->status();

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
      {"bos_token", PieceOrEmpty(tokenizer_, tokenizer_.bos_id())},
      {"eos_token", PieceOrEmpty(tokenizer_, tokenizer_.eos_id())},
      {"pad_token", PieceOrEmpty(tokenizer_, tokenizer_.pad_id())},
      {"unk_token", PieceOrEmpty(tokenizer_, tokenizer_.unk_id())},
  };
  RAG_ASSIGN_OR_RETURN(const std::string rendered, (*template_)->Render(variables));
  std::vector<TokenId> ids = Tokenize(rendered, prefix);
  if (first_token_ && (ids.empty() || ids.front() != *first_token_)) {
    ids.insert(ids.begin(), *first_token_);
  }
  return ids;
}

}  // namespace rag
