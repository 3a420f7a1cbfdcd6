// Tokens of a template's source.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"

namespace rag::jinja {

enum class TokenKind : uint8_t {
  kData,  // text outside of tags, white-space control already applied
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,  // text holds the unescaped value
  kInteger,
  kFloat,
  kOperator,  // text holds the operator
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;
  int64_t integer = 0;
  double number = 0;

  bool IsName(std::string_view name) const { return kind == TokenKind::kName && text == name; }
  bool IsOperator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
};

// The rules are those of jinja2/lexer.py with trim_blocks and lstrip_blocks. The last token is
// kEnd. Errors: invalid_argument "name:line: …".
Result<std::vector<Token>> Tokenize(std::string_view source, std::string_view name);

// What a message calls the token: "'if'", "end of template".
std::string Describe(const Token& token);

}  // namespace rag::jinja
