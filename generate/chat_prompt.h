// ChatPrompt: text and messages -> prompt tokens of one model.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/generator.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/template/template.h"
#include "lib/tokenizer/tokenizer.h"

namespace rag {

// Immutable; may be used from several threads.
class ChatPrompt {
 public:
  // Takes tokenizer.chat_template from the file; one that cannot be parsed gives its error when a
  // chat is rendered, so that the model stays usable without. `tokenizer` outlives this.
  ChatPrompt(const GgufFile& file, const Tokenizer& tokenizer);

  bool has_template() const { return template_.has_value(); }

  // As Generator::EncodePrompt.
  std::vector<TokenId> Encode(std::string_view text) const;
  // As Generator::RenderChat. In the template's variables, the characters of a message's content
  // that a control token can begin or end with stand as private-use characters, so that no control
  // token in the rendered text can begin or end inside of a content; they are put back before the
  // text between control tokens is tokenized. A template that looks for such a character in a
  // content ("</think>") does not find it.
  // Errors: invalid_argument for no messages, a role other than system, user, assistant and tool,
  // and what the template raises.
  Result<std::vector<TokenId>> Render(std::span<const ChatMessage> messages,
                                      bool add_generation_prompt) const;

  // Tokens that end a turn: the end of text, and what chat models use in its place.
  const std::vector<TokenId>& end_tokens() const { return end_tokens_; }

 private:
  // Private-use characters for guards_: a prefix of three bytes and the index as the fourth.
  Result<std::string> ChooseGuardPrefix(std::span<const ChatMessage> messages) const;
  std::string Guard(std::string_view content, std::string_view prefix) const;
  std::string Unguard(std::string_view text, std::string_view prefix) const;
  std::vector<TokenId> Tokenize(std::string_view rendered, std::string_view prefix) const;
  void FindEndTokens(const GgufFile& file);

  const Tokenizer& tokenizer_;
  std::optional<Result<Template>> template_;
  std::string source_;
  std::optional<TokenId> first_token_;  // what every prompt begins with
  // Control tokens' pieces, longest first.
  std::vector<std::pair<std::string, TokenId>> control_pieces_;
  std::vector<std::string> guards_;  // characters that one of them begins or ends with
  std::vector<TokenId> end_tokens_;  // sorted
};

}  // namespace rag
