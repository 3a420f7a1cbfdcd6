// The keys of the database: the one place that knows its layout.
//
// Numbers are big-endian, so that their order is the keys' order. `c` is a collection's 4-byte
// number, which is never used twice. Values are written with index/store/codec.h.
//
//   column family  key                      value
//   default        "format"                 the format version, in decimal
//                  "next"                   the next collection's number, in decimal
//                  "name:" name             the collection: number and configuration, as JSON
//                  "state:" c               counters, see CollectionState
//   records        c 'd' document key       payload, attributes, chunk ids
//                  c 'c' chunk id           document key, ordinal, payload
//                  c 'a' chunk id           attributes, the document's with the chunk's laid over
//                  them, as JSON;
//                                           absent when there are none
//                  c 't' chunk id           posting block, number of terms, the distinct terms
//                  c 's' chunk id           the sparse vector; absent when it is empty or the
//                                           collection has none
//                  c 'x' chunk id           attachment; absent when there is none
//                  c 'l' sequence           chunk ids added and removed by that write: the tail
//                                           that a vector index older than it replays
//   bodies         c document key           body
//   vectors        c chunk id               f32 [dim], little-endian
//   postings       c term 0 block           (chunk id, frequency, terms in chunk) of every chunk of
//   the
//                                           block with the term; a block is one group of writes
//                  c 0 token segment        weights of the token in a segment of chunk ids
//                                           (index/lexical/sparse_postings.h)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "index/store/codec.h"

namespace rag {

inline constexpr int kFormatVersion = 1;
inline constexpr const char* kFormatKey = "format";

enum class Family { kDefault, kRecords, kBodies, kVectors, kPostings };
inline constexpr int kFamilyCount = 5;
inline constexpr const char* kFamilyNames[kFamilyCount] = {"default", "records", "bodies",
                                                           "vectors", "postings"};

inline constexpr char kDocumentTag = 'd';
inline constexpr char kChunkTag = 'c';
inline constexpr char kAttributesTag = 'a';
inline constexpr char kTermsTag = 't';
inline constexpr char kSparseTag = 's';
inline constexpr char kAttachmentTag = 'x';
inline constexpr char kLogTag = 'l';

inline void AppendBigEndian(std::string& out, uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
    out += static_cast<char>(value >> shift);
  }
}

inline uint64_t ReadBigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

inline std::string CollectionPrefix(uint32_t collection) {
  std::string key;
  AppendBigEndian(key, collection, 4);
  return key;
}

inline std::string TaggedPrefix(uint32_t collection, char tag) {
  return CollectionPrefix(collection) + tag;
}

inline std::string DocumentKey(uint32_t collection, std::string_view key) {
  return TaggedPrefix(collection, kDocumentTag).append(key);
}

// Of a chunk's records, and of the log.
inline std::string NumberedKey(uint32_t collection, char tag, uint64_t number) {
  std::string key = TaggedPrefix(collection, tag);
  AppendBigEndian(key, number, 8);
  return key;
}

inline std::string BodyKey(uint32_t collection, std::string_view key) {
  return CollectionPrefix(collection).append(key);
}

inline std::string VectorKey(uint32_t collection, uint64_t chunk) {
  std::string key = CollectionPrefix(collection);
  AppendBigEndian(key, chunk, 8);
  return key;
}

// Terms hold no zero byte (AnalyzeText), so that one term's blocks lie together.
inline std::string TermPrefix(uint32_t collection, std::string_view term) {
  return CollectionPrefix(collection).append(term).append(1, '\0');
}

inline std::string PostingKey(uint32_t collection, std::string_view term, uint64_t block) {
  std::string key = TermPrefix(collection, term);
  AppendBigEndian(key, block, 8);
  return key;
}

// Below every term's postings: no term begins with a zero byte.
inline std::string SparsePrefix(uint32_t collection) {
  return CollectionPrefix(collection).append(1, '\0');
}

// Of a token's segments.
inline std::string SparsePrefix(uint32_t collection, uint32_t token) {
  std::string key = SparsePrefix(collection);
  AppendBigEndian(key, token, 4);
  return key;
}

inline std::string SparseKey(uint32_t collection, uint32_t token, uint64_t segment) {
  std::string key = SparsePrefix(collection, token);
  AppendBigEndian(key, segment, 8);
  return key;
}

inline constexpr const char* kNamePrefix = "name:";
inline std::string ConfigKey(std::string_view name) {
  return std::string(kNamePrefix).append(name);
}

inline std::string StateKey(uint32_t collection) {
  return std::string("state:").append(CollectionPrefix(collection));
}

// The first key after all that begin with `prefix`, which is not all 0xff.
inline std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) ++prefix.back();
  return prefix;
}

// A collection's counters, written in the batch that changes them.
struct CollectionState {
  uint64_t sequence = 0;    // of the last write
  uint64_t next_chunk = 1;  // the next chunk's id
  uint64_t documents = 0;
  uint64_t chunks = 0;
  uint64_t lexical_chunks = 0;  // that have terms
  uint64_t lexical_terms = 0;   // of them all, with repetitions
  uint64_t log_begin = 1;       // the first sequence whose log entry is kept

  std::string Encode() const {
    RecordWriter writer;
    for (const uint64_t field :
         {sequence, next_chunk, documents, chunks, lexical_chunks, lexical_terms, log_begin}) {
      writer.PutVarint(field);
    }
    return writer.Take();
  }
  bool Decode(std::string_view bytes) {
    RecordReader reader(bytes);
    for (uint64_t* field : {&sequence, &next_chunk, &documents, &chunks, &lexical_chunks,
                            &lexical_terms, &log_begin}) {
      if (!reader.ReadVarint(*field)) return false;
    }
    return reader.AtEnd();
  }
};

}  // namespace rag
