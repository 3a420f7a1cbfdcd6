// The file of a saved index (little-endian):
//   SnapshotHeader
//   SnapshotSection[section_count]: bytes and hash of each section
//   the sections, each from a multiple of kSectionAlign on, with zeros between them:
//     0 ids [slots] u64   1 live [slots] u8   2 levels [slots] u8   3 upper links, u32   4 codec
//     5 rows [slots]      6 a checksum of each row [slots] u32
//     7 ... the blocks of the links, then those of the codes, as they lie in the arenas
// Every byte is covered by a hash: the header by its own, the table by the header's, a section by
// the table's, except that each row has one of its own in section 6, so that opening need not read
// them. Sections 2, 3 and 4 are empty where an index has no graph or no codes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "index/vector_index.h"
#include "lib/base/file.h"

namespace rag {

inline constexpr uint32_t kSnapshotVersion = 3;
inline constexpr size_t kRowsSection = 5;
inline constexpr size_t kRowHashesSection = 6;
inline constexpr size_t kFixedSections = 7;
inline constexpr size_t kSectionAlign = 64;

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

// The rows of an index that is being saved, which need not lie in memory.
struct SnapshotRows {
  using Put = std::function<Status(std::span<const std::byte>)>;
  uint64_t bytes = 0;
  // Gives all of them to `put`, in order.
  std::function<Status(const Put& put)> write;
};

// Writes header and sections, of which kRowsSection is `rows` and given empty, to a temporary file,
// syncs it and renames it to `path`; fills in the header's counts and hashes. Returns where the
// rows lie in it. Errors: resource_exhausted when the disk is full, io_error and the like, naming
// the file, and those of `rows`; the old file stays.
Result<uint64_t> WriteSnapshot(const std::string& path, SnapshotHeader header,
                               std::span<const std::span<const std::byte>> sections,
                               const SnapshotRows& rows);

// A mapped snapshot whose header and table are checked, but not yet its sections.
class SnapshotFile {
 public:
  // Errors: data_loss; failed_precondition when the version is newer or the options differ.
  static Result<SnapshotFile> Open(const std::string& path, const VectorIndexOptions& options);

  const SnapshotHeader& header() const { return header_; }
  std::span<const std::byte> section(size_t i) const { return sections_[i]; }
  // Where section i begins in the file.
  uint64_t offset(size_t i) const {
    return static_cast<uint64_t>(sections_[i].data() - file_->bytes().data());
  }
  const std::shared_ptr<const MappedFile>& file() const { return file_; }
  // Not for kRowsSection. Errors: data_loss naming the section.
  Status CheckSection(size_t i) const;
  Status Damaged(std::string_view what) const;

 private:
  SnapshotHeader header_;
  std::shared_ptr<const MappedFile> file_;
  std::vector<std::span<const std::byte>> sections_;
  std::vector<uint64_t> hashes_;
};

}  // namespace rag
