#include "index/vector/ivf_lists.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <utility>

namespace rag {
namespace {

// What was replaced is kept until so much has come together, since freeing waits for searches.
constexpr size_t kRetiredBytes = size_t{16} << 20;

size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

AlignedBytes::AlignedBytes(size_t size) : size_(RoundUp(size, kListAlign)) {
  if (size_ == 0) return;
  data_.reset(static_cast<std::byte*>(::operator new(size_, std::align_val_t(kListAlign))));
  std::memset(data_.get(), 0, size_);
}

void AlignedBytes::Free::operator()(std::byte* bytes) const {
  ::operator delete(bytes, std::align_val_t(kListAlign));
}

size_t IvfLayout::Bytes(size_t count) const {
  const size_t padded = RoundUp(count, kListBlock);
  return form == ListForm::kNibbles ? padded / kListBlock * kGroupBytes * units : padded * units;
}

void IvfLayout::Put(std::byte* codes, size_t position, const std::byte* code) const {
  const size_t block = position / kListBlock, lane = position % kListBlock;
  switch (form) {
    case ListForm::kRows:
      std::memcpy(codes + position * units, code, code_bytes);
      return;
    case ListForm::kBytes:
      for (size_t part = 0; part < units; ++part) {
        codes[(block * units + part) * kListBlock + lane] = code[part];
      }
      return;
    case ListForm::kNibbles:
      std::byte* const to = codes + block * units * kGroupBytes;
      for (size_t part = 0; part < 2 * code_bytes; ++part) {
        const std::byte value =
            part % 2 == 0 ? code[part / 2] & std::byte{15} : code[part / 2] >> 4;
        const size_t at = kernels->nibble(part, lane);
        std::byte& byte = to[at / 2];
        byte = at % 2 == 0 ? (byte & std::byte{0xF0}) | value
                           : (byte & std::byte{0x0F}) | (value << 4);
      }
  }
}

void IvfLayout::Get(const std::byte* codes, size_t position, std::byte* code) const {
  const size_t block = position / kListBlock, lane = position % kListBlock;
  switch (form) {
    case ListForm::kRows:
      std::memcpy(code, codes + position * units, code_bytes);
      return;
    case ListForm::kBytes:
      for (size_t part = 0; part < units; ++part) {
        code[part] = codes[(block * units + part) * kListBlock + lane];
      }
      return;
    case ListForm::kNibbles:
      const std::byte* const from = codes + block * units * kGroupBytes;
      std::fill_n(code, code_bytes, std::byte{0});
      for (size_t part = 0; part < 2 * code_bytes; ++part) {
        const size_t at = kernels->nibble(part, lane);
        const std::byte value = from[at / 2] >> (at % 2 * 4) & std::byte{15};
        code[part / 2] |= value << (part % 2 * 4);
      }
  }
}

IvfLists::IvfLists(size_t count, const IvfLayout& layout)
    : count_(count),
      layout_(layout),
      lists_(std::make_unique<std::atomic<const IvfList*>[]>(count)) {}

IvfLists::~IvfLists() {
  for (size_t i = 0; i < count_; ++i) delete lists_[i].load(std::memory_order_relaxed);
}

void IvfLists::Replace(size_t list, std::unique_ptr<IvfList> changed) {
  std::unique_ptr<const IvfList> old(lists_[list].load(std::memory_order_relaxed));
  if (changed != nullptr) bytes_.fetch_add(changed->memory_bytes(), std::memory_order_relaxed);
  lists_[list].store(changed.release(), std::memory_order_release);
  if (old == nullptr) return;
  bytes_.fetch_sub(old->memory_bytes(), std::memory_order_relaxed);
  retired_bytes_ += old->memory_bytes();
  retired_.push_back(std::move(old));
}

void IvfLists::Append(const IvfEntries& entries) {
  std::vector<uint32_t> order(entries.slots.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return entries.lists[a] < entries.lists[b]; });
  const bool coded = layout_.units > 0;
  std::lock_guard lock(mutex_);
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    const uint32_t list = entries.lists[order[begin]];
    for (end = begin + 1; end < order.size() && entries.lists[order[end]] == list;) ++end;
    const IvfList* const old = lists_[list].load(std::memory_order_relaxed);
    const size_t before = old == nullptr ? 0 : old->slots.size();
    const size_t after = before + (end - begin);
    auto changed = std::make_unique<IvfList>();
    changed->slots.resize(after);
    if (coded) {
      changed->norms.resize(RoundUp(after, kListBlock), std::numeric_limits<float>::infinity());
      if (layout_.has_factors) changed->factors.resize(RoundUp(after, kListBlock), 0.0f);
      changed->codes = AlignedBytes(layout_.Bytes(after));
    }
    if (before > 0) {
      std::copy_n(old->slots.data(), before, changed->slots.data());
      if (coded) {
        std::copy_n(old->norms.data(), before, changed->norms.data());
        if (layout_.has_factors) std::copy_n(old->factors.data(), before, changed->factors.data());
        std::memcpy(changed->codes.data(), old->codes.data(), old->codes.size());
      }
    }
    for (size_t i = begin; i < end; ++i) {
      const size_t position = before + (i - begin);
      changed->slots[position] = entries.slots[order[i]];
      if (!coded) continue;
      changed->norms[position] = entries.norms[order[i]];
      if (layout_.has_factors) changed->factors[position] = entries.factors[order[i]];
      layout_.Put(changed->codes.data(), position,
                  entries.codes.data() + order[i] * layout_.code_bytes);
    }
    Replace(list, std::move(changed));
  }
}

void IvfLists::Remove(std::span<const uint32_t> slots, std::span<const uint32_t> lists) {
  std::vector<std::pair<uint32_t, uint32_t>> order;
  order.reserve(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) order.emplace_back(lists[i], slots[i]);
  std::sort(order.begin(), order.end());
  const bool coded = layout_.units > 0;
  std::vector<std::byte> code(layout_.code_bytes);
  std::lock_guard lock(mutex_);
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    const uint32_t list = order[begin].first;
    for (end = begin + 1; end < order.size() && order[end].first == list;) ++end;
    const IvfList* const old = lists_[list].load(std::memory_order_relaxed);
    if (old == nullptr) continue;
    const auto goes = [&](uint32_t slot) {
      return std::binary_search(order.begin() + static_cast<ptrdiff_t>(begin),
                                order.begin() + static_cast<ptrdiff_t>(end), std::pair(list, slot));
    };
    // The last ones that stay move into the holes.
    std::vector<uint32_t> kept = old->slots;
    std::vector<std::pair<size_t, size_t>> moves;  // to, from
    for (size_t i = 0; i < kept.size(); ++i) {
      if (!goes(kept[i])) continue;
      while (kept.size() > i + 1 && goes(kept.back())) kept.pop_back();
      if (kept.size() > i + 1) {
        kept[i] = kept.back();
        moves.emplace_back(i, kept.size() - 1);
      }
      kept.pop_back();
    }
    if (kept.empty()) {
      Replace(list, nullptr);
      continue;
    }
    auto changed = std::make_unique<IvfList>();
    if (coded) {
      const size_t count = kept.size(), padded = RoundUp(count, kListBlock);
      changed->norms.assign(old->norms.begin(),
                            old->norms.begin() + static_cast<ptrdiff_t>(padded));
      if (layout_.has_factors) {
        changed->factors.assign(old->factors.begin(),
                                old->factors.begin() + static_cast<ptrdiff_t>(padded));
        for (const auto& [to, from] : moves) changed->factors[to] = old->factors[from];
        std::fill(changed->factors.begin() + static_cast<ptrdiff_t>(count), changed->factors.end(),
                  0.0f);
      }
      changed->codes = AlignedBytes(layout_.Bytes(count));
      std::memcpy(changed->codes.data(), old->codes.data(), layout_.Bytes(count));
      for (const auto& [to, from] : moves) {
        changed->norms[to] = old->norms[from];
        layout_.Get(old->codes.data(), from, code.data());
        layout_.Put(changed->codes.data(), to, code.data());
      }
      std::fill(code.begin(), code.end(), std::byte{0});
      for (size_t i = count; i < padded; ++i) {
        changed->norms[i] = std::numeric_limits<float>::infinity();
        layout_.Put(changed->codes.data(), i, code.data());
      }
    }
    changed->slots = std::move(kept);
    Replace(list, std::move(changed));
  }
}

void IvfLists::Reclaim(Readers& readers, bool all) {
  std::vector<std::unique_ptr<const IvfList>> retired;
  {
    std::lock_guard lock(mutex_);
    if (retired_.empty() || (!all && retired_bytes_ < kRetiredBytes)) return;
    retired.swap(retired_);
    retired_bytes_ = 0;
  }
  readers.Wait();
}

}  // namespace rag
