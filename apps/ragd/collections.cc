// /v1/collections: list, look at, make and drop.
#include "apps/ragd/fields.h"
#include "apps/ragd/service.h"
#include "engine/json.h"

namespace rag {
namespace {

// {"chunk": {"strategy", "tokens", "overlap"}, "index": {"kind", "m", "ef_construction",
// "ef_search"}}, all optional: the daemon's own settings stand for the rest.
Result<CollectionOptions> ReadOptions(const Service& service, Fields& fields) {
  Settings settings = service.settings;
  static const Value kEmpty = Value::Object();
  fields.AllowOnly({"chunk", "index"});
  Fields chunk(fields.Has("chunk") ? *fields.Find("chunk") : kEmpty, "chunk.");
  chunk.AllowOnly({"strategy", "tokens", "overlap"});
  settings.chunk.strategy = chunk.String("strategy", settings.chunk.strategy);
  settings.chunk.tokens = static_cast<uint64_t>(
      chunk.Int("tokens", static_cast<int64_t>(settings.chunk.tokens), 8, 8192));
  settings.chunk.overlap = static_cast<uint64_t>(
      chunk.Int("overlap", static_cast<int64_t>(settings.chunk.overlap), 0, 4095));
  Fields index(fields.Has("index") ? *fields.Find("index") : kEmpty, "index.");
  index.AllowOnly({"kind", "m", "ef_construction", "ef_search"});
  settings.index.kind = index.String("kind", settings.index.kind);
  settings.index.m =
      static_cast<uint64_t>(index.Int("m", static_cast<int64_t>(settings.index.m), 2, 128));
  settings.index.ef_construction = static_cast<uint64_t>(index.Int(
      "ef_construction", static_cast<int64_t>(settings.index.ef_construction), 1, 65'535));
  settings.index.ef_search = static_cast<uint64_t>(
      index.Int("ef_search", static_cast<int64_t>(settings.index.ef_search), 1, 65'535));
  for (const Fields* part : {&chunk, &index}) {
    if (!part->ok()) fields.Adopt(part->error());
  }
  return ToCollectionOptions(settings);
}

void SendCollection(const Service& service, const std::string& name, int status,
                    ResponseWriter& out) {
  const Result<CollectionInfo> info = service.engine.GetCollection(name);
  if (SentError(info.status(), out)) return;
  out.Send(JsonResponse(ToValue(*info), status));
}

void Create(const Service& service, const HttpRequest& request, const std::string& name,
            ResponseWriter& out) {
  const Result<Value> body =
      request.body.empty() ? Result<Value>(Value(Value::Object())) : ParseBody(request);
  if (SentError(body.status(), out)) return;
  Fields fields(*body);
  const Result<CollectionOptions> options = ReadOptions(service, fields);
  if (SentError(fields, out) || SentError(options.status(), out)) return;
  if (SentError(service.engine.CreateCollection(name, *options), out)) return;
  SendCollection(service, name, 201, out);
}

}  // namespace

void AddCollectionRoutes(const Service& service, Router& router) {
  router.Add({"GET", "/v1/collections", Lane::kControl, false,
              [&service](const HttpRequest&, const std::string&, ResponseWriter& out) {
                const Result<std::vector<CollectionInfo>> all = service.engine.ListCollections();
                if (SentError(all.status(), out)) return;
                Value::Array list;
                for (const CollectionInfo& info : *all) list.push_back(ToValue(info));
                out.Send(JsonResponse(Value::Object{{"collections", std::move(list)}}));
              }});
  router.Add({"GET", "/v1/collections/*", Lane::kControl, false,
              [&service](const HttpRequest&, const std::string& name, ResponseWriter& out) {
                SendCollection(service, name, 200, out);
              }});
  router.Add({"PUT", "/v1/collections/*", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string& name, ResponseWriter& out) {
                Create(service, request, name, out);
              }});
  router.Add({"DELETE", "/v1/collections/*", Lane::kWork, false,
              [&service](const HttpRequest&, const std::string& name, ResponseWriter& out) {
                if (SentError(service.engine.DropCollection(name), out)) return;
                out.Send(JsonResponse(Value::Object{{"name", name}, {"deleted", true}}));
              }});
}

}  // namespace rag
