#include "index/lexical/sparse_postings.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <span>

namespace rag {
namespace {

constexpr size_t kBitmapBytes = 8;
constexpr size_t kRunBytes = 4;      // the largest weight, and the end of the run's postings
constexpr size_t kPostingBytes = 3;  // place in the run, weight
constexpr uint32_t kCodeShift = 15;
constexpr uint16_t kLargestCode = 0x7f7fffff >> kCodeShift;  // of a finite float

// Runs that are looked into by their bounds before the others are by their ids: what they hold sets
// the score that the others must be able to reach.
constexpr size_t kFirstRuns = 64;

// Little-endian, as every processor that this library runs on.
template <class T>
T LoadAt(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

template <class T>
void AppendBytes(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// A segment's bytes, whose sizes fit together; borrowed.
class SegmentView {
 public:
  static std::optional<SegmentView> Parse(std::string_view bytes) {
    if (bytes.size() < kBitmapBytes) return std::nullopt;
    SegmentView view;
    view.bitmap_ = LoadAt<uint64_t>(bytes.data());
    const auto runs = static_cast<size_t>(std::popcount(view.bitmap_));
    if (runs == 0 || bytes.size() < kBitmapBytes + runs * kRunBytes) return std::nullopt;
    view.runs_ = bytes.data() + kBitmapBytes;
    size_t before = 0;
    for (size_t run = 0; run < runs; ++run) {
      const size_t end = view.End(run);
      if (end <= before || end - before > kRunChunks) return std::nullopt;
      before = end;
    }
    if (bytes.size() != kBitmapBytes + runs * kRunBytes + before * kPostingBytes) {
      return std::nullopt;
    }
    view.places_ = view.runs_ + runs * kRunBytes;
    view.weights_ = view.places_ + before;
    return view;
  }

  uint64_t bitmap() const { return bitmap_; }
  // By number among the runs that are there.
  uint16_t Largest(size_t run) const { return LoadAt<uint16_t>(runs_ + run * kRunBytes); }
  size_t Begin(size_t run) const { return run == 0 ? 0 : End(run - 1); }
  size_t End(size_t run) const { return LoadAt<uint16_t>(runs_ + run * kRunBytes + 2); }
  uint8_t Place(size_t posting) const { return LoadAt<uint8_t>(places_ + posting); }
  uint16_t Code(size_t posting) const { return LoadAt<uint16_t>(weights_ + 2 * posting); }

 private:
  uint64_t bitmap_ = 0;
  const char* runs_ = nullptr;
  const char* places_ = nullptr;
  const char* weights_ = nullptr;
};

bool Better(const Neighbor& a, const Neighbor& b) {
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

// The best k so far.
class BestChunks {
 public:
  BestChunks(size_t k, const IdFilter* allowed) : k_(k), allowed_(allowed) {}

  // Whether something of this score can be among them.
  bool Wants(float score) const { return best_.size() < k_ || score >= best_.front().score; }

  void Offer(const Neighbor& candidate) {
    const bool full = best_.size() == k_;
    if (full && !Better(candidate, best_.front())) return;
    if (allowed_ != nullptr && !allowed_->Contains(candidate.id)) return;
    if (full) {
      std::pop_heap(best_.begin(), best_.end(), Better);
      best_.pop_back();
    }
    best_.push_back(candidate);
    std::push_heap(best_.begin(), best_.end(), Better);
  }

  std::vector<Neighbor> Take() {
    std::sort_heap(best_.begin(), best_.end(), Better);
    return std::move(best_);
  }

 private:
  const size_t k_;
  const IdFilter* const allowed_;
  std::vector<Neighbor> best_;  // a heap, the worst in front
};

// The postings of the query's tokens, and the search over them.
class SparseSearch {
 public:
  SparseSearch(const Database& database, uint32_t collection)
      : database_(database), collection_(collection) {}

  Status Read(const SparseVector& query) {
    for (const SparseVector::Entry& entry : query.entries) {
      RAG_RETURN_IF_ERROR(ReadToken(entry));
    }
    std::sort(segments_.begin(), segments_.end());
    segments_.erase(std::unique(segments_.begin(), segments_.end()), segments_.end());
    for (Token& token : tokens_) Place(token);
    return OkStatus();
  }

  std::vector<Neighbor> Run(size_t k, const IdFilter* allowed, SparseSearchWork* work) {
    const std::vector<float> bounds = Bounds();
    std::vector<uint32_t> runs = CandidateRuns(bounds, allowed);
    const auto higher = [&](uint32_t a, uint32_t b) {
      return bounds[a] != bounds[b] ? bounds[a] > bounds[b] : a < b;
    };
    const size_t first = std::min(kFirstRuns, runs.size());
    const auto middle = runs.begin() + static_cast<ptrdiff_t>(first);
    std::nth_element(runs.begin(), middle, runs.end(), higher);
    std::sort(runs.begin(), middle, higher);
    std::sort(middle, runs.end());
    BestChunks best(k, allowed);
    uint64_t scored = 0;
    for (const uint32_t run : runs) {
      if (!best.Wants(bounds[run])) continue;
      Score(run, best);
      ++scored;
    }
    if (work != nullptr) {
      work->runs = runs.size();
      work->runs_scored = scored;
      for (const Token& token : tokens_) work->posting_bytes += token.bytes.size();
    }
    return best.Take();
  }

 private:
  struct Token {
    float weight = 0;                                // the query's
    std::vector<char> bytes;                         // its segments, one after another
    std::vector<std::pair<uint64_t, size_t>> found;  // segment, and where it ends in `bytes`
    std::vector<SegmentView> views;                  // in order of the segments
    std::vector<int32_t> view_of;                    // by number of the segment among all; -1: none
  };

  Status ReadToken(const SparseVector::Entry& entry) {
    Token token;
    token.weight = entry.weight;
    PrefixScan scan = database_.Scan(Family::kPostings, SparsePrefix(collection_, entry.token));
    for (; scan.Valid(); scan.Next()) {
      const std::string_view value = scan.value();
      token.bytes.insert(token.bytes.end(), value.begin(), value.end());
      token.found.emplace_back(ReadBigEndian(scan.key()), token.bytes.size());
    }
    RAG_RETURN_IF_ERROR(scan.status());
    size_t begin = 0;
    for (const auto& [segment, end] : token.found) {
      const std::optional<SegmentView> view =
          SegmentView::Parse({token.bytes.data() + begin, end - begin});
      if (!view.has_value()) {
        return DataLossError("the weights of token ", entry.token, " in segment ", segment,
                             " are damaged");
      }
      token.views.push_back(*view);
      segments_.push_back(segment);
      begin = end;
    }
    if (!token.views.empty()) tokens_.push_back(std::move(token));
    return OkStatus();
  }

  void Place(Token& token) const {
    token.view_of.assign(segments_.size(), -1);
    size_t number = 0;
    for (size_t i = 0; i < token.found.size(); ++i) {
      while (segments_[number] != token.found[i].first) ++number;
      token.view_of[number] = static_cast<int32_t>(i);
    }
  }

  // Of each run the most that a chunk in it can score; f32 sums in the tokens' order, as the scores
  // are: rounding keeps order, so that no score is above its run's bound.
  std::vector<float> Bounds() const {
    std::vector<float> bounds(segments_.size() * kRunChunks);
    for (const Token& token : tokens_) {
      for (size_t segment = 0; segment < segments_.size(); ++segment) {
        if (token.view_of[segment] < 0) continue;
        const SegmentView& view = token.views[static_cast<size_t>(token.view_of[segment])];
        float* const sums = bounds.data() + segment * kRunChunks;
        size_t run = 0;
        for (uint64_t left = view.bitmap(); left != 0; left &= left - 1) {
          sums[std::countr_zero(left)] += token.weight * DecodeWeight(view.Largest(run++));
        }
      }
    }
    return bounds;
  }

  // Runs with postings, and with a chunk that is allowed where these are few enough to be listed.
  std::vector<uint32_t> CandidateRuns(std::span<const float> bounds,
                                      const IdFilter* allowed) const {
    std::vector<bool> held;
    const std::span<const uint64_t> ids =
        allowed != nullptr ? allowed->Ids() : std::span<const uint64_t>();
    const bool listed = allowed != nullptr && ids.size() == allowed->Count();
    if (listed) {
      held.resize(bounds.size());
      for (const uint64_t id : ids) {
        const auto at = std::lower_bound(segments_.begin(), segments_.end(), id / kSegmentChunks);
        if (at == segments_.end() || *at != id / kSegmentChunks) continue;
        const auto number = static_cast<size_t>(at - segments_.begin());
        held[number * kRunChunks + id % kSegmentChunks / kRunChunks] = true;
      }
    }
    std::vector<uint32_t> runs;
    for (size_t run = 0; run < bounds.size(); ++run) {
      if (bounds[run] > 0 && (!listed || held[run])) runs.push_back(static_cast<uint32_t>(run));
    }
    return runs;
  }

  void Score(uint32_t run, BestChunks& best) const {
    float sums[kRunChunks] = {};
    uint64_t touched = 0;
    const size_t segment = run / kRunChunks;
    const uint64_t bit = uint64_t{1} << (run % kRunChunks);
    for (const Token& token : tokens_) {
      if (token.view_of[segment] < 0) continue;
      const SegmentView& view = token.views[static_cast<size_t>(token.view_of[segment])];
      if ((view.bitmap() & bit) == 0) continue;
      const auto number = static_cast<size_t>(std::popcount(view.bitmap() & (bit - 1)));
      const size_t end = view.End(number);
      for (size_t i = view.Begin(number); i < end; ++i) {
        const size_t place = view.Place(i) % kRunChunks;
        sums[place] += token.weight * DecodeWeight(view.Code(i));
        touched |= uint64_t{1} << place;
      }
    }
    const uint64_t first = segments_[segment] * kSegmentChunks + run % kRunChunks * kRunChunks;
    for (; touched != 0; touched &= touched - 1) {
      const auto place = static_cast<size_t>(std::countr_zero(touched));
      best.Offer({first + place, sums[place]});
    }
  }

  const Database& database_;
  const uint32_t collection_;
  std::vector<Token> tokens_;       // of the query's, those with postings
  std::vector<uint64_t> segments_;  // that any of them has, ascending
};

}  // namespace

uint16_t EncodeWeight(float weight) {
  const uint32_t bits = std::bit_cast<uint32_t>(weight);
  const uint32_t rounded = (bits + (1u << (kCodeShift - 1))) >> kCodeShift;
  return static_cast<uint16_t>(std::clamp<uint32_t>(rounded, 1, kLargestCode));
}

float DecodeWeight(uint16_t code) {
  return std::bit_cast<float>(static_cast<uint32_t>(code) << kCodeShift);
}

std::string EncodeSparseVector(const SparseVector& vector) {
  RecordWriter writer;
  uint32_t previous = 0;
  for (const SparseVector::Entry& entry : vector.entries) {
    writer.PutVarint(entry.token - previous);
    writer.PutVarint(EncodeWeight(entry.weight));
    previous = entry.token;
  }
  return writer.Take();
}

bool DecodeSparseVector(std::string_view bytes, SparseVector& vector) {
  vector.entries.clear();
  RecordReader reader(bytes);
  uint64_t token = 0;
  while (!reader.AtEnd()) {
    uint64_t delta = 0, code = 0;
    if (!reader.ReadVarint(delta) || !reader.ReadVarint(code) || code == 0 || code > kLargestCode ||
        delta > UINT32_MAX - token || (delta == 0 && !vector.entries.empty())) {
      return false;
    }
    token += delta;
    vector.entries.push_back(
        {static_cast<uint32_t>(token), DecodeWeight(static_cast<uint16_t>(code))});
  }
  return !vector.entries.empty();
}

std::string SparseSegment::Encode() const {
  uint64_t bitmap = 0;
  std::string runs, places, weights;
  for (size_t begin = 0; begin < entries.size();) {
    const uint64_t run = entries[begin].place / kRunChunks;
    uint16_t largest = 0;
    size_t end = begin;
    for (; end < entries.size() && entries[end].place / kRunChunks == run; ++end) {
      largest = std::max(largest, entries[end].code);
      places += static_cast<char>(entries[end].place % kRunChunks);
      AppendBytes(weights, entries[end].code);
    }
    bitmap |= uint64_t{1} << run;
    AppendBytes(runs, largest);
    AppendBytes(runs, static_cast<uint16_t>(end));
    begin = end;
  }
  std::string bytes;
  bytes.reserve(kBitmapBytes + runs.size() + places.size() + weights.size());
  AppendBytes(bytes, bitmap);
  return bytes.append(runs).append(places).append(weights);
}

bool SparseSegment::Decode(std::string_view bytes) {
  entries.clear();
  const std::optional<SegmentView> view = SegmentView::Parse(bytes);
  if (!view.has_value()) return false;
  size_t number = 0;
  for (uint64_t left = view->bitmap(); left != 0; left &= left - 1, ++number) {
    const auto first = static_cast<size_t>(std::countr_zero(left)) * kRunChunks;
    uint16_t largest = 0;
    for (size_t i = view->Begin(number); i < view->End(number); ++i) {
      const size_t place = first + view->Place(i);
      const uint16_t code = view->Code(i);
      if (place >= first + kRunChunks || code == 0 || code > kLargestCode ||
          (!entries.empty() && place <= entries.back().place)) {
        return false;
      }
      entries.push_back({static_cast<uint16_t>(place), code});
      largest = std::max(largest, code);
    }
    if (largest != view->Largest(number)) return false;
  }
  return true;
}

Result<SparseSegment*> SparseChanges::Load(uint32_t token, uint64_t chunk) {
  const uint64_t segment = chunk / kSegmentChunks;
  const auto [found, added] = segments_.try_emplace({token, segment});
  if (!added || segment * kSegmentChunks >= first_new_) return &found->second;
  const Result<std::string> bytes =
      database_.Get(Family::kPostings, SparseKey(collection_, token, segment));
  if (bytes.ok()) {
    if (!found->second.Decode(*bytes)) {
      return DataLossError("the weights of token ", token, " in segment ", segment, " are damaged");
    }
  } else if (bytes.status().code() != StatusCode::kNotFound) {
    return bytes.status().WithContext(StrCat("the weights of token ", token));
  }
  return &found->second;
}

Status SparseChanges::Add(uint64_t chunk, const SparseVector& vector) {
  for (const SparseVector::Entry& entry : vector.entries) {
    RAG_ASSIGN_OR_RETURN(SparseSegment * segment, Load(entry.token, chunk));
    segment->entries.push_back(
        {static_cast<uint16_t>(chunk % kSegmentChunks), EncodeWeight(entry.weight)});
  }
  return OkStatus();
}

Status SparseChanges::Remove(uint64_t chunk, const SparseVector& vector) {
  for (const SparseVector::Entry& entry : vector.entries) {
    RAG_ASSIGN_OR_RETURN(SparseSegment * segment, Load(entry.token, chunk));
    std::vector<SparseSegment::Entry>& entries = segment->entries;
    const auto found = std::lower_bound(
        entries.begin(), entries.end(), chunk % kSegmentChunks,
        [](const SparseSegment::Entry& posting, uint64_t place) { return posting.place < place; });
    if (found != entries.end() && found->place == chunk % kSegmentChunks) entries.erase(found);
  }
  return OkStatus();
}

void SparseChanges::AppendTo(Batch& batch) const {
  for (const auto& [place, segment] : segments_) {
    const std::string key = SparseKey(collection_, place.first, place.second);
    if (segment.entries.empty()) {
      batch.Delete(Family::kPostings, key);
    } else {
      batch.Put(Family::kPostings, key, segment.Encode());
    }
  }
}

Result<std::vector<Neighbor>> SearchSparsePostings(const Database& database, uint32_t collection,
                                                   const SparseVector& query, size_t k,
                                                   const IdFilter* allowed,
                                                   SparseSearchWork* work) {
  if (query.entries.empty() || k == 0) return std::vector<Neighbor>();
  SparseSearch search(database, collection);
  RAG_RETURN_IF_ERROR(search.Read(query));
  return search.Run(k, allowed, work);
}

}  // namespace rag
