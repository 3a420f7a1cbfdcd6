// Flat: every vector is compared. Exact, and the ground truth of everything else.
#include "index/vector/index_base.h"

namespace rag {
namespace {

class FlatIndex : public IndexBase {
 public:
  FlatIndex(const VectorIndexOptions& options, const Runtime& runtime)
      : IndexBase(options, 0, runtime) {}

  Status Add(std::span<const uint64_t> ids, MatrixView vectors,
             const CancelToken* cancel) override {
    RAG_RETURN_IF_ERROR(slots_.CheckAdd(ids, vectors));
    RAG_RETURN_IF_ERROR(CheckRoom(options_.memory_budget_bytes));
    std::vector<uint32_t> replaced;
    Status status;
    const auto lock = gate_.Shared();
    for (size_t row = 0; row < ids.size() && status.ok(); ++row) {
      if (cancel != nullptr && cancel->cancelled()) {
        status = CancelledError("adding was cancelled after ", row, " of ", ids.size(), " vectors");
        break;
      }
      Result<uint32_t> slot = slots_.Allocate(ids[row], vectors.row(row));
      if (!slot.ok()) {
        status = slot.status();
        break;
      }
      const uint32_t old = slots_.Publish(*slot);
      if (old != kNoSlot) replaced.push_back(old);
    }
    slots_.Free(replaced);
    return status;
  }

  Result<size_t> Remove(std::span<const uint64_t> ids) override {
    const auto lock = gate_.Exclusive();
    const std::vector<uint32_t> slots = slots_.Take(ids);
    slots_.Free(slots);
    return slots.size();
  }

  size_t memory_bytes() const override { return slots_.memory_bytes(); }

  Status Save(const std::string& path, uint64_t tag) const override {
    const auto lock = gate_.Exclusive();
    return SaveSlots(path, MakeSnapshotHeader(options_, tag), {});
  }

  Status LoadFrom(const SnapshotFile& file) { return LoadSlots(file, false, nullptr, false); }

  Status Verify() const override {
    const auto lock = gate_.Exclusive();
    RAG_RETURN_IF_ERROR(slots_.Verify());
    return slots_.ReadRows();
  }

 protected:
  std::vector<std::vector<Neighbor>> SearchPrepared(const Matrix& queries,
                                                    const SearchOptions& options) const override {
    return slots_.Exact(queries, options.k, options.filter);
  }
};

}  // namespace

std::unique_ptr<VectorIndex> MakeFlatIndex(const VectorIndexOptions& options,
                                           const Runtime& runtime) {
  return std::make_unique<FlatIndex>(options, runtime);
}

Result<VectorIndex::Loaded> LoadFlatIndex(const SnapshotFile& file,
                                          const VectorIndexOptions& options,
                                          const Runtime& runtime) {
  auto index = std::make_unique<FlatIndex>(options, runtime);
  RAG_RETURN_IF_ERROR(index->LoadFrom(file));
  return VectorIndex::Loaded{std::move(index), file.header().tag};
}

}  // namespace rag
