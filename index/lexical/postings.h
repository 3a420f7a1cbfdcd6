// Postings: which chunks hold a term, kept in blocks in the store, and BM25 over them.
//
// A block holds one term's postings of the chunks that were written together; its number is the
// write's sequence. Removing a chunk rewrites the blocks of its terms, so that nothing of it stays.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "index/store/database.h"
#include "index/vector_index.h"
#include "lib/base/status.h"

namespace rag {

struct Posting {
  uint64_t chunk = 0;
  uint32_t frequency = 0;  // of the term in the chunk
  uint32_t length = 0;     // terms in the chunk, with repetitions
};

// Ascending by chunk.
std::string EncodePostings(const std::vector<Posting>& postings);
// False when the bytes are no block.
bool DecodePostings(std::string_view bytes, std::vector<Posting>& postings);

// What a chunk's 't' record says.
struct ChunkTerms {
  uint64_t block = 0;
  uint64_t length = 0;
  std::vector<std::string> terms;  // distinct

  std::string Encode() const;
  bool Decode(std::string_view bytes);
};

// Collects the changes of one group of writes and puts them into its batch.
class PostingChanges {
 public:
  PostingChanges(const Database& database, uint32_t collection, uint64_t block)
      : database_(database), collection_(collection), block_(block) {}

  // Counts the terms of text and keeps them; the returned terms are empty when the text has none.
  ChunkTerms Add(uint64_t chunk, std::string_view text);
  Status Remove(uint64_t chunk, const ChunkTerms& terms);
  void AppendTo(Batch& batch) const;

 private:
  const Database& database_;
  const uint32_t collection_;
  const uint64_t block_;
  std::map<std::string, std::vector<Posting>> added_;      // by term
  std::map<std::string, std::vector<Posting>> rewritten_;  // by key; empty: the block goes
};

// Okapi BM25 as Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework", eq. 3.15, with
// Lucene's idf ln(1 + (N - df + 0.5) / (df + 0.5)), which is never negative. A term that stands in
// the query twice counts twice.
struct Bm25Options {
  double k1 = 0.9;  // Anserini's values, which BEIR's published BM25 figures use
  double b = 0.4;
};

struct LexicalStatistics {
  uint64_t chunks = 0;      // with terms
  uint64_t terms = 0;       // of them all
  uint64_t next_chunk = 0;  // ids are below
};

// The k best chunks for the query's terms, best first, ties by lower id; allowed may be null.
Result<std::vector<Neighbor>> SearchPostings(const Database& database, uint32_t collection,
                                             const std::vector<std::string>& query_terms,
                                             const LexicalStatistics& statistics,
                                             const Bm25Options& options, size_t k,
                                             const IdFilter* allowed);

}  // namespace rag
