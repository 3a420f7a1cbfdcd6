// Walks through the graph, and the choice between them and an exact scan.
#include <algorithm>
#include <limits>
#include <queue>

#include "index/vector/hnsw_index.h"
#include "index/vector/walk_scratch.h"

namespace rag {
namespace {

// A collection of so many vectors is scanned: a walk would compare as many, in random order.
constexpr size_t kScanBelow = 512;
// Beyond this width a sorted array is slower than heaps.
constexpr size_t kWidePool = 1'024;
// What a walk costs for each unit of ef, and how many questions to a filter cost as much as one,
// both in distances of a scan.
constexpr size_t kDistancesPerEf = 16;
constexpr size_t kAsksPerDistance = 8;

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

void HnswIndex::Walk(const Origin& origin, Candidate start, size_t ef, size_t keep, size_t layer,
                     uint32_t leave_out, WalkScratch& scratch) const {
  const size_t capacity = Capacity(layer);
  VisitedSet& visited = scratch.visited;
  CandidatePool& pool = scratch.pool;
  uint32_t fresh[kMaxLinks];
  float distances[kMaxLinks];
  visited.Begin(slots_.end());
  pool.Begin(ef, keep);
  if (leave_out != kNoSlot) visited.Visit(leave_out);
  visited.Visit(start.slot);
  pool.Insert(start.distance, start.slot);
  for (uint32_t slot; (slot = pool.Next()) != kNoSlot;) {
    const uint32_t* const links = Links(slot, layer);
    size_t count = 0;
    for (size_t i = 0; i < capacity; ++i) {
      const uint32_t neighbor = LoadLink(links + i);
      if (neighbor == kNoSlot) break;
      if (visited.Visit(neighbor)) fresh[count++] = neighbor;
    }
    // The links that are read next, unless something nearer is found here.
    const uint32_t next = pool.Peek();
    if (next != kNoSlot) PrefetchLinks(next, layer);
    origin.To(fresh, count, distances);
    for (size_t i = 0; i < count; ++i) pool.Insert(distances[i], fresh[i]);
  }
}

bool HnswIndex::CollectingWalk(const Origin& origin, Candidate start, size_t ef,
                               const IdFilter* filter, uint64_t version, size_t budget,
                               WalkScratch& scratch, std::vector<Candidate>& out) const {
  const auto further = [](const Candidate& a, const Candidate& b) { return b < a; };
  std::priority_queue<Candidate, std::vector<Candidate>, decltype(further)> open(further);
  const size_t capacity = Capacity(0);
  VisitedSet& visited = scratch.visited;
  visited.Begin(slots_.end());
  out.clear();
  uint32_t fresh[kMaxLinks];
  float found[kMaxLinks];
  const auto offer = [&](const Candidate& candidate) {
    open.push(candidate);
    if (!slots_.Visible(candidate.slot, version) ||
        (filter != nullptr && !filter->Contains(slots_.id(candidate.slot)))) {
      return;
    }
    out.push_back(candidate);
    std::push_heap(out.begin(), out.end());
    if (out.size() > ef) {
      std::pop_heap(out.begin(), out.end());
      out.pop_back();
    }
  };
  visited.Visit(start.slot);
  offer(start);
  size_t distances = 1;
  while (!open.empty()) {
    const Candidate nearest = open.top();
    if (out.size() >= ef && nearest.distance > out.front().distance) break;
    if (distances > budget) return false;
    open.pop();
    const uint32_t* const links = Links(nearest.slot, 0);
    size_t count = 0;
    for (size_t i = 0; i < capacity; ++i) {
      const uint32_t slot = LoadLink(links + i);
      if (slot == kNoSlot) break;
      if (visited.Visit(slot)) fresh[count++] = slot;
    }
    origin.To(fresh, count, found);
    distances += count;
    for (size_t i = 0; i < count; ++i) {
      if (out.size() < ef || found[i] < out.front().distance) offer({found[i], fresh[i]});
    }
  }
  std::sort_heap(out.begin(), out.end());
  return true;
}

std::vector<Neighbor> HnswIndex::SearchOne(const float* query, const SearchOptions& options,
                                           size_t ef, size_t budget, bool& complete) const {
  Readers::Guard guard(slots_.readers());
  const uint64_t version = slots_.version();
  const ScratchHandle handle(*this);
  WalkScratch& scratch = *handle.scratch;
  std::vector<Neighbor> found;
  const size_t wanted = std::min(options.k, slots_.size());
  const Entry entry = LoadEntry();
  if (entry.slot == kNoSlot) {
    complete = wanted == 0;
    return found;
  }
  Origin& origin = scratch.origin;
  const NodeCodes* const codes = this->codes();
  origin.SetQuery(slots_, codes, query);
  const Candidate start = Descend(origin, entry, 0);
  std::vector<Candidate>& candidates = scratch.candidates;
  if (options.filter == nullptr && ef <= kWidePool) {
    // What lies just beyond the k nearest by codes may belong to them by the vectors.
    const size_t keep = codes == nullptr ? ef : ef + options.k;
    Walk(origin, start, ef, keep, 0, kNoSlot, scratch);
    candidates.clear();
    for (size_t i = 0; i < scratch.pool.size(); ++i) {
      const Candidate candidate = scratch.pool.at(i);
      // Beyond k only what may tie with the last; approximate distances say nothing of that.
      if (codes == nullptr && candidates.size() >= options.k &&
          candidate.distance > candidates.back().distance) {
        break;
      }
      if (slots_.Visible(candidate.slot, version)) candidates.push_back(candidate);
    }
  } else if (!CollectingWalk(origin, start, ef, options.filter, version, budget, scratch,
                             candidates)) {
    complete = false;
    return found;
  }
  if (codes != nullptr) {
    scratch.fresh.clear();
    for (const Candidate& candidate : candidates) scratch.fresh.push_back(candidate.slot);
    scratch.distances.resize(candidates.size());
    origin.SetQuery(slots_, nullptr, query);
    origin.To(scratch.fresh.data(), scratch.fresh.size(), scratch.distances.data());
    for (size_t i = 0; i < candidates.size(); ++i) candidates[i].distance = scratch.distances[i];
  }
  found.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    found.push_back({slots_.id(candidate.slot), Slots::Score(candidate.distance)});
  }
  const auto better = [](const Neighbor& a, const Neighbor& b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
  };
  const size_t kept = std::min(options.k, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<ptrdiff_t>(kept), found.end(),
                    better);
  found.resize(kept);
  // With a filter nobody knows how many there are, so that too few are always checked by a scan.
  complete = found.size() >= (options.filter != nullptr ? options.k : wanted);
  return found;
}

std::vector<std::vector<Neighbor>> HnswIndex::SearchPrepared(const Matrix& queries,
                                                             const SearchOptions& options) const {
  const size_t ef =
      std::max(options.k, options.ef_search != 0 ? options.ef_search : options_.hnsw.ef_search);
  const size_t live = slots_.size();
  size_t scan_cost = live;  // in distances
  size_t walk_cost = kDistancesPerEf * ef;
  if (options.filter != nullptr) {
    const size_t allowed =
        std::clamp<size_t>(options.filter->Count(), 1, std::max<size_t>(1, live));
    scan_cost = allowed + (options.filter->Ids().empty() ? live / kAsksPerDistance : 0);
    // A walk sees live / allowed nodes for each one that it may collect.
    walk_cost = std::min(live, walk_cost * live / allowed);
  }
  if (options.exact || live <= kScanBelow || scan_cost <= walk_cost) {
    return slots_.Exact(queries, options.k, options.filter);
  }
  const size_t budget = options.filter != nullptr ? 2 * std::max(scan_cost, walk_cost)
                                                  : std::numeric_limits<size_t>::max();
  std::vector<std::vector<Neighbor>> results(queries.rows());
  std::vector<uint8_t> incomplete(queries.rows(), 0);
  const auto search = [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      bool complete = false;
      results[i] = SearchOne(queries.row(i).data(), options, ef, budget, complete);
      incomplete[i] = complete ? 0 : 1;
    }
  };
  if (queries.rows() == 1) {
    search(0, 1, 0);
  } else {
    runtime_.pool().ParallelFor(queries.rows(), 4, search);
  }
  for (size_t i = 0; i < queries.rows(); ++i) {
    if (incomplete[i] == 0) continue;
    Matrix query(1, queries.cols());
    std::copy_n(queries.row(i).data(), queries.cols(), query.data());
    results[i] = slots_.Exact(query, options.k, options.filter)[0];
  }
  return results;
}

}  // namespace rag
