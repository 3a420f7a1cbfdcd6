// HNSW: a hierarchy of navigable small-world graphs (Malkov and Yashunin, "Efficient and robust
// approximate nearest neighbor search using Hierarchical Navigable Small World graphs", IEEE TPAMI
// 2018; arXiv 1603.09320v4).
//
// Where this differs from the paper: a removal unlinks the node and repairs its neighbourhood; a
// filter, a small collection or a walk that found too little is served by an exact scan. With codes
// (HnswOptions::codes) the graph is built and walked over those, and what a walk has found is
// compared again with the vectors.
//
// Threads. Searches take no lock: links are read one by one with acquire loads, and a link that is
// read leads to a vector that stays until the search has left Slots::readers(). Adds hold the gate
// shared, change a node's links under its lock and its incoming links under its incoming_lock,
// which is the inner one of the two. Remove, Save and Verify hold the gate alone.
//
// What waits for what: a loop on the pool may wait for the gate (Add's rows); the gate's owner may
// wait for readers, but never for the pool (TryParallelFor); a reader waits for neither.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "index/vector/chunked.h"
#include "index/vector/index_base.h"
#include "index/vector/node_codes.h"
#include "index/vector/origin.h"

namespace rag {

// Held for some microseconds at most.
class SpinLock {
 public:
  void lock() {
    for (int spins = 0; flag_.test_and_set(std::memory_order_acquire); ++spins) {
      if (spins >= 64) std::this_thread::yield();
    }
  }
  void unlock() { flag_.clear(std::memory_order_release); }

 private:
  std::atomic_flag flag_;
};

struct Candidate {
  float distance;
  uint32_t slot;
  bool operator<(const Candidate& other) const {
    return distance < other.distance || (distance == other.distance && slot < other.slot);
  }
};

class WalkScratch;

class HnswIndex : public IndexBase {
 public:
  HnswIndex(const VectorIndexOptions& options, const Runtime& runtime);
  ~HnswIndex() override;

  Status Add(std::span<const uint64_t> ids, MatrixView vectors, const CancelToken* cancel) override;
  Result<size_t> Remove(std::span<const uint64_t> ids) override;
  size_t memory_bytes() const override;
  Status Save(const std::string& path, uint64_t tag) const override;
  Status LoadFrom(const SnapshotFile& file);
  Status Verify() const override;

 protected:
  std::vector<std::vector<Neighbor>> SearchPrepared(const Matrix& queries,
                                                    const SearchOptions& options) const override;

 private:
  struct Node {
    SpinLock lock;                      // guards the node's links on every layer
    SpinLock incoming_lock;             // guards incoming
    uint8_t level = 0;                  // written before the node is linked
    std::unique_ptr<uint32_t[]> upper;  // layers 1 .. level, m links each
    // For each layer the nodes that link here; kept from the first removal on.
    std::unique_ptr<std::vector<uint32_t>[]> incoming;
  };
  struct Entry {
    uint32_t slot = kNoSlot;
    uint32_t level = 0;
  };
  struct ScratchHandle;

  static constexpr uint32_t kMaxLevel = 31;
  static constexpr size_t kMaxLinks = 256;  // of a node on a layer: twice the largest m

  // --- links ---
  // A layer's links of a node: `capacity(layer)` places, used ones first, the others kNoSlot.
  uint32_t* Links(uint32_t slot, size_t layer) const {
    return layer == 0 ? slots_.links(slot) : nodes_[slot].upper.get() + (layer - 1) * m_;
  }
  void PrefetchLinks(uint32_t slot, size_t layer) const {
    const auto* const links = reinterpret_cast<const char*>(Links(slot, layer));
    for (size_t at = 0; at < Capacity(layer) * sizeof(uint32_t); at += 64) {
      __builtin_prefetch(links + at, 0, 3);
    }
  }
  size_t Capacity(size_t layer) const { return layer == 0 ? 2 * m_ : m_; }
  static uint32_t LoadLink(const uint32_t* link) {
    return std::atomic_ref<uint32_t>(*const_cast<uint32_t*>(link)).load(std::memory_order_acquire);
  }
  static void StoreLink(uint32_t* link, uint32_t slot) {
    std::atomic_ref<uint32_t>(*link).store(slot, std::memory_order_release);
  }
  void ReadLinks(uint32_t slot, size_t layer, std::vector<uint32_t>& out) const;
  void WriteLinks(uint32_t slot, size_t layer, std::span<const uint32_t> links);
  void AddIncoming(uint32_t to, size_t layer, uint32_t from);
  void DropIncoming(uint32_t to, size_t layer, uint32_t from);
  Entry LoadEntry() const;
  void StoreEntry(Entry entry);
  // What walks compare; null: the vectors themselves. A reader's stay until it has left.
  const NodeCodes* codes() const { return codes_.load(std::memory_order_acquire); }
  // What links are chosen by: codes that tell neighbours apart, or the vectors.
  const NodeCodes* link_codes() const {
    const NodeCodes* const codes = this->codes();
    return codes != nullptr && codes->codec().compares_nodes() ? codes : nullptr;
  }

  // --- hnsw_codes.cc ---
  // Learns codes from what is there and what is coming, when there is enough and none are there
  // yet, or those that are there fit no more. The gate is not held.
  Status LearnCodes(MatrixView coming);
  // The code of a new node. The gate is held.
  Status EncodeNode(uint32_t slot);
  // Whether the codes are those of the rows. The gate is held alone.
  Status CheckCodes() const;

  // --- hnsw_search.cc, hnsw_filter.cc ---
  // Greedy descent from the entry to the layer above `layer`: where a walk on it begins.
  Candidate Descend(const Origin& origin, Entry entry, size_t layer) const;
  // Algorithm 2, SEARCH-LAYER: scratch.pool gets the `keep` >= ef nearest found, best first.
  void Walk(const Origin& origin, Candidate start, size_t ef, size_t keep, size_t layer,
            uint32_t leave_out, WalkScratch& scratch) const;
  // Several walks on one layer that take turns.
  struct WalkTurns {
    const Origin* origin = nullptr;
    WalkScratch* scratch = nullptr;
    Candidate start{};
    size_t found = 0;  // in scratch->fresh, not yet compared
    bool ended = false;
  };
  void WalkTogether(std::span<WalkTurns> walks, size_t ef, size_t keep, size_t layer,
                    uint32_t leave_out) const;
  // The same for a wide or filtered walk, which collects live and allowed nodes only. False when it
  // was given up after `budget` distances.
  bool CollectingWalk(const Origin& origin, Candidate start, size_t ef, const IdFilter* filter,
                      uint64_t version, size_t budget, WalkScratch& scratch,
                      std::vector<Candidate>& out) const;
  // A walk among the allowed nodes alone, through those that are not; scratch.pool gets the `keep`
  // nearest. False as above, and when little is allowed around the query.
  bool FilteredWalk(const Origin& origin, Candidate start, size_t ef, size_t keep,
                    const IdFilter& filter, uint64_t version, size_t budget,
                    WalkScratch& scratch) const;
  // scratch.candidates gets those of the slots that are nearest by their codes, some times k.
  void ScanCodes(const Origin& origin, std::span<const uint32_t> slots, size_t k, uint64_t version,
                 WalkScratch& scratch) const;
  // How a search is done, by what each way would cost.
  struct Plan {
    enum Kind { kExact, kScanCodes, kWalk, kCollectingWalk, kFilteredWalk };
    Kind kind = kWalk;
    size_t ef = 0;
    size_t budget = ~size_t{0};  // distances after which a walk is given up for an exact scan
  };
  Plan MakePlan(const SearchOptions& options) const;
  size_t Keep(const SearchOptions& options, const Plan& plan) const;
  // scratch.candidates gets what the walk's pool holds and the version shows.
  void TakePool(size_t k, uint64_t version, WalkScratch& scratch) const;
  // Compares scratch.candidates, which are ordered by their codes, with the vectors, as far as
  // there may be any of the k best among them; the others go.
  void Rerank(const float* query, size_t k, WalkScratch& scratch) const;
  // The k best of scratch.candidates, by the vectors.
  std::vector<Neighbor> Best(const float* query, size_t k, WalkScratch& scratch) const;
  // kWalk for some queries at a time.
  void SearchTogether(const Matrix& queries, size_t first, size_t count,
                      const SearchOptions& options, const Plan& plan,
                      std::vector<std::vector<Neighbor>>& results,
                      std::vector<uint8_t>& incomplete) const;
  // The other plans. The caller has entered slots_.readers(). listed: what kScanCodes scans, found
  // at `version`.
  std::vector<Neighbor> SearchOne(const float* query, const SearchOptions& options,
                                  const Plan& plan, std::span<const uint32_t> listed,
                                  uint64_t version, bool& complete) const;
  void ScanIncomplete(const Matrix& queries, const SearchOptions& options, const Plan& plan,
                      std::span<const uint8_t> incomplete,
                      std::vector<std::vector<Neighbor>>& results) const;

  // --- hnsw_build.cc ---
  uint32_t LevelOf(uint64_t id) const;
  void MakeNode(uint32_t slot, uint32_t level);
  void Insert(uint32_t slot, WalkScratch& scratch);
  // What a walk for a node's links measures from.
  void SetWalkOrigin(uint32_t slot, Origin& origin) const;
  // What such a walk left in the pool, at the distances that links are chosen by, best first.
  std::vector<Candidate> LinkCandidates(uint32_t slot, const WalkScratch& scratch) const;
  // Algorithm 4, SELECT-NEIGHBORS-HEURISTIC: from candidates for links of `slot` (best first) at
  // most `count`, kept in that order.
  void Select(uint32_t slot, std::vector<Candidate>& candidates, size_t count) const;
  // Whether a candidate is nearer to the node it is for than to every one that was kept.
  bool Diverse(const Candidate& candidate, const std::vector<Candidate>& kept, size_t count) const;
  // Links `from` to `to`, leaving out the worse links when there is no room.
  void Connect(uint32_t from, uint32_t to, size_t layer, float distance);

  // --- hnsw_remove.cc; the gate is held alone ---
  void KeepIncoming();
  void DrainRemoved();
  void Repair(uint32_t slot, size_t layer, const std::vector<bool>& gone, WalkScratch& scratch);
  void Reattach(uint32_t slot, size_t layer, const std::vector<bool>& gone, WalkScratch& scratch);
  Entry HighestNode(const std::vector<bool>& gone) const;

  // --- hnsw_file.cc ---
  Status CheckGraph() const;

  const size_t m_;
  const double level_scale_;  // m_L of the paper, 1 / ln(m)
  Chunked<Node> nodes_{kSlotShift};
  std::unique_ptr<NodeCodes> owned_codes_;  // changed with the gate held alone
  std::atomic<const NodeCodes*> codes_{nullptr};
  std::atomic<uint64_t> entry_;             // packed: slot, level
  std::mutex entry_mutex_;                  // guards changes of entry_
  std::atomic<bool> incoming_kept_{false};  // changed with the gate held alone
  std::atomic<size_t> upper_bytes_{0};

  mutable std::mutex removed_mutex_;       // guards removed_
  mutable std::vector<uint32_t> removed_;  // dead slots that are still linked
  mutable std::mutex scratch_mutex_;       // guards scratch_
  mutable std::vector<std::unique_ptr<WalkScratch>> scratch_;
};

}  // namespace rag
