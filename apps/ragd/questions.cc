// POST /v1/search and /v1/ask.
#include "apps/ragd/adapters.h"
#include "apps/ragd/fields.h"
#include "apps/ragd/generation_fields.h"
#include "apps/ragd/image_field.h"
#include "apps/ragd/service.h"
#include "engine/json.h"

namespace rag {
namespace {

void Search(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  const Result<Value> body = ParseBody(request);
  if (!body.ok()) {
    SentError(body.status(), out);
    return;
  }
  Fields fields(*body);
  fields.AllowOnly({"query", "image", "collection", "k", "top_k", "mode", "filter", "ef_search",
                    "exact", "per_document", "rrf_k", "dense_weight", "lexical_weight",
                    "sparse_weight", "rerank", "rerank_top"});
  SearchRequest search;
  if (fields.Has("image")) {
    search.image = ReadImageField(fields, "image");
    if (fields.Has("query")) fields.Fail("image", "and 'query' are two questions; give one");
  } else {
    search.query = fields.RequiredText("query");
  }
  const std::string collection = fields.String("collection", service.settings.collection);
  SearchDefaults search_defaults = service.search_defaults(service.settings.search.k);
  if (!search.image.empty()) {
    // A picture has no words: the settings' mode and reranker are for texts.
    search_defaults.mode = "dense";
    if (!fields.Has("rerank") && !fields.Has("rerank_top")) search_defaults.rerank_top = 0;
  }
  ReadSearch(fields, search_defaults, search);
  if (SentError(fields, out)) return;
  const Result<SearchResponse> found = service.engine.Search(collection, search, &out.cancel());
  if (!found.ok()) {
    SentError(found.status(), out);
    return;
  }
  out.Send(JsonResponse(ToValue(*found)));
}

void Ask(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  const Result<Value> body = ParseBody(request);
  if (!body.ok()) {
    SentError(body.status(), out);
    return;
  }
  Fields fields(*body);
  fields.AllowOnly({"question",
                    "system",
                    "history",
                    "collection",
                    "k",
                    "mode",
                    "filter",
                    "ef_search",
                    "exact",
                    "per_document",
                    "rrf_k",
                    "dense_weight",
                    "lexical_weight",
                    "sparse_weight",
                    "rerank",
                    "rerank_top",
                    "strategy",
                    "max_tokens",
                    "temperature",
                    "top_k",
                    "top_p",
                    "min_p",
                    "typical_p",
                    "top_n_sigma",
                    "repetition_penalty",
                    "presence_penalty",
                    "frequency_penalty",
                    "logit_bias",
                    "xtc_probability",
                    "xtc_threshold",
                    "mirostat_tau",
                    "mirostat_eta",
                    "dry_multiplier",
                    "dry_base",
                    "dry_allowed_length",
                    "seed",
                    "stop",
                    "response_format",
                    "stream",
                    "lora",
                    "priority"});
  const Settings::Ask& defaults = service.settings.ask;
  AskRequest ask;
  ask.search.query = fields.RequiredText("question");
  const std::string collection = fields.String("collection", service.settings.collection);
  SearchDefaults search_defaults = service.search_defaults(defaults.k);
  search_defaults.top_k_is_k = false;
  ReadSearch(fields, search_defaults, ask.search);
  const Result<PromptStrategy> strategy =
      ParsePromptStrategy(fields.String("strategy", defaults.strategy));
  if (strategy.ok()) {
    ask.prompt.strategy = *strategy;
  } else {
    fields.Check("strategy", strategy.status());
  }
  // The files a prompt is made from are the daemon's own: no request names a path.
  ask.prompt.template_path = defaults.template_path;
  ask.prompt.examples_path = defaults.examples_path;
  ask.prompt.system = fields.String("system", defaults.system);
  ask.history = ReadMessages(fields, "history");
  for (size_t i = 0; i < ask.history.size(); ++i) {
    if (ask.history[i].role != "system") continue;
    fields.Fail(StrCat("history[", i, "].role"), "is system; the member 'system' is for that");
  }
  ask.max_tokens = static_cast<size_t>(
      fields.Int("max_tokens", static_cast<int64_t>(defaults.max_tokens), 1, kMaxTokens));
  ReadSampling(fields, defaults.temperature, ask.sampling);
  ask.sampling.seed = static_cast<uint64_t>(fields.Int("seed", 0, INT64_MIN, INT64_MAX));
  ask.stop = fields.Strings("stop", kMaxStops);
  ask.adapters = ReadAdapters(fields, service, service.decoder_name);
  ask.priority = ReadPriority(fields);
  ask.constraint = ReadResponseFormat(fields);
  std::shared_ptr<const CompiledConstraint> compiled;  // held: the answer shares it
  if (fields.ok() && ask.constraint.kind != OutputConstraint::Kind::kNone) {
    Result<std::shared_ptr<const CompiledConstraint>> made =
        service.engine.CompileConstraint(ask.constraint);
    fields.Check("response_format", made.status());
    if (made.ok()) compiled = std::move(made).value();
  }
  const bool stream = fields.Bool("stream", false);
  if (SentError(fields, out)) return;

  // Streamed: events `text` with {"text"} as it is made, then one `answer` with the whole of it, or
  // one `error`. An error before the first text is answered with its own code.
  const auto on_text = [&](std::string_view text) {
    if (text.empty()) return true;
    if (!out.started()) {
      HttpResponse head;
      head.content_type = "text/event-stream";
      head.headers.emplace_back("Cache-Control", "no-cache");
      out.Start(std::move(head));
    }
    return out.Write(ServerSentEvent(Value::Object{{"text", text}}, "text"));
  };
  const Generator::TokenCallback callback(on_text);
  const Result<Answer> answer =
      service.engine.Ask(collection, ask, stream ? &callback : nullptr, &out.cancel());
  if (!answer.ok()) {
    const ApiError error = ToApiError(answer.status());
    if (!out.started()) return out.Send(ErrorResponse(error));
    out.Write(ServerSentEvent(ErrorBody(error), "error"));
    return;
  }
  service.metrics.tokens_prompt += answer->prompt_tokens;
  service.metrics.tokens_generated += answer->completion_tokens;
  if (!stream) return out.Send(JsonResponse(ToValue(*answer)));
  if (!out.started() && !on_text(answer->text)) return;
  if (!out.started()) {
    HttpResponse head;
    head.content_type = "text/event-stream";
    out.Start(std::move(head));
  }
  out.Write(ServerSentEvent(ToValue(*answer), "answer"));
}

}  // namespace

void AddQuestionRoutes(const Service& service, Router& router) {
  router.Add({"POST", "/v1/search", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                Search(service, request, out);
              }});
  router.Add({"POST", "/v1/ask", Lane::kGenerate, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                Ask(service, request, out);
              }});
}

}  // namespace rag
