// POST /v1/chat/completions, as https://platform.openai.com/docs/api-reference/chat has it, with
// our member `rag` for answers from a collection.
#include <algorithm>
#include <atomic>
#include <ctime>
#include <functional>
#include <mutex>

#include "apps/ragd/answers.h"
#include "apps/ragd/chat_request.h"
#include "apps/ragd/fields.h"
#include "apps/ragd/service.h"
#include "engine/json.h"

namespace rag {
namespace {

// What one request's answers have in common.
struct Envelope {
  std::string id;
  int64_t created = 0;
  std::string model;

  Value::Object Chunk(size_t index, Value::Object delta, Value logprobs,
                      Value finish_reason) const {
    Value::Object choice;
    choice.Set("index", index);
    choice.Set("delta", std::move(delta));
    choice.Set("logprobs", std::move(logprobs));
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
  size_t cached_tokens = 0;
  size_t completion_tokens = 0;
  Value logprobs;  // null where not asked for
  Value rag;       // null without retrieval
};

Value::Object Usage(const Outcome& outcome) {
  return Value::Object{
      {"prompt_tokens", outcome.prompt_tokens},
      {"completion_tokens", outcome.completion_tokens},
      {"total_tokens", outcome.prompt_tokens + outcome.completion_tokens},
      {"prompt_tokens_details", Value::Object{{"cached_tokens", outcome.cached_tokens}}}};
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

Value LogprobsValue(std::span<const TokenLogprobs> tokens) {
  Value::Array content;
  for (const TokenLogprobs& token : tokens) content.push_back(ToValue(token));
  return Value::Object{{"content", std::move(content)}};
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
    outcome.cached_tokens = answer.cached_tokens;
    outcome.completion_tokens = answer.completion_tokens;
    outcome.rag = RagMember(chat, answer);
  } else {
    RAG_ASSIGN_OR_RETURN(const GenerateResult result,
                         service.engine.Chat(chat.messages,
                                             {.max_tokens = chat.max_tokens,
                                              .sampling = chat.sampling,
                                              .stop = chat.stop,
                                              .constraint = chat.constraint,
                                              .adapters = chat.adapters,
                                              .priority = chat.priority,
                                              .logprobs = chat.logprobs,
                                              .top_logprobs = chat.top_logprobs},
                                             on_text, &cancel));
    outcome.text = result.text;
    outcome.finish = result.finish_reason;
    outcome.prompt_tokens = result.prompt_tokens;
    outcome.cached_tokens = result.cached_tokens;
    outcome.completion_tokens = result.tokens.size();
    if (chat.logprobs) outcome.logprobs = LogprobsValue(result.logprobs);
  }
  service.metrics.tokens_prompt += outcome.prompt_tokens;
  service.metrics.tokens_generated += outcome.completion_tokens;
  return outcome;
}

ApiError ChatError(const Status& status) {
  ApiError error = ToApiError(status);
  // Nothing else on this way has an end that is passed.
  if (status.code() == StatusCode::kOutOfRange) {
    error.code = "context_length_exceeded";
    error.param = "messages";
  }
  return error;
}

// Makes the request's answers, each with a seed of its own, side by side in the decoder's batch,
// where their prompt is run once. run_one(i, request of it) gives a Result<Outcome>. After the
// first error, which is given, the others are cancelled, and on_failure is called.
template <class RunOne>
Result<std::vector<Outcome>> MakeAnswers(const ChatRequest& chat, ResponseWriter& out,
                                         const RunOne& run_one,
                                         const std::function<void()>& on_failure) {
  std::vector<Outcome> outcomes(chat.answers);
  const auto run = [&](size_t i) -> Status {
    ChatRequest own = chat;
    own.sampling.seed = chat.sampling.seed + i;
    RAG_ASSIGN_OR_RETURN(outcomes[i], run_one(i, own));
    return OkStatus();
  };
  const auto stop = [&] {
    on_failure();
    out.Cancel();
  };
  RAG_RETURN_IF_ERROR(RunAnswers(chat.answers, run, stop));
  return outcomes;
}

// What a request of them all is counted as.
Outcome Total(const std::vector<Outcome>& outcomes) {
  Outcome total;
  total.prompt_tokens = outcomes[0].prompt_tokens;
  total.cached_tokens = outcomes[0].cached_tokens;
  for (const Outcome& outcome : outcomes) {
    // Of the one prompt that is counted, what none of them ran.
    total.cached_tokens = std::min(total.cached_tokens, outcome.cached_tokens);
    total.completion_tokens += outcome.completion_tokens;
  }
  return total;
}

// The events of the answers, from a thread each.
class EventStream {
 public:
  EventStream(const ChatRequest& chat, const Envelope& envelope, ResponseWriter& out)
      : envelope_(envelope), out_(out), logprobs_(chat.logprobs), begun_(chat.answers) {}

  // False when nobody listens any more, or another answer failed.
  bool Piece(size_t index, const TextPiece& piece) {
    if (piece.text.empty() && piece.logprobs.empty()) return true;
    std::lock_guard lock(mutex_);
    Value logprobs = logprobs_ ? LogprobsValue(piece.logprobs) : Value();
    return Begin(index) && Write(envelope_.Chunk(index, Value::Object{{"content", piece.text}},
                                                 std::move(logprobs), Value()));
  }
  void End(size_t index, const Outcome& outcome) {
    std::lock_guard lock(mutex_);
    if (!Begin(index)) return;
    Value::Object last = envelope_.Chunk(index, {}, Value(), Value(FinishName(outcome.finish)));
    if (!outcome.rag.is_null()) last.Set("rag", outcome.rag);
    Write(last);
  }
  // Does not wait for an answer that writes to a slow client.
  void Fail() { going_ = false; }
  bool has_text(size_t index) const { return begun_[index]; }

 private:
  // The head waits for the first text: an error before it is still answered with its own code.
  bool Begin(size_t index) {
    if (!going_ || begun_[index]) return going_;
    begun_[index] = true;
    if (!out_.started()) {
      HttpResponse head;
      head.content_type = "text/event-stream";
      head.headers.emplace_back("Cache-Control", "no-cache");
      out_.Start(std::move(head));
    }
    return Write(envelope_.Chunk(index, Value::Object{{"role", "assistant"}, {"content", ""}},
                                 Value(), Value()));
  }
  bool Write(const Value& event) {
    if (going_ && !out_.Write(ServerSentEvent(event))) going_ = false;
    return going_;
  }

  const Envelope& envelope_;
  ResponseWriter& out_;
  const bool logprobs_;
  std::atomic<bool> going_ = true;
  std::mutex mutex_;         // guards what follows, and writing
  std::vector<char> begun_;  // by answer; not bits, which threads would share
};

void Stream(const Service& service, const ChatRequest& chat, const Envelope& envelope,
            ResponseWriter& out) {
  EventStream events(chat, envelope, out);
  const auto run_one = [&](size_t i, const ChatRequest& own) -> Result<Outcome> {
    const auto on_text = [&](const TextPiece& piece) { return events.Piece(i, piece); };
    const Generator::TokenCallback callback(on_text);
    RAG_ASSIGN_OR_RETURN(Outcome outcome, Run(service, own, &callback, out.cancel()));
    // Of an answer that was not streamed.
    if (!events.has_text(i)) events.Piece(i, outcome.text);
    events.End(i, outcome);
    return outcome;
  };
  const auto outcomes = MakeAnswers(chat, out, run_one, [&] { events.Fail(); });
  if (!outcomes.ok()) {
    const ApiError error = ChatError(outcomes.status());
    if (!out.started()) return out.Send(ErrorResponse(error));
    out.Write(ServerSentEvent(ErrorBody(error)));
    return;
  }
  if (chat.include_usage) {
    Value::Object usage = envelope.Head("chat.completion.chunk");
    usage.Set("choices", Value::Array());
    usage.Set("usage", Usage(Total(*outcomes)));
    if (!out.Write(ServerSentEvent(usage))) return;
  }
  out.Write("data: [DONE]\n\n");
}

void Complete(const Service& service, const ChatRequest& chat, const Envelope& envelope,
              ResponseWriter& out) {
  const auto run_one = [&](size_t, const ChatRequest& own) {
    return Run(service, own, nullptr, out.cancel());
  };
  const auto outcomes = MakeAnswers(chat, out, run_one, [] {});
  if (!outcomes.ok()) return out.Send(ErrorResponse(ChatError(outcomes.status())));
  Value::Array choices;
  for (size_t i = 0; i < outcomes->size(); ++i) {
    const Outcome& outcome = (*outcomes)[i];
    choices.emplace_back(
        Value::Object{{"index", i},
                      {"message", Value::Object{{"role", "assistant"}, {"content", outcome.text}}},
                      {"logprobs", outcome.logprobs},
                      {"finish_reason", FinishName(outcome.finish)}});
  }
  Value::Object answer = envelope.Head("chat.completion");
  answer.Set("choices", std::move(choices));
  answer.Set("usage", Usage(Total(*outcomes)));
  if (!outcomes->front().rag.is_null()) answer.Set("rag", outcomes->front().rag);
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
  ReadChat(fields, service, chat);
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
