#include <cstdio>
#include <functional>
#include <random>

#include "apps/ragd/fields.h"
#include "apps/ragd/page.h"
#include "apps/ragd/service.h"
#include "engine/json.h"

namespace rag {
namespace {

HttpResponse Page() {
  // The page's own script and style carry a number that changes with every answer; nothing else
  // may run, load or frame it.
  std::random_device random;
  char nonce[40];
  std::snprintf(nonce, sizeof(nonce), "%08x%08x%08x%08x", random(), random(), random(), random());
  HttpResponse response;
  response.content_type = "text/html; charset=utf-8";
  response.body = kPage;
  constexpr std::string_view kPlace = "NONCE";
  for (size_t at = 0; (at = response.body.find(kPlace, at)) != std::string::npos;) {
    response.body.replace(at, kPlace.size(), nonce);
  }
  response.headers.emplace_back(
      "Content-Security-Policy",
      StrCat("default-src 'none'; script-src 'nonce-", nonce, "'; style-src 'nonce-", nonce,
             "'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
  response.headers.emplace_back("Referrer-Policy", "no-referrer");
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

// The models, in OpenAI's shape with what we know of each besides.
std::vector<Value> Models(const Service& service) {
  std::vector<Value> models;
  const auto add = [&](std::string_view id, std::string_view kind, Value info) {
    Value::Object model;
    model.Set("id", id);
    model.Set("object", "model");
    model.Set("created", service.started_at);
    model.Set("owned_by", "rag");
    model.Set("kind", kind);
    if (info.is_object()) model.Set("info", std::move(info));
    models.emplace_back(std::move(model));
  };
  if (!service.encoder_name.empty()) {
    const Result<EncoderInfo> info = service.engine.GetEncoderInfo();
    add(service.encoder_name, "encoder", info.ok() ? ToValue(*info) : Value());
  }
  if (!service.reranker_name.empty()) {
    const Result<std::optional<RerankerInfo>> info = service.engine.GetRerankerInfo();
    add(service.reranker_name, "reranker",
        info.ok() && info->has_value() ? ToValue(**info) : Value());
  }
  if (!service.sparse_name.empty()) {
    const Result<std::optional<SparseEncoderInfo>> info = service.engine.GetSparseEncoderInfo();
    add(service.sparse_name, "sparse", info.ok() && info->has_value() ? ToValue(**info) : Value());
  }
  if (!service.classifier_name.empty()) {
    add(service.classifier_name, "classifier", ToValue(service.classifier));
  }
  if (!service.reader_name.empty()) add(service.reader_name, "reader", Value());
  if (!service.decoder_name.empty()) {
    const Result<std::optional<GeneratorInfo>> info = service.engine.GetGeneratorInfo();
    add(service.decoder_name, "decoder",
        info.ok() && info->has_value() ? ToValue(**info) : Value());
    for (const AdapterInfo& adapter : service.adapters) {
      add(adapter.name, "adapter", ToValue(adapter));
      models.back().as_object().Set("parent", service.decoder_name);
    }
  } else {
    add(kExtractiveModel, "extractive", Value());
  }
  return models;
}

// 503 when only another start helps.
HttpResponse Health(const Service& service) {
  const Status writes = service.engine.CheckWrites();
  const bool read_only = writes.code() == StatusCode::kFailedPrecondition;
  // Anybody may ask, so not why.
  const char* const status = writes.ok() ? "ok" : read_only ? "read_only" : "failed";
  return JsonResponse(Value::Object{{"status", status}, {"version", RAG_VERSION}},
                      writes.ok() || read_only ? 200 : 503);
}

}  // namespace

void AddSystemRoutes(const Service& service, std::function<size_t()> queue_length, Router& router) {
  router.Add(
      {"GET", "/", Lane::kControl, true,
       [](const HttpRequest&, const std::string&, ResponseWriter& out) { out.Send(Page()); }});
  router.Add({"GET", "/healthz", Lane::kControl, true,
              [&service](const HttpRequest&, const std::string&, ResponseWriter& out) {
                out.Send(Health(service));
              }});
  router.Add({"GET", "/metrics", Lane::kControl, false,
              [&service, queue_length = std::move(queue_length)](
                  const HttpRequest&, const std::string&, ResponseWriter& out) {
                HttpResponse response;
                response.content_type = "text/plain; version=0.0.4; charset=utf-8";
                response.body = service.metrics.Render(service.engine, queue_length());
                out.Send(std::move(response));
              }});
  router.Add(
      {"GET", "/v1/models", Lane::kControl, false,
       [&service](const HttpRequest&, const std::string&, ResponseWriter& out) {
         out.Send(JsonResponse(Value::Object{{"object", "list"}, {"data", Models(service)}}));
       }});
  router.Add({"GET", "/v1/models/*", Lane::kControl, false,
              [&service](const HttpRequest&, const std::string& id, ResponseWriter& out) {
                std::string known;
                for (Value& model : Models(service)) {
                  const std::string& name = model.Find("id")->as_string();
                  if (name == id) return out.Send(JsonResponse(model));
                  known += StrCat(known.empty() ? "" : ", ", name);
                }
                out.Send(
                    ErrorResponse({404, StrCat("model '", id, "' is not here; there is ", known),
                                   "model_not_found", "model"}));
              }});
}

}  // namespace rag
