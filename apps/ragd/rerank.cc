// POST /v1/rerank, of the shape that Cohere's and Jina's clients send and read
// (https://docs.cohere.com/reference/rerank, https://api.jina.ai/redoc).
#include <algorithm>
#include <numeric>

#include "apps/ragd/fields.h"
#include "apps/ragd/service.h"

namespace rag {
namespace {

constexpr size_t kMaxDocuments = 1'000;

// A document is a text or an object with one.
std::vector<std::string> ReadDocuments(Fields& fields) {
  std::vector<std::string> texts;
  const Value* documents = fields.Find("documents");
  if (documents == nullptr || !documents->is_array() || documents->as_array().empty()) {
    fields.Fail("documents", "must be an array of at least one document");
    return texts;
  }
  if (documents->as_array().size() > kMaxDocuments) {
    fields.Fail("documents", StrCat("has ", documents->as_array().size(), " entries, more than ",
                                    kMaxDocuments));
    return texts;
  }
  for (const Value& document : documents->as_array()) {
    const Value* text = document.is_object() ? document.Find("text") : &document;
    if (text == nullptr || !text->is_string()) {
      fields.Fail("documents", StrCat("[", texts.size(),
                                      "] must be a string, or an object with a string 'text'"));
      return texts;
    }
    texts.push_back(text->as_string());
  }
  return texts;
}

void Rerank(const Service& service, const HttpRequest& request, ResponseWriter& out) {
  const Result<Value> body = ParseBody(request);
  if (!body.ok()) {
    SentError(body.status(), out);
    return;
  }
  Fields fields(*body);
  const std::string model = fields.String("model", service.reranker_name);
  const std::string query = fields.RequiredString("query");
  const std::vector<std::string> texts = ReadDocuments(fields);
  const auto count = static_cast<int64_t>(texts.size());
  const int64_t top_n =
      std::min(count, fields.Int("top_n", std::max<int64_t>(count, 1), 1, INT64_MAX));
  // Jina's clients get the documents unless they decline, Cohere's when they ask: the first says
  // more, and costs nothing to those that do not look.
  const bool with_documents = fields.Bool("return_documents", true);
  if (service.reranker_name.empty()) {
    fields.Fail("model", "cannot be served: this daemon runs without a reranker", 400,
                "no_reranker");
  } else if (model != service.reranker_name) {
    fields.Fail("model",
                StrCat("'", model, "' is not here; the reranker is '", service.reranker_name, "'"),
                404, "model_not_found");
  }
  if (SentError(fields, out)) return;

  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const Result<RerankScores> scored = service.engine.Rerank(query, views, &out.cancel());
  if (!scored.ok()) {
    SentError(scored.status(), out);
    return;
  }
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scored->scores[a] > scored->scores[b]; });
  order.resize(static_cast<size_t>(top_n));
  Value::Array results;
  for (const size_t index : order) {
    Value::Object result{{"index", index}, {"relevance_score", scored->scores[index]}};
    if (with_documents) result.Set("document", Value::Object{{"text", texts[index]}});
    results.emplace_back(std::move(result));
  }
  Value::Object answer;
  answer.Set("object", "list");
  answer.Set("model", service.reranker_name);
  answer.Set("results", std::move(results));
  answer.Set("usage", Value::Object{{"total_tokens", scored->stats.tokens}});
  // Ours: pairs longer than the model reads were cut, and that is said.
  if (scored->stats.truncated_texts > 0) {
    answer.Set("rag", Value::Object{{"truncated", scored->stats.truncated_texts}});
  }
  out.Send(JsonResponse(answer));
}

}  // namespace

void AddRerankRoutes(const Service& service, Router& router) {
  router.Add({"POST", "/v1/rerank", Lane::kWork, false,
              [&service](const HttpRequest& request, const std::string&, ResponseWriter& out) {
                Rerank(service, request, out);
              }});
}

}  // namespace rag
