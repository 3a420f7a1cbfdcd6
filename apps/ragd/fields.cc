#include "apps/ragd/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "engine/check_text.h"

namespace rag {
namespace {

constexpr int64_t kMaxPriority = 1'000'000;
constexpr int64_t kMaxHits = 10'000;
constexpr size_t kMaxBodyBytes = size_t{1} << 40;  // the server bounds it first

// A list's weight in the fusion: what the engine takes.
double ReadWeight(Fields& fields, std::string_view key, double fallback) {
  const Value* found = fields.Find(key);
  if (found != nullptr && found->is_number()) {
    const double weight = found->as_double();
    if (!std::isfinite(weight) || weight < 0) {
      fields.Fail(key, StrCat(weight, " is not a finite number of at least 0"));
    }
  }
  return fields.Number(key, fallback, 0, std::numeric_limits<double>::max());
}

}  // namespace

Fields::Fields(const Value& object, std::string prefix)
    : object_(object), prefix_(std::move(prefix)) {
  if (!object.is_object()) {
    error_ = {400,
              StrCat(prefix_.empty() ? "the body" : prefix_.substr(0, prefix_.size() - 1),
                     " must be a JSON object, not ", object.type_name()),
              "invalid_argument", prefix_.empty() ? "" : prefix_.substr(0, prefix_.size() - 1)};
  }
}

const Value* Fields::Find(std::string_view key) const {
  const Value* found = object_.Find(key);
  return found != nullptr && !found->is_null() ? found : nullptr;
}

bool Fields::Has(std::string_view key) const { return Find(key) != nullptr; }

void Fields::Fail(std::string_view key, std::string_view message, int status,
                  std::string_view code) {
  if (!ok()) return;
  const std::string name = prefix_ + std::string(key);
  error_ = {status, StrCat("'", name, "' ", message), std::string(code), name};
}

void Fields::Check(std::string_view key, const Status& status) {
  if (!ok() || status.ok()) return;
  error_ = ToApiError(status, prefix_ + std::string(key));
}

std::string Fields::String(std::string_view key, std::string_view fallback) {
  const Value* found = Find(key);
  if (!ok() || found == nullptr) return std::string(fallback);
  if (!found->is_string()) {
    Fail(key, StrCat("must be a string, not ", found->type_name()));
    return std::string(fallback);
  }
  return found->as_string();
}

std::string Fields::RequiredString(std::string_view key) {
  std::string value = String(key, "");
  if (value.empty()) Fail(key, Has(key) ? "must not be empty" : "is missing");
  return value;
}

std::string Fields::RequiredText(std::string_view key) {
  std::string value = RequiredString(key);
  if (IsBlank(value)) Fail(key, "holds nothing but white space");
  return value;
}

int64_t Fields::Int(std::string_view key, int64_t fallback, int64_t min, int64_t max) {
  const Value* found = Find(key);
  if (!ok() || found == nullptr) return fallback;
  if (!found->is_int()) {
    Fail(key, StrCat("must be an integer, not ", found->type_name()));
    return fallback;
  }
  if (found->as_int() < min || found->as_int() > max) {
    Fail(key, StrCat(found->as_int(), " is not between ", min, " and ", max));
    return fallback;
  }
  return found->as_int();
}

double Fields::Number(std::string_view key, double fallback, double min, double max) {
  const Value* found = Find(key);
  if (!ok() || found == nullptr) return fallback;
  if (!found->is_number()) {
    Fail(key, StrCat("must be a number, not ", found->type_name()));
    return fallback;
  }
  const double value = found->as_double();
  if (!(value >= min && value <= max)) {
    Fail(key, StrCat(value, " is not between ", min, " and ", max));
    return fallback;
  }
  return value;
}

bool Fields::Bool(std::string_view key, bool fallback) {
  const Value* found = Find(key);
  if (!ok() || found == nullptr) return fallback;
  if (!found->is_bool()) {
    Fail(key, StrCat("must be true or false, not ", found->type_name()));
    return fallback;
  }
  return found->as_bool();
}

std::vector<std::string> Fields::Strings(std::string_view key, size_t max) {
  const Value* found = Find(key);
  if (!ok() || found == nullptr) return {};
  if (found->is_string()) return {found->as_string()};
  if (!found->is_array()) {
    Fail(key, StrCat("must be a string or an array of strings, not ", found->type_name()));
    return {};
  }
  if (found->as_array().size() > max) {
    Fail(key, StrCat("has ", found->as_array().size(), " members; at most ", max, " are taken"));
    return {};
  }
  std::vector<std::string> strings;
  for (const Value& item : found->as_array()) {
    if (!item.is_string()) {
      Fail(key, StrCat("[", strings.size(), "] must be a string, not ", item.type_name()));
      return {};
    }
    strings.push_back(item.as_string());
  }
  return strings;
}

void Fields::AllowOnly(std::initializer_list<std::string_view> keys) {
  if (!ok()) return;
  for (const auto& [key, value] : object_.as_object()) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    std::string known;
    for (std::string_view name : keys) known += StrCat(known.empty() ? "" : ", ", name);
    Fail(key, StrCat("is not known here; ", known.empty() ? "nothing is" : "known: ", known), 400,
         "unknown_parameter");
    return;
  }
}

Result<Value> ParseBody(const HttpRequest& request) {
  if (request.body.empty()) {
    return InvalidArgumentError("the body is empty; it must be a JSON object");
  }
  JsonLimits limits;
  limits.max_bytes = kMaxBodyBytes;
  return ParseJson(request.body, limits);
}

bool SentError(const Status& status, ResponseWriter& out, std::string_view param) {
  if (status.ok()) return false;
  out.Send(ErrorResponse(ToApiError(status, param)));
  return true;
}

bool SentError(const Fields& fields, ResponseWriter& out) {
  if (fields.ok()) return false;
  out.Send(ErrorResponse(fields.error()));
  return true;
}

void ReadSearch(Fields& fields, const SearchDefaults& defaults, SearchRequest& request) {
  const bool top_k = defaults.top_k_is_k && fields.Has("top_k");
  if (top_k && fields.Has("k")) fields.Fail("top_k", "and 'k' say the same thing");
  request.k = static_cast<size_t>(
      fields.Int(top_k ? "top_k" : "k", static_cast<int64_t>(defaults.k), 1, kMaxHits));
  const Result<SearchMode> mode = ParseSearchMode(fields.String("mode", defaults.mode));
  if (mode.ok()) {
    request.mode = *mode;
  } else {
    fields.Check("mode", mode.status());
  }
  request.filter = fields.String("filter", "");
  request.ef_search = static_cast<size_t>(fields.Int("ef_search", 0, 0, 65'535));
  request.exact = fields.Bool("exact", false);
  request.per_document = static_cast<size_t>(fields.Int("per_document", 0, 0, kMaxHits));
  request.rrf_k =
      static_cast<size_t>(fields.Int("rrf_k", static_cast<int64_t>(request.rrf_k), 0, 1'000'000));
  request.dense_weight = ReadWeight(fields, "dense_weight", request.dense_weight);
  request.lexical_weight = ReadWeight(fields, "lexical_weight", request.lexical_weight);
  request.sparse_weight = ReadWeight(fields, "sparse_weight", request.sparse_weight);
  const bool rerank = fields.Bool("rerank", defaults.rerank_top != 0);
  if (rerank && defaults.rerank_top == 0) {
    fields.Fail("rerank", "cannot be had: this daemon runs without a reranker", 400, "no_reranker");
  }
  if (fields.Has("rerank_top") && defaults.rerank_top == 0) {
    fields.Fail("rerank_top", "is for a reranker, and this daemon runs without one", 400,
                "no_reranker");
  }
  const int64_t top = fields.Int("rerank_top", static_cast<int64_t>(defaults.rerank_top), 0, 1'000);
  request.rerank_top = rerank ? static_cast<size_t>(top) : 0;
}

int ReadPriority(Fields& fields) {
  return static_cast<int>(-fields.Int("priority", 0, -kMaxPriority, kMaxPriority));
}

Result<int64_t> QueryInt(const HttpRequest& request, std::string_view name, int64_t fallback,
                         int64_t min, int64_t max) {
  const std::string* text = request.Query(name);
  if (text == nullptr) return fallback;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < min || value > max) {
    return InvalidArgumentError("'", name, "' '", *text, "' is not an integer between ", min,
                                " and ", max);
  }
  return value;
}

bool SentUnknownQuery(const HttpRequest& request, std::initializer_list<std::string_view> names,
                      ResponseWriter& out) {
  Value::Object given;
  for (const auto& [name, value] : request.query) given.Set(name, value);
  const Value object(std::move(given));
  Fields fields(object);
  fields.AllowOnly(names);
  return SentError(fields, out);
}

}  // namespace rag
