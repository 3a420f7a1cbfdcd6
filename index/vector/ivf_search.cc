// Searches of lists. Queries are taken in tiles: the lists that any of a tile's queries wants are
// read once, for up to four queries at a time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "index/vector/ivf_index.h"
#include "index/vector/top_k.h"

namespace rag {
namespace {

// A collection of so many vectors is scanned.
constexpr size_t kScanBelow = 512;
// What a vector's code and a question to a filter cost, as shares of an exact distance.
constexpr size_t kCodesPerDistance = 16;
constexpr size_t kAsksPerDistance = 8;
constexpr size_t kDefaultProbes = 16;  // at least
// Matches of a filter that are seen before a search ends: so many for each of the k, but not more
// than a share of them all.
constexpr size_t kMatchesPerK = 10;
constexpr size_t kMatchShare = 4;
constexpr size_t kTileQueries = 128;
constexpr size_t kScansTogether = 4;
constexpr size_t kScanChunk = 512;  // vectors between two looks at the bound
constexpr size_t kPrefetchBytes = 1'024;
// Candidates that are compared exactly in any case, and beyond them the standard deviations that a
// candidate's estimate may be off.
constexpr size_t kLeastReranked = 20;
constexpr double kSurprise = 3;

// The best `capacity` of a stream of estimates, and up to as many more that have not been weeded
// out yet: selecting now and then costs less than a heap.
class Candidates {
 public:
  struct Item {
    float distance;
    uint32_t slot;
    bool operator<(const Item& other) const {
      return distance < other.distance || (distance == other.distance && slot < other.slot);
    }
  };

  void Begin(size_t capacity) { capacity_ = capacity; }
  float bound() const { return bound_; }
  size_t size() const { return std::min(items_.size(), capacity_); }
  void Add(float distance, uint32_t slot) {
    items_.push_back({distance, slot});
    if (items_.size() == 2 * capacity_) Weed();
  }
  // The best, best first.
  std::span<const Item> Take() {
    if (items_.size() > capacity_) Weed();
    std::sort(items_.begin(), items_.end());
    return items_;
  }

 private:
  void Weed() {
    const auto last = items_.begin() + static_cast<ptrdiff_t>(capacity_ - 1);
    std::nth_element(items_.begin(), last, items_.end());
    bound_ = last->distance;
    items_.resize(capacity_);
  }

  size_t capacity_ = 1;
  float bound_ = std::numeric_limits<float>::infinity();
  std::vector<Item> items_;
};

}  // namespace

IvfIndex::Plan IvfIndex::MakePlan(const State& state, const SearchOptions& options) const {
  const size_t live = std::max<size_t>(1, slots_.size()), lists = state.lists.count();
  const bool coded = state.model->codec().has_codes();
  Plan plan;
  plan.probes = options.probes > 0 ? options.probes : options_.ivf.probes;
  if (plan.probes == 0) {
    plan.probes =
        std::max(kDefaultProbes, static_cast<size_t>(std::sqrt(static_cast<double>(lists))));
  }
  const size_t rerank = options.rerank > 0 ? options.rerank : options_.ivf.rerank;
  plan.candidates = coded ? std::min(options.k * rerank, std::max(options.k, live)) : options.k;
  size_t scan_cost = live;  // in distances
  if (options.filter != nullptr) {
    const size_t allowed = std::clamp<size_t>(options.filter->Count(), 1, live);
    scan_cost = allowed + (options.filter->Ids().empty() ? live / kAsksPerDistance : 0);
    // The k-th match is about the k live / allowed-th of all: farther away, and in more lists, of
    // which there are the fewer in each direction the farther they are.
    const double share = static_cast<double>(live) / static_cast<double>(allowed);
    plan.probes = static_cast<size_t>(static_cast<double>(plan.probes) * std::sqrt(share));
  }
  plan.probes = std::clamp<size_t>(plan.probes, 1, lists);
  const size_t scanned = plan.probes * (live / lists + 1);
  const size_t cost = lists + (coded ? scanned / kCodesPerDistance + plan.candidates : scanned);
  plan.exact = options.exact || live <= kScanBelow || scan_cost <= cost;
  return plan;
}

// The work on one tile of queries.
class IvfIndex::Tile {
 public:
  Tile(const IvfIndex& index, const State& state, const Plan& plan, uint64_t version,
       const IdFilter* filter, size_t k, Matrix exact_queries)
      : index_(index),
        state_(state),
        plan_(plan),
        version_(version),
        filter_(filter),
        coded_(state.model->codec().has_codes()),
        queries_(std::move(exact_queries)),
        moved_(state.model->Transform(queries_.view(), false)),
        lists_(state.lists.count()),
        ranks_(queries_.rows() * lists_),
        orders_(queries_.rows()),
        tops_(coded_ ? 0 : queries_.rows(), TopK(k)),
        found_(queries_.rows()) {
    state.model->Rank(moved_.view(), ranks_.data());
    for (size_t q = 0; q < queries_.rows(); ++q) Order(q, plan.probes);
    if (!coded_) return;
    const IvfCodec& codec = state.model->codec();
    tables_ = AlignedBytes(queries_.rows() * codec.table_bytes());
    candidates_.resize(queries_.rows());
    std::vector<float> scratch(codec.scratch_floats());
    for (size_t q = 0; q < queries_.rows(); ++q) {
      candidates_[q].Begin(plan.candidates);
      scans_.push_back(state.model->Prepare(
          moved_.row(q).data(), tables_.data() + q * codec.table_bytes(), scratch.data()));
    }
    positions_.resize(kScansTogether * kScanChunk);
    distances_.resize(kScansTogether * kScanChunk);
  }

  // Lists until each query has `wanted`, or no list is left. The nearest list of each comes first:
  // its bounds spare the others most of the work.
  void Run(size_t wanted) {
    const size_t n = queries_.rows();
    std::vector<uint32_t> all(n);
    std::iota(all.begin(), all.end(), 0);
    Scan(all, 0, 1);
    Scan(all, 1, plan_.probes);
    for (size_t begin = plan_.probes; begin < lists_;) {
      std::vector<uint32_t> hungry;
      for (uint32_t q = 0; q < n; ++q) {
        if (Found(q) < wanted) hungry.push_back(q);
      }
      if (hungry.empty()) return;
      const size_t end = std::min(lists_, 2 * begin);
      for (const uint32_t q : hungry) Order(q, end);
      Scan(hungry, begin, end);
      begin = end;
    }
  }

  std::vector<Neighbor> Take(size_t q, size_t k) {
    if (!coded_) return tops_[q].Take();
    const Slots& slots = index_.slots_;
    const std::span<const Candidates::Item> items = candidates_[q].Take();
    const size_t bytes = std::min(slots.rows().bytes(), kPrefetchBytes);
    // On disk the rows are read so many at a time.
    constexpr size_t kReadTogether = 32;
    const bool on_disk = slots.rows_on_disk();
    RowBatch batch;
    std::vector<uint32_t> wanted;
    const auto row_of = [&](size_t i) {
      if (!on_disk) return slots.row(items[i].slot);
      if (i % kReadTogether == 0) {
        wanted.clear();
        for (size_t j = i; j < std::min(i + kReadTogether, items.size()); ++j) {
          wanted.push_back(items[j].slot);
        }
        batch.Read(slots, wanted);
      }
      return batch.row(i % kReadTogether);
    };
    const auto fetch = [&](size_t i) {
      if (on_disk) return;
      const char* const vector = reinterpret_cast<const char*>(slots.row(items[i].slot));
      for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(vector + at, 0, 3);
    };
    constexpr size_t kAhead = 4;
    for (size_t i = 0; i < std::min(kAhead, items.size()); ++i) fetch(i);
    TopK top(k);
    // How the exact distances differ from the estimates: candidates that would have to be better by
    // so much more than the others were are not looked at, nor those behind them.
    const size_t least = std::max(2 * k, kLeastReranked);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < items.size(); ++i) {
      const double estimate = items[i].distance;
      if (i >= least) {
        const double mean = sum / static_cast<double>(i);
        const double variance = std::max(0.0, squares / static_cast<double>(i) - mean * mean);
        if (estimate + mean - kSurprise * std::sqrt(variance) > top.bound()) break;
      }
      if (i + kAhead < items.size()) fetch(i + kAhead);
      const uint32_t slot = items[i].slot;
      const float distance = slots.rows().Distance(queries_.row(q).data(), row_of(i));
      sum += distance - estimate;
      squares += (distance - estimate) * (distance - estimate);
      if (distance <= top.bound() && slots.Visible(slot, version_)) {
        top.Offer(distance, slots.id(slot));
      }
    }
    return top.Take();
  }

 private:
  size_t Found(size_t q) const { return coded_ ? candidates_[q].size() : found_[q]; }

  // The first `count` lists of a query, best first.
  void Order(size_t q, size_t count) {
    const float* const ranks = ranks_.data() + q * lists_;
    const auto better = [ranks](uint32_t a, uint32_t b) {
      return ranks[a] > ranks[b] || (ranks[a] == ranks[b] && a < b);
    };
    std::vector<uint32_t>& order = orders_[q];
    order.clear();
    for (uint32_t list = 0; list < lists_; ++list) {
      if (order.size() == count) {
        if (!better(list, order.front())) continue;
        std::pop_heap(order.begin(), order.end(), better);
        order.back() = list;
      } else {
        order.push_back(list);
      }
      std::push_heap(order.begin(), order.end(), better);
    }
    std::sort_heap(order.begin(), order.end(), better);
  }

  // Lists [begin, end) in the orders of the queries.
  void Scan(std::span<const uint32_t> queries, size_t begin, size_t end) {
    std::vector<uint64_t> wants;  // list << 32 | query
    for (const uint32_t q : queries) {
      for (size_t i = begin; i < end; ++i) wants.push_back(uint64_t{orders_[q][i]} << 32 | q);
    }
    if (queries.size() > 1) std::sort(wants.begin(), wants.end());
    uint32_t group[kScansTogether];
    for (size_t i = 0; i < wants.size();) {
      const size_t list = wants[i] >> 32;
      size_t count = 0;
      while (i < wants.size() && wants[i] >> 32 == list && count < kScansTogether) {
        group[count++] = static_cast<uint32_t>(wants[i++]);
      }
      const IvfList* const content = state_.lists.Get(list);
      if (content == nullptr) continue;
      if (coded_) {
        ScanCodes(list, *content, std::span(group, count));
      } else {
        ScanVectors(*content, std::span(group, count));
      }
    }
  }

  void ScanCodes(size_t list, const IvfList& content, std::span<const uint32_t> group) {
    const IvfLayout& layout = state_.lists.layout();
    const auto scan = layout.kernels->scan[static_cast<size_t>(layout.form)];
    ListScan scans[kScansTogether];
    for (size_t i = 0; i < group.size(); ++i) {
      scans[i] = scans_[group[i]];
      scans[i].base += state_.model->Base(list, ranks_[group[i] * lists_ + list]);
      scans[i].positions = positions_.data() + i * kScanChunk;
      scans[i].distances = distances_.data() + i * kScanChunk;
    }
    for (size_t first = 0; first < content.slots.size(); first += kScanChunk) {
      const size_t count = std::min(kScanChunk, content.slots.size() - first);
      for (size_t i = 0; i < group.size(); ++i) {
        scans[i].bound = candidates_[group[i]].bound();
        if (layout.has_factors) scans[i].factors = content.factors.data() + first;
      }
      scan(content.codes.data() + layout.Bytes(first), content.norms.data() + first, count,
           layout.units, scans, group.size());
      for (size_t i = 0; i < group.size(); ++i) {
        Candidates& candidates = candidates_[group[i]];
        for (size_t j = 0; j < scans[i].found; ++j) {
          const uint32_t slot = content.slots[first + scans[i].positions[j]];
          // Without a filter those that are not visible are few, and found out at the end.
          if (filter_ != nullptr && !(index_.slots_.Visible(slot, version_) &&
                                      filter_->Contains(index_.slots_.id(slot)))) {
            continue;
          }
          if (scans[i].distances[j] < candidates.bound()) {
            candidates.Add(scans[i].distances[j], slot);
          }
        }
      }
    }
  }

  void ScanVectors(const IvfList& content, std::span<const uint32_t> group) {
    const Slots& slots = index_.slots_;
    const size_t bytes = std::min(slots.rows().bytes(), kPrefetchBytes);
    constexpr size_t kAhead = 2;
    const auto fetch = [&](size_t i) {
      const char* const vector = reinterpret_cast<const char*>(slots.row(content.slots[i]));
      for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(vector + at, 0, 3);
    };
    for (size_t i = 0; i < std::min(kAhead, content.slots.size()); ++i) fetch(i);
    for (size_t i = 0; i < content.slots.size(); ++i) {
      if (i + kAhead < content.slots.size()) fetch(i + kAhead);
      const uint32_t slot = content.slots[i];
      if (!slots.Visible(slot, version_)) continue;
      const uint64_t id = slots.id(slot);
      if (filter_ != nullptr && !filter_->Contains(id)) continue;
      for (const uint32_t q : group) {
        const float distance = slots.Distance(queries_.row(q).data(), slot);
        ++found_[q];
        if (distance <= tops_[q].bound()) tops_[q].Offer(distance, id);
      }
    }
  }

  const IvfIndex& index_;
  const State& state_;
  const Plan& plan_;
  const uint64_t version_;
  const IdFilter* const filter_;
  const bool coded_;
  const Matrix queries_;  // as the vectors are stored
  const Matrix moved_;    // as the model sees them
  const size_t lists_;
  std::vector<float> ranks_;                   // [queries, lists]
  std::vector<std::vector<uint32_t>> orders_;  // of each query
  // Lists without codes.
  std::vector<TopK> tops_;
  std::vector<size_t> found_;
  // Lists with codes.
  AlignedBytes tables_;
  std::vector<ListScan> scans_;
  std::vector<Candidates> candidates_;
  std::vector<uint32_t> positions_;
  std::vector<float> distances_;
};

void IvfIndex::SearchTile(const Matrix& queries, size_t first, size_t count,
                          const SearchOptions& options, std::span<std::vector<Neighbor>> results,
                          std::span<uint8_t> complete) const {
  Readers::Guard guard(slots_.readers());
  const uint64_t version = slots_.version();
  const State& state = *state_.load(std::memory_order_acquire);
  const size_t wanted = std::min(options.k, slots_.size());
  const Plan plan = MakePlan(state, options);
  Matrix own(count, options_.dim);
  std::copy_n(queries.row(first).data(), count * options_.dim, own.data());
  Tile tile(*this, state, plan, version, options.filter, options.k, std::move(own));
  // The matches of a filter may all lie in lists far away, where the first k found need not be the
  // nearest: then more of them are wanted, as far as there are more.
  size_t enough = wanted;
  if (options.filter != nullptr) {
    const size_t most = state.model->codec().has_codes()
                            ? std::min(plan.candidates, kMatchesPerK * options.k)
                            : kMatchesPerK * options.k;
    enough = std::clamp(options.filter->Count() / kMatchShare, wanted, std::max(wanted, most));
  }
  tile.Run(enough);
  for (size_t q = 0; q < count; ++q) {
    results[first + q] = tile.Take(q, options.k);
    // With a filter nobody knows how many there are; all lists have been scanned then.
    complete[first + q] = results[first + q].size() >= wanted ? 1 : 0;
  }
}

std::vector<std::vector<Neighbor>> IvfIndex::SearchPrepared(const Matrix& queries,
                                                            const SearchOptions& options) const {
  bool exact = true;
  {
    Readers::Guard guard(slots_.readers());
    if (const State* const state = state_.load(std::memory_order_acquire)) {
      exact = MakePlan(*state, options).exact;
    }
  }
  if (exact) return slots_.Exact(queries, options.k, options.filter);
  const size_t n = queries.rows();
  std::vector<std::vector<Neighbor>> results(n);
  std::vector<uint8_t> complete(n, 1);
  const size_t threads = static_cast<size_t>(runtime_.pool().size());
  const size_t tile = std::clamp<size_t>((n + threads - 1) / threads, 1, kTileQueries);
  const size_t tiles = (n + tile - 1) / tile;
  const auto search = [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      SearchTile(queries, i * tile, std::min(tile, n - i * tile), options, results, complete);
    }
  };
  if (tiles <= 1) {
    search(0, tiles, 0);
  } else {
    runtime_.pool().ParallelFor(tiles, 1, search);
  }
  // Too few: vectors that a search saw in the lists had died, or all the rest had.
  for (size_t i = 0; i < n; ++i) {
    if (complete[i] != 0) continue;
    Matrix query(1, options_.dim);
    std::copy_n(queries.row(i).data(), options_.dim, query.data());
    results[i] = slots_.Exact(query, options.k, options.filter)[0];
  }
  return results;
}

}  // namespace rag
