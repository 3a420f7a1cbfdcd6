// IvfLists: the inverted lists of one training. Searches read a list without a lock: a list that
// can be seen never changes, a writer puts a changed copy in its place and frees the old one when
// the searches that may see it have left.
//
// A copy for each change costs little where it is made: lists are short (about sqrt(n) / 4
// vectors), an Add copies a list once for all of its rows, and finding a row's list takes longer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "index/vector/readers.h"
#include "lib/kernels/list_scan.h"

namespace rag {

// Bytes at a 64-byte boundary, zero at first.
class AlignedBytes {
 public:
  explicit AlignedBytes(size_t size = 0);
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t size_ = 0;
};

// How the codes of a list lie; see lib/kernels/list_scan.h.
struct IvfLayout {
  ListForm form = ListForm::kRows;
  size_t units = 0;       // 0: no codes
  size_t code_bytes = 0;  // of one vector, as the codec gives it
  bool has_factors = false;
  const ListKernels* kernels = nullptr;

  // Bytes that `count` vectors take.
  size_t Bytes(size_t count) const;
  void Put(std::byte* codes, size_t position, const std::byte* code) const;
  void Get(const std::byte* codes, size_t position, std::byte* code) const;
};

struct IvfList {
  std::vector<uint32_t> slots;
  // With codes: the term of each vector's distance that no query changes; infinite from the list's
  // end to a multiple of kListBlock.
  std::vector<float> norms;
  std::vector<float> factors;  // as many, zero from the list's end; or none
  AlignedBytes codes;

  size_t memory_bytes() const {
    return slots.capacity() * sizeof(uint32_t) +
           (norms.capacity() + factors.capacity()) * sizeof(float) + codes.size();
  }
};

// Rows to be added, ordered as the caller likes.
struct IvfEntries {
  std::vector<uint32_t> lists;
  std::vector<uint32_t> slots;
  std::vector<float> norms;      // with codes
  std::vector<float> factors;    // where the layout has any
  std::vector<std::byte> codes;  // [rows, code_bytes]
};

class IvfLists {
 public:
  IvfLists(size_t count, const IvfLayout& layout);
  ~IvfLists();
  IvfLists(const IvfLists&) = delete;
  IvfLists& operator=(const IvfLists&) = delete;

  size_t count() const { return count_; }
  const IvfLayout& layout() const { return layout_; }
  // Null when the list is empty. Valid until the caller has left the readers.
  const IvfList* Get(size_t list) const { return lists_[list].load(std::memory_order_acquire); }

  // Appends the entries to their lists.
  void Append(const IvfEntries& entries);
  // Takes slots out of their lists; `lists` names the list of each.
  void Remove(std::span<const uint32_t> slots, std::span<const uint32_t> lists);
  // Waits for the searches that may see what was replaced and frees it; with `all` false only when
  // much has come together. The caller has not entered `readers`.
  void Reclaim(Readers& readers, bool all);
  size_t memory_bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  void Replace(size_t list, std::unique_ptr<IvfList> changed);

  const size_t count_;
  const IvfLayout layout_;
  std::unique_ptr<std::atomic<const IvfList*>[]> lists_;
  std::atomic<size_t> bytes_{0};
  std::mutex mutex_;  // guards changes of lists_, retired_ and retired_bytes_
  std::vector<std::unique_ptr<const IvfList>> retired_;
  size_t retired_bytes_ = 0;
};

}  // namespace rag
