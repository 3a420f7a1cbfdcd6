#include "engine/ask/prompt.h"

#include <algorithm>

#include "engine/ask/examples.h"
#include "engine/ask/templates.h"
#include "engine/chunk.h"
#include "lib/base/file.h"
#include "lib/template/template.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

constexpr size_t kMaxTemplateBytes = size_t{1} << 20;
// Titles come from documents and may be anything.
constexpr size_t kMaxLabelBytes = 200;
// A source is not shortened to less than this many tokens; it is left out instead.
constexpr size_t kMinSourceTokens = 32;

bool IsLineBreak(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

// Controls, and the characters that reorder or hide text.
bool IsControl(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

// The length of a "[12]" or "[1, 2]" at the beginning, or 0.
size_t BracketedNumber(std::string_view text) {
  if (!text.starts_with('[')) return 0;
  bool digit = false;
  for (size_t i = 1; i < text.size() && i < 64; ++i) {
    const char c = text[i];
    if (c >= '0' && c <= '9') {
      digit = true;
    } else if (c == ']') {
      return digit ? i + 1 : 0;
    } else if (c != ' ' && c != ',' && c != '-' && c != ';') {
      return 0;
    }
  }
  return 0;
}

std::string OneLine(std::string_view text, size_t max_bytes) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const DecodedChar c = DecodeChar(text, i);
    const bool blank = IsLineBreak(c.code_point) || IsControl(c.code_point);
    if (out.size() + c.length > max_bytes) {
      out += "…";
      break;
    }
    if (blank) {
      out += ' ';
    } else if (c.code_point == '[' || c.code_point == ']') {
      out += c.code_point == '[' ? '(' : ')';
    } else {
      out.append(text.substr(i, c.length));
    }
    i += c.length;
  }
  return out;
}

Result<Template> LoadTemplate(const PromptOptions& options) {
  if (!options.template_path.empty()) {
    RAG_ASSIGN_OR_RETURN(const std::string source,
                         ReadFile(options.template_path, kMaxTemplateBytes));
    return Template::Parse(source, options.template_path);
  }
  const std::string_view name = PromptStrategyName(options.strategy);
  RAG_ASSIGN_OR_RETURN(const std::string_view source, FindEmbeddedTemplate(name));
  return Template::Parse(source, StrCat(name, ".jinja"));
}

Result<std::string> SystemMessage(const PromptOptions& options) {
  if (!options.system.empty()) return options.system;
  RAG_ASSIGN_OR_RETURN(const std::string_view source, FindEmbeddedTemplate("system"));
  RAG_ASSIGN_OR_RETURN(const Template parsed, Template::Parse(source, "system.jinja"));
  return parsed.Render(Value(Value::Object{{"strategy", PromptStrategyName(options.strategy)}}));
}

class PromptBuilder {
 public:
  PromptBuilder(const AskRequest& request, std::span<const Hit> sources, const AskContext& context,
                Template parsed, std::string system, std::vector<Example> examples)
      : request_(request),
        sources_(sources),
        generator_(*context.generator),
        template_(std::move(parsed)),
        system_(std::move(system)),
        examples_(std::move(examples)) {}

  Result<Prompt> Build() {
    const size_t context_tokens = generator_.info().context_tokens;
    if (request_.max_tokens >= context_tokens) {
      return InvalidArgumentError("max_tokens ", request_.max_tokens,
                                  " leaves no room for a prompt in a context of ", context_tokens,
                                  " tokens", LargerContext(generator_.info()));
    }
    budget_ = context_tokens - request_.max_tokens;

    RAG_ASSIGN_OR_RETURN(Prompt prompt, Render());
    while (prompt.tokens.size() > budget_) {
      if (first_turn_ < request_.history.size()) {
        ++first_turn_;
      } else if (!examples_.empty()) {
        examples_.erase(examples_.begin());
        ++dropped_examples_;
      } else {
        return OutOfRangeError("the question and its instructions take ", prompt.tokens.size(),
                               " tokens; ", budget_, " are left of a context of ", context_tokens,
                               LargerContext(generator_.info()));
      }
      RAG_ASSIGN_OR_RETURN(prompt, Render());
    }
    RAG_RETURN_IF_ERROR(AddSources(prompt));
    prompt.sources = texts_.size();
    prompt.note = Note();
    return prompt;
  }

 private:
  Result<Prompt> Render() const {
    Value::Array sources;
    for (size_t i = 0; i < texts_.size(); ++i) {
      Value::Object source;
      source.Set("n", i + 1);
      source.Set("label", SourceLabel(i + 1, sources_[i]));
      source.Set("text", FenceText(texts_[i]));
      sources.emplace_back(std::move(source));
    }
    Value::Array examples;
    for (const Example& example : examples_) {
      examples.emplace_back(
          Value::Object{{"question", example.question},
                        {"answer", example.answer},
                        {"context", example.context.empty() ? "" : FenceText(example.context)}});
    }
    Value::Object variables{{"question", request_.search.query},
                            {"sources", std::move(sources)},
                            {"examples", std::move(examples)},
                            {"system", system_},
                            {"strategy", PromptStrategyName(request_.prompt.strategy)}};
    RAG_ASSIGN_OR_RETURN(std::string user, template_.Render(Value(std::move(variables))));

    Prompt prompt;
    if (!system_.empty()) prompt.messages.push_back({"system", system_});
    prompt.messages.insert(prompt.messages.end(),
                           request_.history.begin() + static_cast<ptrdiff_t>(first_turn_),
                           request_.history.end());
    prompt.messages.push_back({"user", std::move(user)});
    auto tokens = generator_.RenderChat(prompt.messages);
    if (!tokens.ok() && tokens.status().code() == StatusCode::kInvalidArgument &&
        !system_.empty()) {
      // Some models' templates refuse a system message; its text then leads the first user turn.
      prompt.messages.erase(prompt.messages.begin());
      for (ChatMessage& message : prompt.messages) {
        if (message.role != "user") continue;
        message.content = StrCat(system_, "\n\n", message.content);
        break;
      }
      tokens = generator_.RenderChat(prompt.messages);
    }
    if (!tokens.ok()) return std::move(tokens).status();
    prompt.tokens = std::move(tokens).value();
    return prompt;
  }

  // Adds all sources when they fit. Otherwise as many as fit, found by halving since a source more
  // never makes a prompt shorter, and then as much of the next one as fits.
  Status AddSources(Prompt& prompt) {
    size_t low = 0;
    size_t high = sources_.size();
    RAG_ASSIGN_OR_RETURN(bool fits, Try(high, "", prompt));
    if (fits) return OkStatus();
    while (low + 1 < high) {
      const size_t middle = low + (high - low) / 2;
      RAG_ASSIGN_OR_RETURN(fits, Try(middle, "", prompt));
      (fits ? low : high) = middle;
    }
    RAG_ASSIGN_OR_RETURN(fits, Try(low, "", prompt));

    const std::string_view text = sources_[low].text;
    const Encoding encoding = generator_.tokenizer().Encode(
        text, {.add_special_tokens = false, .parse_special_tokens = false});
    size_t left = budget_ - std::min(budget_, prompt.tokens.size());
    left = std::min(left, encoding.ids.size());
    while (left >= kMinSourceTokens) {
      const std::string_view part = CutText(text, encoding.offsets[left - 1].end);
      RAG_ASSIGN_OR_RETURN(fits, Try(low, part, prompt));
      if (fits && !part.empty()) {
        shortened_ = true;
        return OkStatus();
      }
      left = left * 7 / 8;
    }
    RAG_ASSIGN_OR_RETURN(fits, Try(low, "", prompt));
    return OkStatus();
  }

  // The longest whole sentences in text[0, end), or, when there are none, the characters.
  static std::string_view CutText(std::string_view text, size_t end) {
    end = std::min(end, text.size());
    size_t cut = 0;
    for (const TextRange& range : SplitSentences(text)) {
      if (range.end <= end) cut = range.end;
    }
    if (cut == 0) {
      cut = end;
      while (cut > 0 && cut < text.size() && (text[cut] & 0xC0) == 0x80) --cut;
    }
    return text.substr(0, cut);
  }

  // The prompt with the first `count` sources and a part of the next one; whether it fits. It is
  // stored when it does.
  Result<bool> Try(size_t count, std::string_view part, Prompt& prompt) {
    texts_.clear();
    for (size_t i = 0; i < count; ++i) texts_.push_back(sources_[i].text);
    if (!part.empty()) texts_.push_back(part);
    RAG_ASSIGN_OR_RETURN(Prompt candidate, Render());
    const bool fits = candidate.tokens.size() <= budget_;
    if (fits) prompt = std::move(candidate);
    return fits;
  }

  std::string Note() const {
    std::string note;
    const auto add = [&note](std::string text) {
      note += note.empty() ? "" : "; ";
      note += text;
    };
    if (first_turn_ > 0) add(StrCat(first_turn_, " earlier turns did not fit the context"));
    if (dropped_examples_ > 0) add(StrCat(dropped_examples_, " examples did not fit the context"));
    if (texts_.size() < sources_.size()) {
      add(StrCat(sources_.size() - texts_.size(), " of ", sources_.size(),
                 " sources did not fit the context and were left out"));
    }
    if (shortened_) add(StrCat("source ", texts_.size(), " was shortened to fit"));
    return note;
  }

  const AskRequest& request_;
  std::span<const Hit> sources_;
  const Generator& generator_;
  Template template_;
  std::string system_;
  std::vector<Example> examples_;
  size_t budget_ = 0;
  size_t first_turn_ = 0;
  size_t dropped_examples_ = 0;
  bool shortened_ = false;
  std::vector<std::string_view> texts_;  // of the sources in the prompt
};

}  // namespace

std::string FenceText(std::string_view text) {
  std::string out = "| ";
  for (size_t i = 0; i < text.size();) {
    const DecodedChar c = DecodeChar(text, i);
    if (const size_t length = BracketedNumber(text.substr(i))) {
      out.append("(").append(text.substr(i + 1, length - 2)).append(")");
      i += length;
      continue;
    }
    i += c.length;
    if (IsLineBreak(c.code_point)) {
      if (c.code_point == '\r' && i < text.size() && text[i] == '\n') ++i;
      if (i < text.size()) out += "\n| ";
    } else if (IsControl(c.code_point)) {
      out += ' ';
    } else {
      AppendUtf8(out, c.code_point);
    }
  }
  return out;
}

std::string SourceLabel(size_t n, const Hit& source) {
  std::string label = source.title.empty() ? source.document : source.title;
  for (const std::string& heading : source.headings) {
    if (heading != label) label += " > " + heading;
  }
  label = StrCat("[", n, "] ", OneLine(label, kMaxLabelBytes));
  if (source.page > 0) label += StrCat(", page ", source.page);
  return label;
}

Result<Prompt> BuildPrompt(const AskRequest& request, std::span<const Hit> sources,
                           const AskContext& context, const CancelToken* cancel) {
  const PromptOptions& options = request.prompt;
  RAG_ASSIGN_OR_RETURN(Template parsed, LoadTemplate(options));
  RAG_ASSIGN_OR_RETURN(std::string system, SystemMessage(options));
  std::vector<Example> examples;
  if (options.strategy == PromptStrategy::kFewShot && options.examples_path.empty()) {
    return InvalidArgumentError("the few-shot strategy needs a file of examples");
  }
  if (!options.examples_path.empty()) {
    RAG_ASSIGN_OR_RETURN(std::vector<Example> all, LoadExamples(options.examples_path));
    RAG_ASSIGN_OR_RETURN(examples,
                         ChooseExamples(std::move(all), request.search.query, options.example_count,
                                        options.similar_examples, context.encoder, cancel));
  }
  return PromptBuilder(request, sources, context, std::move(parsed), std::move(system),
                       std::move(examples))
      .Build();
}

}  // namespace rag
