// SavedRows: the rows of an index that was opened, where they lie in the mapped file. A row is
// compared with its checksum when it is first read, so that opening touches none.
//
// A row that is not what was saved is read as zeros, and told to RowFailure.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "index/vector/arena.h"
#include "index/vector/row_failure.h"
#include "lib/base/file.h"
#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Of a row's bytes, as snapshots hold it.
uint32_t RowHash(const std::byte* row, size_t bytes);

class SavedRows final : public Arena::Source {
 public:
  // rows [hashes.size() * row_bytes] lies in `file`.
  SavedRows(std::shared_ptr<const MappedFile> file, std::span<const std::byte> rows,
            size_t row_bytes, std::vector<uint32_t> hashes, RowFailure& failure);

  size_t records() const override { return hashes_.size(); }
  const std::byte* Record(uint32_t i) override;
  void Copy(uint32_t first, size_t count, std::byte* out) override;
  const std::byte* All(uint32_t first, size_t count) override;
  bool Holds(const std::byte* record) const override {
    return record >= rows_ && record < rows_ + hashes_.size() * row_bytes_;
  }
  void Erase(uint32_t i) override;

 private:
  bool Check(uint32_t i);
  static constexpr size_t kWord = 64;
  using Bits = std::vector<std::atomic<uint64_t>>;
  static bool Test(const Bits& bits, uint32_t i) {
    return (bits[i / kWord].load(std::memory_order_acquire) >> (i % kWord) & 1) != 0;
  }
  static void Set(Bits& bits, uint32_t i) {
    bits[i / kWord].fetch_or(uint64_t{1} << (i % kWord), std::memory_order_release);
  }

  const std::shared_ptr<const MappedFile> file_;
  const std::byte* const rows_;
  const size_t row_bytes_;
  const std::vector<uint32_t> hashes_;
  const Matrix zeros_;  // a row, aligned as the others are
  Bits good_;           // checked
  Bits erased_;         // not to be read
  RowFailure& failure_;
};

}  // namespace rag
