// POST /v1/chat/completions, as https://platform.openai.com/docs/api-reference/chat has it, with
// our member `rag` for answers from a collection.
#include <ctime>
#include <random>

#include "apps/ragd/fields.h"
#include "apps/ragd/service.h"
#include "engine/json.h"

namespace rag {
namespace {

constexpr size_t kMaxMessages = 4096;
constexpr size_t kMaxStops = 16;
constexpr int64_t kMaxTokens = 1 << 24;

struct ChatRequest {
  std::string model;
  std::vector<ChatMessage> messages;
  size_t max_tokens = 0;
  SamplingOptions sampling;
  std::vector<std::string> stop;
  bool stream = false;
  bool include_usage = false;
  bool has_rag = false;
  std::string collection;
  AskRequest ask;  // with has_rag
};

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
    parsed.content = ReadContent(fields, message, place);
    chat.messages.push_back(std::move(parsed));
  }
}

// Parameters that would change the answer and that we do not have are refused, never ignored.
void RefuseUnsupported(Fields& fields) {
  if (fields.Int("n", 1, 1, 128) != 1) {
    fields.Fail("n", "must be 1", 400, "unsupported_parameter");
  }
  for (const char* key : {"frequency_penalty", "presence_penalty"}) {
    if (fields.Number(key, 0, -2, 2) != 0) {
      fields.Fail(key, "is not supported; use repetition_penalty", 400, "unsupported_parameter");
    }
  }
  if (fields.Bool("logprobs", false)) {
    fields.Fail("logprobs", "are not supported", 400, "unsupported_parameter");
  }
  for (const char* key : {"tools", "functions", "logit_bias"}) {
    const Value* value = fields.Find(key);
    if (value == nullptr) continue;
    const bool is_empty = (value->is_array() && value->as_array().empty()) ||
                          (value->is_object() && value->as_object().empty());
    if (!is_empty) fields.Fail(key, "is not supported", 400, "unsupported_parameter");
  }
  if (const Value* format = fields.Find("response_format")) {
    const Value* type = format->Find("type");
    if (type == nullptr || !type->is_string() || type->as_string() != "text") {
      fields.Fail("response_format", "can only be text", 400, "unsupported_parameter");
    }
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
  if (fields.Has("seed")) {
    chat.sampling.seed = static_cast<uint64_t>(fields.Int("seed", 0, INT64_MIN, INT64_MAX));
  } else {
    std::random_device random;
    chat.sampling.seed = (static_cast<uint64_t>(random()) << 32) | random();
  }
  chat.stop = fields.Strings("stop", kMaxStops);
}

// The last user message is the question, what came before it the history.
void ReadRag(Fields& fields, const Service& service, ChatRequest& chat) {
  const Value* member = fields.Find("rag");
  if (member == nullptr) return;
  chat.has_rag = true;
  Fields own(*member, "rag.");
  own.AllowOnly({"collection", "k", "top_k", "mode", "filter", "ef_search", "exact", "strategy"});
  chat.collection = own.String("collection", service.settings.collection);
  ReadSearch(own, service.settings.ask.k, service.settings.search.mode, chat.ask.search);
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
}

void CheckModel(Fields& fields, const Service& service, const ChatRequest& chat) {
  if (!service.decoder_name.empty()) {
    if (chat.model != service.decoder_name) {
      fields.Fail(
          "model",
          StrCat("'", chat.model, "' is not here; the decoder is '", service.decoder_name, "'"),
          404, "model_not_found");
    }
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

// What one request's answers have in common.
struct Envelope {
  std::string id;
  int64_t created = 0;
  std::string model;

  Value::Object Chunk(Value::Object delta, Value finish_reason) const {
    Value::Object choice;
    choice.Set("index", 0);
    choice.Set("delta", std::move(delta));
    choice.Set("finish_reason", std::move(finish_reason));
    Value::Object chunk = Head("chat.completion.chunk");
    chunk.Set("choices", Value::Array{Value(std::move(choice))});
    return chunk;
  }
  Value::Object Head(std::string_view object) const {
    return Value::Object{{"id", id}, {"object", object}, {"created", created}, {"model", model}};
  }
};

struct Outcome {
  std::string text;
  FinishReason finish = FinishReason::kStop;
  size_t prompt_tokens = 0;
  size_t completion_tokens = 0;
  Value rag;  // null without retrieval
};

Value::Object Usage(const Outcome& outcome) {
  return Value::Object{{"prompt_tokens", outcome.prompt_tokens},
                       {"completion_tokens", outcome.completion_tokens},
                       {"total_tokens", outcome.prompt_tokens + outcome.completion_tokens}};
}

std::string_view FinishName(FinishReason reason) {
  return reason == FinishReason::kLength ? "length" : "stop";
}

Value RagMember(const ChatRequest& chat, const Answer& answer) {
  Value::Array citations;
  for (const Citation& citation : answer.citations) citations.push_back(ToValue(citation));
  Value::Array sources;
  for (const Hit& hit : answer.sources) sources.push_back(ToValue(hit));
  Value::Object member;
  member.Set("collection", chat.collection);
  member.Set("mode", AnswerModeName(answer.mode));
  member.Set("citations", std::move(citations));
  member.Set("sources", std::move(sources));
  if (!answer.note.empty()) member.Set("note", answer.note);
  if (!answer.reasoning.empty()) member.Set("reasoning", answer.reasoning);
  return member;
}

Result<Outcome> Run(const Service& service, const ChatRequest& chat,
                    const Generator::TokenCallback* on_text, const CancelToken& cancel) {
  Outcome outcome;
  if (chat.has_rag) {
    RAG_ASSIGN_OR_RETURN(const Answer answer,
                         service.engine.Ask(chat.collection, chat.ask, on_text, &cancel));
    outcome.text = answer.text;
    outcome.finish = answer.finish_reason;
    outcome.prompt_tokens = answer.prompt_tokens;
    outcome.completion_tokens = answer.completion_tokens;
    outcome.rag = RagMember(chat, answer);
  } else {
    RAG_ASSIGN_OR_RETURN(const GenerateResult result,
                         service.engine.Chat(chat.messages, chat.max_tokens, chat.sampling,
                                             chat.stop, on_text, &cancel));
    outcome.text = result.text;
    outcome.finish = result.finish_reason;
    outcome.prompt_tokens = result.prompt_tokens;
    outcome.completion_tokens = result.tokens.size();
  }
  service.metrics.tokens_prompt += outcome.prompt_tokens;
  service.metrics.tokens_generated += outcome.completion_tokens;
  return outcome;
}

ApiError ChatError(const Status& status) {
  ApiError error = ToApiError(status);
  if (status.code() == StatusCode::kResourceExhausted) {
    error.status = 400;
    error.code = "context_length_exceeded";
    error.param = "messages";
  }
  return error;
}

void Stream(const Service& service, const ChatRequest& chat, const Envelope& envelope,
            ResponseWriter& out) {
  // The head waits for the first text: an error before it is still answered with its own code.
  const auto start = [&] {
    if (out.started()) return true;
    HttpResponse head;
    head.content_type = "text/event-stream";
    head.headers.emplace_back("Cache-Control", "no-cache");
    out.Start(std::move(head));
    return out.Write(ServerSentEvent(
        envelope.Chunk(Value::Object{{"role", "assistant"}, {"content", ""}}, Value())));
  };
  bool any_text = false;
  const auto on_text = [&](std::string_view text) {
    if (text.empty()) return true;
    any_text = true;
    return start() &&
           out.Write(ServerSentEvent(envelope.Chunk(Value::Object{{"content", text}}, Value())));
  };
  const Generator::TokenCallback callback(on_text);
  const Result<Outcome> outcome = Run(service, chat, &callback, out.cancel());
  if (!outcome.ok()) {
    const ApiError error = ChatError(outcome.status());
    if (!out.started()) return out.Send(ErrorResponse(error));
    out.Write(ServerSentEvent(ErrorBody(error)));
    return;
  }
  if (!start()) return;
  if (!any_text && !outcome->text.empty() && !on_text(outcome->text)) return;
  Value::Object last = envelope.Chunk({}, Value(FinishName(outcome->finish)));
  if (!outcome->rag.is_null()) last.Set("rag", outcome->rag);
  if (!out.Write(ServerSentEvent(last))) return;
  if (chat.include_usage) {
    Value::Object usage = envelope.Head("chat.completion.chunk");
    usage.Set("choices", Value::Array());
    usage.Set("usage", Usage(*outcome));
    if (!out.Write(ServerSentEvent(usage))) return;
  }
  out.Write("data: [DONE]\n\n");
}

void Complete(const Service& service, const ChatRequest& chat, const Envelope& envelope,
              ResponseWriter& out) {
  const Result<Outcome> outcome = Run(service, chat, nullptr, out.cancel());
  if (!outcome.ok()) return out.Send(ErrorResponse(ChatError(outcome.status())));
  Value::Object choice;
  choice.Set("index", 0);
  choice.Set("message", Value::Object{{"role", "assistant"}, {"content", outcome->text}});
  choice.Set("logprobs", Value());
  choice.Set("finish_reason", FinishName(outcome->finish));
  Value::Object answer = envelope.Head("chat.completion");
  answer.Set("choices", Value::Array{Value(std::move(choice))});
  answer.Set("usage", Usage(*outcome));
  if (!outcome->rag.is_null()) answer.Set("rag", outcome->rag);
  out.Send(JsonResponse(answer));
}

void Chat(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  const Result<Value> body = ParseBody(request);
  if (!body.ok()) {
    SentError(body.status(), out);
    return;
  }
  Fields fields(*body);
  ChatRequest chat;
  chat.model = fields.RequiredString("model");
  ReadMessages(fields, chat);
  RefuseUnsupported(fields);
  ReadSampling(fields, service, chat);
  chat.stream = fields.Bool("stream", false);
  if (const Value* options = fields.Find("stream_options")) {
    Fields own(*options, "stream_options.");
    chat.include_usage = own.Bool("include_usage", false);
    if (!own.ok()) fields.Adopt(own.error());
  }
  ReadRag(fields, service, chat);
  CheckModel(fields, service, chat);
  if (SentError(fields, out)) return;
  const Envelope envelope{"chatcmpl-" + request.id, static_cast<int64_t>(std::time(nullptr)),
                          chat.model};
  if (chat.stream) {
    Stream(service, chat, envelope, out);
  } else {
    Complete(service, chat, envelope, out);
  }
}

}  // namespace

void AddChatRoutes(const Service& service, Router& router) {
  router.Add({"POST", "/v1/chat/completions", Lane::kGenerate, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                Chat(service, request, out);
              }});
}

}  // namespace rag
