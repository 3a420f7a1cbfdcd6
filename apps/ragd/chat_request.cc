#include "apps/ragd/chat_request.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

#include "apps/ragd/adapters.h"

namespace rag {
namespace {

constexpr size_t kMaxMessages = 4096;
constexpr size_t kMaxStops = 16;
constexpr int64_t kMaxTokens = 1 << 24;
constexpr size_t kMaxLogprobs = size_t{1} << 20;  // of a request, each some hundred bytes
constexpr int64_t kMaxAnswers = 16;               // of one request
constexpr size_t kMaxBiases = 1024;

// A string, or OpenAI's array of parts, of which only text can be read here.
std::string ReadContent(Fields& fields, const Value& message, const std::string& place) {
  const Value* content = message.Find("content");
  if (content == nullptr || content->is_null()) {
    fields.Fail(place + ".content", "is missing");
    return "";
  }
  if (content->is_string()) return content->as_string();
  if (!content->is_array()) {
    fields.Fail(place + ".content", "must be a string or an array of parts");
    return "";
  }
  std::string text;
  for (const Value& part : content->as_array()) {
    const Value* type = part.Find("type");
    const Value* piece = part.Find("text");
    if (type == nullptr || !type->is_string() || type->as_string() != "text" || piece == nullptr ||
        !piece->is_string()) {
      fields.Fail(place + ".content", "has a part that is not text", 400, "unsupported_content");
      return "";
    }
    text += piece->as_string();
  }
  return text;
}

void ReadMessages(Fields& fields, ChatRequest& chat) {
  const Value* messages = fields.Find("messages");
  if (messages == nullptr || !messages->is_array() || messages->as_array().empty()) {
    fields.Fail("messages", "must be an array of at least one message");
    return;
  }
  if (messages->as_array().size() > kMaxMessages) {
    fields.Fail("messages", StrCat("has more than ", kMaxMessages, " members"));
    return;
  }
  for (size_t i = 0; i < messages->as_array().size() && fields.ok(); ++i) {
    const Value& message = messages->as_array()[i];
    const std::string place = StrCat("messages[", i, "]");
    const Value* role = message.Find("role");
    if (role == nullptr || !role->is_string()) {
      fields.Fail(place + ".role", "must be a string");
      return;
    }
    ChatMessage parsed;
    // "developer" is the newer name of the same role.
    parsed.role = role->as_string() == "developer" ? "system" : role->as_string();
    if (parsed.role != "system" && parsed.role != "user" && parsed.role != "assistant") {
      fields.Fail(place + ".role",
                  StrCat("'", parsed.role, "' is not system, developer, user or assistant"), 400,
                  "unsupported_role");
      return;
    }
    // An assistant's message that called tools has null there.
    const Value* content = message.Find("content");
    const bool empty = parsed.role == "assistant" && content != nullptr && content->is_null();
    if (!empty) parsed.content = ReadContent(fields, message, place);
    chat.messages.push_back(std::move(parsed));
  }
}

// Parameters that would change the answer and that we do not have are refused, never ignored.
void RefuseUnsupported(Fields& fields) {
  // An answer from a collection is cut out of what the decoder writes.
  if (fields.Find("rag") != nullptr) {
    if (fields.Int("n", 1, 1, kMaxAnswers) != 1) {
      fields.Fail("n", "must be 1 with 'rag'", 400, "unsupported_parameter");
    }
    if (fields.Bool("logprobs", false)) {
      fields.Fail("logprobs", "are not supported with 'rag'", 400, "unsupported_parameter");
    }
  }
  for (const char* key : {"tools", "functions"}) {
    const Value* value = fields.Find(key);
    if (value == nullptr) continue;
    const bool is_empty = (value->is_array() && value->as_array().empty()) ||
                          (value->is_object() && value->as_object().empty());
    if (!is_empty) fields.Fail(key, "is not supported", 400, "unsupported_parameter");
  }
}

// OpenAI's {"type": "text"}, {"type": "json_object"} and {"type": "json_schema", "json_schema":
// {"name", "schema"}}; beside them ours, {"type": "grammar" or "regex", "value"} and {"type":
// "choice", "choices"}.
void ReadFormat(Fields& fields, ChatRequest& chat) {
  using Kind = OutputConstraint::Kind;
  const Value* format = fields.Find("response_format");
  if (format == nullptr || format->is_null()) return;
  const Value* type = format->Find("type");
  const std::string name = type != nullptr && type->is_string() ? type->as_string() : "";
  const auto text = [&](Kind kind) {
    const Value* value = format->Find("value");
    if (value == nullptr || !value->is_string()) {
      return fields.Fail("response_format.value", "must be a string");
    }
    chat.constraint = {kind, value->as_string(), {}};
  };
  if (name == "json_object") {
    chat.constraint = {Kind::kJsonSchema, R"({"type": "object"})", {}};
  } else if (name == "json_schema") {
    const Value* member = format->Find("json_schema");
    const Value* schema = member == nullptr ? nullptr : member->Find("schema");
    if (schema == nullptr || !schema->is_object()) {
      return fields.Fail("response_format.json_schema.schema", "must be an object");
    }
    chat.constraint = {Kind::kJsonSchema, ToJson(*schema), {}};
  } else if (name == "grammar") {
    text(Kind::kGrammar);
  } else if (name == "regex") {
    text(Kind::kRegex);
  } else if (name == "choice") {
    Fields own(*format, "response_format.");
    chat.constraint = {Kind::kChoice, "", own.Strings("choices", SIZE_MAX)};
    if (!own.ok()) return fields.Adopt(own.error());
  } else if (name != "text") {
    fields.Fail("response_format.type",
                "must be text, json_object, json_schema, grammar, regex or choice");
  }
}

// {"token id": bias, ...}
void ReadBias(Fields& fields, SamplingOptions& sampling) {
  const Value* bias = fields.Find("logit_bias");
  if (bias == nullptr || bias->is_null()) return;
  if (!bias->is_object() || bias->as_object().size() > kMaxBiases) {
    return fields.Fail("logit_bias", StrCat("must be an object of at most ", kMaxBiases, " ids"));
  }
  for (const auto& [key, value] : bias->as_object()) {
    TokenId id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    const bool fits = error == std::errc() && end == key.data() + key.size() && id >= 0 &&
                      value.is_number() && std::fabs(value.as_double()) <= 100;
    if (!fits) return fields.Fail("logit_bias", "must map token ids to numbers from -100 to 100");
    sampling.logit_bias.emplace_back(id, value.as_double());
  }
}

void ReadSampling(Fields& fields, const Service& service, ChatRequest& chat) {
  const char* limit = fields.Has("max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
  chat.max_tokens = static_cast<size_t>(
      fields.Int(limit, static_cast<int64_t>(service.settings.ask.max_tokens), 1, kMaxTokens));
  chat.sampling.temperature =
      fields.Number("temperature", service.settings.ask.temperature, 0, 100);
  chat.sampling.top_p = fields.Number("top_p", 1, 0, 1);
  if (chat.sampling.top_p == 0) fields.Fail("top_p", "must be above 0");
  chat.sampling.top_k = static_cast<size_t>(fields.Int("top_k", 0, 0, 1 << 24));
  chat.sampling.min_p = fields.Number("min_p", 0, 0, 0.999999);
  chat.sampling.repetition_penalty = fields.Number("repetition_penalty", 1, 0.01, 100);
  SamplingOptions& sampling = chat.sampling;
  sampling.presence_penalty = fields.Number("presence_penalty", 0, -2, 2);
  sampling.frequency_penalty = fields.Number("frequency_penalty", 0, -2, 2);
  ReadBias(fields, sampling);
  sampling.typical_p = fields.Number("typical_p", 1, 0.000001, 1);
  sampling.top_n_sigma = fields.Number("top_n_sigma", 0, 0, 1000);
  sampling.xtc_probability = fields.Number("xtc_probability", 0, 0, 1);
  sampling.xtc_threshold = fields.Number("xtc_threshold", 0.1, 0.000001, 1);
  sampling.mirostat_tau = fields.Number("mirostat_tau", 0, 0, 1000);
  sampling.mirostat_eta = fields.Number("mirostat_eta", 0.1, 0.000001, 1);
  sampling.dry_multiplier = fields.Number("dry_multiplier", 0, 0, 1000);
  sampling.dry_base = fields.Number("dry_base", 1.75, 1, 1000);
  sampling.dry_allowed_length =
      static_cast<size_t>(fields.Int("dry_allowed_length", 2, 1, 1 << 20));
  chat.answers = static_cast<size_t>(fields.Int("n", 1, 1, kMaxAnswers));
  chat.logprobs = fields.Bool("logprobs", false);
  chat.top_logprobs = static_cast<size_t>(fields.Int("top_logprobs", 0, 0, 20));
  if (chat.top_logprobs > 0 && !chat.logprobs) {
    fields.Fail("top_logprobs", "is for \"logprobs\": true");
  }
  if (chat.logprobs && chat.answers * (1 + chat.top_logprobs) >
                           kMaxLogprobs / std::max<size_t>(1, chat.max_tokens)) {
    fields.Fail("logprobs",
                StrCat("of ", chat.answers, " answers of ", chat.max_tokens, " tokens with ",
                       chat.top_logprobs, " others each are more than ", kMaxLogprobs));
  }
  if (fields.Has("seed")) {
    chat.sampling.seed = static_cast<uint64_t>(fields.Int("seed", 0, INT64_MIN, INT64_MAX));
  } else {
    std::random_device random;
    chat.sampling.seed = (static_cast<uint64_t>(random()) << 32) | random();
  }
  chat.stop = fields.Strings("stop", kMaxStops);
  chat.priority = ReadPriority(fields);
  ReadFormat(fields, chat);
}

// The last user message is the question, what came before it the history.
void ReadRag(Fields& fields, const Service& service, ChatRequest& chat) {
  const Value* member = fields.Find("rag");
  if (member == nullptr) return;
  chat.has_rag = true;
  Fields own(*member, "rag.");
  own.AllowOnly({"collection", "k", "top_k", "mode", "filter", "ef_search", "exact", "rrf_k",
                 "dense_weight", "lexical_weight", "sparse_weight", "rerank", "rerank_top",
                 "strategy"});
  chat.collection = own.String("collection", service.settings.collection);
  ReadSearch(own, service.search_defaults(service.settings.ask.k), chat.ask.search);
  const Result<PromptStrategy> strategy =
      ParsePromptStrategy(own.String("strategy", service.settings.ask.strategy));
  if (strategy.ok()) {
    chat.ask.prompt.strategy = *strategy;
  } else {
    own.Check("strategy", strategy.status());
  }
  if (!own.ok()) {
    fields.Adopt(own.error());
    return;
  }
  if (!fields.ok()) return;
  if (chat.messages.back().role != "user") {
    fields.Fail("messages", "must end with a user message, which is the question");
    return;
  }
  chat.ask.search.query = chat.messages.back().content;
  chat.ask.history.assign(chat.messages.begin(), chat.messages.end() - 1);
  // The files a prompt is made from are the daemon's own: no request names a path.
  chat.ask.prompt.template_path = service.settings.ask.template_path;
  chat.ask.prompt.examples_path = service.settings.ask.examples_path;
  chat.ask.prompt.system = service.settings.ask.system;
  if (chat.ask.history.size() > 0 && chat.ask.history.front().role == "system") {
    chat.ask.prompt.system = chat.ask.history.front().content;
    chat.ask.history.erase(chat.ask.history.begin());
  }
  chat.ask.max_tokens = chat.max_tokens;
  chat.ask.sampling = chat.sampling;
  chat.ask.stop = chat.stop;
  chat.ask.constraint = chat.constraint;
  chat.ask.adapters = chat.adapters;
  chat.ask.priority = chat.priority;
}

void CheckModel(Fields& fields, const Service& service, const ChatRequest& chat) {
  if (!service.decoder_name.empty()) {
    if (chat.model == service.decoder_name) return;
    std::string known = StrCat("the decoder is '", service.decoder_name, "'");
    for (const AdapterInfo& adapter : service.adapters) {
      if (chat.model == adapter.name) return;
      known += StrCat(", an adapter '", adapter.name, "'");
    }
    fields.Fail("model", StrCat("'", chat.model, "' is not here; ", known), 404, "model_not_found");
    return;
  }
  if (!chat.has_rag) {
    fields.Fail("model",
                "cannot chat: this daemon runs without a decoder (--llm). With the member 'rag' "
                "the model 'extractive' answers by quoting",
                400, "no_decoder");
  } else if (chat.model != kExtractiveModel) {
    fields.Fail("model",
                StrCat("'", chat.model, "' is not here; without a decoder there is '",
                       kExtractiveModel, "'"),
                404, "model_not_found");
  }
}

}  // namespace

void ReadChat(Fields& fields, const Service& service, ChatRequest& chat) {
  chat.model = fields.RequiredString("model");
  ReadMessages(fields, chat);
  RefuseUnsupported(fields);
  ReadSampling(fields, service, chat);
  chat.adapters = ReadAdapters(fields, service, chat.model);
  chat.stream = fields.Bool("stream", false);
  if (const Value* options = fields.Find("stream_options")) {
    Fields own(*options, "stream_options.");
    chat.include_usage = own.Bool("include_usage", false);
    if (!own.ok()) fields.Adopt(own.error());
  }
  ReadRag(fields, service, chat);
  CheckModel(fields, service, chat);
  if (!fields.ok() || chat.constraint.kind == OutputConstraint::Kind::kNone) return;
  Result<std::shared_ptr<const CompiledConstraint>> compiled =
      service.engine.CompileConstraint(chat.constraint);
  fields.Check("response_format", compiled.status());
  if (compiled.ok()) chat.compiled = std::move(compiled).value();
}

}  // namespace rag
