// IndexBase: what the kinds of index do alike on their Slots.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "index/vector/slots.h"
#include "index/vector/snapshot.h"
#include "index/vector/write_gate.h"
#include "index/vector_index.h"

namespace rag {

class IndexBase : public VectorIndex {
 public:
  Result<std::vector<std::vector<Neighbor>>> Search(MatrixView queries,
                                                    const SearchOptions& options) const override;
  bool Contains(uint64_t id) const override { return slots_.Contains(id); }
  Status GetVector(uint64_t id, std::span<float> out) const override {
    return slots_.GetVector(id, out);
  }
  std::vector<uint64_t> Ids() const override { return slots_.Ids(); }
  size_t size() const override { return slots_.size(); }
  size_t disk_bytes() const override { return slots_.disk_bytes(); }
  Status CheckRoom(size_t budget_bytes) const override;
  const VectorIndexOptions& options() const override { return options_; }

 protected:
  IndexBase(const VectorIndexOptions& options, size_t link_words, const Runtime& runtime)
      : options_(options),
        runtime_(runtime),
        slots_(options.dim, options.metric, options.element, link_words, runtime) {}

  // Search after the checks; queries as Slots::PrepareQueries gives them.
  virtual std::vector<std::vector<Neighbor>> SearchPrepared(const Matrix& queries,
                                                            const SearchOptions& options) const = 0;

  // Search of a group of queries, ranges included.
  std::vector<std::vector<Neighbor>> SearchGroup(const Matrix& queries,
                                                 const SearchOptions& options) const;

  // What a kind adds to the slots in a snapshot.
  struct Extras {
    std::span<const uint8_t> levels;
    std::span<const uint32_t> upper;
    std::span<const char> codec;
    const Arena* links = nullptr;
    const Arena* codes = nullptr;
  };
  // Caller holds gate_ exclusively.
  Status SaveSlots(const std::string& path, SnapshotHeader header, const Extras& extras) const;
  // Checks sections 0, 1, the rows' checksums and the blocks, fills slots_ with them, and codes
  // where it is not null (room for all slots is made in it). with_links: the slots have any. coded:
  // what was saved is searched over codes, so that its rows may stay on disk.
  Status LoadSlots(const SnapshotFile& file, bool with_links, Arena* codes, bool coded);
  // Moves the rows to disk when that is asked for and they are not there. As Slots::MoveRowsToDisk.
  Status PlaceRows();

  const VectorIndexOptions options_;
  const Runtime& runtime_;
  Slots slots_;
  mutable WriteGate gate_;
};

std::unique_ptr<VectorIndex> MakeFlatIndex(const VectorIndexOptions& options,
                                           const Runtime& runtime);
Result<VectorIndex::Loaded> LoadFlatIndex(const SnapshotFile& file,
                                          const VectorIndexOptions& options,
                                          const Runtime& runtime);
std::unique_ptr<VectorIndex> MakeHnswIndex(const VectorIndexOptions& options,
                                           const Runtime& runtime);
Result<VectorIndex::Loaded> LoadHnswIndex(const SnapshotFile& file,
                                          const VectorIndexOptions& options,
                                          const Runtime& runtime);

std::unique_ptr<VectorIndex> MakeIvfIndex(const VectorIndexOptions& options,
                                          const Runtime& runtime);
Result<VectorIndex::Loaded> LoadIvfIndex(const SnapshotFile& file,
                                         const VectorIndexOptions& options, const Runtime& runtime);

}  // namespace rag
