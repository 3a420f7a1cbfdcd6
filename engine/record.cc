#include "engine/record.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <concepts>
#include <type_traits>
#include <utility>

namespace rag {
namespace {

constexpr char kPayloadVersion = 1;
constexpr int kFirstFormatVersion = 1;
// No list in a payload is longer; a heading path has at most six entries in every format we read.
constexpr uint32_t kMaxListEntries = 256;

// Payloads are a version byte and fields one after another: numbers of 32 bits, little-endian,
// texts and lists after their length. A payload's fields are named once, in VisitFields, for both
// ways.
class Packer {
 public:
  Packer() { out_.push_back(kPayloadVersion); }
  void Field(uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) {
      out_.push_back(static_cast<char>((value >> shift) & 0xff));
    }
  }
  void Field(std::string_view text) {
    Field(static_cast<uint32_t>(text.size()));
    out_.append(text);
  }
  void Field(const std::vector<std::string>& list) {
    Field(static_cast<uint32_t>(list.size()));
    for (const std::string& text : list) Field(text);
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : bytes_(bytes) {
    ok_ = !bytes_.empty() && bytes_.front() == kPayloadVersion;
    if (ok_) bytes_.remove_prefix(1);
  }
  void Field(uint32_t& value) {
    value = 0;
    if (!Need(4)) return;
    for (int i = 0; i < 4; ++i) {
      value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes_[static_cast<size_t>(i)]))
               << (8 * i);
    }
    bytes_.remove_prefix(4);
  }
  void Field(std::string& text) {
    uint32_t size = 0;
    Field(size);
    if (!Need(size)) return;
    text.assign(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
  }
  void Field(std::vector<std::string>& list) {
    uint32_t size = 0;
    Field(size);
    ok_ = ok_ && size <= kMaxListEntries;
    if (!ok_) return;
    list.resize(size);
    for (std::string& text : list) Field(text);
  }
  // Everything was there and nothing is left.
  bool Done() const { return ok_ && bytes_.empty(); }

 private:
  bool Need(size_t size) {
    ok_ = ok_ && bytes_.size() >= size;
    return ok_;
  }
  std::string_view bytes_;
  bool ok_ = false;
};

template <class Visitor, class Payload>
requires std::same_as<std::remove_const_t<Payload>, DocumentPayload>
void VisitFields(Visitor& visitor, Payload& payload) {
  visitor.Field(payload.title);
  visitor.Field(payload.source);
  visitor.Field(payload.media_type);
  visitor.Field(payload.content_hash);
  visitor.Field(payload.source_hash);
  visitor.Field(payload.added_attributes);
}

template <class Visitor, class Payload>
requires std::same_as<std::remove_const_t<Payload>, ChunkPayload>
void VisitFields(Visitor& visitor, Payload& payload) {
  visitor.Field(payload.begin);
  visitor.Field(payload.end);
  visitor.Field(payload.page);
  visitor.Field(payload.tokens);
  visitor.Field(payload.title);
  visitor.Field(payload.headings);
  visitor.Field(payload.text);
  visitor.Field(payload.added_attributes);
}

template <class Payload>
std::string Pack(const Payload& payload) {
  Packer packer;
  VisitFields(packer, payload);
  return packer.Take();
}

template <class Payload>
Result<Payload> Unpack(std::string_view bytes, std::string_view name) {
  Unpacker unpacker(bytes);
  Payload payload;
  VisitFields(unpacker, payload);
  if (unpacker.Done()) return payload;
  return DataLossError(name, " payload of ", bytes.size(), " bytes is damaged");
}

// Adds name = value unless the object has the name already, and notes it in `added`.
void AddAttribute(Value::Object& attributes, std::string_view name, Value value,
                  std::string& added) {
  if (attributes.Find(name) != nullptr) return;
  attributes.Append(std::string(name), std::move(value));
  if (!added.empty()) added += '\n';
  added += name;
}

std::string JoinHeadings(const std::vector<std::string>& headings) {
  std::string joined;
  for (const std::string& heading : headings) {
    if (!joined.empty()) joined += " > ";
    joined += heading;
  }
  return joined;
}

// At most max_bytes of text, cut between characters.
std::string_view CutUtf8(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

std::string Hex(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(32);
  for (const unsigned char byte : canonical.digest) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

}  // namespace

std::string PackDocument(const DocumentPayload& payload) { return Pack(payload); }

Result<DocumentPayload> UnpackDocument(std::string_view bytes) {
  return Unpack<DocumentPayload>(bytes, "document");
}

std::string PackChunk(const ChunkPayload& payload) { return Pack(payload); }

Result<ChunkPayload> UnpackChunk(std::string_view bytes) {
  Result<ChunkPayload> payload = Unpack<ChunkPayload>(bytes, "chunk");
  if (payload.ok() && payload->end < payload->begin) {
    return DataLossError("chunk payload of ", bytes.size(), " bytes ends before it begins");
  }
  return payload;
}

DocumentInput PackDocumentInput(const Document& document, std::string content_hash,
                                std::string source_hash) {
  DocumentInput input;
  input.key = document.key;
  input.body = document.text;
  Value::Object attributes;
  if (document.metadata.is_object()) attributes = document.metadata.as_object();
  DocumentPayload payload;
  payload.title = document.title;
  payload.source = document.source;
  payload.media_type = document.media_type;
  payload.content_hash = std::move(content_hash);
  payload.source_hash = std::move(source_hash);
  AddAttribute(attributes, "title", document.title, payload.added_attributes);
  AddAttribute(attributes, "source", document.source, payload.added_attributes);
  AddAttribute(attributes, "media_type", document.media_type, payload.added_attributes);
  AddAttribute(attributes, "document", document.key, payload.added_attributes);
  input.payload = PackDocument(payload);
  input.attributes = std::move(attributes);
  return input;
}

ChunkInput PackChunkInput(const Document& document, const Chunk& chunk) {
  ChunkPayload payload;
  payload.begin = chunk.begin;
  payload.end = chunk.end;
  payload.page = chunk.page;
  payload.tokens = chunk.tokens;
  payload.title = document.title;
  payload.headings.assign(chunk.headings.begin(),
                          chunk.headings.begin() + static_cast<ptrdiff_t>(std::min<size_t>(
                                                       chunk.headings.size(), kMaxListEntries)));
  payload.text = document.text.substr(chunk.begin, chunk.end - chunk.begin);
  // A chunk's record shows the document's attributes with its own over them; the names that the
  // engine added to either are taken off again when its metadata is read.
  Value::Object attributes;
  for (const std::string_view name : {"title", "source", "media_type", "document"}) {
    if (document.metadata.Find(name) != nullptr) continue;
    if (!payload.added_attributes.empty()) payload.added_attributes += '\n';
    payload.added_attributes += name;
  }
  if (chunk.page != 0 && document.metadata.Find("page") == nullptr) {
    AddAttribute(attributes, "page", chunk.page, payload.added_attributes);
  }
  if (!chunk.headings.empty() && document.metadata.Find("heading") == nullptr) {
    AddAttribute(attributes, "heading", JoinHeadings(chunk.headings), payload.added_attributes);
  }
  ChunkInput input;
  input.payload = PackChunk(payload);
  if (!attributes.empty()) input.attributes = std::move(attributes);
  return input;
}

std::string ContextualText(std::string_view title, std::span<const std::string> headings,
                           std::string_view text, size_t max_prefix_bytes) {
  std::string prefix;
  const bool title_is_heading = !headings.empty() && headings.front() == title;
  if (!title.empty() && !title_is_heading) prefix = title;
  for (const std::string& heading : headings) {
    if (!prefix.empty()) prefix += ' ';
    prefix += heading;
  }
  std::string whole(CutUtf8(prefix, max_prefix_bytes));
  if (!whole.empty()) whole += ' ';
  whole += text;
  return whole;
}

std::string ContextualText(const Document& document, const Chunk& chunk, size_t max_prefix_bytes) {
  const std::string_view text = document.text;
  return ContextualText(document.title, chunk.headings,
                        text.substr(chunk.begin, chunk.end - chunk.begin), max_prefix_bytes);
}

Value StripAttributes(Value attributes, std::string_view added) {
  if (!attributes.is_object()) return Value(Value::Object());
  while (!added.empty()) {
    const size_t end = std::min(added.find('\n'), added.size());
    attributes.as_object().Erase(added.substr(0, end));
    added.remove_prefix(std::min(end + 1, added.size()));
  }
  return attributes;
}

Result<StoredDocument> UnpackStoredDocument(DocumentRecord record, std::string body) {
  Result<DocumentPayload> unpacked = UnpackDocument(record.payload);
  if (!unpacked.ok()) return unpacked.status().WithContext(StrCat("'", record.key, "'"));
  DocumentPayload& payload = unpacked.value();
  StoredDocument document;
  document.key = std::move(record.key);
  document.title = std::move(payload.title);
  document.source = std::move(payload.source);
  document.media_type = std::move(payload.media_type);
  document.text = std::move(body);
  document.metadata = StripAttributes(std::move(record.attributes), payload.added_attributes);
  document.chunk_ids = std::move(record.chunk_ids);
  return document;
}

Result<Hit> UnpackHit(ChunkRecord record) {
  Result<ChunkPayload> unpacked = UnpackChunk(record.payload);
  if (!unpacked.ok()) return unpacked.status().WithContext(StrCat("chunk ", record.id));
  ChunkPayload& payload = unpacked.value();
  Hit hit;
  hit.document = std::move(record.document_key);
  hit.chunk_id = record.id;
  hit.start = payload.begin;
  hit.end = payload.end;
  hit.page = payload.page;
  hit.title = std::move(payload.title);
  hit.headings = std::move(payload.headings);
  hit.text = std::move(payload.text);
  hit.metadata = StripAttributes(std::move(record.attributes), payload.added_attributes);
  return hit;
}

std::string HashContent(std::string_view bytes) {
  return Hex(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string HashDocument(const Document& document) {
  // Length-prefixed parts, so that text cannot move from one part to the next unnoticed.
  Packer packer;
  packer.Field(document.key);
  packer.Field(document.title);
  packer.Field(document.source);
  packer.Field(document.media_type);
  packer.Field(HashContent(document.text));
  packer.Field(ToJson(document.metadata));
  for (const Block& block : document.blocks) {
    packer.Field(static_cast<uint32_t>(block.kind));
    packer.Field(block.begin);
    packer.Field(block.end);
    packer.Field(block.page);
    packer.Field(block.level);
  }
  if (!document.image.empty()) packer.Field(HashContent(document.image));
  return HashContent(packer.Take());
}

Value PackProperties(const CollectionProperties& properties) {
  Value::Object chunk;
  chunk.Set("strategy", ChunkStrategyName(properties.chunk.strategy));
  chunk.Set("chunk_tokens", properties.chunk.chunk_tokens);
  chunk.Set("overlap_tokens", properties.chunk.overlap_tokens);
  Value::Object out;
  out.Set("format_version", properties.sparse_name.empty() && properties.token_name.empty()
                                ? kFirstFormatVersion
                                : kEngineFormatVersion);
  out.Set("encoder", properties.encoder_name);
  if (!properties.sparse_name.empty()) out.Set("sparse_encoder", properties.sparse_name);
  if (!properties.token_name.empty()) {
    out.Set("token_vectors", Value::Object{{"model", properties.token_name},
                                           {"fingerprint", properties.token_fingerprint}});
  }
  out.Set("chunk", std::move(chunk));
  if (properties.evaluation) out.Set("evaluation", true);
  return out;
}

Result<CollectionProperties> UnpackProperties(const CollectionConfig& config) {
  const std::string place = StrCat("collection '", config.name, "'");
  const auto read = [&]() -> Result<CollectionProperties> {
    RAG_ASSIGN_OR_RETURN(const int64_t version, config.properties.GetInt("format_version", 0));
    if (version < kFirstFormatVersion || version > kEngineFormatVersion) {
      return FailedPreconditionError("has format version ", version, ", this program reads 1 to ",
                                     kEngineFormatVersion);
    }
    CollectionProperties properties;
    RAG_ASSIGN_OR_RETURN(properties.encoder_name, config.properties.GetString("encoder", ""));
    RAG_ASSIGN_OR_RETURN(properties.sparse_name, config.properties.GetString("sparse_encoder", ""));
    if (const Value* tokens = config.properties.Find("token_vectors")) {
      RAG_ASSIGN_OR_RETURN(properties.token_name, tokens->GetString("model", ""));
      RAG_ASSIGN_OR_RETURN(properties.token_fingerprint, tokens->GetString("fingerprint", ""));
    }
    RAG_ASSIGN_OR_RETURN(properties.evaluation, config.properties.GetBool("evaluation", false));
    const Value* chunk = config.properties.Find("chunk");
    if (chunk == nullptr) return DataLossError("has no chunk settings");
    RAG_ASSIGN_OR_RETURN(const std::string strategy, chunk->GetString("strategy", ""));
    RAG_ASSIGN_OR_RETURN(properties.chunk.strategy, ParseChunkStrategy(strategy));
    RAG_ASSIGN_OR_RETURN(const int64_t chunk_tokens, chunk->GetInt("chunk_tokens", 0));
    RAG_ASSIGN_OR_RETURN(const int64_t overlap_tokens, chunk->GetInt("overlap_tokens", 0));
    if (chunk_tokens < 0 || overlap_tokens < 0) {
      return DataLossError("has negative chunk settings");
    }
    properties.chunk.chunk_tokens = static_cast<size_t>(chunk_tokens);
    properties.chunk.overlap_tokens = static_cast<size_t>(overlap_tokens);
    return properties;
  };
  Result<CollectionProperties> properties = read();
  if (!properties.ok()) return properties.status().WithContext(place);
  return properties;
}

}  // namespace rag
