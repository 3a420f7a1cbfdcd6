#include "index/lexical/postings.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "index/lexical/analyzer.h"

namespace rag {

std::string EncodePostings(const std::vector<Posting>& postings) {
  RecordWriter writer;
  uint64_t previous = 0;
  for (const Posting& posting : postings) {
    writer.PutVarint(posting.chunk - previous);
    writer.PutVarint(posting.frequency);
    writer.PutVarint(posting.length);
    previous = posting.chunk;
  }
  return writer.Take();
}

bool DecodePostings(std::string_view bytes, std::vector<Posting>& postings) {
  postings.clear();
  RecordReader reader(bytes);
  uint64_t chunk = 0;
  while (!reader.AtEnd()) {
    uint64_t delta = 0, frequency = 0, length = 0;
    if (!reader.ReadVarint(delta) || !reader.ReadVarint(frequency) || !reader.ReadVarint(length) ||
        frequency == 0 || frequency > length || length > UINT32_MAX || delta > UINT64_MAX - chunk) {
      return false;
    }
    chunk += delta;
    postings.push_back({chunk, static_cast<uint32_t>(frequency), static_cast<uint32_t>(length)});
  }
  return true;
}

std::string ChunkTerms::Encode() const {
  RecordWriter writer;
  writer.PutVarint(block);
  writer.PutVarint(length);
  for (const std::string& term : terms) writer.PutString(term);
  return writer.Take();
}

bool ChunkTerms::Decode(std::string_view bytes) {
  terms.clear();
  RecordReader reader(bytes);
  if (!reader.ReadVarint(block) || !reader.ReadVarint(length)) return false;
  while (!reader.AtEnd()) {
    std::string_view term;
    if (!reader.ReadString(term) || term.empty()) return false;
    terms.emplace_back(term);
  }
  return true;
}

ChunkTerms PostingChanges::Add(uint64_t chunk, std::string_view text) {
  std::vector<std::string> all = AnalyzeText(text);
  ChunkTerms result;
  result.block = block_;
  result.length = all.size();
  std::sort(all.begin(), all.end());
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin + 1;
    while (end < all.size() && all[end] == all[begin]) ++end;
    added_[all[begin]].push_back(
        {chunk, static_cast<uint32_t>(end - begin), static_cast<uint32_t>(all.size())});
    result.terms.push_back(std::move(all[begin]));
    begin = end;
  }
  return result;
}

Status PostingChanges::Remove(uint64_t chunk, const ChunkTerms& terms) {
  for (const std::string& term : terms.terms) {
    std::string key = PostingKey(collection_, term, terms.block);
    auto found = rewritten_.find(key);
    if (found == rewritten_.end()) {
      const Result<std::string> block = database_.Get(Family::kPostings, key);
      std::vector<Posting> postings;
      if (!block.ok()) return block.status().WithContext(StrCat("postings of '", term, "'"));
      if (!DecodePostings(*block, postings)) {
        return DataLossError("postings of '", term, "', block ", terms.block, " are damaged");
      }
      found = rewritten_.emplace(std::move(key), std::move(postings)).first;
    }
    std::erase_if(found->second,
                  [chunk](const Posting& posting) { return posting.chunk == chunk; });
  }
  return OkStatus();
}

void PostingChanges::AppendTo(Batch& batch) const {
  for (const auto& [key, postings] : rewritten_) {
    if (postings.empty()) {
      batch.Delete(Family::kPostings, key);
    } else {
      batch.Put(Family::kPostings, key, EncodePostings(postings));
    }
  }
  for (const auto& [term, postings] : added_) {
    batch.Put(Family::kPostings, PostingKey(collection_, term, block_), EncodePostings(postings));
  }
}

namespace {

// Scores by chunk: an array while ids are dense enough, a hash map when many were removed.
class Accumulator {
 public:
  Accumulator(uint64_t next_chunk, uint64_t chunks) {
    constexpr uint64_t kAlwaysDense = 1 << 20;
    if (next_chunk <= kAlwaysDense || next_chunk / 8 <= chunks) dense_.resize(next_chunk, 0.0f);
  }

  void Add(uint64_t chunk, float score) {
    if (dense_.empty()) {
      sparse_[chunk] += score;
    } else if (chunk < dense_.size()) {
      if (dense_[chunk] == 0.0f) touched_.push_back(chunk);
      dense_[chunk] += score;
    }
  }

  std::vector<Neighbor> Best(size_t k) {
    std::vector<Neighbor> all;
    if (dense_.empty()) {
      all.reserve(sparse_.size());
      for (const auto& [chunk, score] : sparse_) all.push_back({chunk, score});
    } else {
      all.reserve(touched_.size());
      for (const uint64_t chunk : touched_) all.push_back({chunk, dense_[chunk]});
    }
    const auto better = [](const Neighbor& a, const Neighbor& b) {
      return a.score != b.score ? a.score > b.score : a.id < b.id;
    };
    const size_t kept = std::min(k, all.size());
    std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(kept), all.end(), better);
    all.resize(kept);
    return all;
  }

 private:
  std::vector<float> dense_;
  std::vector<uint64_t> touched_;
  std::unordered_map<uint64_t, float> sparse_;
};

}  // namespace

Result<std::vector<Neighbor>> SearchPostings(const Database& database, uint32_t collection,
                                             const std::vector<std::string>& query_terms,
                                             const LexicalStatistics& statistics,
                                             const Bm25Options& options, size_t k,
                                             const IdFilter* allowed) {
  std::map<std::string, int> counted;
  for (const std::string& term : query_terms) ++counted[term];
  if (counted.empty() || statistics.chunks == 0 || k == 0) return std::vector<Neighbor>();

  const double count = static_cast<double>(statistics.chunks);
  const double mean_length = static_cast<double>(statistics.terms) / count;
  Accumulator scores(statistics.next_chunk, statistics.chunks);
  std::vector<Posting> block;
  std::vector<Posting> postings;
  for (const auto& [term, repeats] : counted) {
    postings.clear();
    PrefixScan scan = database.Scan(Family::kPostings, TermPrefix(collection, term));
    for (; scan.Valid(); scan.Next()) {
      if (!DecodePostings(scan.value(), block)) {
        return DataLossError("a posting block of '", term, "' is damaged");
      }
      postings.insert(postings.end(), block.begin(), block.end());
    }
    RAG_RETURN_IF_ERROR(scan.status());
    const double frequency = static_cast<double>(postings.size());
    // More postings than chunks can be seen for a moment, when a write falls between the two reads.
    const double idf = std::log1p(std::max(0.0, count - frequency + 0.5) / (frequency + 0.5));
    for (const Posting& posting : postings) {
      if (allowed != nullptr && !allowed->Contains(posting.chunk)) continue;
      const double tf = posting.frequency;
      const double norm = options.k1 * (1 - options.b + options.b * posting.length / mean_length);
      scores.Add(posting.chunk,
                 static_cast<float>(repeats * idf * tf * (options.k1 + 1) / (tf + norm)));
    }
  }
  return scores.Best(k);
}

}  // namespace rag
