#include "generate/constraint/languages.h"

namespace rag {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 20;
constexpr size_t kMaxChoices = 4096;

Result<Language> MakeChoice(std::span<const std::string> choices) {
  if (choices.empty() || choices.size() > kMaxChoices) {
    return InvalidArgumentError("there are ", choices.size(), " choices, not 1 to ", kMaxChoices);
  }
  Language language;
  std::vector<Expressions::Id> ids;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].empty()) return InvalidArgumentError("choice ", i, " is empty");
    ids.push_back(language.expressions.Literal(choices[i]));
  }
  language.root = language.expressions.NewRule("root");
  language.expressions.Define(language.root, language.expressions.Choice(std::move(ids)));
  return language;
}

Result<Language> MakeRegex(std::string_view pattern) {
  Language language;
  RAG_ASSIGN_OR_RETURN(const RegexResult parsed, ParseRegex(pattern, language.expressions));
  language.root = language.expressions.NewRule("root");
  language.expressions.Define(language.root, parsed.id);
  return language;
}

Status WithKind(Status status, std::string_view kind) { return status.WithContext(kind); }

}  // namespace

Result<Language> MakeLanguage(const OutputConstraint& constraint) {
  using Kind = OutputConstraint::Kind;
  size_t bytes = constraint.text.size();
  for (const std::string& choice : constraint.choices) bytes += choice.size();
  if (bytes > kMaxTextBytes) {
    return ResourceExhaustedError("a constraint of ", bytes, " bytes is over the limit of ",
                                  kMaxTextBytes);
  }
  Result<Language> language = InvalidArgumentError("there is no constraint");
  std::string_view kind;
  switch (constraint.kind) {
    case Kind::kNone:
      break;
    case Kind::kGrammar:
      kind = "grammar";
      language = ParseGbnf(constraint.text);
      break;
    case Kind::kJsonSchema:
      kind = "JSON schema";
      language = ParseJsonSchema(constraint.text);
      break;
    case Kind::kRegex:
      kind = "regular expression";
      language = MakeRegex(constraint.text);
      break;
    case Kind::kChoice:
      kind = "choice";
      language = MakeChoice(constraint.choices);
      break;
  }
  if (!language.ok()) return WithKind(std::move(language).status(), kind);
  return language;
}

}  // namespace rag
