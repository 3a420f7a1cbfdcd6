#include "engine/json.h"

#include <utility>

namespace rag {
namespace {

Value Page(uint32_t page) { return page == 0 ? Value() : Value(page); }

// "Setup > Network", or null.
Value Heading(const std::vector<std::string>& headings) {
  if (headings.empty()) return nullptr;
  std::string path;
  for (const std::string& heading : headings) {
    if (!path.empty()) path += " > ";
    path += heading;
  }
  return path;
}

template <class T>
Value List(const std::vector<T>& items) {
  Value::Array list;
  list.reserve(items.size());
  for (const T& item : items) {
    if constexpr (std::is_constructible_v<Value, const T&>) {
      list.push_back(Value(item));
    } else {
      list.push_back(ToValue(item));
    }
  }
  return list;
}

Value Usage(size_t prompt, size_t cached, size_t completion) {
  return Value::Object{{"prompt_tokens", prompt},
                       {"cached_tokens", cached},
                       {"completion_tokens", completion},
                       {"total_tokens", prompt + completion}};
}

Value::Object Logprob(const TokenLogprob& token) {
  Value::Array bytes;
  for (const char byte : token.bytes) bytes.emplace_back(static_cast<unsigned char>(byte));
  return Value::Object{{"token", token.bytes},
                       {"id", token.id},
                       {"logprob", token.logprob},
                       {"bytes", std::move(bytes)}};
}

Value Metadata(const Value& metadata) {
  return metadata.is_object() ? metadata : Value(Value::Object());
}

}  // namespace

Value ToValue(const IngestReport& report) {
  Value::Array failed;
  for (const IngestFailure& failure : report.failed) {
    failed.push_back(Value::Object{{"path", failure.path},
                                   {"code", StatusCodeName(failure.error.code())},
                                   {"error", failure.error.message()}});
  }
  Value::Object out{{"files", report.files},         {"indexed", report.indexed},
                    {"unchanged", report.unchanged}, {"removed", report.removed},
                    {"failed", std::move(failed)},   {"documents", report.documents},
                    {"chunks", report.chunks},       {"truncated", report.truncated},
                    {"seconds", report.seconds},     {"cancelled", report.cancelled}};
  if (report.tuned.has_value()) out.Set("tuned", ToValue(*report.tuned));
  if (!report.tune_error.ok()) out.Set("tune_error", ToValue(report.tune_error));
  return Value(std::move(out));
}

Value ToValue(const TuneReport& report) {
  const auto to_value = [](const TuneTrial& trial) {
    Value::Object out{{"index", trial.spec},
                      {"measured", trial.measured},
                      {"memory_bytes", trial.memory_bytes},
                      {"disk_bytes", trial.disk_bytes},
                      {"fits", trial.fits}};
    if (trial.measured) {
      out.Set("recall", trial.recall);
      out.Set("queries_per_second", trial.queries_per_second);
      out.Set("build_seconds", trial.build_seconds);
      out.Set("finds_enough", trial.finds_enough);
    }
    return Value(std::move(out));
  };
  Value::Array trials;
  for (const TuneTrial& trial : report.trials) trials.push_back(to_value(trial));
  return Value::Object{{"goal", FormatTuneGoal(report.goal)},
                       {"rows", report.rows},
                       {"sample_rows", report.sample_rows},
                       {"queries", report.queries},
                       {"picked", to_value(report.trials[report.picked])},
                       {"trials", std::move(trials)}};
}

Value ToValue(const Hit& hit) {
  return Value::Object{{"rank", hit.rank},
                       {"score", hit.score},
                       {"document", hit.document},
                       {"chunk_id", hit.chunk_id},
                       {"start", hit.start},
                       {"end", hit.end},
                       {"title", hit.title},
                       {"heading", Heading(hit.headings)},
                       {"page", Page(hit.page)},
                       {"text", hit.text},
                       {"metadata", Metadata(hit.metadata)}};
}

Value ToValue(const SearchResponse& response) {
  return Value::Object{{"hits", List(response.hits)},
                       {"took_ms", response.took_ms},
                       {"encode_ms", response.encode_ms},
                       {"rerank_ms", response.rerank_ms},
                       {"note", response.note.empty() ? Value() : Value(response.note)}};
}

Value ToValue(const Classification& scores) {
  Value::Array labels;
  for (const LabelScore& score : scores) {
    labels.emplace_back(Value::Object{
        {"label", score.label}, {"probability", score.probability}, {"logit", score.logit}});
  }
  return labels;
}

Value ToValue(const LabelledRange& range, std::string_view text) {
  return Value::Object{{"start", range.begin},
                       {"end", range.end},
                       {"label", range.label},
                       {"score", range.score},
                       {"text", text.substr(range.begin, range.end - range.begin)}};
}

Value ToValue(const Citation& citation) {
  return Value::Object{{"n", citation.n},
                       {"document", citation.document},
                       {"title", citation.title},
                       {"chunk_id", citation.chunk_id},
                       {"start", citation.start},
                       {"end", citation.end},
                       {"heading", Heading(citation.headings)},
                       {"page", Page(citation.page)},
                       {"quote", citation.quote},
                       {"verified", citation.verified}};
}

Value ToValue(const TokenLogprobs& token) {
  Value::Object out = Logprob(token.chosen);
  Value::Array top;
  for (const TokenLogprob& other : token.top) top.emplace_back(Logprob(other));
  out.Set("top_logprobs", std::move(top));
  return Value(std::move(out));
}

Value ToValue(const GenerateResult& result) {
  Value::Object out{
      {"answer", result.text},
      {"finish_reason", FinishReasonName(result.finish_reason)},
      {"usage", Usage(result.prompt_tokens, result.cached_tokens, result.tokens.size())},
      {"timings_ms", Value::Object{{"prefill", result.prefill_ms}, {"decode", result.decode_ms}}}};
  if (!result.logprobs.empty()) out.Set("logprobs", List(result.logprobs));
  return Value(std::move(out));
}

Value ToValue(const Answer& answer) {
  return Value::Object{
      {"answer", answer.text},
      {"citations", List(answer.citations)},
      {"mode", AnswerModeName(answer.mode)},
      {"reasoning", answer.reasoning.empty() ? Value() : Value(answer.reasoning)},
      {"note", answer.note.empty() ? Value() : Value(answer.note)},
      {"finish_reason", FinishReasonName(answer.finish_reason)},
      {"usage", Usage(answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens)},
      {"timings_ms", Value::Object{{"search", answer.search_ms},
                                   {"prefill", answer.prefill_ms},
                                   {"decode", answer.decode_ms},
                                   {"total", answer.total_ms}}},
      {"sources", List(answer.sources)}};
}

Value ToValue(const EvaluateReport& report) {
  Value::Object out;
  for (const auto& [name, value] : report.metrics) out.Set(name, value);
  out.Set("queries", report.queries);
  out.Set("documents", report.documents);
  out.Set("index_seconds", report.index_seconds);
  out.Set("search_seconds", report.search_seconds);
  out.Set("seconds", report.seconds);
  return out;
}

Value ToValue(const CollectionInfo& info) {
  const VectorIndexOptions& vectors = info.config.vectors;
  Value::Object index{{"kind", IndexKindName(vectors.kind)},
                      {"dim", vectors.dim},
                      {"metric", MetricName(vectors.metric)},
                      {"element", ElementTypeName(vectors.element)}};
  if (info.config.goal.has_value()) index.Set("goal", FormatTuneGoal(*info.config.goal));
  index.Set("rows", RowPlaceName(vectors.rows));
  if (vectors.memory_budget_bytes != 0)
    index.Set("memory_budget_bytes", vectors.memory_budget_bytes);
  if (vectors.kind == IndexKind::kHnsw) {
    index.Set("m", vectors.hnsw.m);
    index.Set("ef_construction", vectors.hnsw.ef_construction);
    index.Set("ef_search", vectors.hnsw.ef_search);
    index.Set("codes", CodeKindName(vectors.hnsw.codes));
  } else if (vectors.kind == IndexKind::kIvf) {
    index.Set("lists", vectors.ivf.lists);
    index.Set("codes", IvfCodesName(vectors.ivf.codes));
    index.Set("pq_bytes", vectors.ivf.pq_bytes);
    index.Set("rotate", vectors.ivf.rotate);
    index.Set("probes", vectors.ivf.probes);
    index.Set("rerank", vectors.ivf.rerank);
  }
  return Value::Object{
      {"name", info.config.name},
      {"documents", info.stats.documents},
      {"chunks", info.stats.chunks},
      {"index", vectors.dim == 0 ? Value() : Value(std::move(index))},
      {"encoder_fingerprint", info.config.encoder_fingerprint},
      {"sparse",
       info.config.sparse_dim == 0
           ? Value()
           : Value(Value::Object{{"dim", info.config.sparse_dim},
                                 {"encoder_fingerprint", info.config.sparse_fingerprint}})},
      {"token_vectors", info.config.attachments},
      {"properties", info.config.properties},
      {"index_memory_bytes", info.stats.index_memory_bytes},
      {"index_disk_bytes", info.stats.index_disk_bytes},
      {"sparse_memory_bytes", info.stats.sparse_memory_bytes},
      {"disk_bytes", info.stats.disk_bytes},
      {"replayed", info.stats.replayed},
      {"open_seconds", info.stats.open_seconds},
      {"recall", info.stats.recall.has_value() ? ToValue(*info.stats.recall) : Value()}};
}

Value ToValue(const VerifyReport& report) {
  return Value::Object{{"ok", report.problems.empty()},
                       {"documents", report.documents},
                       {"chunks", report.chunks},
                       {"problems", List(report.problems)}};
}

Value ToValue(const RecallReport& report) {
  return Value::Object{{"queries", report.queries},
                       {"k", report.k},
                       {"recall", report.recall},
                       {"seconds", report.seconds}};
}

Value ToValue(const BackupReport& report) {
  return Value::Object{
      {"files", report.files}, {"bytes", report.bytes}, {"seconds", report.seconds}};
}

Value ToValue(const CacheSaveReport& report) {
  return Value::Object{{"blocks", report.blocks},
                       {"tokens", report.tokens},
                       {"bytes", report.bytes},
                       {"seconds", report.seconds}};
}

Value ToValue(const VacuumReport& report) {
  const uint64_t gained =
      report.bytes_before > report.bytes_after ? report.bytes_before - report.bytes_after : 0;
  return Value::Object{{"bytes_before", report.bytes_before},
                       {"bytes_after", report.bytes_after},
                       {"bytes_gained", gained},
                       {"seconds", report.seconds}};
}

Value ToValue(const StoredDocument& document) {
  Value::Array chunk_ids;
  for (const ChunkId id : document.chunk_ids) chunk_ids.push_back(id);
  return Value::Object{{"document", document.key},
                       {"title", document.title},
                       {"source", document.source.empty() ? Value() : Value(document.source)},
                       {"media_type", document.media_type},
                       {"text", document.text},
                       {"metadata", Metadata(document.metadata)},
                       {"chunk_ids", std::move(chunk_ids)}};
}

Value ToValue(const EncoderInfo& info) {
  Value::Object prompts;
  for (const TextRole role : {TextRole::kPlain, TextRole::kQuery, TextRole::kDocument}) {
    if (!info.prompt(role).text.empty()) {
      prompts.Set(std::string(TextRoleName(role)), info.prompt(role).text);
    }
  }
  std::string pooling;
  for (const Pooling mode : info.pooling) {
    pooling += StrCat(pooling.empty() ? "" : "+", PoolingName(mode));
  }
  return Value::Object{{"model_type", info.model_type},
                       {"dim", info.dim},
                       {"layers", info.layers},
                       {"heads", info.heads},
                       {"max_tokens", info.max_tokens},
                       {"pooling", std::move(pooling)},
                       {"normalize", info.normalize},
                       {"similarity", SimilarityName(info.similarity)},
                       {"precision", PrecisionName(info.precision)},
                       {"prompts", std::move(prompts)},
                       {"encodes_images", info.images.has_value()},
                       {"fingerprint", info.fingerprint},
                       {"weight_bytes", info.weight_bytes}};
}

Value ToValue(const RerankerInfo& info) {
  return Value::Object{{"model_type", info.model_type},
                       {"layers", info.layers},
                       {"heads", info.heads},
                       {"max_tokens", info.max_tokens},
                       {"sigmoid", info.sigmoid},
                       {"late_interaction", info.late_interaction},
                       {"weight_bytes", info.weight_bytes}};
}

Value ToValue(const SparseEncoderInfo& info) {
  return Value::Object{{"model_type", info.model_type},
                       {"vocab", info.vocab},
                       {"layers", info.layers},
                       {"heads", info.heads},
                       {"max_tokens", info.max_tokens},
                       {"precision", PrecisionName(info.precision)},
                       {"looks_up_queries", info.looks_up_queries},
                       {"fingerprint", info.fingerprint}};
}

Value ToValue(const ClassifierInfo& info) {
  Value::Array labels;
  for (const std::string& label : info.labels) labels.emplace_back(label);
  return Value::Object{{"task", info.of_tokens ? "token-classification" : "text-classification"},
                       {"labels", std::move(labels)}};
}

Value ToValue(const AdapterInfo& info) {
  return Value::Object{{"name", info.name},
                       {"scale", info.scale},
                       {"rank", info.rank},
                       {"parameters", info.parameters}};
}

Value ToValue(const GeneratorInfo& info) {
  return Value::Object{{"name", info.name},
                       {"architecture", info.architecture},
                       {"quantization", info.quantization},
                       {"parameters", info.parameters},
                       {"layers", info.layers},
                       {"heads", info.heads},
                       {"kv_heads", info.kv_heads},
                       {"width", info.width},
                       {"vocab_size", info.vocab_size},
                       {"context_tokens", info.context_tokens},
                       {"weight_bytes", info.weight_bytes},
                       {"has_chat_template", info.has_chat_template}};
}

Value ToValue(const Status& error) {
  return Value::Object{{"error", Value::Object{{"code", StatusCodeName(error.code())},
                                               {"message", error.message()}}}};
}

}  // namespace rag
