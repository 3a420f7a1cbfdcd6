// How the engine's nouns are packed into what a Collection stores, and read back.
//
// The collection keeps payloads as opaque bytes. Ours begin with a version byte; integers are
// little-endian, strings are a u32 length and the bytes. A payload that does not read back is
// data_loss. The body of a document is its text, byte for byte: every byte range of the engine is a
// range of Collection::GetBody.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/chunk.h"
#include "engine/document.h"
#include "engine/engine.h"
#include "engine/search.h"
#include "index/store.h"
#include "lib/base/status.h"

namespace rag {

// 2: the collection has what programs that write 1 would leave out.
inline constexpr int kEngineFormatVersion = 2;

// What a document's payload holds.
struct DocumentPayload {
  std::string title;
  std::string source;
  std::string media_type;
  std::string content_hash;  // of the document as it was parsed, see HashDocument
  // Of the file it came from (HashContent), when the file holds this one document only; such a file
  // is known to be unchanged by looking at its document.
  std::string source_hash;
  // Attributes that the engine added to the document's metadata so that filters see them.
  std::string added_attributes;
};
std::string PackDocument(const DocumentPayload& payload);
Result<DocumentPayload> UnpackDocument(std::string_view bytes);

// What a chunk's payload holds: everything a Hit shows, so that a search reads no bodies.
struct ChunkPayload {
  uint32_t begin = 0;
  uint32_t end = 0;
  uint32_t page = 0;
  uint32_t tokens = 0;
  std::string title;
  std::vector<std::string> headings;
  std::string text;
  std::string added_attributes;
};
std::string PackChunk(const ChunkPayload& payload);
Result<ChunkPayload> UnpackChunk(std::string_view bytes);

// The document without its chunks: key, payload, body and attributes. Besides the document's
// metadata the attributes have `title`, `source`, `media_type` and `document` (the key), where the
// metadata has no member of that name.
DocumentInput PackDocumentInput(const Document& document, std::string content_hash,
                                std::string source_hash);
// One chunk of it, without its vector. Its attributes have `page` and `heading` likewise.
ChunkInput PackChunkInput(const Document& document, const Chunk& chunk);

// Title and headings before a chunk: more than a long line of them says little about the passage
// and takes its place in the encoder's window.
inline constexpr size_t kMaxContextBytes = 256;

// The text that stands for a chunk in both indexes: title and heading path, then the chunk's own
// text. `max_prefix_bytes` bounds what is put before it.
std::string ContextualText(std::string_view title, std::span<const std::string> headings,
                           std::string_view text, size_t max_prefix_bytes);
std::string ContextualText(const Document& document, const Chunk& chunk, size_t max_prefix_bytes);

// The metadata as the document had it: attributes less the names of `added` (separated by '\n').
Value StripAttributes(Value attributes, std::string_view added);

Result<StoredDocument> UnpackStoredDocument(DocumentRecord record, std::string body);
// rank and score are left to the caller.
Result<Hit> UnpackHit(ChunkRecord record);

// 128-bit XXH3 as 32 hexadecimal digits: of bytes, and of everything of a document that decides
// what is stored for it.
std::string HashContent(std::string_view bytes);
std::string HashDocument(const Document& document);

// The engine's own settings of a collection, in CollectionConfig::properties.
struct CollectionProperties {
  ChunkOptions chunk;
  std::string encoder_name;  // for messages; the fingerprint decides
  std::string sparse_name;   // likewise
  // Of the late interaction model whose token vectors are the chunks' attachments; "": none.
  std::string token_name;
  std::string token_fingerprint;
  bool evaluation = false;  // made by Engine::Evaluate: holds one corpus and nothing else
};
Value PackProperties(const CollectionProperties& properties);
// Errors: failed_precondition when a newer rag made the collection.
Result<CollectionProperties> UnpackProperties(const CollectionConfig& config);

}  // namespace rag
