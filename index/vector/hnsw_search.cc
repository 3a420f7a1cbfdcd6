// Walks through the graph.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "index/vector/hnsw_index.h"
#include "index/vector/walk_scratch.h"

namespace rag {
namespace {

// Walks that take turns: while one waits for memory the others compute.
constexpr size_t kTogether = 4;
// Candidates that are compared with the vectors in any case, and those between two looks at
// whether a further one can be among the best: its estimate would have to be off by more than so
// many standard deviations.
constexpr size_t kLeastReranked = 20;
constexpr size_t kRerankedTogether = 8;
// Besides the nearest, one in kSpread of the others is compared before the first look, at most
// kMostSpread: the nearest may be as alike as copies, and say nothing of what codes do to others.
constexpr size_t kSpread = 8;
constexpr size_t kMostSpread = 8;
// From a disk more are asked for together.
constexpr size_t kReadTogether = 32;
constexpr double kSurprise = 3;

// By how much distances are off from what codes told.
struct Errors {
  void Add(double off) {
    ++count;
    sum += off;
    squares += off * off;
  }
  double Mean() const { return sum / std::max(count, 1.0); }
  double Deviation() const {
    return std::sqrt(std::max(0.0, squares / std::max(count, 1.0) - Mean() * Mean()));
  }

  double count = 0, sum = 0, squares = 0;
};

bool Better(const Neighbor& a, const Neighbor& b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

}  // namespace

Candidate HnswIndex::Descend(const Origin& origin, Entry entry, size_t layer) const {
  Candidate best{origin.To(entry.slot), entry.slot};
  uint32_t around[kMaxLinks];
  float distances[kMaxLinks];
  for (size_t at = entry.level; at > layer; --at) {
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* const links = Links(best.slot, at);
      size_t count = 0;
      for (; count < m_; ++count) {
        around[count] = LoadLink(links + count);
        if (around[count] == kNoSlot) break;
      }
      origin.To(around, count, distances);
      for (size_t i = 0; i < count; ++i) {
        if (distances[i] < best.distance) {
          best = {distances[i], around[i]};
          moved = true;
        }
      }
    }
  }
  return best;
}

// A turn compares what the last one has found and fetched, and goes one node further.
void HnswIndex::WalkTogether(std::span<WalkTurns> walks, size_t ef, size_t keep, size_t layer,
                             uint32_t leave_out) const {
  const size_t capacity = Capacity(layer);
  for (WalkTurns& walk : walks) {
    WalkScratch& scratch = *walk.scratch;
    scratch.visited.Begin(slots_.end());
    scratch.pool.Begin(ef, keep);
    scratch.fresh.resize(capacity);
    scratch.distances.resize(capacity);
    if (leave_out != kNoSlot) scratch.visited.Visit(leave_out);
    scratch.visited.Visit(walk.start.slot);
    scratch.pool.Insert(walk.start.distance, walk.start.slot);
  }
  for (size_t going = walks.size(); going > 0;) {
    for (WalkTurns& walk : walks) {
      if (walk.ended) continue;
      CandidatePool& pool = walk.scratch->pool;
      VisitedSet& visited = walk.scratch->visited;
      uint32_t* const fresh = walk.scratch->fresh.data();
      float* const distances = walk.scratch->distances.data();
      walk.origin->To(fresh, walk.found, distances);
      for (size_t i = 0; i < walk.found; ++i) pool.Insert(distances[i], fresh[i]);
      walk.found = 0;
      const uint32_t slot = pool.Next();
      if (slot == kNoSlot) {
        walk.ended = true;
        --going;
        continue;
      }
      const uint32_t* const links = Links(slot, layer);
      for (size_t i = 0; i < capacity; ++i) {
        const uint32_t neighbor = LoadLink(links + i);
        if (neighbor == kNoSlot) break;
        if (visited.Visit(neighbor)) fresh[walk.found++] = neighbor;
      }
      // The links that are read next, unless something nearer is found here.
      const uint32_t next = pool.Peek();
      if (next != kNoSlot) PrefetchLinks(next, layer);
      if (walks.size() > 1) walk.origin->Fetch(fresh, walk.found);
    }
  }
}

void HnswIndex::Walk(const Origin& origin, Candidate start, size_t ef, size_t keep, size_t layer,
                     uint32_t leave_out, WalkScratch& scratch) const {
  WalkTurns alone{&origin, &scratch, start};
  WalkTogether({&alone, 1}, ef, keep, layer, leave_out);
}

void HnswIndex::TakePool(size_t k, uint64_t version, WalkScratch& scratch) const {
  const bool exact = codes() == nullptr;
  scratch.candidates.clear();
  for (size_t i = 0; i < scratch.pool.size(); ++i) {
    const Candidate candidate = scratch.pool.at(i);
    // Beyond k only what may tie with the last; approximate distances say nothing of that.
    if (exact && scratch.candidates.size() >= k &&
        candidate.distance > scratch.candidates.back().distance) {
      break;
    }
    if (slots_.Visible(candidate.slot, version)) scratch.candidates.push_back(candidate);
  }
}

void HnswIndex::Rerank(const float* query, size_t k, WalkScratch& scratch) const {
  std::vector<Candidate>& candidates = scratch.candidates;
  const size_t nearest = std::min(std::max(2 * k, kLeastReranked), candidates.size());
  const size_t others = candidates.size() - nearest;
  const size_t spread = std::min(others / kSpread, kMostSpread);
  for (size_t i = 0; i < spread; ++i) {  // the rest stays sorted
    const auto to = candidates.begin() + static_cast<ptrdiff_t>(nearest + i);
    const auto from =
        candidates.begin() + static_cast<ptrdiff_t>(nearest + (i + 1) * others / (spread + 1));
    std::rotate(to, from, from + 1);
  }
  scratch.fresh.clear();
  for (const Candidate& candidate : candidates) scratch.fresh.push_back(candidate.slot);
  scratch.distances.resize(candidates.size());
  scratch.origin.SetQuery(slots_, nullptr, query);
  // Codes compare normalized vectors by their squared distance.
  const double scale = options_.metric == Metric::kCosine ? 0.5 : 1;
  Errors all;
  std::vector<float> best;  // a heap of the k best, the worst first
  size_t done = 0, read = 0;
  while (done < candidates.size()) {
    size_t end = nearest + spread;
    if (done > 0) {
      const double hoped =
          scale * candidates[done].distance + all.Mean() - kSurprise * all.Deviation();
      if (best.size() == k && hoped > best.front()) break;
      end = done + kRerankedTogether;
    }
    end = std::min(end, candidates.size());
    if (end > read) {
      read = slots_.rows_on_disk()
                 ? std::min(std::max(end, done + kReadTogether), candidates.size())
                 : end;
      scratch.origin.To(scratch.fresh.data() + done, read - done, scratch.distances.data() + done);
    }
    for (; done < end; ++done) {
      const float distance = scratch.distances[done];
      const double off = distance - scale * candidates[done].distance;
      all.Add(off);
      candidates[done].distance = distance;
      if (best.size() == k && distance >= best.front()) continue;
      best.push_back(distance);
      std::push_heap(best.begin(), best.end());
      if (best.size() <= k) continue;
      std::pop_heap(best.begin(), best.end());
      best.pop_back();
    }
  }
  candidates.resize(done);
}

std::vector<Neighbor> HnswIndex::Best(const float* query, size_t k, WalkScratch& scratch) const {
  std::vector<Candidate>& candidates = scratch.candidates;
  if (codes() != nullptr) Rerank(query, k, scratch);
  std::vector<Neighbor> found;
  found.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    found.push_back({slots_.id(candidate.slot), Slots::Score(candidate.distance)});
  }
  const size_t kept = std::min(k, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<ptrdiff_t>(kept), found.end(),
                    Better);
  found.resize(kept);
  return found;
}

size_t HnswIndex::Keep(const SearchOptions& options, const Plan& plan) const {
  const NodeCodes* const codes = this->codes();
  if (codes == nullptr) return plan.ef;
  // What lies just beyond the k nearest by codes may belong to them by the vectors, and farther
  // beyond where codes are coarse.
  const float ratio = codes->codec().keep_ratio();
  return std::max(plan.ef + options.k, static_cast<size_t>(ratio * static_cast<float>(options.k)));
}

std::vector<Neighbor> HnswIndex::SearchOne(const float* query, const SearchOptions& options,
                                           const Plan& plan, std::span<const uint32_t> listed,
                                           uint64_t version, bool& complete) const {
  const Entry entry = LoadEntry();
  if (entry.slot == kNoSlot) {
    complete = slots_.size() == 0;
    return {};
  }
  const ScratchHandle handle(*this);
  WalkScratch& scratch = *handle.scratch;
  Origin& origin = scratch.origin;
  origin.SetQuery(slots_, codes(), query);
  const size_t keep = Keep(options, plan);
  complete = true;
  switch (plan.kind) {
    case Plan::kScanCodes:
      ScanCodes(origin, listed, options.k, version, scratch);
      break;
    case Plan::kFilteredWalk:
      complete = FilteredWalk(origin, Descend(origin, entry, 0), plan.ef, keep, *options.filter,
                              version, plan.budget, scratch);
      if (complete) TakePool(options.k, version, scratch);
      break;
    default:
      complete = CollectingWalk(origin, Descend(origin, entry, 0), keep, options.filter, version,
                                plan.budget, scratch, scratch.candidates);
  }
  if (!complete) return {};
  std::vector<Neighbor> found = Best(query, options.k, scratch);
  // With a filter nobody knows how many there are, so that too few are always checked by a scan; a
  // scan of codes has seen them all.
  const size_t wanted = options.filter != nullptr ? options.k : std::min(options.k, slots_.size());
  complete = plan.kind == Plan::kScanCodes || found.size() >= wanted;
  return found;
}

void HnswIndex::SearchTogether(const Matrix& queries, size_t first, size_t count,
                               const SearchOptions& options, const Plan& plan,
                               std::vector<std::vector<Neighbor>>& results,
                               std::vector<uint8_t>& incomplete) const {
  const Readers::Guard guard(slots_.readers());
  const uint64_t version = slots_.version();
  const size_t wanted = std::min(options.k, slots_.size());
  const Entry entry = LoadEntry();
  if (entry.slot == kNoSlot) return;
  std::array<std::optional<ScratchHandle>, kTogether> handles;
  std::array<WalkTurns, kTogether> walks;
  for (size_t i = 0; i < count; ++i) {
    WalkScratch& scratch = *handles[i].emplace(*this).scratch;
    scratch.origin.SetQuery(slots_, codes(), queries.row(first + i).data());
    walks[i] = {&scratch.origin, &scratch, Descend(scratch.origin, entry, 0)};
  }
  WalkTogether(std::span(walks).first(count), plan.ef, Keep(options, plan), 0, kNoSlot);
  for (size_t i = 0; i < count; ++i) {
    WalkScratch& scratch = *walks[i].scratch;
    TakePool(options.k, version, scratch);
    results[first + i] = Best(queries.row(first + i).data(), options.k, scratch);
    incomplete[first + i] = results[first + i].size() < wanted ? 1 : 0;
  }
}

std::vector<std::vector<Neighbor>> HnswIndex::SearchPrepared(const Matrix& queries,
                                                             const SearchOptions& options) const {
  const Plan plan = MakePlan(options);
  if (plan.kind == Plan::kExact) return slots_.Exact(queries, options.k, options.filter);
  std::vector<std::vector<Neighbor>> results(queries.rows());
  std::vector<uint8_t> incomplete(queries.rows(), 1);
  const auto search = [&](size_t begin, size_t end, int) {
    for (size_t i = begin; plan.kind == Plan::kWalk && i < end; i += kTogether) {
      SearchTogether(queries, i, std::min(kTogether, end - i), options, plan, results, incomplete);
    }
    for (size_t i = begin; plan.kind != Plan::kWalk && i < end; ++i) {
      const Readers::Guard guard(slots_.readers());
      bool complete = false;
      results[i] = SearchOne(queries.row(i).data(), options, plan, {}, slots_.version(), complete);
      incomplete[i] = complete ? 0 : 1;
    }
  };
  if (plan.kind == Plan::kScanCodes) {
    // All of them are scans.
  } else if (queries.rows() <= kTogether) {
    search(0, queries.rows(), 0);
  } else {
    runtime_.pool().ParallelFor(queries.rows(), 4 * kTogether, search);
  }
  ScanIncomplete(queries, options, plan, incomplete, results);
  return results;
}

}  // namespace rag
