// DiskRows: the rows of an index whose memory is kept for codes and links.
//
// What was there when the index was saved or opened is read from that file, which never changes;
// rows that came since lie in a file without a name, which goes with the process however it ends. A
// removed row's bytes are overwritten in the latter at once, and are gone from the former when the
// index is saved again. Both are read with pread, not mapped: a full or broken disk is an error and
// no signal, and what is read is not this process's memory but the system's cache, which gives way.
//
// Each row is compared with its checksum whenever it is read. One that cannot be read, or is not
// what was written, is read as zeros, and told to RowFailure.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "index/vector/chunked.h"
#include "index/vector/readers.h"
#include "index/vector/row_failure.h"
#include "lib/base/status.h"

namespace rag {

class DiskRows {
 public:
  // The file of new rows is made in `folder` ("": the system's for temporary files). Errors:
  // io_error naming it.
  static Result<std::unique_ptr<DiskRows>> Create(size_t row_bytes, const std::string& folder,
                                                  RowFailure& failure);
  ~DiskRows();

  // Rows [hashes.size() * row_bytes] from `offset` on in the file at `path` are those of the slots
  // from 0 on. Before others use this object. Errors: io_error.
  Status Open(const std::string& path, uint64_t offset, std::span<const uint32_t> hashes);
  // The same for a file that holds every row that is here, just written; for readers at any time.
  // Waits for those that still read the old files. On failure everything is as before.
  Status SwitchTo(const std::string& path, uint64_t offset, Readers& readers);

  // Threads: different slots at once. Errors: resource_exhausted when the disk is full; io_error.
  Status Write(uint32_t slot, const std::byte* row);
  // The slot's row is read by nobody any more. Errors: as Write.
  Status Erase(uint32_t slot);
  // out [slots.size() * row_bytes]. What is not in the system's cache is asked for at once, then
  // waited for. Threads: any.
  void Read(std::span<const uint32_t> slots, std::byte* out) const;
  // Of a row that was written, or 0.
  uint32_t hash(uint32_t slot) const { return hashes_[slot]; }

 private:
  struct Files;
  DiskRows(size_t row_bytes, std::string folder, RowFailure& failure);
  Result<std::unique_ptr<Files>> MakeFiles(const std::string& base, uint64_t offset) const;

  const size_t row_bytes_;
  const std::string folder_;
  Chunked<uint32_t> hashes_;
  std::atomic<Files*> files_{nullptr};
  RowFailure& failure_;
};

}  // namespace rag
