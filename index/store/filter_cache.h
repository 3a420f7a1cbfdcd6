// Which chunks a filter allows, remembered by the filter's text.
//
// The first search with a filter reads the attributes of every chunk; later ones find the set here,
// kept up to date by the writes.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "index/filter.h"
#include "index/store/database.h"
#include "index/vector_index.h"
#include "lib/base/status.h"
#include "lib/base/value.h"

namespace rag {

// A set of chunk ids: a bitmap, and the ids themselves while they are few.
class ChunkSet final : public IdFilter {
 public:
  bool Contains(uint64_t id) const override {
    return id / 64 < words_.size() && (words_[id / 64] >> (id % 64) & 1) != 0;
  }
  std::span<const uint64_t> Ids() const override {
    return ids_.size() == count_ ? std::span<const uint64_t>(ids_) : std::span<const uint64_t>();
  }
  size_t Count() const override { return count_; }

  void Insert(uint64_t id);
  void Erase(uint64_t id);
  // Lists the ids when they are at most kMaxListed.
  void ListIds();

  static constexpr size_t kMaxListed = 1 << 16;

 private:
  std::vector<uint64_t> words_;
  std::vector<uint64_t> ids_;
  size_t count_ = 0;
};

struct ChunkAttributes {
  uint64_t chunk = 0;
  Value attributes;  // an object, or null
};

class FilterCache {
 public:
  FilterCache(const Database& database, uint32_t collection)
      : database_(database), collection_(collection) {}

  Result<std::shared_ptr<const ChunkSet>> Find(const Filter& filter);
  // What FilterDiagnosis finds where the filter allows nothing, else "".
  Result<std::string> Explain(const Filter& filter);
  // After a write of the collection; the chunks are those that it removed and added.
  void Update(std::span<const uint64_t> removed, std::span<const ChunkAttributes> added);
  // Nothing is remembered any more.
  void Forget();
  bool empty() const;

 private:
  struct Entry {
    Filter filter;
    std::shared_ptr<const ChunkSet> set;
    // Of all chunks, while none was ever allowed.
    std::optional<FilterDiagnosis> diagnosis;
  };
  Result<const Entry*> FindEntry(const Filter& filter);  // needs mutex_

  static constexpr size_t kMaxEntries = 32;

  const Database& database_;
  const uint32_t collection_;
  mutable std::mutex
      mutex_;  // guards entries_; held while a new set is read, so that no write falls between
  std::list<Entry> entries_;  // the last used first
};

}  // namespace rag
