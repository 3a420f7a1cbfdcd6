#include "index/vector/origin.h"

#include <algorithm>

namespace rag {
namespace {

// Of a row that is fetched ahead; the processor's own prefetcher follows after that.
constexpr size_t kFetched = 1'024;
constexpr size_t kAhead = 2;
// Codes whose addresses are gathered at a time.
constexpr size_t kPiece = 64;

void FetchRow(const std::byte* row, size_t bytes) {
  for (size_t at = 0; at < std::min(bytes, kFetched); at += 64) {
    __builtin_prefetch(row + at, 0, 3);
  }
}

}  // namespace

void Origin::SetQuery(const Slots& slots, const NodeCodes* codes, const float* query) {
  slots_ = &slots;
  codes_ = codes;
  query_ = query;
  if (codes != nullptr) codes->codec().PrepareQuery(query, coded_);
}

void Origin::SetNode(const Slots& slots, const NodeCodes* codes, uint32_t slot) {
  slots_ = &slots;
  codes_ = codes;
  if (codes != nullptr) {
    codes->codec().PrepareNode(codes->code(slot), coded_);
    return;
  }
  const Rows& rows = slots.rows();
  if (slots.rows_on_disk()) {
    batch_.Read(slots, {&slot, 1});
    decoded_.resize(rows.query_floats());
    rows.AsQuery(batch_.row(0), decoded_.data());
    query_ = decoded_.data();
    return;
  }
  if (rows.RowIsQuery()) {
    query_ = reinterpret_cast<const float*>(slots.row(slot));
    return;
  }
  decoded_.resize(rows.query_floats());
  rows.AsQuery(slots.row(slot), decoded_.data());
  query_ = decoded_.data();
}

void Origin::Fetch(const uint32_t* slots, size_t count) const {
  if (codes_ == nullptr) {
    if (slots_->rows_on_disk()) return;
    for (size_t i = 0; i < std::min(count, kAhead); ++i) {
      FetchRow(slots_->row(slots[i]), slots_->rows().bytes());
    }
    return;
  }
  const size_t bytes = codes_->codec().code_bytes();
  for (size_t i = 0; i < count; ++i) {
    const std::byte* const code = codes_->code(slots[i]);
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(code + at, 0, 3);
  }
}

void Origin::To(const uint32_t* slots, size_t count, float* out) const {
  if (codes_ == nullptr && slots_->rows_on_disk()) {
    batch_.Read(*slots_, {slots, count});
    for (size_t i = 0; i < count; ++i) out[i] = slots_->rows().Distance(query_, batch_.row(i));
    return;
  }
  if (codes_ == nullptr) {
    const size_t bytes = slots_->rows().bytes();
    if (count > 1) {
      for (size_t i = 0; i < std::min(count, kAhead); ++i) FetchRow(slots_->row(slots[i]), bytes);
    }
    for (size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) FetchRow(slots_->row(slots[i + kAhead]), bytes);
      out[i] = slots_->Distance(query_, slots[i]);
    }
    return;
  }
  const std::byte* codes[kPiece];
  for (size_t first = 0; first < count; first += kPiece) {
    const size_t n = std::min(kPiece, count - first);
    for (size_t i = 0; i < n; ++i) codes[i] = codes_->code(slots[first + i]);
    codes_->codec().Distances(coded_, codes, n, out + first);
  }
}

}  // namespace rag
