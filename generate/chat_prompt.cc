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

}  // namespace

ChatPrompt::ChatPrompt(const GgufFile& file, const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  const Value* source = file.FindMetadata("tokenizer.chat_template");
  if (source != nullptr && source->is_string() && !source->as_string().empty()) {
    template_ = ChatTemplate::Parse(source->as_string(), StrCat("chat template of ", file.path()),
                                    tokenizer);
  }
  const Encoding empty = tokenizer.Encode("", {.add_special_tokens = true});
  if (!empty.ids.empty() && empty.ids.front() == tokenizer.bos_id()) {
    first_token_ = empty.ids.front();
  }
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

  RAG_ASSIGN_OR_RETURN(std::vector<TokenId> ids,
                       (*template_)->Render(messages, add_generation_prompt));
  if (first_token_ && (ids.empty() || ids.front() != *first_token_)) {
    ids.insert(ids.begin(), *first_token_);
  }
  return ids;
}

}  // namespace rag
