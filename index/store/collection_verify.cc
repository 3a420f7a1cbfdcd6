// Collection::Verify: every record against the others, the postings and the vector index.
#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "index/store/collection_impl.h"
#include "index/store/collection_records.h"
#include "lib/base/hash.h"

namespace rag {
namespace {

constexpr size_t kMaxProblems = 100;
constexpr size_t kCancelEvery = 256;

// What a chunk's records say, gathered in one pass and struck off by the others.
struct Seen {
  bool in_document = false;
  bool has_vector = false;
  uint64_t terms = 0;     // distinct, of its 't' record
  uint64_t postings = 0;  // found in blocks
  uint64_t length = 0;
  // Sums over the weights of its 's' record, and over its weights in the postings.
  uint64_t sparse_record = 0;
  uint64_t sparse_postings = 0;
};

// What stands for one weight in a sum in which order does not count.
uint64_t WeightSum(uint32_t token, uint16_t code) {
  const uint64_t both[] = {token, code};
  return Hash64(std::as_bytes(std::span(both)));
}

// Largest difference of a component that rounding explains, when the index stores a unit row.
bool SameDirection(const std::vector<float>& stored, const std::vector<float>& indexed,
                   Metric metric) {
  double scale = 1;
  if (metric == Metric::kCosine) {
    double squares = 0;
    for (const float value : stored) squares += static_cast<double>(value) * value;
    scale = 1 / std::sqrt(squares);
  }
  for (size_t i = 0; i < stored.size(); ++i) {
    const double expected = stored[i] * scale;
    if (std::fabs(expected - indexed[i]) > 1e-5 * std::max(1.0, std::fabs(expected))) return false;
  }
  return true;
}

}  // namespace

Result<VerifyReport> CollectionImpl::Verify(const CancelToken* cancel) const {
  std::shared_lock use(use_mutex_);
  RAG_RETURN_IF_ERROR(CheckOpen());
  VerifyReport report;
  size_t steps = 0;
  const auto cancelled = [&] {
    return ++steps % kCancelEvery == 0 && cancel != nullptr && cancel->cancelled();
  };
  const auto problem = [&](const auto&... pieces) {
    if (report.problems.size() < kMaxProblems) report.problems.push_back(StrCat(pieces...));
  };
  const CollectionState before = state();

  std::unordered_map<ChunkId, Seen> chunks;
  PrefixScan records = database_.Scan(Family::kRecords, TaggedPrefix(number_, kChunkTag));
  std::unordered_map<ChunkId, std::pair<std::string, uint32_t>> owners;
  for (; records.Valid(); records.Next()) {
    if (cancelled()) return CancelledError("verify was cancelled");
    const ChunkId id = ReadBigEndian(records.key());
    const Result<ChunkRecord> record = DecodeChunkRecord(id, records.value());
    if (!record.ok()) {
      problem(record.status().message());
      continue;
    }
    chunks[id];
    owners[id] = {record->document_key, record->ordinal};
  }
  RAG_RETURN_IF_ERROR(Named(records.status()));

  PrefixScan documents = database_.Scan(Family::kRecords, TaggedPrefix(number_, kDocumentTag));
  for (; documents.Valid(); documents.Next()) {
    if (cancelled()) return CancelledError("verify was cancelled");
    const std::string key(documents.key());
    ++report.documents;
    const Result<DocumentRecord> record = DecodeDocumentRecord(key, documents.value());
    if (!record.ok()) {
      problem(record.status().message());
      continue;
    }
    const Result<std::string> body = database_.Get(Family::kBodies, BodyKey(number_, key));
    if (!body.ok()) problem("the body of document '", key, "': ", body.status().ToString());
    for (size_t i = 0; i < record->chunk_ids.size(); ++i) {
      const ChunkId id = record->chunk_ids[i];
      const auto owner = owners.find(id);
      if (owner == owners.end()) {
        problem("chunk ", id, " of document '", key, "' is missing");
      } else if (owner->second.first != key || owner->second.second != i) {
        problem("chunk ", id, " belongs to '", owner->second.first, "' and to '", key, "'");
      } else {
        chunks[id].in_document = true;
      }
    }
  }
  RAG_RETURN_IF_ERROR(Named(documents.status()));
  report.chunks = chunks.size();

  PrefixScan terms = database_.Scan(Family::kRecords, TaggedPrefix(number_, kTermsTag));
  uint64_t lexical_chunks = 0, lexical_terms = 0;
  for (; terms.Valid(); terms.Next()) {
    if (cancelled()) return CancelledError("verify was cancelled");
    const ChunkId id = ReadBigEndian(terms.key());
    ChunkTerms record;
    if (!record.Decode(terms.value())) {
      problem("the terms of chunk ", id, " are damaged");
      continue;
    }
    const auto found = chunks.find(id);
    if (found == chunks.end()) {
      problem("terms of chunk ", id, ", which is not there");
      continue;
    }
    found->second.terms = record.terms.size();
    found->second.length = record.length;
    ++lexical_chunks;
    lexical_terms += record.length;
  }
  RAG_RETURN_IF_ERROR(Named(terms.status()));

  PrefixScan attachments = database_.Scan(Family::kRecords, TaggedPrefix(number_, kAttachmentTag));
  for (; attachments.Valid(); attachments.Next()) {
    if (cancelled()) return CancelledError("verify was cancelled");
    const ChunkId id = ReadBigEndian(attachments.key());
    if (!chunks.contains(id)) problem("an attachment of chunk ", id, ", which is not there");
  }
  RAG_RETURN_IF_ERROR(Named(attachments.status()));

  PrefixScan sparse = database_.Scan(Family::kRecords, TaggedPrefix(number_, kSparseTag));
  SparseVector weights;
  for (; sparse.Valid(); sparse.Next()) {
    if (cancelled()) return CancelledError("verify was cancelled");
    const ChunkId id = ReadBigEndian(sparse.key());
    if (!DecodeSparseVector(sparse.value(), weights)) {
      problem("the sparse vector of chunk ", id, " is damaged");
      continue;
    }
    const auto found = chunks.find(id);
    if (found == chunks.end()) {
      problem("a sparse vector of chunk ", id, ", which is not there");
      continue;
    }
    for (const SparseVector::Entry& entry : weights.entries) {
      found->second.sparse_record += WeightSum(entry.token, EncodeWeight(entry.weight));
    }
  }
  RAG_RETURN_IF_ERROR(Named(sparse.status()));

  PrefixScan segments = database_.Scan(Family::kPostings, SparsePrefix(number_));
  SparseSegment segment;
  for (; segments.Valid(); segments.Next()) {
    if (cancelled()) return CancelledError("verify was cancelled");
    const std::string_view key = segments.key();
    const size_t token_bytes = std::min<size_t>(key.size(), sizeof(uint32_t));
    const auto token = static_cast<uint32_t>(ReadBigEndian(key.substr(0, token_bytes)));
    const uint64_t number = ReadBigEndian(key.substr(token_bytes));
    if (!segment.Decode(segments.value())) {
      problem("the weights of token ", token, " in segment ", number, " are damaged");
      continue;
    }
    for (const SparseSegment::Entry& entry : segment.entries) {
      const ChunkId id = number * kSegmentChunks + entry.place;
      const auto found = chunks.find(id);
      if (found == chunks.end()) {
        problem("a weight of chunk ", id, ", which is not there");
      } else {
        found->second.sparse_postings += WeightSum(token, entry.code);
      }
    }
  }
  RAG_RETURN_IF_ERROR(Named(segments.status()));

  PrefixScan blocks = database_.Scan(Family::kPostings, CollectionPrefix(number_));
  blocks.Seek("\1");  // behind the sparse vectors' weights
  std::vector<Posting> postings;
  for (; blocks.Valid(); blocks.Next()) {
    if (cancelled()) return CancelledError("verify was cancelled");
    if (!DecodePostings(blocks.value(), postings)) {
      problem("a posting block is damaged");
      continue;
    }
    for (const Posting& posting : postings) {
      const auto found = chunks.find(posting.chunk);
      if (found == chunks.end()) {
        problem("a posting of chunk ", posting.chunk, ", which is not there");
      } else {
        ++found->second.postings;
        if (found->second.length != posting.length) {
          problem("a posting of chunk ", posting.chunk, " has the wrong length");
        }
      }
    }
  }
  RAG_RETURN_IF_ERROR(Named(blocks.status()));

  size_t vectors = 0;
  const std::shared_ptr<VectorIndex> index = this->index();
  if (index != nullptr) {
    PrefixScan scan = database_.Scan(Family::kVectors, CollectionPrefix(number_));
    std::vector<float> indexed(config().vectors.dim);
    Status damage;  // after it the index is asked no more
    for (; scan.Valid(); scan.Next()) {
      if (cancelled()) return CancelledError("verify was cancelled");
      const ChunkId id = ReadBigEndian(scan.key());
      const Result<std::vector<float>> vector =
          DecodeVector(id, scan.value(), config().vectors.dim);
      if (!vector.ok()) {
        problem(vector.status().message());
        continue;
      }
      ++vectors;
      const auto found = chunks.find(id);
      if (found == chunks.end()) {
        problem("a vector of chunk ", id, ", which is not there");
        continue;
      }
      found->second.has_vector = true;
      if (!damage.ok()) continue;
      const Status got = index->GetVector(id, indexed);
      if (got.code() == StatusCode::kNotFound) {
        problem("chunk ", id, " is not in the vector index");
      } else if (!got.ok()) {
        damage = got;
      } else if (!SameDirection(*vector, indexed, config().vectors.metric)) {
        problem("the vector index holds another vector for chunk ", id);
      }
    }
    RAG_RETURN_IF_ERROR(Named(scan.status()));
    if (index->size() != vectors) {
      problem("the vector index holds ", index->size(), " vectors, the store ", vectors);
    }
    if (damage.ok()) damage = index->Verify();
    if (!damage.ok()) {
      problem("the vector index: ", damage.message());
      // Nothing about the collection changes but where its vectors are found.
      const Status replaced = const_cast<CollectionImpl*>(this)->ReplaceDamaged(index, damage);
      if (!replaced.ok()) problem("the vector index cannot be made anew: ", replaced.message());
    }
  }

  for (const auto& [id, seen] : chunks) {
    if (!seen.in_document) problem("chunk ", id, " belongs to no document");
    if (index != nullptr && !seen.has_vector) problem("chunk ", id, " has no vector");
    if (seen.terms != seen.postings) {
      problem("chunk ", id, " has ", seen.terms, " terms and ", seen.postings, " postings");
    }
    if (seen.sparse_record != seen.sparse_postings) {
      problem("chunk ", id, " has other weights in the postings than in its sparse vector");
    }
  }
  const CollectionState after = state();
  if (after.sequence != before.sequence) {
    // Written to meanwhile: the passes did not see one state, and what differs may be that.
    report.problems.clear();
    return UnavailableError("collection '", config().name,
                            "' was written to while it was verified; verify it again");
  }
  if (report.documents != after.documents || report.chunks != after.chunks ||
      lexical_chunks != after.lexical_chunks || lexical_terms != after.lexical_terms) {
    problem("the counters say ", after.documents, " documents, ", after.chunks, " chunks, ",
            after.lexical_terms, " terms; there are ", report.documents, ", ", report.chunks, ", ",
            lexical_terms);
  }
  return report;
}

}  // namespace rag
