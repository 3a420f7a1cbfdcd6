// Removal: the node leaves every list that names it, its neighbours get links among themselves for
// it (as in FreshDiskANN, Singh et al. 2021, algorithm 4, but at once and without a pass over the
// graph, since incoming links are known), and its bytes are overwritten.
#include <algorithm>

#include "index/vector/hnsw_index.h"
#include "index/vector/walk_scratch.h"

namespace rag {

void HnswIndex::KeepIncoming() {
  if (incoming_kept_) return;
  const uint32_t end = slots_.end();
  const auto used = [&](uint32_t slot) { return !slots_.IsFree(slot); };
  for (uint32_t slot = 0; slot < end; ++slot) {
    if (!used(slot)) continue;
    Node& node = nodes_[slot];
    node.incoming = std::make_unique<std::vector<uint32_t>[]>(node.level + size_t{1});
  }
  incoming_kept_ = true;
  const auto collect = [&](size_t begin, size_t last, int) {
    std::vector<uint32_t> links;
    for (uint32_t slot = static_cast<uint32_t>(begin); slot < last; ++slot) {
      if (!used(slot)) continue;
      for (size_t layer = 0; layer <= nodes_[slot].level; ++layer) {
        ReadLinks(slot, layer, links);
        for (const uint32_t link : links) AddIncoming(link, layer, slot);
      }
    }
  };
  if (!runtime_.pool().TryParallelFor(end, 1'024, collect)) collect(0, end, 0);
}

HnswIndex::Entry HnswIndex::HighestNode(const std::vector<bool>& gone) const {
  Entry highest;
  for (uint32_t slot = 0; slot < gone.size(); ++slot) {
    if (gone[slot] || slots_.IsFree(slot)) continue;
    if (highest.slot == kNoSlot || nodes_[slot].level > highest.level) {
      highest = {slot, nodes_[slot].level};
    }
  }
  return highest;
}

// Gives `slot` new links for those that go: from the nodes around the ones that are gone, by the
// same rule as at insertion, up to as many as it had.
void HnswIndex::Repair(uint32_t slot, size_t layer, const std::vector<bool>& gone,
                       WalkScratch& scratch) {
  scratch.visited.Begin(slots_.end());
  scratch.visited.Visit(slot);
  std::vector<uint32_t> links, frontier, around;
  ReadLinks(slot, layer, links);
  const size_t degree = links.size();
  std::vector<Candidate> kept;
  for (const uint32_t link : links) {
    scratch.visited.Visit(link);
    if (gone[link]) {
      frontier.push_back(link);
    } else {
      kept.push_back({0, link});
    }
  }
  // Through neighbours that are gone as well, when many go at once.
  constexpr size_t kMaxGone = 64, kMaxCandidates = 256;
  std::vector<uint32_t>& near = scratch.fresh;
  near.clear();
  const auto meet = [&](uint32_t other) {
    if (near.size() == kMaxCandidates || !scratch.visited.Visit(other)) return;
    if (!gone[other]) {
      near.push_back(other);
    } else if (frontier.size() < kMaxGone) {
      frontier.push_back(other);
    }
  };
  for (size_t i = 0; i < frontier.size() && near.size() < kMaxCandidates; ++i) {
    ReadLinks(frontier[i], layer, around);
    for (const uint32_t other : around) meet(other);
    // Nobody changes the lists of what is gone.
    for (const uint32_t other : nodes_[frontier[i]].incoming[layer]) meet(other);
  }
  scratch.distances.resize(near.size());
  scratch.origin.SetNode(slots_, link_codes(), slot);
  scratch.origin.To(near.data(), near.size(), scratch.distances.data());
  std::vector<Candidate>& candidates = scratch.candidates;
  candidates.clear();
  for (size_t i = 0; i < near.size(); ++i) candidates.push_back({scratch.distances[i], near[i]});
  // A heap, since few are looked at.
  const auto farther = [](const Candidate& a, const Candidate& b) { return b < a; };
  std::make_heap(candidates.begin(), candidates.end(), farther);
  const size_t before = kept.size();
  std::vector<Candidate> passed_over;
  for (auto end = candidates.end(); end != candidates.begin() && kept.size() < degree;) {
    std::pop_heap(candidates.begin(), end--, farther);
    const Candidate candidate = *end;
    (Diverse(candidate, kept, kept.size()) ? kept : passed_over).push_back(candidate);
  }
  // At least half of the places are used, the nearest first.
  for (const Candidate& candidate : passed_over) {
    if (kept.size() >= std::min(degree, Capacity(layer) / 2)) break;
    kept.push_back(candidate);
  }
  links.clear();
  for (const Candidate& link : kept) links.push_back(link.slot);
  WriteLinks(slot, layer, links);
  for (size_t i = before; i < kept.size(); ++i) AddIncoming(kept[i].slot, layer, slot);
}

// For a node that nobody links to, or that links to nobody: links both ways as at an insertion. Its
// nearest neighbour links to it in any case.
void HnswIndex::Reattach(uint32_t slot, size_t layer, const std::vector<bool>& gone,
                         WalkScratch& scratch) {
  Origin& origin = scratch.origin;
  SetWalkOrigin(slot, origin);
  // The descent may end at the node itself, from which there may be no way.
  Candidate start = Descend(origin, LoadEntry(), layer);
  for (uint32_t other = 0; start.slot == slot; ++other) {
    if (other == gone.size()) return;
    if (other == slot || gone[other] || slots_.IsFree(other) || nodes_[other].level < layer) {
      continue;
    }
    start = {origin.To(other), other};
  }
  Walk(origin, start, options_.hnsw.ef_construction, options_.hnsw.ef_construction, layer, slot,
       scratch);
  std::vector<Candidate> chosen = LinkCandidates(slot, scratch);
  std::erase_if(chosen, [&](const Candidate& candidate) { return candidate.slot == slot; });
  Select(slot, chosen, m_);
  if (chosen.empty()) return;
  for (const Candidate& neighbor : chosen) {
    Connect(slot, neighbor.slot, layer, neighbor.distance);
    Connect(neighbor.slot, slot, layer, neighbor.distance);
  }
  if (!nodes_[slot].incoming[layer].empty()) return;
  // Its nearest neighbour's list was full of better ones: it takes the place of the last of those
  // that others link to as well.
  const uint32_t nearest = chosen[0].slot;
  std::vector<uint32_t> links;
  ReadLinks(nearest, layer, links);
  for (size_t i = links.size(); i-- > 0;) {
    if (nodes_[links[i]].incoming[layer].size() < 2 && i > 0) continue;
    DropIncoming(links[i], layer, nearest);
    StoreLink(Links(nearest, layer) + i, slot);
    AddIncoming(slot, layer, nearest);
    return;
  }
}

void HnswIndex::DrainRemoved() {
  std::vector<uint32_t> removed;
  {
    std::lock_guard lock(removed_mutex_);
    removed.swap(removed_);
  }
  if (removed.empty()) return;
  KeepIncoming();
  std::vector<bool> gone(slots_.end(), false);
  for (const uint32_t slot : removed) gone[slot] = true;
  if (gone[LoadEntry().slot]) StoreEntry(HighestNode(gone));

  // Every list that names one of them, once; and those that they name lose a link that leads here.
  struct Place {
    uint32_t slot;
    uint32_t layer;
    auto operator<=>(const Place&) const = default;
  };
  std::vector<Place> to_repair, to_check;
  std::vector<uint32_t> links;
  for (const uint32_t slot : removed) {
    for (uint32_t layer = 0; layer <= nodes_[slot].level; ++layer) {
      for (const uint32_t from : nodes_[slot].incoming[layer]) {
        if (!gone[from]) to_repair.push_back({from, layer});
      }
      ReadLinks(slot, layer, links);
      for (const uint32_t to : links) {
        if (gone[to]) continue;
        DropIncoming(to, layer, slot);
        to_check.push_back({to, layer});
      }
    }
  }
  const auto unique = [](std::vector<Place>& places) {
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
  };
  unique(to_repair);
  const auto repair = [&](size_t begin, size_t end, int) {
    const ScratchHandle scratch(*this);
    for (size_t i = begin; i < end; ++i) {
      Repair(to_repair[i].slot, to_repair[i].layer, gone, *scratch.scratch);
    }
  };
  if (!runtime_.pool().TryParallelFor(to_repair.size(), 8, repair)) repair(0, to_repair.size(), 0);
  to_check.insert(to_check.end(), to_repair.begin(), to_repair.end());
  unique(to_check);
  {
    const ScratchHandle scratch(*this);
    for (const Place& place : to_check) {
      if (nodes_[place.slot].incoming[place.layer].empty() ||
          LoadLink(Links(place.slot, place.layer)) == kNoSlot) {
        Reattach(place.slot, place.layer, gone, *scratch.scratch);
      }
    }
  }

  slots_.readers().Wait();
  for (const uint32_t slot : removed) {
    Node& node = nodes_[slot];
    upper_bytes_.fetch_sub(node.level * m_ * sizeof(uint32_t), std::memory_order_relaxed);
    node.upper.reset();
    node.incoming.reset();
    node.level = 0;
    if (owned_codes_ != nullptr) owned_codes_->Erase(slot);
  }
  slots_.Free(removed);
}

}  // namespace rag
