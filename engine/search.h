// Search: what a question to a collection looks like and what comes back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// kSparse: by learned sparse vectors. kHybrid: by all that the collection has and the engine has
// the models for.
enum class SearchMode { kDense, kLexical, kSparse, kHybrid };
std::string_view SearchModeName(SearchMode mode);  // "dense", "lexical", "sparse", "hybrid"
Result<SearchMode> ParseSearchMode(std::string_view name);

struct SearchRequest {
  std::string query;
  // An image file's bytes, instead of the query: by its vector, so the mode is dense (hybrid means
  // that) and nothing is reranked. The collection's encoder encodes images.
  std::string image;
  size_t k = 10;  // 1 .. 10,000
  SearchMode mode = SearchMode::kHybrid;
  std::string filter;       // index/filter.h's language; "" for none
  size_t ef_search = 0;     // 0: the collection's default
  bool exact = false;       // scan instead of walking the graph
  size_t per_document = 0;  // at most so many passages of one document; 0: any number
  // Reciprocal-rank fusion (Cormack et al. 2009): score = sum of weight / (rrf_k + rank).
  size_t rrf_k = 60;
  double dense_weight = 1.0;
  double lexical_weight = 1.0;
  double sparse_weight = 1.0;
  // With the engine's reranker the best max(rerank_top, k) passages are scored by it, and the best
  // k of those are the hits; 0: not reranked. At most 1,000.
  size_t rerank_top = 0;
};

struct Hit {
  size_t rank = 0;       // from 1
  double score = 0;      // larger is better; its scale depends on the mode and the reranker
  std::string document;  // key
  uint64_t chunk_id = 0;
  uint32_t start = 0;  // byte range in the document's stored text
  uint32_t end = 0;
  std::string title;
  std::vector<std::string> headings;
  uint32_t page = 0;  // 0: none
  std::string text;
  Value metadata;
};

struct SearchResponse {
  std::vector<Hit> hits;
  double took_ms = 0;
  double encode_ms = 0;
  double rerank_ms = 0;
  std::string note;  // why the filter allows nothing, where that is known; "" when nothing
};

}  // namespace rag
