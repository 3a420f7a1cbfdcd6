#include "index/vector/saved_rows.h"

#include <cstring>
#include <utility>

#include "lib/base/hash.h"

namespace rag {

uint32_t RowHash(const std::byte* row, size_t bytes) {
  return static_cast<uint32_t>(Hash64(std::span(row, bytes)));
}

SavedRows::SavedRows(std::shared_ptr<const MappedFile> file, std::span<const std::byte> rows,
                     size_t row_bytes, std::vector<uint32_t> hashes, RowFailure& failure)
    : file_(std::move(file)),
      rows_(rows.data()),
      row_bytes_(row_bytes),
      hashes_(std::move(hashes)),
      zeros_(1, row_bytes / sizeof(float)),
      good_(hashes_.size() / kWord + 1),
      erased_(hashes_.size() / kWord + 1),
      failure_(failure) {}

bool SavedRows::Check(uint32_t i) {
  if (Test(good_, i)) return true;
  if (RowHash(rows_ + i * row_bytes_, row_bytes_) == hashes_[i]) {
    Set(good_, i);
    return true;
  }
  // An erased one is read by nobody, whatever lies there.
  if (!Test(erased_, i)) {
    failure_.Set(
        DataLossError("'", file_->path(), "' is damaged: checksum of the vector of slot ", i));
  }
  return false;
}

const std::byte* SavedRows::Record(uint32_t i) {
  return Check(i) ? rows_ + i * row_bytes_
                  : reinterpret_cast<const std::byte*>(zeros_.row(0).data());
}

void SavedRows::Copy(uint32_t first, size_t count, std::byte* out) {
  for (size_t i = 0; i < count; ++i) {
    const uint32_t at = first + static_cast<uint32_t>(i);
    if (Test(erased_, at) || !Check(at)) {
      std::memset(out + i * row_bytes_, 0, row_bytes_);
    } else {
      std::memcpy(out + i * row_bytes_, rows_ + at * row_bytes_, row_bytes_);
    }
  }
}

const std::byte* SavedRows::All(uint32_t first, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!Check(first + static_cast<uint32_t>(i))) return nullptr;
  }
  return rows_ + first * row_bytes_;
}

void SavedRows::Erase(uint32_t i) { Set(erased_, i); }

}  // namespace rag
