// Filtered search, and the choice between walks and scans.
#include <algorithm>
#include <queue>
#include <utility>

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
// Codes that are read one after another in the time of a walk's distance, which waits for memory.
constexpr size_t kCodesPerDistance = 4;
constexpr size_t kAsksPerDistance = 8;
// A walk among the allowed nodes alone needs so many of them within two links to find its way.
constexpr double kAllowedAround = 8;
// Above this share of allowed nodes a walk through all of them wastes little.
constexpr double kMostlyAllowed = 0.6;
// The nearest nodes of all are found first, so many of them, to see how much is allowed around the
// query, and such a walk begins from them. Where that is less than this part of what is allowed
// everywhere, the filter and the query point away from each other: a walk would end at whatever
// edge of the allowed it comes to first.
constexpr size_t kProbed = 24;
constexpr double kLeastAround = 0.3;

// How many of a scan's nearest by codes are compared exactly: the more there are, the more lie
// between the k-th and what codes take for it. Far from the query the codes' errors are large
// beside the differences: of 600 rows of Fashion-MNIST, the least like the query, 0.81 of the 10
// nearest were found among 72 and 0.97 among 200.
size_t ScanKept(size_t scanned, size_t k) {
  return std::max(4 * k + 32, std::min(scanned / 3, 64 * k));
}

}  // namespace

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

// As ACORN-1 does it (Patel et al., "ACORN: Performant and Predicate-Agnostic Search Over Vector
// Embeddings and Structured Data", 2024, section 5.3): only allowed nodes are compared and
// expanded, and where a neighbour is not allowed its own neighbours stand for it.
bool HnswIndex::FilteredWalk(const Origin& origin, Candidate start, size_t ef, size_t keep,
                             const IdFilter& filter, uint64_t version, size_t budget,
                             WalkScratch& scratch) const {
  const size_t capacity = Capacity(0);
  VisitedSet& visited = scratch.visited;
  CandidatePool& pool = scratch.pool;
  size_t asked = 0, compared = 0;
  const auto allowed = [&](uint32_t slot) {
    ++asked;
    return slots_.Visible(slot, version) && filter.Contains(slots_.id(slot));
  };
  Walk(origin, start, kProbed, kProbed, 0, kNoSlot, scratch);
  Candidate nearest[kProbed];
  const size_t nearest_count = pool.size();
  size_t around = 0;
  for (size_t i = 0; i < nearest_count; ++i) {
    nearest[i] = pool.at(i);
    const uint32_t* const links = Links(nearest[i].slot, 0);
    for (size_t j = 0; j < capacity; ++j) {
      const uint32_t neighbor = LoadLink(links + j);
      if (neighbor == kNoSlot) break;
      if (allowed(neighbor)) ++around;
    }
  }
  const double share =
      static_cast<double>(filter.Count()) / static_cast<double>(std::max<size_t>(1, slots_.size()));
  if (static_cast<double>(around) < kLeastAround * share * static_cast<double>(asked)) return false;
  visited.Begin(slots_.end());
  VisitedSet& refused = scratch.refused;
  refused.Begin(slots_.end());
  pool.Begin(ef, keep);
  std::vector<uint32_t>& fresh = scratch.fresh;
  float distances[2 * kMaxLinks];
  uint32_t passed[kMaxLinks];
  const auto compare = [&] {
    origin.To(fresh.data(), fresh.size(), distances);
    compared += fresh.size();
    for (size_t i = 0; i < fresh.size(); ++i) pool.Insert(distances[i], fresh[i]);
  };
  const auto expand = [&](uint32_t slot) {
    fresh.clear();
    size_t passed_count = 0;
    const uint32_t* const links = Links(slot, 0);
    for (size_t i = 0; i < capacity; ++i) {
      const uint32_t neighbor = LoadLink(links + i);
      if (neighbor == kNoSlot) break;
      if (!visited.Visit(neighbor)) continue;
      if (!refused.Visited(neighbor) && allowed(neighbor)) {
        fresh.push_back(neighbor);
      } else {
        passed[passed_count++] = neighbor;
        PrefetchLinks(neighbor, 0);
      }
    }
    for (size_t i = 0; i < passed_count && fresh.size() < m_; ++i) {
      const uint32_t* const further = Links(passed[i], 0);
      for (size_t j = 0; j < capacity && fresh.size() < m_; ++j) {
        const uint32_t neighbor = LoadLink(further + j);
        if (neighbor == kNoSlot) break;
        if (visited.Visited(neighbor) || refused.Visited(neighbor)) continue;
        if (allowed(neighbor)) {
          visited.Visit(neighbor);
          fresh.push_back(neighbor);
        } else {
          // Not visited by that: it may lead on from elsewhere.
          refused.Visit(neighbor);
        }
      }
    }
    compare();
  };
  for (size_t i = 0; i < nearest_count; ++i) {
    if (!visited.Visit(nearest[i].slot)) continue;
    if (allowed(nearest[i].slot)) {
      pool.Insert(nearest[i].distance, nearest[i].slot);
    } else {
      expand(nearest[i].slot);
    }
  }
  for (uint32_t slot; (slot = pool.Next()) != kNoSlot;) {
    if (compared + asked / kAsksPerDistance > budget) return false;
    expand(slot);
  }
  return true;
}

void HnswIndex::ScanCodes(const Origin& origin, std::span<const uint32_t> slots, size_t k,
                          uint64_t version, WalkScratch& scratch) const {
  constexpr size_t kPiece = 256;
  float distances[kPiece];
  std::vector<Candidate>& best = scratch.candidates;
  best.clear();
  const size_t kept_ratio = static_cast<size_t>(codes()->codec().keep_ratio());
  const size_t keep = std::max(ScanKept(slots.size(), k), kept_ratio * k);
  for (size_t first = 0; first < slots.size(); first += kPiece) {
    const size_t count = std::min(kPiece, slots.size() - first);
    origin.To(slots.data() + first, count, distances);
    for (size_t i = 0; i < count; ++i) {
      const Candidate candidate{distances[i], slots[first + i]};
      if (best.size() == keep && !(candidate < best.front())) continue;
      if (!slots_.Visible(candidate.slot, version)) continue;
      if (best.size() == keep) {
        std::pop_heap(best.begin(), best.end());
        best.back() = candidate;
      } else {
        best.push_back(candidate);
      }
      std::push_heap(best.begin(), best.end());
    }
  }
  std::sort_heap(best.begin(), best.end());
}

HnswIndex::Plan HnswIndex::MakePlan(const SearchOptions& options) const {
  Plan plan;
  plan.ef = options.ef_search != 0 ? std::max(options.k, options.ef_search)
                                   : std::max(2 * options.k, options_.hnsw.ef_search);
  const size_t live = slots_.size();
  size_t scan_cost = live, walk_cost = kDistancesPerEf * plan.ef;  // in distances
  const IdFilter* const filter = options.filter;
  plan.kind = filter == nullptr && plan.ef <= kWidePool ? Plan::kWalk : Plan::kCollectingWalk;
  if (filter != nullptr) {
    const size_t allowed = std::clamp<size_t>(filter->Count(), 1, std::max<size_t>(1, live));
    const double share =
        static_cast<double>(allowed) / static_cast<double>(std::max<size_t>(1, live));
    scan_cost = allowed + (filter->Ids().empty() ? live / kAsksPerDistance : 0);
    const auto degree = static_cast<double>(Capacity(0));
    if (share < kMostlyAllowed && plan.ef <= kWidePool) {
      plan.kind = Plan::kFilteredWalk;
      const double asks = std::min(degree / share, degree * (degree + 1));
      walk_cost += static_cast<size_t>(static_cast<double>(plan.ef) * asks /
                                       static_cast<double>(kAsksPerDistance));
      if (share * degree * (degree + 1) < kAllowedAround) walk_cost = scan_cost;
    } else {
      // A walk sees live / allowed nodes for each one that it may collect.
      walk_cost = std::min(live, static_cast<size_t>(static_cast<double>(walk_cost) / share));
    }
    plan.budget = 2 * std::max(scan_cost, walk_cost);
  }
  const bool cheap = live <= kScanBelow || scan_cost <= walk_cost;  // a scan of the vectors
  // A scan of the codes looks at every slot, also at those whose vectors were removed.
  const size_t looked_at = filter == nullptr ? slots_.end() : live;
  const bool few = codes() != nullptr &&
                   looked_at / kCodesPerDistance <= kDistancesPerEf * plan.ef;  // of the codes
  if (options.exact || cheap || few) {
    const bool listed = filter != nullptr && !filter->Ids().empty();
    // Codes are worth it for more than are compared exactly in the end.
    const bool many = filter == nullptr ? !cheap : filter->Count() > 2 * ScanKept(0, options.k);
    const bool by_codes = options_.hnsw.codes != CodeKind::kNone && (listed || filter == nullptr);
    plan.kind = !options.exact && by_codes && many ? Plan::kScanCodes : Plan::kExact;
  }
  return plan;
}

// Over the codes where the filter lists what it allows, or that is the plan; over the vectors else.
void HnswIndex::ScanIncomplete(const Matrix& queries, const SearchOptions& options,
                               const Plan& plan, std::span<const uint8_t> incomplete,
                               std::vector<std::vector<Neighbor>>& results) const {
  std::vector<size_t> left;
  for (size_t i = 0; i < queries.rows(); ++i) {
    if (incomplete[i] != 0) left.push_back(i);
  }
  if (left.empty()) return;
  const bool lists = options.filter != nullptr && !options.filter->Ids().empty();
  if (codes() != nullptr && (lists || plan.kind == Plan::kScanCodes)) {
    // At the version at which the slots are found, so that nothing which is replaced meanwhile is
    // missed; they stay while this reader is here, who does not wait for the pool.
    Readers::Guard guard(slots_.readers());
    uint64_t version = slots_.version();
    std::vector<uint32_t> listed;
    if (lists) {
      listed = slots_.Find(options.filter->Ids(), version);
    } else {
      const uint32_t end = slots_.end();
      for (uint32_t slot = 0; slot < end; ++slot) {
        if (slots_.Visible(slot, version)) listed.push_back(slot);
      }
    }
    Plan scanning = plan;
    scanning.kind = Plan::kScanCodes;
    const auto scan = [&](size_t begin, size_t end, int) {
      bool complete;
      for (size_t i = begin; i < end; ++i) {
        results[left[i]] =
            SearchOne(queries.row(left[i]).data(), options, scanning, listed, version, complete);
      }
    };
    if (left.size() == 1 || !runtime_.pool().TryParallelFor(left.size(), 4, scan)) {
      scan(0, left.size(), 0);
    }
    return;
  }
  Matrix rest(left.size(), queries.cols());
  for (size_t i = 0; i < left.size(); ++i) {
    std::copy_n(queries.row(left[i]).data(), queries.cols(), rest.row(i).data());
  }
  std::vector<std::vector<Neighbor>> found = slots_.Exact(rest, options.k, options.filter);
  for (size_t i = 0; i < left.size(); ++i) results[left[i]] = std::move(found[i]);
}

}  // namespace rag
