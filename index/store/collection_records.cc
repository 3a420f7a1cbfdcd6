#include "index/store/collection_records.h"

#include <cstring>
#include <utility>

#include "index/store/codec.h"

namespace rag {
namespace {

void PutIds(RecordWriter& writer, const std::vector<ChunkId>& ids) {
  writer.PutVarint(ids.size());
  for (const ChunkId id : ids) writer.PutVarint(id);
}

bool ReadIds(RecordReader& reader, std::vector<ChunkId>& ids) {
  uint64_t count = 0;
  // Each id takes a byte at least, which bounds what a damaged count can allocate.
  if (!reader.ReadVarint(count) || count > reader.remaining()) return false;
  ids.resize(count);
  for (ChunkId& id : ids) {
    if (!reader.ReadVarint(id)) return false;
  }
  return true;
}

}  // namespace

std::string EncodeDocumentRecord(const DocumentRecord& record) {
  RecordWriter writer;
  writer.PutString(record.payload);
  writer.PutString(record.attributes.is_object() ? ToJson(record.attributes) : "");
  PutIds(writer, record.chunk_ids);
  return writer.Take();
}

Result<DocumentRecord> DecodeDocumentRecord(std::string_view key, std::string_view bytes) {
  RecordReader reader(bytes);
  std::string_view payload, attributes;
  DocumentRecord record;
  record.key = key;
  if (!reader.ReadString(payload) || !reader.ReadString(attributes) ||
      !ReadIds(reader, record.chunk_ids) || !reader.AtEnd()) {
    return DataLossError("the record of document '", key, "' is damaged");
  }
  record.payload = payload;
  if (!attributes.empty()) {
    Result<Value> parsed = ParseJson(attributes);
    if (!parsed.ok()) return DataLossError("the attributes of document '", key, "' are damaged");
    record.attributes = std::move(parsed).value();
  }
  return record;
}

std::string EncodeChunkRecord(std::string_view document_key, uint32_t ordinal,
                              std::string_view payload) {
  RecordWriter writer;
  writer.PutString(document_key);
  writer.PutVarint(ordinal);
  writer.PutString(payload);
  return writer.Take();
}

Result<ChunkRecord> DecodeChunkRecord(ChunkId id, std::string_view bytes) {
  RecordReader reader(bytes);
  std::string_view key, payload;
  uint64_t ordinal = 0;
  if (!reader.ReadString(key) || !reader.ReadVarint(ordinal) || !reader.ReadString(payload) ||
      !reader.AtEnd() || ordinal > UINT32_MAX) {
    return DataLossError("the record of chunk ", id, " is damaged");
  }
  ChunkRecord record;
  record.id = id;
  record.document_key = key;
  record.ordinal = static_cast<uint32_t>(ordinal);
  record.payload = payload;
  return record;
}

std::string LogEntry::Encode() const {
  RecordWriter writer;
  PutIds(writer, removed);
  PutIds(writer, added);
  return writer.Take();
}

bool LogEntry::Decode(std::string_view bytes) {
  RecordReader reader(bytes);
  return ReadIds(reader, removed) && ReadIds(reader, added) && reader.AtEnd();
}

// Little-endian, as every processor that this library runs on stores floats.
std::string EncodeVector(std::span<const float> vector) {
  return std::string(reinterpret_cast<const char*>(vector.data()), vector.size_bytes());
}

Result<std::vector<float>> DecodeVector(ChunkId id, std::string_view bytes, size_t dim) {
  if (bytes.size() != dim * sizeof(float)) {
    return DataLossError("the vector of chunk ", id, " has ", bytes.size(), " bytes instead of ",
                         dim * sizeof(float));
  }
  std::vector<float> vector(dim);
  std::memcpy(vector.data(), bytes.data(), bytes.size());
  return vector;
}

Value MergeAttributes(const Value& document, const Value& chunk) {
  const bool has_document = document.is_object() && !document.as_object().empty();
  const bool has_chunk = chunk.is_object() && !chunk.as_object().empty();
  if (!has_document && !has_chunk) return Value();
  if (!has_chunk) return document;
  if (!has_document) return chunk;
  Value merged = document;
  for (const auto& [key, value] : chunk.as_object()) merged.as_object().Set(key, value);
  return merged;
}

std::string EncodeConfig(uint32_t number, const CollectionConfig& config) {
  const VectorIndexOptions& vectors = config.vectors;
  Value::Object out{
      {"number", number},
      {"dim", vectors.dim},
      {"metric", MetricName(vectors.metric)},
      {"index", IndexKindName(vectors.kind)},
      {"element", ElementTypeName(vectors.element)},
      {"hnsw", Value::Object{{"m", vectors.hnsw.m},
                             {"ef_construction", vectors.hnsw.ef_construction},
                             {"ef_search", vectors.hnsw.ef_search},
                             {"seed", static_cast<int64_t>(vectors.hnsw.seed)},
                             {"codes", CodeKindName(vectors.hnsw.codes)},
                             {"code_dims", vectors.hnsw.code_dims}}},
      {"encoder", config.encoder_fingerprint},
      {"properties", config.properties},
  };
  if (config.sparse_dim != 0) {
    out.Set("sparse",
            Value::Object{{"dim", config.sparse_dim}, {"encoder", config.sparse_fingerprint}});
  }
  if (config.attachments) out.Set("attachments", true);
  if (config.goal.has_value()) {
    out.Set("goal", FormatTuneGoal(*config.goal));
    out.Set("tuned_chunks", config.tuned_chunks);
  }
  if (vectors.rows != RowPlace::kMemory) out.Set("rows", RowPlaceName(vectors.rows));
  if (vectors.memory_budget_bytes != 0) out.Set("memory_budget", vectors.memory_budget_bytes);
  if (vectors.kind == IndexKind::kIvf) {
    out.Set("ivf", Value::Object{{"lists", vectors.ivf.lists},
                                 {"codes", IvfCodesName(vectors.ivf.codes)},
                                 {"pq_bytes", vectors.ivf.pq_bytes},
                                 {"rotate", vectors.ivf.rotate},
                                 {"probes", vectors.ivf.probes},
                                 {"rerank", vectors.ivf.rerank},
                                 {"seed", static_cast<int64_t>(vectors.ivf.seed)}});
  }
  return ToJson(Value(std::move(out)));
}

Result<CollectionConfig> DecodeConfig(std::string_view name, std::string_view json,
                                      uint32_t& number) {
  const auto decode = [&]() -> Result<CollectionConfig> {
    RAG_ASSIGN_OR_RETURN(const Value value, ParseJson(json));
    CollectionConfig config;
    config.name = name;
    RAG_ASSIGN_OR_RETURN(const int64_t stored_number, value.GetInt("number", -1));
    if (stored_number < 0 || stored_number > UINT32_MAX) {
      return InvalidArgumentError("'number' is ", stored_number);
    }
    number = static_cast<uint32_t>(stored_number);
    const auto size = [](const Value& object, std::string_view key, size_t& out) -> Status {
      RAG_ASSIGN_OR_RETURN(const int64_t read, object.GetInt(key, 0));
      if (read < 0) return InvalidArgumentError("'", key, "' is ", read);
      out = static_cast<size_t>(read);
      return OkStatus();
    };
    VectorIndexOptions& vectors = config.vectors;
    RAG_RETURN_IF_ERROR(size(value, "dim", vectors.dim));
    RAG_ASSIGN_OR_RETURN(const std::string metric, value.GetString("metric", ""));
    RAG_ASSIGN_OR_RETURN(vectors.metric, ParseMetric(metric));
    RAG_ASSIGN_OR_RETURN(const std::string kind, value.GetString("index", ""));
    RAG_ASSIGN_OR_RETURN(vectors.kind, ParseIndexKind(kind));
    RAG_ASSIGN_OR_RETURN(const std::string element, value.GetString("element", "f32"));
    RAG_ASSIGN_OR_RETURN(vectors.element, ParseElementType(element));
    if (const Value* hnsw = value.Find("hnsw")) {
      RAG_RETURN_IF_ERROR(size(*hnsw, "m", vectors.hnsw.m));
      RAG_RETURN_IF_ERROR(size(*hnsw, "ef_construction", vectors.hnsw.ef_construction));
      RAG_RETURN_IF_ERROR(size(*hnsw, "ef_search", vectors.hnsw.ef_search));
      RAG_ASSIGN_OR_RETURN(const int64_t seed, hnsw->GetInt("seed", 0));
      vectors.hnsw.seed = static_cast<uint64_t>(seed);
      RAG_ASSIGN_OR_RETURN(const std::string codes, hnsw->GetString("codes", "none"));
      RAG_ASSIGN_OR_RETURN(vectors.hnsw.codes, ParseCodeKind(codes));
      RAG_RETURN_IF_ERROR(size(*hnsw, "code_dims", vectors.hnsw.code_dims));
    }
    if (const Value* ivf = value.Find("ivf")) {
      RAG_RETURN_IF_ERROR(size(*ivf, "lists", vectors.ivf.lists));
      RAG_ASSIGN_OR_RETURN(const std::string codes, ivf->GetString("codes", ""));
      RAG_ASSIGN_OR_RETURN(vectors.ivf.codes, ParseIvfCodes(codes));
      RAG_RETURN_IF_ERROR(size(*ivf, "pq_bytes", vectors.ivf.pq_bytes));
      RAG_ASSIGN_OR_RETURN(vectors.ivf.rotate, ivf->GetBool("rotate", false));
      RAG_RETURN_IF_ERROR(size(*ivf, "probes", vectors.ivf.probes));
      RAG_RETURN_IF_ERROR(size(*ivf, "rerank", vectors.ivf.rerank));
      RAG_ASSIGN_OR_RETURN(const int64_t seed, ivf->GetInt("seed", 0));
      vectors.ivf.seed = static_cast<uint64_t>(seed);
    }
    RAG_ASSIGN_OR_RETURN(const std::string goal, value.GetString("goal", ""));
    if (!goal.empty()) {
      RAG_ASSIGN_OR_RETURN(config.goal, ParseTuneGoal(goal));
    }
    size_t tuned = 0;
    RAG_RETURN_IF_ERROR(size(value, "tuned_chunks", tuned));
    config.tuned_chunks = tuned;
    RAG_ASSIGN_OR_RETURN(const std::string rows, value.GetString("rows", "memory"));
    RAG_ASSIGN_OR_RETURN(vectors.rows, ParseRowPlace(rows));
    RAG_RETURN_IF_ERROR(size(value, "memory_budget", vectors.memory_budget_bytes));
    RAG_ASSIGN_OR_RETURN(config.encoder_fingerprint, value.GetString("encoder", ""));
    if (const Value* sparse = value.Find("sparse")) {
      size_t dim = 0;
      RAG_RETURN_IF_ERROR(size(*sparse, "dim", dim));
      if (dim == 0 || dim > kMaxSparseDim) return InvalidArgumentError("'sparse.dim' is ", dim);
      config.sparse_dim = static_cast<uint32_t>(dim);
      RAG_ASSIGN_OR_RETURN(config.sparse_fingerprint, sparse->GetString("encoder", ""));
    }
    RAG_ASSIGN_OR_RETURN(config.attachments, value.GetBool("attachments", false));
    if (const Value* properties = value.Find("properties")) config.properties = *properties;
    return config;
  };
  Result<CollectionConfig> config = decode();
  if (!config.ok()) {
    return DataLossError("the settings of collection '", name,
                         "' are damaged: ", config.status().message());
  }
  return config;
}

}  // namespace rag
