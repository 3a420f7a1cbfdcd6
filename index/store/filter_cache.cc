#include "index/store/filter_cache.h"

#include <utility>

namespace rag {

void ChunkSet::Insert(uint64_t id) {
  if (id / 64 >= words_.size()) words_.resize(id / 64 + 1, 0);
  uint64_t& word = words_[id / 64];
  const uint64_t bit = uint64_t{1} << (id % 64);
  if ((word & bit) != 0) return;
  word |= bit;
  ++count_;
}

void ChunkSet::Erase(uint64_t id) {
  if (!Contains(id)) return;
  words_[id / 64] &= ~(uint64_t{1} << (id % 64));
  --count_;
}

void ChunkSet::ListIds() {
  ids_.clear();
  if (count_ > kMaxListed) return;
  ids_.reserve(count_);
  for (size_t i = 0; i < words_.size(); ++i) {
    for (uint64_t word = words_[i]; word != 0; word &= word - 1) {
      ids_.push_back(i * 64 + static_cast<uint64_t>(__builtin_ctzll(word)));
    }
  }
}

Result<std::shared_ptr<const ChunkSet>> FilterCache::Find(const Filter& filter) {
  std::lock_guard lock(mutex_);
  RAG_ASSIGN_OR_RETURN(const Entry* entry, FindEntry(filter));
  return entry->set;
}

Result<std::string> FilterCache::Explain(const Filter& filter) {
  std::lock_guard lock(mutex_);
  RAG_ASSIGN_OR_RETURN(const Entry* entry, FindEntry(filter));
  return entry->diagnosis.has_value() ? entry->diagnosis->Findings() : std::string();
}

Result<const FilterCache::Entry*> FilterCache::FindEntry(const Filter& filter) {
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (entry->filter.text() != filter.text()) continue;
    entries_.splice(entries_.begin(), entries_, entry);
    return &entries_.front();
  }
  // A copy of our own: the caller's filter does not live as long.
  RAG_ASSIGN_OR_RETURN(Filter copy, Filter::Parse(filter.text()));
  auto set = std::make_shared<ChunkSet>();
  std::optional<FilterDiagnosis> diagnosis(copy);
  static const Value kNone{Value::Object()};
  // Chunks without attributes have no record: they are those of the chunk records alone.
  PrefixScan chunks = database_.Scan(Family::kRecords, TaggedPrefix(collection_, kChunkTag));
  PrefixScan attributes =
      database_.Scan(Family::kRecords, TaggedPrefix(collection_, kAttributesTag));
  const bool matches_none = filter.Matches(kNone);
  for (; chunks.Valid(); chunks.Next()) {
    const uint64_t id = ReadBigEndian(chunks.key());
    while (attributes.Valid() && ReadBigEndian(attributes.key()) < id) attributes.Next();
    if (attributes.Valid() && ReadBigEndian(attributes.key()) == id) {
      RAG_ASSIGN_OR_RETURN(const Value value, ParseJson(attributes.value()));
      if (filter.Matches(value)) {
        set->Insert(id);
      } else if (set->Count() == 0) {
        diagnosis->Look(value);
      }
    } else if (matches_none) {
      set->Insert(id);
    }
  }
  RAG_RETURN_IF_ERROR(chunks.status());
  RAG_RETURN_IF_ERROR(attributes.status());
  set->ListIds();
  if (set->Count() > 0) diagnosis.reset();
  entries_.push_front(Entry{std::move(copy), std::move(set), std::move(diagnosis)});
  if (entries_.size() > kMaxEntries) entries_.pop_back();
  return &entries_.front();
}

void FilterCache::Update(std::span<const uint64_t> removed,
                         std::span<const ChunkAttributes> added) {
  static const Value kNone{Value::Object()};
  std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) {
    auto set = std::make_shared<ChunkSet>(*entry.set);
    for (const uint64_t chunk : removed) set->Erase(chunk);
    for (const ChunkAttributes& chunk : added) {
      const Value& attributes = chunk.attributes.is_object() ? chunk.attributes : kNone;
      if (entry.filter.Matches(attributes)) {
        set->Insert(chunk.chunk);
        entry.diagnosis.reset();
      } else if (entry.diagnosis.has_value()) {
        entry.diagnosis->Look(attributes);
      }
    }
    set->ListIds();
    entry.set = std::move(set);
  }
}

void FilterCache::Forget() {
  std::lock_guard lock(mutex_);
  entries_.clear();
}

bool FilterCache::empty() const {
  std::lock_guard lock(mutex_);
  return entries_.empty();
}

}  // namespace rag
