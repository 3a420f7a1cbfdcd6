#include "index/vector/hnsw_index.h"

#include <cmath>
#include <utility>

#include "index/vector/walk_scratch.h"

namespace rag {

HnswIndex::HnswIndex(const VectorIndexOptions& options, const Runtime& runtime)
    : IndexBase(options, 2 * options.hnsw.m, runtime),
      m_(options.hnsw.m),
      level_scale_(1.0 / std::log(static_cast<double>(options.hnsw.m))) {
  StoreEntry({});
}

HnswIndex::~HnswIndex() = default;

HnswIndex::Entry HnswIndex::LoadEntry() const {
  const uint64_t packed = entry_.load(std::memory_order_acquire);
  return {static_cast<uint32_t>(packed), static_cast<uint32_t>(packed >> 32)};
}

void HnswIndex::StoreEntry(Entry entry) {
  entry_.store(uint64_t{entry.level} << 32 | entry.slot, std::memory_order_release);
}

Status HnswIndex::Add(std::span<const uint64_t> ids, MatrixView vectors,
                      const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(slots_.CheckAdd(ids, vectors));
  RAG_RETURN_IF_ERROR(CheckRoom(options_.memory_budget_bytes));
  RAG_RETURN_IF_ERROR(LearnCodes(vectors));
  std::mutex mutex;  // guards status
  Status status;
  std::atomic<bool> stop{false};
  std::atomic<bool> replaced{false};
  const auto add = [&](size_t row) {
    if (stop.load(std::memory_order_relaxed)) return;
    Status problem;
    if (cancel != nullptr && cancel->cancelled()) {
      problem = CancelledError("adding was cancelled within ", ids.size(), " vectors");
    } else {
      // Row by row, so that a Remove need not wait for all of them.
      const auto gate = gate_.Shared();
      Result<uint32_t> slot = slots_.Allocate(ids[row], vectors.row(row));
      if (slot.ok() && owned_codes_ != nullptr) {
        const Status made = EncodeNode(*slot);
        if (!made.ok()) slot = made;
      }
      if (slot.ok()) {
        const ScratchHandle scratch(*this);
        Insert(*slot, *scratch.scratch);
        const uint32_t old = slots_.Publish(*slot);
        if (old == kNoSlot) return;
        replaced.store(true, std::memory_order_relaxed);
        std::lock_guard lock(removed_mutex_);
        removed_.push_back(old);
        return;
      }
      problem = slot.status();
    }
    stop.store(true, std::memory_order_relaxed);
    std::lock_guard lock(mutex);
    status = std::move(problem);
  };
  // The pool does one loop at a time: a long one in pieces, so that others get their turn.
  constexpr size_t kPiece = 256;
  for (size_t first = 0; first < ids.size() && !stop; first += kPiece) {
    const size_t count = std::min(kPiece, ids.size() - first);
    status = CheckRoom(options_.memory_budget_bytes);
    if (!status.ok()) break;
    if (count < 4) {
      for (size_t i = 0; i < count; ++i) add(first + i);
      continue;
    }
    runtime_.pool().ParallelFor(count, 2, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) add(first + i);
    });
  }
  if (replaced) {
    const auto gate = gate_.Exclusive();
    DrainRemoved();
  }
  return status.ok() ? slots_.CheckRows() : status;
}

Result<size_t> HnswIndex::Remove(std::span<const uint64_t> ids) {
  const auto gate = gate_.Exclusive();
  const std::vector<uint32_t> taken = slots_.Take(ids);
  {
    std::lock_guard lock(removed_mutex_);
    removed_.insert(removed_.end(), taken.begin(), taken.end());
  }
  DrainRemoved();
  return taken.size();
}

size_t HnswIndex::memory_bytes() const {
  const Readers::Guard guard(slots_.readers());  // the codes may be learned anew meanwhile
  const NodeCodes* const codes = this->codes();
  const size_t code_bytes =
      codes == nullptr ? 0
                       : slots_.end() * codes->codec().code_bytes() + codes->codec().memory_bytes();
  const size_t incoming = incoming_kept_ ? slots_.end() * Capacity(0) * sizeof(uint32_t) : 0;
  return slots_.memory_bytes() + code_bytes + slots_.end() * sizeof(Node) + incoming +
         upper_bytes_.load(std::memory_order_relaxed);
}

std::unique_ptr<VectorIndex> MakeHnswIndex(const VectorIndexOptions& options,
                                           const Runtime& runtime) {
  return std::make_unique<HnswIndex>(options, runtime);
}

Result<VectorIndex::Loaded> LoadHnswIndex(const SnapshotFile& file,
                                          const VectorIndexOptions& options,
                                          const Runtime& runtime) {
  auto index = std::make_unique<HnswIndex>(options, runtime);
  RAG_RETURN_IF_ERROR(index->LoadFrom(file));
  return VectorIndex::Loaded{std::move(index), file.header().tag};
}

}  // namespace rag
