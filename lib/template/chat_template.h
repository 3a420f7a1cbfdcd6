// ChatTemplate: a model's own template of conversations -> the tokens of one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/template/template.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

// The source of a Hugging Face folder's chat template: chat_template.jinja, else
// tokenizer_config.json's "chat_template" (of several the one named "default"); empty: there is
// none. Errors: those of reading the files.
Result<std::string> ReadChatTemplate(const std::string& folder);

// Immutable; may be used from several threads.
class ChatTemplate {
 public:
  // `name` as in Template::Parse; `tokenizer` outlives this. Errors: those of Template::Parse.
  static Result<ChatTemplate> Parse(std::string_view source, std::string_view name,
                                    const Tokenizer& tokenizer);

  // In the template's variables, the characters of a message's content that a control token can
  // begin or end with stand as private-use characters, so that no control token in the rendered
  // text can begin or end inside of a content; they are put back before the text between control
  // tokens is tokenized. A template that looks for such a character in a content ("</think>") does
  // not find it. Nothing is added that the template does not say.
  // Errors: what the template raises; those of Template::Render.
  Result<std::vector<TokenId>> Render(std::span<const ChatMessage> messages,
                                      bool add_generation_prompt) const;

 private:
  ChatTemplate(Template parsed, std::string source, const Tokenizer& tokenizer);
  // Private-use characters for guards_: a prefix of three bytes and the index as the fourth.
  Result<std::string> ChooseGuardPrefix(std::span<const ChatMessage> messages) const;
  std::string Guard(std::string_view content, std::string_view prefix) const;
  std::string Unguard(std::string_view text, std::string_view prefix) const;
  std::vector<TokenId> Tokenize(std::string_view rendered, std::string_view prefix) const;

  Template template_;
  std::string source_;
  const Tokenizer* tokenizer_;
  // Control tokens' pieces, longest first.
  std::vector<std::pair<std::string, TokenId>> control_pieces_;
  std::vector<std::string> guards_;  // characters that one of them begins or ends with
};

}  // namespace rag
