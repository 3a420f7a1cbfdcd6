#include "index/lexical/sparse_lists.h"

#include <algorithm>
#include <bit>

namespace rag {
namespace {

constexpr size_t kSegmentRuns = kSegmentChunks / kRunChunks;
static_assert(kSegmentRuns == kWeightRun);  // a segment's largest weights are added up as a run's

// From so many postings on a run is an array, of at most twice their bytes. On SciFact half of the
// time of one that has none, and no more memory.
constexpr size_t kArrayPostings = 16;
// From so many runs on their largest weights are an array of all 64.
constexpr size_t kLargestRuns = 16;
// From so many runs on passing over the postings of the others takes longer than adding them up.
constexpr int kMostRuns = 24;
// The processor asks for what follows by itself: 4 to 30% of a search's time on Zen 3.
constexpr size_t kPrefetchBytes = 1'024;
// What the allocator and the containers take for a block, and for a list.
constexpr size_t kBlockOverhead = 96;
constexpr size_t kListOverhead = 224;

}  // namespace

SparseBlock::SparseBlock(const SparseSegment& segment) {
  uint16_t largest[kSegmentRuns] = {}, counts[kSegmentRuns] = {};
  for (const SparseSegment::Entry& entry : segment.entries) {
    const size_t run = entry.place / kRunChunks;
    largest[run] = std::max(largest[run], entry.code);
    ++counts[run];
  }
  size_t runs = 0, arrays = 0;
  for (size_t run = 0; run < kSegmentRuns; ++run) {
    if (counts[run] == 0) continue;
    runs_ |= uint64_t{1} << run;
    ++runs;
    if (counts[run] >= kArrayPostings) {
      arrays_ |= uint64_t{1} << run;
      ++arrays;
    } else {
      postings_ = static_cast<uint16_t>(postings_ + counts[run]);
    }
  }
  largest_ = static_cast<uint16_t>(runs < kLargestRuns ? runs : kSegmentRuns);
  arrays_at_ = static_cast<uint32_t>(largest_ + 2 * size_t{postings_} + runs - arrays);
  values_.resize(arrays_at_ + arrays * kRunChunks);
  uint16_t* value = values_.data();
  for (size_t run = 0; run < kSegmentRuns; ++run) {
    if (largest_ == kSegmentRuns || counts[run] != 0) *value++ = largest[run];
  }
  uint16_t* const places = value;
  uint16_t* const codes = places + postings_;
  uint16_t* end = codes + postings_;
  uint16_t* array = values_.data() + arrays_at_;
  size_t postings = 0;
  const SparseSegment::Entry* entry = segment.entries.data();
  for (size_t run = 0; run < kSegmentRuns; ++run) {
    if (counts[run] == 0) continue;
    const SparseSegment::Entry* const run_end = entry + counts[run];
    if (counts[run] >= kArrayPostings) {
      for (; entry != run_end; ++entry) array[entry->place % kRunChunks] = entry->code;
      array += kRunChunks;
    } else {
      for (; entry != run_end; ++entry, ++postings) {
        places[postings] = entry->place;
        codes[postings] = entry->code;
      }
      *end++ = static_cast<uint16_t>(postings);
    }
  }
}

void SparseBlock::AddLargest(const WeightCodeKernels& kernels, float factor, float* bounds) const {
  const uint16_t* largest = values_.data();
  if (largest_ == kSegmentRuns) return kernels.add_runs(largest, 1, 1, factor, bounds);
  for (uint64_t left = runs_; left != 0; left &= left - 1) {
    bounds[std::countr_zero(left)] += factor * DecodeWeight(*largest++);
  }
}

void SparseBlock::AddWeights(const WeightCodeKernels& kernels, uint64_t wanted, float factor,
                             float* sums) const {
  const uint16_t* const places = values_.data() + largest_;
  const uint16_t* const codes = places + postings_;
  const auto add = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) sums[places[i]] += factor * DecodeWeight(codes[i]);
  };
  const uint64_t lists = runs_ & ~arrays_;
  if (std::popcount(lists & wanted) >= kMostRuns || (lists & ~wanted) == 0) {
    add(0, postings_);
  } else {
    const uint16_t* const ends = codes + postings_;
    for (uint64_t left = lists & wanted; left != 0; left &= left - 1) {
      const int number = std::popcount(lists & ((left & -left) - 1));
      add(number == 0 ? 0 : ends[number - 1], ends[number]);
    }
  }
  kernels.add_runs(values_.data() + arrays_at_, arrays_, wanted, factor, sums);
}

void SparseBlock::Prefetch() const {
  const size_t count = std::min(values_.size(), kPrefetchBytes / sizeof(uint16_t));
  constexpr size_t kLine = 64 / sizeof(uint16_t);
  for (size_t i = 0; i < count; i += kLine) __builtin_prefetch(values_.data() + i);
}

size_t SparseBlock::bytes() const {
  return sizeof(*this) + values_.capacity() * sizeof(uint16_t) + kBlockOverhead;
}

size_t SparseList::bytes() const {
  size_t sum = blocks.capacity() * sizeof(blocks[0]) + kListOverhead;
  for (const auto& [segment, block] : blocks) sum += block->bytes();
  return sum;
}

SparseListCache::Found SparseListCache::Find(uint32_t collection,
                                             std::span<const SparseVector::Entry> tokens) {
  Found found;
  found.lists.resize(tokens.size());
  std::lock_guard lock(mutex_);
  Shelf& shelf = shelves_[collection];
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto entry = shelf.entries.find(tokens[i].token);
    if (entry == shelf.entries.end()) {
      found.whole = false;
      continue;
    }
    entries_.splice(entries_.begin(), entries_, entry->second);
    found.lists[i] = entry->second->list;
  }
  if (!shelf.writing) found.version = shelf.version;
  return found;
}

bool SparseListCache::IsAt(uint32_t collection, uint64_t version) const {
  std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(collection);
  return shelf != shelves_.end() && !shelf->second.writing && shelf->second.version == version;
}

void SparseListCache::Insert(uint32_t collection, uint64_t version,
                             std::span<const std::pair<uint32_t, List>> lists) {
  std::vector<List> dropped;  // outlives the lock
  std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(collection);
  if (shelf == shelves_.end() || shelf->second.writing || shelf->second.version != version) return;
  for (const auto& [token, list] : lists) {
    const size_t bytes = list->bytes();
    // One alone must not drive out all others.
    if (bytes > limit_bytes_ / 2 || shelf->second.entries.contains(token)) continue;
    Keep(shelf->second, {collection, token, list, bytes}, dropped);
  }
}

void SparseListCache::BeginWrite(uint32_t collection) {
  std::lock_guard lock(mutex_);
  shelves_[collection].writing = true;
}

void SparseListCache::EndWrite(uint32_t collection, const SparseChanges& changes) {
  std::vector<std::pair<uint32_t, List>> lists;
  {
    std::lock_guard lock(mutex_);
    const Shelf& shelf = shelves_[collection];
    for (const auto& [place, segment] : changes.segments()) {
      if (!lists.empty() && lists.back().first == place.first) continue;
      const auto entry = shelf.entries.find(place.first);
      if (entry != shelf.entries.end()) lists.emplace_back(place.first, entry->second->list);
    }
  }
  // Without the lock, so that searches go on.
  for (auto& [token, list] : lists) {
    auto changed = std::make_shared<SparseList>(*list);
    const auto& segments = changes.segments();
    for (auto segment = segments.lower_bound({token, 0});
         segment != segments.end() && segment->first.first == token; ++segment) {
      const uint64_t number = segment->first.second;
      const auto at =
          std::lower_bound(changed->blocks.begin(), changed->blocks.end(), number,
                           [](const auto& block, uint64_t wanted) { return block.first < wanted; });
      const bool there = at != changed->blocks.end() && at->first == number;
      if (segment->second.entries.empty()) {
        if (there) changed->blocks.erase(at);
        continue;
      }
      auto block = std::make_shared<const SparseBlock>(segment->second);
      if (there) {
        at->second = std::move(block);
      } else {
        changed->blocks.emplace(at, number, std::move(block));
      }
    }
    list = std::move(changed);
  }
  std::vector<List> dropped;
  std::lock_guard lock(mutex_);
  Shelf& shelf = shelves_[collection];
  for (auto& [token, list] : lists) {
    const auto entry = shelf.entries.find(token);
    if (entry == shelf.entries.end()) continue;  // driven out meanwhile
    const size_t before = entry->second->bytes;
    const size_t after = list->bytes();
    entry->second->list.swap(list);
    dropped.push_back(std::move(list));
    entry->second->bytes = after;
    shelf.bytes += after - before;
    bytes_ += after - before;
  }
  DropOldest(dropped);
  shelf.writing = false;
  ++shelf.version;
}

void SparseListCache::Forget(uint32_t collection) {
  std::vector<List> dropped;
  std::lock_guard lock(mutex_);
  Shelf& shelf = shelves_[collection];
  while (!shelf.entries.empty()) Drop(shelf.entries.begin()->second, dropped);
  shelf.writing = false;
  ++shelf.version;
}

size_t SparseListCache::bytes(uint32_t collection) const {
  std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(collection);
  return shelf == shelves_.end() ? 0 : shelf->second.bytes;
}

void SparseListCache::Keep(Shelf& shelf, Entry entry, std::vector<List>& dropped) {
  bytes_ += entry.bytes;
  shelf.bytes += entry.bytes;
  const uint32_t token = entry.token;
  entries_.push_front(std::move(entry));
  shelf.entries.emplace(token, entries_.begin());
  DropOldest(dropped);
}

void SparseListCache::Drop(std::list<Entry>::iterator entry, std::vector<List>& dropped) {
  Shelf& shelf = shelves_[entry->collection];
  shelf.bytes -= entry->bytes;
  bytes_ -= entry->bytes;
  dropped.push_back(std::move(entry->list));
  shelf.entries.erase(entry->token);
  entries_.erase(entry);
}

void SparseListCache::DropOldest(std::vector<List>& dropped) {
  while (bytes_ > limit_bytes_) Drop(std::prev(entries_.end()), dropped);
}

}  // namespace rag
