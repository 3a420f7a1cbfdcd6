// /v1/documents: add, read, list and remove.
#include <map>

#include "apps/ragd/fields.h"
#include "apps/ragd/image_field.h"
#include "apps/ragd/service.h"
#include "engine/json.h"

namespace rag {
namespace {

constexpr size_t kMaxDocuments = 10'000;  // in one request
constexpr size_t kMaxKeyBytes = 4096;
constexpr int64_t kMaxListed = 1000;

struct Item {
  std::string collection;
  Document document;
};

// One document of a request; `place` "" for the body itself, else "documents[3].".
void ReadItem(const Value& value, const std::string& place, std::string_view collection,
              std::vector<Item>& items, Fields& errors) {
  Fields fields(value, place);
  fields.AllowOnly({"collection", "key", "id", "text", "image", "title", "metadata", "media_type"});
  Item item;
  item.collection = fields.String("collection", collection);
  if (fields.Has("key") && fields.Has("id")) fields.Fail("id", "and 'key' say the same thing");
  item.document.key = fields.RequiredString(fields.Has("id") ? "id" : "key");
  if (item.document.key.size() > kMaxKeyBytes) {
    fields.Fail("key", StrCat("is ", item.document.key.size(), " bytes long; at most ",
                              kMaxKeyBytes, " are taken"));
  }
  const bool is_image = fields.Has("image");
  if (is_image) item.document.image = ReadImageField(fields, "image");
  item.document.text = is_image ? fields.String("text", "") : fields.RequiredString("text");
  item.document.title = fields.String("title", "");
  if (is_image && fields.Has("media_type")) {
    fields.Fail("media_type", "is told by the picture itself");
  }
  item.document.media_type = fields.String("media_type", is_image ? "" : "text/plain");
  if (!is_image && item.document.media_type != "text/plain" &&
      item.document.media_type != "text/markdown") {
    fields.Fail("media_type",
                StrCat("'", item.document.media_type, "' is not text/plain or text/markdown"));
  }
  if (const Value* metadata = fields.Find("metadata")) {
    if (metadata->is_object()) {
      item.document.metadata = *metadata;
    } else {
      fields.Fail("metadata", StrCat("must be an object, not ", metadata->type_name()));
    }
  } else {
    item.document.metadata = Value::Object();
  }
  if (!fields.ok()) {
    errors.Adopt(fields.error());
    return;
  }
  items.push_back(std::move(item));
}

// A document; an array of them; or {"collection", "documents": […]}.
std::vector<Item> ReadItems(const Value& body, std::string_view default_collection,
                            Fields& errors) {
  std::vector<Item> items;
  const Value* list = body.is_array() ? &body : body.Find("documents");
  std::string collection(default_collection);
  if (list == nullptr) {
    ReadItem(body, "", collection, items, errors);
    return items;
  }
  if (!body.is_array()) {
    errors.AllowOnly({"collection", "documents"});
    collection = errors.String("collection", collection);
  }
  if (!list->is_array() || list->as_array().empty()) {
    errors.Fail("documents", "must be an array of at least one document");
    return items;
  }
  if (list->as_array().size() > kMaxDocuments) {
    errors.Fail("documents", StrCat("has ", list->as_array().size(), " members; at most ",
                                    kMaxDocuments, " are taken"));
    return items;
  }
  std::map<std::pair<std::string_view, std::string_view>, size_t> places;
  for (size_t i = 0; i < list->as_array().size() && errors.ok(); ++i) {
    ReadItem(list->as_array()[i], StrCat("documents[", i, "]."), collection, items, errors);
  }
  for (size_t i = 0; i < items.size() && errors.ok(); ++i) {
    const auto [first, is_new] =
        places.try_emplace({items[i].collection, items[i].document.key}, i);
    if (!is_new) {
      errors.Fail("documents",
                  StrCat("holds the key '", items[i].document.key, "' of the collection '",
                         items[i].collection, "' twice, in documents[", first->second,
                         "] and documents[", i, "]"));
    }
  }
  return items;
}

// Nothing is written unless every document of the request is well-formed. Then they are written,
// those of a collection together, and are durable: when one fails, the answer has its error's code,
// and says of each how it went.
void Add(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  const Result<Value> body = ParseBody(request);
  if (!body.ok()) {
    SentError(body.status(), out);
    return;
  }
  static const Value kEmpty = Value::Object();
  Fields fields(body->is_array() ? kEmpty : *body);
  const bool single = body->is_object() && body->Find("documents") == nullptr;
  std::vector<Item> items = ReadItems(*body, service.settings.collection, fields);
  if (SentError(fields, out)) return;

  // The places of each collection's documents, the collections as they come first.
  std::vector<std::vector<size_t>> groups;
  std::map<std::string_view, size_t> group_of;
  Value::Array results;
  for (size_t i = 0; i < items.size(); ++i) {
    results.emplace_back(
        Value::Object{{"key", items[i].document.key}, {"collection", items[i].collection}});
    const auto [group, is_new] = group_of.emplace(items[i].collection, groups.size());
    if (is_new) groups.emplace_back();
    groups[group->second].push_back(i);
  }
  std::vector<Result<DocumentStatus>> statuses(items.size(), DocumentStatus());
  bool begun = false;
  for (const std::vector<size_t>& places : groups) {
    std::vector<Document> documents;
    for (const size_t place : places) documents.push_back(std::move(items[place].document));
    const Result<std::vector<Result<DocumentStatus>>> added =
        begun && out.cancel().cancelled()
            ? CancelledError("the client closed the connection")
            : service.engine.AddDocuments(items[places.front()].collection, std::move(documents),
                                          service.create, &out.cancel());
    begun = true;
    for (size_t i = 0; i < places.size(); ++i) {
      statuses[places[i]] = added.ok() ? (*added)[i] : added.status();
    }
  }
  size_t written = 0;
  size_t failed = 0;
  bool all_new = true;
  Status first_error;
  for (size_t i = 0; i < items.size(); ++i) {
    const Result<DocumentStatus>& added = statuses[i];
    Value::Object& result = results[i].as_object();
    if (added.ok()) {
      ++written;
      all_new = all_new && !added->replaced && !added->unchanged;
      result.Set("replaced", added->replaced);
      result.Set("unchanged", added->unchanged);
      result.Set("chunks", added->chunks);
    } else {
      ++failed;
      if (first_error.ok()) first_error = added.status();
      result.Set("error", *ErrorBody(ToApiError(added.status())).Find("error"));
    }
  }
  service.metrics.documents_written += written;
  if (single) {
    if (SentError(first_error, out)) return;
    return out.Send(JsonResponse(results[0], all_new ? 201 : 200));
  }
  Value::Object answer{{"written", written}, {"failed", failed}, {"documents", std::move(results)}};
  int status = all_new ? 201 : 200;
  if (!first_error.ok()) {
    const ApiError error = ToApiError(first_error);
    status = error.status;
    answer.Set("error", *ErrorBody(error).Find("error"));
  }
  out.Send(JsonResponse(answer, status));
}

std::string CollectionOf(const Service& service, const HttpRequest& request) {
  const std::string* given = request.Query("collection");
  return given != nullptr ? *given : service.settings.collection;
}

void List(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  if (SentUnknownQuery(request, {"collection", "after", "limit"}, out)) return;
  const Result<int64_t> limit = QueryInt(request, "limit", 100, 1, kMaxListed);
  if (!limit.ok()) {
    SentError(limit.status(), out, "limit");
    return;
  }
  const std::string* after = request.Query("after");
  const std::string collection = CollectionOf(service, request);
  const Result<std::vector<std::string>> keys = service.engine.ListDocuments(
      collection, after != nullptr ? *after : "", static_cast<size_t>(*limit));
  if (!keys.ok()) {
    SentError(keys.status(), out);
    return;
  }
  Value::Object answer;
  answer.Set("collection", collection);
  answer.Set("documents", Value::Array(keys->begin(), keys->end()));
  // What to give as `after` to go on; null at the end.
  const bool more = keys->size() == static_cast<size_t>(*limit);
  answer.Set("next", more ? Value(keys->back()) : Value());
  out.Send(JsonResponse(answer));
}

}  // namespace

void AddDocumentRoutes(const Service& service, Router& router) {
  router.Add({"POST", "/v1/documents", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                Add(service, request, out);
              }});
  router.Add({"GET", "/v1/documents", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                List(service, request, out);
              }});
  router.Add({"GET", "/v1/documents/*", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string& key, ResponseWriter& out) {
                if (SentUnknownQuery(request, {"collection"}, out)) return;
                const Result<StoredDocument> document =
                    service.engine.GetDocument(CollectionOf(service, request), key);
                if (SentError(document.status(), out)) return;
                out.Send(JsonResponse(ToValue(*document)));
              }});
  router.Add({"DELETE", "/v1/documents/*", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string& key, ResponseWriter& out) {
                if (SentUnknownQuery(request, {"collection"}, out)) return;
                const std::string collection = CollectionOf(service, request);
                if (SentError(service.engine.RemoveDocument(collection, key), out)) return;
                out.Send(JsonResponse(
                    Value::Object{{"key", key}, {"collection", collection}, {"deleted", true}}));
              }});
}

}  // namespace rag
