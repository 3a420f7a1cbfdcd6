#include "apps/rag/kept_settings.h"

#include <algorithm>
#include <string_view>

namespace rag {
namespace {

// The options that the text of --index means for this collection; nullopt for a text that is none,
// which is an error elsewhere.
std::optional<VectorIndexOptions> Meant(const std::string& kind, const VectorIndexOptions& made) {
  VectorIndexOptions base = made;  // what the text does not say need not be the default
  base.hnsw.codes = CodeKind::kNone;
  base.ivf.codes = IvfOptions().codes;
  const Result<VectorIndexOptions> parsed = ParseIndexSpec(kind, base);
  if (!parsed.ok()) return std::nullopt;
  VectorIndexOptions meant = *parsed;
  // No codes go with this metric: a collection is made without those that were named.
  if (meant.metric == Metric::kManhattan) {
    meant.hnsw.codes = CodeKind::kNone;
    meant.hnsw.code_dims = 0;
  }
  return meant;
}

bool SameIndex(const std::string& kind, const CollectionConfig& config) {
  const Result<std::optional<TuneGoal>> goal = ParseTuneGoal(kind);
  if (!goal.ok() || goal->has_value() || config.goal.has_value()) {
    return !goal.ok() || *goal == config.goal;
  }
  const std::optional<VectorIndexOptions> meant = Meant(kind, config.vectors);
  return !meant.has_value() || FormatIndexSpec(*meant) == FormatIndexSpec(config.vectors);
}

}  // namespace

std::string KeptSettings(const Options& options, const CollectionInfo& info) {
  const Settings& settings = options.settings;
  const CollectionConfig& config = info.config;
  const auto is_given = [&options](std::string_view flag) {
    return std::find(options.given.begin(), options.given.end(), flag) != options.given.end();
  };
  std::string kept;
  const auto add = [&kept](const auto&... parts) {
    kept += StrCat(kept.empty() ? "" : ", ", parts...);
  };
  const bool has_vectors = config.vectors.dim != 0;
  // An index is of vectors: without them its kind says nothing.
  if ((is_given("encoder") || is_given("index")) && settings.encoder != "none" && !has_vectors) {
    add("no vectors (made with --encoder none, not --encoder ", settings.encoder, ")");
  }
  if (is_given("sparse") && !settings.sparse.empty() && config.sparse_dim == 0) {
    add("no sparse vectors (made without --sparse ", settings.sparse, ")");
  }
  if (is_given("token-vectors") && settings.index.token_vectors && !config.attachments) {
    add("no token vectors (made without --token-vectors)");
  }
  if (const Value* chunk = config.properties.Find("chunk"); chunk != nullptr) {
    const Result<std::string> strategy = chunk->GetString("strategy", settings.chunk.strategy);
    if (is_given("chunker") && strategy.ok() && *strategy != settings.chunk.strategy) {
      add("chunker ", *strategy, " (not --chunker ", settings.chunk.strategy, ")");
    }
    const auto count = [&](std::string_view flag, const char* key, uint64_t given) {
      const Result<int64_t> made = chunk->GetInt(key, static_cast<int64_t>(given));
      if (!is_given(flag) || !made.ok() || *made == static_cast<int64_t>(given)) return;
      add(flag, " ", *made, " (not --", flag, " ", given, ")");
    };
    count("chunk-tokens", "chunk_tokens", settings.chunk.tokens);
    count("chunk-overlap", "overlap_tokens", settings.chunk.overlap);
  }
  const bool other_index =
      has_vectors && is_given("index") && !SameIndex(settings.index.kind, config);
  if (other_index) {
    add("index ",
        config.goal.has_value() ? FormatTuneGoal(*config.goal) : FormatIndexSpec(config.vectors),
        " (not --index ", settings.index.kind, ")");
  }
  if (kept.empty()) return "";
  return StrCat("collection '", config.name, "' keeps what it was made with: ", kept,
                "; another is had by indexing into a new collection (-c NAME)",
                other_index ? ", and another index by rag tune too" : "");
}

}  // namespace rag
