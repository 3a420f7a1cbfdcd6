// The file of a saved index (little-endian):
//   SnapshotHeader
//   SnapshotSection[section_count]: bytes and hash of each section
//   the sections, one after another without gaps:
//     0 ids [slots] u64   1 live [slots] u8   2 levels [slots] u8   3 upper links, u32   4 codec
//     5 ... the blocks of the rows, then those of the links, then those of the codes, as they lie
//     in the arenas
// Every byte is covered by a hash: the header by its own, the table by the header's, a section by
// the table's. Sections 2, 3 and 4 are empty where an index has no graph or no codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "index/vector_index.h"
#include "lib/base/file.h"

namespace rag {

inline constexpr uint32_t kSnapshotVersion = 2;
inline constexpr size_t kFixedSections = 5;

struct SnapshotHeader {
  char magic[8] = {'R', 'A', 'G', 'V', 'E', 'C', '\r', '\n'};
  uint32_t version = kSnapshotVersion;
  uint32_t kind = 0;
  uint32_t metric = 0;
  uint32_t dim = 0;
  uint32_t element = 0;
  uint32_t codes = 0;
  uint64_t code_dims = 0;
  uint64_t tag = 0;
  uint64_t m = 0;
  uint64_t ef_construction = 0;
  uint64_t seed = 0;
  uint64_t slots = 0;
  uint64_t entry = 0;  // of the graph, as HnswIndex packs it
  uint64_t section_count = 0;
  uint64_t file_bytes = 0;
  uint64_t table_hash = 0;
  uint64_t header_hash = 0;  // of everything before it
};
static_assert(sizeof(SnapshotHeader) == 120);

struct SnapshotSection {
  uint64_t bytes = 0;
  uint64_t hash = 0;
};

// The header's fields that follow from the options.
SnapshotHeader MakeSnapshotHeader(const VectorIndexOptions& options, uint64_t tag);

// Writes header and sections to a temporary file, syncs it and renames it to `path`; fills in the
// header's counts and hashes. Errors: io_error and the like, naming the file; the old file stays.
Status WriteSnapshot(const std::string& path, SnapshotHeader header,
                     std::span<const std::span<const std::byte>> sections);

// A mapped snapshot whose header and table are checked, but not yet its sections.
class SnapshotFile {
 public:
  // Errors: data_loss; failed_precondition when the version is newer or the options differ.
  static Result<SnapshotFile> Open(const std::string& path, const VectorIndexOptions& options);

  const SnapshotHeader& header() const { return header_; }
  std::span<const std::byte> section(size_t i) const { return sections_[i]; }
  // Errors: data_loss naming the section.
  Status CheckSection(size_t i) const;
  Status Damaged(std::string_view what) const;

 private:
  SnapshotHeader header_;
  MappedFile file_;
  std::vector<std::span<const std::byte>> sections_;
  std::vector<uint64_t> hashes_;
};

}  // namespace rag
