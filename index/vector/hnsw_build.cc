// Insertion (algorithm 1 of the paper) and the choice of links (algorithm 4).
#include <algorithm>
#include <cmath>

#include "index/vector/hnsw_index.h"
#include "index/vector/walk_scratch.h"

namespace rag {

// floor(-ln(unif(0, 1)) * m_L), the random number being a hash of the id: the levels do not depend
// on the order of insertion or on threads.
uint32_t HnswIndex::LevelOf(uint64_t id) const {
  // SplitMix64 (Steele, Lea and Flood 2014).
  uint64_t x = id + options_.hnsw.seed * 0x9E3779B97F4A7C15u + 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  x ^= x >> 31;
  const double uniform = (static_cast<double>(x >> 11) + 1) * 0x1p-53;  // (0, 1]
  return std::min(kMaxLevel, static_cast<uint32_t>(-std::log(uniform) * level_scale_));
}

void HnswIndex::MakeNode(uint32_t slot, uint32_t level) {
  nodes_.Ensure(slot);
  Node& node = nodes_[slot];
  node.level = static_cast<uint8_t>(level);
  if (level > 0) {
    node.upper = std::make_unique<uint32_t[]>(level * m_);
    std::fill_n(node.upper.get(), level * m_, kNoSlot);
    upper_bytes_.fetch_add(level * m_ * sizeof(uint32_t), std::memory_order_relaxed);
  }
  if (incoming_kept_) node.incoming = std::make_unique<std::vector<uint32_t>[]>(level + 1);
}

void HnswIndex::ReadLinks(uint32_t slot, size_t layer, std::vector<uint32_t>& out) const {
  out.clear();
  const uint32_t* const links = Links(slot, layer);
  for (size_t i = 0; i < Capacity(layer); ++i) {
    const uint32_t link = LoadLink(links + i);
    if (link == kNoSlot) break;
    out.push_back(link);
  }
}

// A search that reads meanwhile sees a mixture of old and new links, all of them valid.
void HnswIndex::WriteLinks(uint32_t slot, size_t layer, std::span<const uint32_t> links) {
  uint32_t* const places = Links(slot, layer);
  for (size_t i = 0; i < Capacity(layer); ++i) {
    StoreLink(places + i, i < links.size() ? links[i] : kNoSlot);
  }
}

void HnswIndex::AddIncoming(uint32_t to, size_t layer, uint32_t from) {
  if (!incoming_kept_) return;
  std::lock_guard lock(nodes_[to].incoming_lock);
  nodes_[to].incoming[layer].push_back(from);
}

void HnswIndex::DropIncoming(uint32_t to, size_t layer, uint32_t from) {
  if (!incoming_kept_) return;
  std::lock_guard lock(nodes_[to].incoming_lock);
  std::vector<uint32_t>& incoming = nodes_[to].incoming[layer];
  const auto at = std::find(incoming.begin(), incoming.end(), from);
  if (at == incoming.end()) return;
  *at = incoming.back();
  incoming.pop_back();
}

// A candidate is kept when it is nearer to the query than to every one that was kept. Copies of the
// query itself are nearer to it than anything and pass always: they get a quarter of the places, or
// a set of many equal vectors would link to nothing else.
bool HnswIndex::Diverse(const Candidate& candidate, const std::vector<Candidate>& kept,
                        size_t count) const {
  thread_local Origin origin;
  origin.SetNode(slots_, link_codes(), candidate.slot);
  for (size_t i = 0; i < count; ++i) {
    if (origin.To(kept[i].slot) < candidate.distance) return false;
  }
  return true;
}

void HnswIndex::Select(uint32_t slot, std::vector<Candidate>& candidates, size_t count) const {
  Origin origin;
  origin.SetNode(slots_, link_codes(), slot);
  const float self = origin.To(slot);
  const size_t max_copies = std::max<size_t>(1, count / 4);
  size_t copies = 0, kept = 0;
  for (size_t i = 0; i < candidates.size() && kept < count; ++i) {
    const Candidate candidate = candidates[i];
    if (candidate.distance == self && ++copies > max_copies) continue;
    if (Diverse(candidate, candidates, kept)) candidates[kept++] = candidate;
  }
  candidates.resize(kept);
}

void HnswIndex::Connect(uint32_t from, uint32_t to, size_t layer, float distance) {
  std::lock_guard lock(nodes_[from].lock);
  uint32_t* const links = Links(from, layer);
  const size_t capacity = Capacity(layer);
  size_t count = 0;
  for (; count < capacity; ++count) {
    const uint32_t link = LoadLink(links + count);
    if (link == kNoSlot) break;
    if (link == to) return;
  }
  if (count < capacity) {
    StoreLink(links + count, to);
    AddIncoming(to, layer, from);
    return;
  }
  Origin origin;
  origin.SetNode(slots_, link_codes(), from);
  uint32_t others[kMaxLinks];
  float distances[kMaxLinks];
  for (size_t i = 0; i < capacity; ++i) others[i] = LoadLink(links + i);
  origin.To(others, capacity, distances);
  std::vector<Candidate> candidates;
  candidates.reserve(capacity + 1);
  candidates.push_back({distance, to});
  for (size_t i = 0; i < capacity; ++i) candidates.push_back({distances[i], others[i]});
  std::sort(candidates.begin(), candidates.end());
  std::vector<Candidate> kept = candidates;
  Select(from, kept, capacity);
  for (size_t i = 0; i < capacity; ++i) {
    StoreLink(links + i, i < kept.size() ? kept[i].slot : kNoSlot);
  }
  if (!incoming_kept_) return;
  for (size_t i = 0, j = 0; i < candidates.size(); ++i) {
    const uint32_t slot = candidates[i].slot;
    const bool stays = j < kept.size() && kept[j].slot == slot;
    if (stays) ++j;
    if (slot == to && stays) AddIncoming(to, layer, from);
    if (slot != to && !stays) DropIncoming(slot, layer, from);
  }
}

void HnswIndex::SetWalkOrigin(uint32_t slot, Origin& origin) const {
  if (codes() == link_codes()) {
    origin.SetNode(slots_, codes(), slot);
    return;
  }
  // The vector itself finds better what is near than its code would.
  thread_local std::vector<float> vector;
  vector.resize(options_.dim);
  thread_local RowBatch batch;
  batch.Read(slots_, {&slot, 1});
  slots_.rows().Decode(batch.row(0), vector.data());
  origin.SetQuery(slots_, codes(), vector.data());
}

std::vector<Candidate> HnswIndex::LinkCandidates(uint32_t slot, const WalkScratch& scratch) const {
  std::vector<Candidate> candidates;
  candidates.reserve(scratch.pool.size());
  for (size_t i = 0; i < scratch.pool.size(); ++i) candidates.push_back(scratch.pool.at(i));
  if (codes() == link_codes()) return candidates;
  Origin origin;
  origin.SetNode(slots_, link_codes(), slot);
  for (Candidate& candidate : candidates) candidate.distance = origin.To(candidate.slot);
  std::sort(candidates.begin(), candidates.end());
  return candidates;
}

void HnswIndex::Insert(uint32_t slot, WalkScratch& scratch) {
  const uint32_t level = LevelOf(slots_.id(slot));
  MakeNode(slot, level);
  // A node of a new highest level becomes the entry: one such insertion at a time.
  std::unique_lock entry_lock(entry_mutex_, std::defer_lock);
  Entry entry = LoadEntry();
  if (entry.slot == kNoSlot || level > entry.level) {
    entry_lock.lock();
    entry = LoadEntry();
    if (entry.slot == kNoSlot) {
      StoreEntry({slot, level});
      return;
    }
    if (level <= entry.level) entry_lock.unlock();
  }

  Origin& origin = scratch.origin;
  SetWalkOrigin(slot, origin);
  const size_t top = std::min(level, entry.level);
  std::vector<std::vector<Candidate>> chosen(top + 1);
  Candidate start = Descend(origin, entry, top);
  for (size_t layer = top + 1; layer-- > 0;) {
    Walk(origin, start, options_.hnsw.ef_construction, options_.hnsw.ef_construction, layer, slot,
         scratch);
    start = scratch.pool.at(0);
    chosen[layer] = LinkCandidates(slot, scratch);
    Select(slot, chosen[layer], m_);
  }
  // Its own links on all layers first: whoever is led here on one layer finds a way on from it.
  for (size_t layer = 0; layer <= top; ++layer) {
    for (size_t i = 0; i < chosen[layer].size(); ++i) {
      StoreLink(Links(slot, layer) + i, chosen[layer][i].slot);
      AddIncoming(chosen[layer][i].slot, layer, slot);
    }
  }
  for (size_t layer = 0; layer <= top; ++layer) {
    for (const Candidate& neighbor : chosen[layer]) {
      Connect(neighbor.slot, slot, layer, neighbor.distance);
    }
  }
  if (entry_lock.owns_lock()) StoreEntry({slot, level});
}

}  // namespace rag
