// Saving, loading and checking of the graph.
#include <algorithm>
#include <cstring>

#include "index/vector/hnsw_index.h"

namespace rag {

Status HnswIndex::Save(const std::string& path, uint64_t tag) const {
  const auto gate = gate_.Exclusive();
  // What was replaced by an Add that has not come to it yet; the graph's meaning does not change.
  const_cast<HnswIndex*>(this)->DrainRemoved();
  std::vector<uint8_t> levels(slots_.end(), 0);
  std::vector<uint32_t> upper;
  upper.reserve(upper_bytes_.load(std::memory_order_relaxed) / sizeof(uint32_t));
  for (uint32_t slot = 0; slot < slots_.end(); ++slot) {
    if (slots_.IsFree(slot)) continue;
    const Node& node = nodes_[slot];
    levels[slot] = node.level;
    upper.insert(upper.end(), node.upper.get(), node.upper.get() + node.level * m_);
  }
  SnapshotHeader header = MakeSnapshotHeader(options_, tag);
  header.entry = entry_.load(std::memory_order_acquire);
  Extras extras;
  extras.levels = levels;
  extras.upper = upper;
  extras.links = &slots_.link_records();
  std::string codec;
  if (owned_codes_ != nullptr) {
    codec = owned_codes_->codec().Serialize();
    extras.codec = codec;
    extras.codes = &owned_codes_->codes();
  }
  return SaveSlots(path, header, extras);
}

Status HnswIndex::LoadFrom(const SnapshotFile& file) {
  std::unique_ptr<NodeCodes> codes;
  RAG_RETURN_IF_ERROR(file.CheckSection(4));
  if (options_.hnsw.codes != CodeKind::kNone && !file.section(4).empty()) {
    Result<std::unique_ptr<NodeCodec>> codec = NodeCodec::Parse(
        file.section(4), options_.hnsw.codes, options_.dim, options_.metric, runtime_);
    if (!codec.ok()) return file.Damaged(codec.status().message());
    codes = std::make_unique<NodeCodes>(std::move(codec).value(), file.header().slots);
  }
  RAG_RETURN_IF_ERROR(LoadSlots(file, true, codes == nullptr ? nullptr : &codes->mutable_codes(),
                                codes != nullptr));
  owned_codes_ = std::move(codes);
  codes_.store(owned_codes_.get(), std::memory_order_release);
  RAG_RETURN_IF_ERROR(file.CheckSection(2));
  RAG_RETURN_IF_ERROR(file.CheckSection(3));
  const uint32_t count = slots_.end();
  const std::span<const std::byte> levels = file.section(2);
  std::span<const std::byte> upper = file.section(3);
  if (levels.size() != count) return file.Damaged("the number of levels");
  for (uint32_t slot = 0; slot < count; ++slot) {
    nodes_.Ensure(slot);
    if (slots_.IsFree(slot)) continue;
    const uint32_t level = std::to_integer<uint32_t>(levels[slot]);
    if (level > kMaxLevel) return file.Damaged(StrCat("level ", level, " of slot ", slot));
    MakeNode(slot, level);
    const size_t bytes = level * m_ * sizeof(uint32_t);
    if (bytes > upper.size()) return file.Damaged("the upper links end too early");
    if (bytes > 0) std::memcpy(nodes_[slot].upper.get(), upper.data(), bytes);
    upper = upper.subspan(bytes);
  }
  if (!upper.empty()) return file.Damaged("upper links that belong to nobody");
  entry_.store(file.header().entry, std::memory_order_release);
  Status checked = CheckGraph();
  if (!checked.ok()) return file.Damaged(checked.message());
  return OkStatus();
}

// What a walk relies on: the entry and every link lead to a node that is there and has that layer.
Status HnswIndex::CheckGraph() const {
  const uint32_t count = slots_.end();
  // The layers of each slot, 0 when it is free, close together: they are asked for once a link.
  std::vector<uint8_t> layers(count);
  for (uint32_t slot = 0; slot < count; ++slot) {
    if (!slots_.IsFree(slot)) layers[slot] = static_cast<uint8_t>(nodes_[slot].level + 1);
  }
  const auto has_layer = [&](uint32_t slot, size_t layer) {
    return slot < count && layers[slot] > layer;
  };
  const Entry entry = LoadEntry();
  if (slots_.size() == 0) {
    return entry.slot == kNoSlot ? OkStatus() : DataLossError("an entry into an empty graph");
  }
  if (!has_layer(entry.slot, entry.level) || nodes_[entry.slot].level != entry.level) {
    return DataLossError("the entry, slot ", entry.slot, " on level ", entry.level);
  }
  std::mutex mutex;  // guards status
  Status status;
  const auto check = [&](size_t begin, size_t end, int) {
    for (uint32_t slot = static_cast<uint32_t>(begin); slot < end; ++slot) {
      if (layers[slot] == 0) continue;
      const size_t level = layers[slot] - size_t{1};
      bool good = level <= entry.level;
      for (size_t layer = 0; layer <= level && good; ++layer) {
        const uint32_t* const links = Links(slot, layer);
        bool ended = false;
        for (size_t i = 0; i < Capacity(layer) && good; ++i) {
          const uint32_t link = LoadLink(links + i);
          if (link == kNoSlot) {
            ended = true;
          } else {
            good = !ended && link != slot && has_layer(link, layer);
          }
        }
      }
      if (good) continue;
      std::lock_guard lock(mutex);
      status = DataLossError("the links of slot ", slot);
      return;
    }
  };
  if (!runtime_.pool().TryParallelFor(count, 4'096, check)) check(0, count, 0);
  return status;
}

Status HnswIndex::Verify() const {
  const auto gate = gate_.Exclusive();
  const_cast<HnswIndex*>(this)->DrainRemoved();
  RAG_RETURN_IF_ERROR(slots_.Verify());
  RAG_RETURN_IF_ERROR(slots_.ReadRows());
  RAG_RETURN_IF_ERROR(CheckCodes());
  RAG_RETURN_IF_ERROR(CheckGraph());
  // No link twice, and incoming links, where they are kept, the mirror of the others.
  std::vector<uint32_t> links;
  std::vector<std::vector<uint32_t>> expected(incoming_kept_ ? slots_.end() : 0);
  const uint32_t top = LoadEntry().slot == kNoSlot ? 0 : LoadEntry().level;
  for (size_t layer = 0; layer <= top; ++layer) {
    for (std::vector<uint32_t>& from : expected) from.clear();
    for (uint32_t slot = 0; slot < slots_.end(); ++slot) {
      if (slots_.IsFree(slot) || nodes_[slot].level < layer) continue;
      ReadLinks(slot, layer, links);
      if (incoming_kept_) {
        for (const uint32_t link : links) expected[link].push_back(slot);
      }
      std::sort(links.begin(), links.end());
      if (std::adjacent_find(links.begin(), links.end()) != links.end()) {
        return DataLossError("slot ", slot, " has a link twice on layer ", layer);
      }
    }
    for (uint32_t slot = 0; slot < expected.size(); ++slot) {
      if (slots_.IsFree(slot) || nodes_[slot].level < layer) continue;
      std::vector<uint32_t> incoming = nodes_[slot].incoming[layer];
      std::sort(incoming.begin(), incoming.end());
      if (incoming != expected[slot]) {
        return DataLossError("the incoming links of slot ", slot, " on layer ", layer);
      }
    }
  }
  return OkStatus();
}

}  // namespace rag
