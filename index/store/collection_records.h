// The values of a collection's records (index/store/keys.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "index/store.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

std::string EncodeDocumentRecord(const DocumentRecord& record);
// Errors: data_loss naming the document.
Result<DocumentRecord> DecodeDocumentRecord(std::string_view key, std::string_view bytes);

std::string EncodeChunkRecord(std::string_view document_key, uint32_t ordinal,
                              std::string_view payload);
// Without attributes. Errors: data_loss naming the chunk.
Result<ChunkRecord> DecodeChunkRecord(ChunkId id, std::string_view bytes);

// The tail's entry of one write.
struct LogEntry {
  std::vector<ChunkId> removed;
  std::vector<ChunkId> added;

  std::string Encode() const;
  bool Decode(std::string_view bytes);
};

std::string EncodeVector(std::span<const float> vector);
// Errors: data_loss when there are not dim floats.
Result<std::vector<float>> DecodeVector(ChunkId id, std::string_view bytes, size_t dim);

// The document's attributes with the chunk's laid over them; null when both are.
Value MergeAttributes(const Value& document, const Value& chunk);

inline constexpr uint32_t kMaxSparseDim = 1 << 24;

std::string EncodeConfig(uint32_t number, const CollectionConfig& config);
// Errors: data_loss naming the field.
Result<CollectionConfig> DecodeConfig(std::string_view name, std::string_view json,
                                      uint32_t& number);

}  // namespace rag
