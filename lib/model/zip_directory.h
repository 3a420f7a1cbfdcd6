// Where the records of a zip file lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lib/base/status.h"

namespace rag {

struct ZipRecord {
  std::string_view name;
  std::span<const std::byte> bytes;  // as they lie in the file
  uint16_t method = 0;               // by which they are compressed; 0: not at all
};

// The records of the file, sorted by name: views of `bytes`. The directory at the end is what
// counts; each record's own header has to agree in name and method. Checksums are not compared:
// of weights that would read all of them, and PyTorch can be told to write none.
// Format: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5, with zip64; a comment, several disks,
// encryption, bytes before the first record and records that overlap are refused.
// Errors: data_loss, invalid_argument, unsupported (encryption) and resource_exhausted, each
// naming the byte or the record.
Result<std::vector<ZipRecord>> ReadZipDirectory(std::span<const std::byte> bytes);

// Null when there is none of that name.
const ZipRecord* FindRecord(std::span<const ZipRecord> sorted, std::string_view name);

}  // namespace rag
