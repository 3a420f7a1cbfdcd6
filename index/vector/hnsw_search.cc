// Walks through the graph, and the choice between them and an exact scan.
#include <algorithm>
#include <limits>
#include <queue>

#include "index/vector/hnsw_index.h"
#include "index/vector/walk_scratch.h"

namespace rag {
namespace {

// Lines of a vector that are fetched ahead; the processor's own prefetcher follows after that.
constexpr size_t kPrefetchBytes = 1'024;

void PrefetchVector(const float* vector, size_t bytes) {
  const char* const begin = reinterpret_cast<const char*>(vector);
  const size_t end = std::min(bytes, kPrefetchBytes);
  for (size_t at = 0; at < end; at += 64) __builtin_prefetch(begin + at, 0, 3);
}

// A collection of so many vectors is scanned: a walk would compare as many, in random order.
constexpr size_t kScanBelow = 512;
// Beyond this width a sorted array is slower than heaps.
constexpr size_t kWidePool = 1'024;
// What a walk costs for each unit of ef, and how many questions to a filter cost as much as one,
// both in distances of a scan.
constexpr size_t kDistancesPerEf = 16;
constexpr size_t kAsksPerDistance = 8;

}  // namespace

Candidate HnswIndex::Descend(const float* query, Entry entry, size_t layer) const {
  Candidate best{Distance(query, entry.slot), entry.slot};
  for (size_t at = entry.level; at > layer; --at) {
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* const links = Links(best.slot, at);
      for (size_t i = 0; i < m_; ++i) {
        const uint32_t slot = LoadLink(links + i);
        if (slot == kNoSlot) break;
        const float distance = Distance(query, slot);
        if (distance < best.distance) {
          best = {distance, slot};
          moved = true;
        }
      }
    }
  }
  return best;
}

void HnswIndex::Walk(const float* query, Candidate start, size_t ef, size_t layer,
                     uint32_t leave_out, WalkScratch& scratch) const {
  const size_t bytes = options_.dim * sizeof(float);
  const size_t capacity = Capacity(layer);
  VisitedSet& visited = scratch.visited;
  CandidatePool& pool = scratch.pool;
  std::vector<uint32_t>& fresh = scratch.fresh;
  fresh.resize(capacity);
  visited.Begin(slots_.end());
  pool.Begin(ef);
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
    constexpr size_t kAhead = 2;
    for (size_t i = 0; i < std::min(count, kAhead); ++i) {
      PrefetchVector(slots_.vector(fresh[i]), bytes);
    }
    for (size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) PrefetchVector(slots_.vector(fresh[i + kAhead]), bytes);
      pool.Insert(Distance(query, fresh[i]), fresh[i]);
    }
  }
}

bool HnswIndex::CollectingWalk(const float* query, Candidate start, size_t ef,
                               const IdFilter* filter, uint64_t version, size_t budget,
                               WalkScratch& scratch, std::vector<Candidate>& out) const {
  const auto further = [](const Candidate& a, const Candidate& b) { return b < a; };
  std::priority_queue<Candidate, std::vector<Candidate>, decltype(further)> open(further);
  const size_t capacity = Capacity(0);
  VisitedSet& visited = scratch.visited;
  visited.Begin(slots_.end());
  out.clear();
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
    for (size_t i = 0; i < capacity; ++i) {
      const uint32_t slot = LoadLink(links + i);
      if (slot == kNoSlot) break;
      if (!visited.Visit(slot)) continue;
      const float distance = Distance(query, slot);
      ++distances;
      if (out.size() < ef || distance < out.front().distance) offer({distance, slot});
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
  const Candidate start = Descend(query, entry, 0);
  if (options.filter == nullptr && ef <= kWidePool) {
    Walk(query, start, ef, 0, kNoSlot, scratch);
    found.reserve(options.k + 1);
    // One over k, for ties at the end.
    for (size_t i = 0; i < scratch.pool.size(); ++i) {
      const Candidate candidate = scratch.pool.at(i);
      const float score = Slots::Score(candidate.distance);
      if (found.size() >= options.k && score < found.back().score) break;
      if (!slots_.Visible(candidate.slot, version)) continue;
      found.push_back({slots_.id(candidate.slot), score});
    }
  } else {
    std::vector<Candidate> collected;
    if (!CollectingWalk(query, start, ef, options.filter, version, budget, scratch, collected)) {
      complete = false;
      return found;
    }
    found.reserve(collected.size());
    for (const Candidate& candidate : collected) {
      found.push_back({slots_.id(candidate.slot), Slots::Score(candidate.distance)});
    }
  }
  std::sort(found.begin(), found.end(), [](const Neighbor& a, const Neighbor& b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
  });
  if (found.size() > options.k) found.resize(options.k);
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
    Matrix query(1, options_.dim);
    std::copy_n(queries.row(i).data(), options_.dim, query.data());
    results[i] = slots_.Exact(query, options.k, options.filter)[0];
  }
  return results;
}

}  // namespace rag
