#include "index/lexical/sparse_search.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <span>
#include <utility>

#include "index/store/keys.h"

namespace rag {
namespace {

constexpr size_t kSegmentRuns = kSegmentChunks / kRunChunks;

// Runs that are looked into by their bounds, one by one, before the others are by segments: what
// they hold sets the score that the others must be able to reach. One by one a run takes some times
// as long, so they are a small part of all.
constexpr size_t kMaxFirstRuns = 64;
constexpr size_t kFirstRunsPart = 16;

bool Better(const Neighbor& a, const Neighbor& b) {
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

// The best k so far, of those above 0.
class BestChunks {
 public:
  BestChunks(size_t k, const IdFilter* allowed) : k_(k), allowed_(allowed) {}

  // The least score that can be among them.
  float Least() const {
    return best_.size() < k_ ? std::numeric_limits<float>::denorm_min() : best_.front().score;
  }

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

// One search over lists that stay as they are.
class SegmentSearch {
 public:
  SegmentSearch(const WeightCodeKernels& kernels, const SparseVector& query,
                std::span<const SparseListCache::List> lists)
      : kernels_(kernels) {
    std::vector<uint64_t> numbers;
    for (const SparseListCache::List& list : lists) {
      for (const auto& [number, block] : list->blocks) numbers.push_back(number);
    }
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    segments_.resize(numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      segments_[i].number = numbers[i];
      segments_[i].parts.reserve(lists.size());
    }
    for (size_t token = 0; token < lists.size(); ++token) {
      size_t at = 0;
      for (const auto& [number, block] : lists[token]->blocks) {
        while (segments_[at].number != number) ++at;
        segments_[at].parts.push_back({block.get(), query.entries[token].weight});
      }
    }
  }

  std::vector<Neighbor> Run(size_t k, const IdFilter* allowed, SparseSearchWork& work) {
    SetBounds();
    if (allowed != nullptr) Hold(*allowed);
    BestChunks best(k, allowed);
    for (const Segment& segment : segments_) work.runs += std::popcount(segment.left);
    ScoreFirst(best, work);
    std::vector<Segment*> order;
    for (Segment& segment : segments_) order.push_back(&segment);
    std::sort(order.begin(), order.end(), [](const Segment* a, const Segment* b) {
      return a->largest != b->largest ? a->largest > b->largest : a->number < b->number;
    });
    for (Segment* segment : order) {
      const uint64_t wanted = segment->left & kernels_.reaching(segment->bounds, best.Least());
      if (wanted != 0) Score(*segment, wanted, best, work);
    }
    return best.Take();
  }

 private:
  struct Part {  // a token of the query that the segment has
    const SparseBlock* block;
    float factor;
  };
  struct Segment {
    uint64_t number = 0;
    std::vector<Part> parts;  // in the tokens' order
    // Of each run the most that a chunk in it can score; f32 sums in the tokens' order, as the
    // scores are: rounding keeps order, so that no score is above its run's bound.
    float bounds[kSegmentRuns] = {};
    float largest = 0;  // of them
    uint64_t left = 0;  // runs that may hold results and were not looked into yet
  };

  void SetBounds() {
    for (Segment& segment : segments_) {
      for (const Part& part : segment.parts) {
        part.block->AddLargest(kernels_, part.factor, segment.bounds);
      }
      segment.left = kernels_.reaching(segment.bounds, std::numeric_limits<float>::denorm_min());
      segment.largest = *std::max_element(segment.bounds, segment.bounds + kSegmentRuns);
    }
  }

  // Leaves the runs with a chunk that is allowed, where these are few enough to be listed.
  void Hold(const IdFilter& allowed) {
    const std::span<const uint64_t> ids = allowed.Ids();
    if (ids.size() != allowed.Count()) return;
    size_t at = 0;
    for (Segment& segment : segments_) {
      uint64_t held = 0;
      while (at < ids.size() && ids[at] / kSegmentChunks < segment.number) ++at;
      for (; at < ids.size() && ids[at] / kSegmentChunks == segment.number; ++at) {
        held |= uint64_t{1} << (ids[at] % kSegmentChunks / kRunChunks);
      }
      segment.left &= held;
    }
  }

  void ScoreFirst(BestChunks& best, SparseSearchWork& work) {
    const size_t count = std::min<size_t>(kMaxFirstRuns, work.runs / kFirstRunsPart);
    if (count == 0) return;
    struct First {
      float bound;
      uint32_t segment, run;
    };
    std::vector<First> runs;
    runs.reserve(work.runs);
    for (size_t i = 0; i < segments_.size(); ++i) {
      for (uint64_t left = segments_[i].left; left != 0; left &= left - 1) {
        const int run = std::countr_zero(left);
        runs.push_back(
            {segments_[i].bounds[run], static_cast<uint32_t>(i), static_cast<uint32_t>(run)});
      }
    }
    const auto higher = [](const First& a, const First& b) {
      if (a.bound != b.bound) return a.bound > b.bound;
      return a.segment != b.segment ? a.segment < b.segment : a.run < b.run;
    };
    const auto end = runs.begin() + static_cast<ptrdiff_t>(count);
    std::nth_element(runs.begin(), end, runs.end(), higher);
    std::sort(runs.begin(), end, higher);
    for (auto first = runs.begin(); first != end && first->bound >= best.Least(); ++first) {
      Score(segments_[first->segment], uint64_t{1} << first->run, best, work);
    }
  }

  void Score(Segment& segment, uint64_t wanted, BestChunks& best, SparseSearchWork& work) {
    if (std::popcount(wanted) == 1) {
      std::fill_n(sums_ + static_cast<size_t>(std::countr_zero(wanted)) * kRunChunks, kRunChunks,
                  0.0f);
    } else {
      std::fill_n(sums_, kSegmentChunks, 0.0f);
    }
    for (size_t i = 0; i < segment.parts.size(); ++i) {
      const Part& part = segment.parts[i];
      if (i + 1 < segment.parts.size()) segment.parts[i + 1].block->Prefetch();
      if ((part.block->runs() & wanted) == 0) continue;
      part.block->AddWeights(kernels_, wanted, part.factor, sums_);
    }
    work.runs_scored += std::popcount(wanted);
    segment.left &= ~wanted;
    for (; wanted != 0; wanted &= wanted - 1) {
      const size_t first = static_cast<size_t>(std::countr_zero(wanted)) * kRunChunks;
      const float* const sums = sums_ + first;
      for (uint64_t found = kernels_.reaching(sums, best.Least()); found != 0; found &= found - 1) {
        const auto place = static_cast<size_t>(std::countr_zero(found));
        best.Offer({segment.number * kSegmentChunks + first + place, sums[place]});
      }
    }
  }

  const WeightCodeKernels& kernels_;
  std::vector<Segment> segments_;  // by number
  alignas(64) float sums_[kSegmentChunks];
};

Result<SparseListCache::List> ReadList(PrefixScan& scan, uint32_t token, SparseSegment& segment,
                                       uint64_t& posting_bytes) {
  auto list = std::make_shared<SparseList>();
  std::string key;
  AppendBigEndian(key, token, 4);
  for (scan.Seek(key); scan.Valid() && scan.key().starts_with(key); scan.Next()) {
    const uint64_t number = ReadBigEndian(scan.key().substr(key.size()));
    if (!segment.Decode(scan.value())) {
      return DataLossError("the weights of token ", token, " in segment ", number, " are damaged");
    }
    posting_bytes += scan.value().size();
    list->blocks.emplace_back(number, std::make_shared<const SparseBlock>(segment));
  }
  RAG_RETURN_IF_ERROR(scan.status());
  return SparseListCache::List(std::move(list));
}

}  // namespace

SparseSearcher::SparseSearcher(const Database& database, SparseListCache& cache,
                               uint32_t collection, const Runtime& runtime)
    : database_(database),
      cache_(cache),
      collection_(collection),
      kernels_(*GetWeightCodeKernels(runtime.isa())) {}

Result<std::vector<SparseListCache::List>> SparseSearcher::Lists(const SparseVector& query,
                                                                 uint64_t& posting_bytes) const {
  SparseListCache::Found found = cache_.Find(collection_, query.entries);
  if (found.whole) return std::move(found.lists);
  // As the records are now. Should they be another version than the lists that were found, all are
  // read.
  PrefixScan scan = database_.Scan(Family::kPostings, SparsePrefix(collection_));
  if (!found.version.has_value() || !cache_.IsAt(collection_, *found.version)) {
    found.version.reset();
    found.lists.assign(query.entries.size(), nullptr);
  }
  std::vector<std::pair<uint32_t, SparseListCache::List>> read;
  SparseSegment segment;
  for (size_t i = 0; i < found.lists.size(); ++i) {
    if (found.lists[i] != nullptr) continue;
    const uint32_t token = query.entries[i].token;
    RAG_ASSIGN_OR_RETURN(found.lists[i], ReadList(scan, token, segment, posting_bytes));
    read.emplace_back(token, found.lists[i]);
  }
  if (found.version.has_value()) cache_.Insert(collection_, *found.version, read);
  return std::move(found.lists);
}

Result<std::vector<Neighbor>> SparseSearcher::Search(const SparseVector& query, size_t k,
                                                     const IdFilter* allowed,
                                                     SparseSearchWork* work) const {
  if (query.entries.empty() || k == 0) return std::vector<Neighbor>();
  SparseSearchWork done;
  RAG_ASSIGN_OR_RETURN(const std::vector<SparseListCache::List> lists,
                       Lists(query, done.posting_bytes));
  SegmentSearch search(kernels_, query, lists);
  std::vector<Neighbor> found = search.Run(k, allowed, done);
  if (work != nullptr) *work = done;
  return found;
}

}  // namespace rag
