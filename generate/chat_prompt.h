// ChatPrompt: text and messages -> prompt tokens of one model.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/generator.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"
#include "lib/template/chat_template.h"
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
  // As Generator::RenderChat; contents hold no control tokens (see ChatTemplate::Render).
  // Errors: invalid_argument for no messages, a role other than system, user, assistant and tool,
  // and what the template raises.
  Result<std::vector<TokenId>> Render(std::span<const ChatMessage> messages,
                                      bool add_generation_prompt) const;

  // Tokens that end a turn: the end of text, and what chat models use in its place.
  const std::vector<TokenId>& end_tokens() const { return end_tokens_; }

 private:
  void FindEndTokens(const GgufFile& file);

  const Tokenizer& tokenizer_;
  std::optional<Result<ChatTemplate>> template_;
  std::optional<TokenId> first_token_;  // what every prompt begins with
  std::vector<TokenId> end_tokens_;     // sorted
};

}  // namespace rag
