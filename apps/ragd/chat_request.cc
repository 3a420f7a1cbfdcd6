#include "apps/ragd/chat_request.h"

#include <algorithm>
#include <random>

#include "apps/ragd/adapters.h"
#include "apps/ragd/generation_fields.h"

namespace rag {
namespace {

constexpr size_t kMaxLogprobs = size_t{1} << 20;  // of a request, each some hundred bytes
constexpr int64_t kMaxAnswers = 16;               // of one request

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

void ReadOutput(Fields& fields, const Service& service, ChatRequest& chat) {
  const char* limit = fields.Has("max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
  chat.max_tokens = static_cast<size_t>(
      fields.Int(limit, static_cast<int64_t>(service.settings.ask.max_tokens), 1, kMaxTokens));
  ReadSampling(fields, service.settings.ask.temperature, chat.sampling);
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
  chat.constraint = ReadResponseFormat(fields);
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
  chat.messages = ReadMessages(fields, "messages");
  if (chat.messages.empty()) fields.Fail("messages", "must be an array of at least one message");
  RefuseUnsupported(fields);
  ReadOutput(fields, service, chat);
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
