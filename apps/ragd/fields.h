// Reading the members of a JSON request: typed, bounded, and with an error that names the member.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "apps/ragd/http.h"
#include "engine/search.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// Each reader gives `fallback` when the member is absent or null, and after the first error. The
// caller reads all it wants and then looks at ok().
class Fields {
 public:
  // `object` outlives this; anything but an object is an error. `prefix` is put before the names in
  // messages ("rag.").
  explicit Fields(const Value& object, std::string prefix = "");

  bool Has(std::string_view key) const;  // there and not null
  const Value* Find(std::string_view key) const;
  std::string String(std::string_view key, std::string_view fallback);
  std::string RequiredString(std::string_view key);  // not empty
  std::string RequiredText(std::string_view key);    // nor white space alone
  int64_t Int(std::string_view key, int64_t fallback, int64_t min, int64_t max);
  double Number(std::string_view key, double fallback, double min, double max);
  bool Bool(std::string_view key, bool fallback);
  // A string, or an array of strings; at most `max` of them.
  std::vector<std::string> Strings(std::string_view key, size_t max);
  // A member that is none of these is an error: for our own endpoints, where it is a typing error.
  void AllowOnly(std::initializer_list<std::string_view> keys);

  void Fail(std::string_view key, std::string_view message, int status = 400,
            std::string_view code = "invalid_argument");
  // Takes over the error of a part that was read by itself.
  void Adopt(const ApiError& error) {
    if (ok()) error_ = error;
  }
  // Fails with the status, when it is one.
  void Check(std::string_view key, const Status& status);
  bool ok() const { return error_.status == 0; }
  const ApiError& error() const { return error_; }

 private:
  const Value& object_;
  const std::string prefix_;
  ApiError error_{.status = 0};
};

// The body as JSON. Errors: invalid_argument with the place, resource_exhausted past a bound.
Result<Value> ParseBody(const HttpRequest& request);
// Sends the error of a Status or of the fields; true when there was one.
bool SentError(const Status& status, ResponseWriter& out, std::string_view param = "");
bool SentError(const Fields& fields, ResponseWriter& out);

// What a request need not say.
struct SearchDefaults {
  size_t k = 10;
  std::string_view mode;
  size_t rerank_top = 0;   // 0: there is no reranker
  bool top_k_is_k = true;  // else it is the sampler's, and read elsewhere
};

// `k` (or `top_k`), `mode`, `filter`, `ef_search`, `exact`, `rrf_k`, `dense_weight`,
// `lexical_weight`, `sparse_weight`, `rerank`, `rerank_top`: what /v1/search, /v1/ask and the `rag`
// member of a chat have in common.
void ReadSearch(Fields& fields, const SearchDefaults& defaults, SearchRequest& request);

// `priority` as vLLM has it: requests with a lower one go first. Gives the engine's, where higher
// ones do.
int ReadPriority(Fields& fields);

// A bounded integer of the query string.
Result<int64_t> QueryInt(const HttpRequest& request, std::string_view name, int64_t fallback,
                         int64_t min, int64_t max);
// Sends an error when the query string holds anything but `names`: a collection's name with a
// typing error must not stand for the default one. True when it did.
bool SentUnknownQuery(const HttpRequest& request, std::initializer_list<std::string_view> names,
                      ResponseWriter& out);

}  // namespace rag
