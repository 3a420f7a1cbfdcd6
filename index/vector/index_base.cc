#include "index/vector/index_base.h"

#include <algorithm>
#include <cstring>
#include <mutex>

namespace rag {

Result<std::vector<std::vector<Neighbor>>> IndexBase::Search(MatrixView queries,
                                                             const SearchOptions& options) const {
  RAG_ASSIGN_OR_RETURN(const Matrix prepared, slots_.PrepareQueries(queries, options.k));
  return SearchPrepared(prepared, options);
}

Status IndexBase::SaveSlots(const std::string& path, SnapshotHeader header,
                            std::span<const uint8_t> levels,
                            std::span<const uint32_t> upper) const {
  const uint32_t count = slots_.end();
  std::vector<uint64_t> ids(count, 0);
  std::vector<uint8_t> live(count, 0);
  for (uint32_t slot = 0; slot < count; ++slot) {
    if (!slots_.IsLive(slot)) continue;
    live[slot] = 1;
    ids[slot] = slots_.id(slot);
  }
  header.slots = count;
  header.record_bytes = slots_.record_bytes();
  header.block_records = slots_.block_records();
  std::vector<std::span<const std::byte>> sections = {std::as_bytes(std::span(ids)),
                                                      std::as_bytes(std::span(live)),
                                                      std::as_bytes(levels), std::as_bytes(upper)};
  for (size_t first = 0; first < count; first += slots_.block_records()) {
    sections.push_back(slots_.BlockBytes(first / slots_.block_records(),
                                         std::min(slots_.block_records(), count - first)));
  }
  return WriteSnapshot(path, header, sections);
}

Status IndexBase::LoadSlots(const SnapshotFile& file) {
  const SnapshotHeader& header = file.header();
  if (header.record_bytes != slots_.record_bytes() ||
      header.block_records != slots_.block_records()) {
    return file.Damaged(
        StrCat("records of ", header.record_bytes, " bytes, ", header.block_records, " a block"));
  }
  const uint64_t count = header.slots;
  const uint64_t blocks = (count + header.block_records - 1) / header.block_records;
  if (count > kMaxChunks * header.block_records ||
      header.section_count != kFixedSections + blocks ||
      file.section(0).size() != count * sizeof(uint64_t) || file.section(1).size() != count) {
    return file.Damaged(StrCat("sections that do not fit ", count, " slots"));
  }
  for (uint64_t block = 0; block < blocks; ++block) {
    const uint64_t records = std::min(header.block_records, count - block * header.block_records);
    if (file.section(kFixedSections + block).size() != records * header.record_bytes) {
      return file.Damaged(StrCat("the size of block ", block));
    }
  }
  RAG_RETURN_IF_ERROR(file.CheckSection(0));
  RAG_RETURN_IF_ERROR(file.CheckSection(1));
  std::vector<uint64_t> ids(count);
  std::vector<uint8_t> live(count);
  if (count > 0) {
    std::memcpy(ids.data(), file.section(0).data(), file.section(0).size());
    std::memcpy(live.data(), file.section(1).data(), file.section(1).size());
  }
  RAG_RETURN_IF_ERROR(slots_.Restore(ids, live));

  std::mutex status_mutex;  // guards status
  Status status;
  runtime_.pool().ParallelFor(blocks, 1, [&](size_t begin, size_t end, int) {
    for (size_t block = begin; block < end; ++block) {
      const size_t section = kFixedSections + block;
      Status checked = file.CheckSection(section);
      if (!checked.ok()) {
        std::lock_guard lock(status_mutex);
        status = std::move(checked);
        return;
      }
      std::memcpy(slots_.MutableBlock(block), file.section(section).data(),
                  file.section(section).size());
    }
  });
  return status;
}

namespace {

Status CheckOptions(const VectorIndexOptions& options) {
  if (options.dim < 1 || options.dim > kMaxDim) {
    return InvalidArgumentError("dim is ", options.dim, ", not between 1 and ", kMaxDim);
  }
  if (options.metric != Metric::kInnerProduct && options.metric != Metric::kCosine &&
      options.metric != Metric::kL2) {
    return InvalidArgumentError("unknown metric ", static_cast<int>(options.metric));
  }
  if (options.kind == IndexKind::kFlat) return OkStatus();
  if (options.kind != IndexKind::kHnsw) {
    return InvalidArgumentError("unknown index kind ", static_cast<int>(options.kind));
  }
  const HnswOptions& hnsw = options.hnsw;
  if (hnsw.m < 2 || hnsw.m > 128) {
    return InvalidArgumentError("hnsw.m is ", hnsw.m, ", not between 2 and 128");
  }
  if (hnsw.ef_construction < 1 || hnsw.ef_construction > 65'535) {
    return InvalidArgumentError("hnsw.ef_construction is ", hnsw.ef_construction,
                                ", not between 1 and 65535");
  }
  if (hnsw.ef_search < 1 || hnsw.ef_search > 65'535) {
    return InvalidArgumentError("hnsw.ef_search is ", hnsw.ef_search, ", not between 1 and 65535");
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<VectorIndex>> VectorIndex::Create(const VectorIndexOptions& options,
                                                         const Runtime& runtime) {
  RAG_RETURN_IF_ERROR(CheckOptions(options));
  return options.kind == IndexKind::kFlat ? MakeFlatIndex(options, runtime)
                                          : MakeHnswIndex(options, runtime);
}

Result<VectorIndex::Loaded> VectorIndex::Load(const std::string& path,
                                              const VectorIndexOptions& options,
                                              const Runtime& runtime) {
  RAG_RETURN_IF_ERROR(CheckOptions(options));
  RAG_ASSIGN_OR_RETURN(const SnapshotFile file, SnapshotFile::Open(path, options));
  return options.kind == IndexKind::kFlat ? LoadFlatIndex(file, options, runtime)
                                          : LoadHnswIndex(file, options, runtime);
}

}  // namespace rag
