#include "lib/model/zip_directory.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "lib/text/utf8.h"

namespace rag {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kRecordSignature = 0x04034B50;
constexpr uint32_t kEntrySignature = 0x02014B50;
constexpr uint32_t kEndSignature = 0x06054B50;
constexpr uint32_t kEnd64Signature = 0x06064B50;
constexpr uint32_t kLocatorSignature = 0x07064B50;
constexpr size_t kRecordBytes = 30;
constexpr size_t kEntryBytes = 46;
constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kLocatorBytes = 20;
constexpr uint16_t kEncrypted = 1;  // of the flags
constexpr uint16_t kZip64Extra = 1;
// What stands in a field whose value has a wider one elsewhere.
constexpr uint16_t kElsewhere16 = 0xFFFF;
constexpr uint32_t kElsewhere32 = 0xFFFFFFFF;
// Of an optimizer's state and a sharded model's weights there are some ten thousand records.
constexpr uint64_t kMaxRecords = uint64_t{1} << 18;
constexpr size_t kMaxNameBytes = 1024;

template <class T>
T Load(std::span<const std::byte> bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Names are shown in errors.
Status CheckName(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return InvalidArgumentError("its name has ", name.size(), " bytes, not 1 to ", kMaxNameBytes);
  }
  const auto control = [](char letter) {
    return static_cast<unsigned char>(letter) < ' ' || letter == '\x7F';
  };
  if (!IsValidUtf8(name) || std::any_of(name.begin(), name.end(), control)) {
    return InvalidArgumentError("its name is no line of UTF-8");
  }
  return OkStatus();
}

// Where the directory lies.
struct Directory {
  uint64_t records = 0;
  uint64_t bytes = 0;
  uint64_t begin = 0;
};

Status CheckDisks(uint32_t disk, uint32_t first_disk, uint64_t here, uint64_t all, size_t at) {
  if (disk == 0 && first_disk == 0 && here == all) return OkStatus();
  return InvalidArgumentError("the zip directory's end at byte ", at, " is one of several disks");
}

Result<Directory> FindDirectory(std::span<const std::byte> bytes) {
  if (bytes.size() < kEndBytes) {
    return DataLossError("file of ", bytes.size(), " bytes is too short for a zip file");
  }
  const size_t end = bytes.size() - kEndBytes;
  if (Load<uint32_t>(bytes, end) != kEndSignature || Load<uint16_t>(bytes, end + 20) != 0) {
    return DataLossError(
        "the file does not end with a zip directory: it is cut off, or no zip file");
  }
  Directory found{Load<uint16_t>(bytes, end + 10), Load<uint32_t>(bytes, end + 12),
                  Load<uint32_t>(bytes, end + 16)};
  RAG_RETURN_IF_ERROR(CheckDisks(Load<uint16_t>(bytes, end + 4), Load<uint16_t>(bytes, end + 6),
                                 Load<uint16_t>(bytes, end + 8), found.records, end));
  uint64_t last = end;  // where the directory ends
  if (end >= kLocatorBytes && Load<uint32_t>(bytes, end - kLocatorBytes) == kLocatorSignature) {
    const size_t locator = end - kLocatorBytes;
    const uint64_t at = Load<uint64_t>(bytes, locator + 8);
    if (Load<uint32_t>(bytes, locator + 4) != 0 || Load<uint32_t>(bytes, locator + 16) > 1) {
      return InvalidArgumentError("the zip64 locator at byte ", locator,
                                  " is one of several disks");
    }
    if (at > locator || locator - at != kEnd64Bytes ||
        Load<uint32_t>(bytes, at) != kEnd64Signature ||
        Load<uint64_t>(bytes, at + 4) != kEnd64Bytes - 12) {
      return DataLossError("the zip64 locator at byte ", locator, " leads to byte ", at,
                           ", where no end of a directory lies");
    }
    const Directory wide{Load<uint64_t>(bytes, at + 32), Load<uint64_t>(bytes, at + 40),
                         Load<uint64_t>(bytes, at + 48)};
    RAG_RETURN_IF_ERROR(CheckDisks(Load<uint32_t>(bytes, at + 16), Load<uint32_t>(bytes, at + 20),
                                   Load<uint64_t>(bytes, at + 24), wide.records, at));
    const auto agree = [](uint64_t narrow, uint64_t value, uint64_t elsewhere) {
      return narrow == value || narrow == elsewhere;
    };
    if (!agree(found.records, wide.records, kElsewhere16) ||
        !agree(found.bytes, wide.bytes, kElsewhere32) ||
        !agree(found.begin, wide.begin, kElsewhere32)) {
      return DataLossError("the zip directory's ends at bytes ", at, " and ", end, " differ");
    }
    found = wide;
    last = at;
  }
  if (found.begin > last || last - found.begin != found.bytes) {
    return DataLossError("the zip directory is said to be bytes ", found.begin, " and ",
                         found.bytes, " more, and ends at ", last);
  }
  if (found.records > kMaxRecords) {
    return ResourceExhaustedError("the zip directory has ", found.records, " records, over ",
                                  kMaxRecords);
  }
  if (found.records * kEntryBytes > found.bytes) {
    return DataLossError("the zip directory of ", found.bytes, " bytes is too short for its ",
                         found.records, " records");
  }
  return found;
}

// A record as the directory tells of it.
struct Entry {
  std::string_view name;
  uint64_t packed_bytes = 0;
  uint64_t bytes = 0;
  uint64_t header = 0;  // where its own header lies
  uint16_t method = 0;
};

// Takes what has no room in the narrow fields from the extra field that has.
Status WidenEntry(std::span<const std::byte> extra, Entry& entry) {
  uint64_t* const fields[] = {&entry.bytes, &entry.packed_bytes, &entry.header};
  if (std::none_of(std::begin(fields), std::end(fields),
                   [](const uint64_t* field) { return *field == kElsewhere32; })) {
    return OkStatus();
  }
  while (extra.size() >= 4) {
    const auto id = Load<uint16_t>(extra, 0);
    const auto size = Load<uint16_t>(extra, 2);
    if (size > extra.size() - 4) break;
    std::span<const std::byte> values = extra.subspan(4, size);
    extra = extra.subspan(size_t{4} + size);
    if (id != kZip64Extra) continue;
    for (uint64_t* const field : fields) {
      if (*field != kElsewhere32) continue;
      if (values.size() < sizeof(uint64_t)) {
        return DataLossError("its zip64 sizes are cut off");
      }
      *field = Load<uint64_t>(values, 0);
      values = values.subspan(sizeof(uint64_t));
    }
    return OkStatus();
  }
  return DataLossError("its zip64 sizes are missing");
}

// `end` is where the directory begins.
Result<ZipRecord> ReadRecord(std::span<const std::byte> bytes, const Entry& entry, uint64_t end) {
  if (entry.method == 0 && entry.packed_bytes != entry.bytes) {
    return DataLossError("takes ", entry.packed_bytes, " bytes and is of ", entry.bytes);
  }
  if (entry.header > end || end - entry.header < kRecordBytes) {
    return DataLossError("its header at byte ", entry.header, " is outside the records");
  }
  const std::span<const std::byte> header = bytes.subspan(entry.header, end - entry.header);
  if (Load<uint32_t>(header, 0) != kRecordSignature) {
    return DataLossError("there is no header at byte ", entry.header);
  }
  if ((Load<uint16_t>(header, 6) & kEncrypted) != 0) return UnsupportedError("is encrypted");
  if (Load<uint16_t>(header, 8) != entry.method) {
    return DataLossError("its header at byte ", entry.header, " has another method");
  }
  const size_t name_bytes = Load<uint16_t>(header, 26);
  const size_t data = kRecordBytes + name_bytes + Load<uint16_t>(header, 28);
  if (data > header.size() || entry.packed_bytes > header.size() - data) {
    return DataLossError("its ", entry.packed_bytes, " bytes reach past the records' end at byte ",
                         end);
  }
  if (Text(header.subspan(kRecordBytes, name_bytes)) != entry.name) {
    return DataLossError("its header at byte ", entry.header, " has another name");
  }
  return ZipRecord{entry.name, header.subspan(data, entry.packed_bytes), entry.method};
}

Status CheckApart(const std::vector<std::pair<Entry, ZipRecord>>& records,
                  std::span<const std::byte> bytes) {
  std::vector<const std::pair<Entry, ZipRecord>*> by_place;
  by_place.reserve(records.size());
  for (const auto& record : records) by_place.push_back(&record);
  std::sort(by_place.begin(), by_place.end(),
            [](const auto* a, const auto* b) { return a->first.header < b->first.header; });
  uint64_t covered = 0;
  for (const auto* record : by_place) {
    const auto& [entry, found] = *record;
    if (entry.header < covered) {
      return InvalidArgumentError("record '", entry.name, "' overlaps another one at byte ",
                                  entry.header);
    }
    if (covered == 0 && entry.header != 0) {
      return InvalidArgumentError("bytes 0..", entry.header, " are before the first record");
    }
    covered = static_cast<uint64_t>(found.bytes.data() - bytes.data()) + found.bytes.size();
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<ZipRecord>> ReadZipDirectory(std::span<const std::byte> bytes) {
  RAG_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(bytes));
  std::span<const std::byte> rest = bytes.subspan(directory.begin, directory.bytes);
  std::vector<std::pair<Entry, ZipRecord>> records;
  for (uint64_t i = 0; i < directory.records; ++i) {
    const auto place = [&] {
      return StrCat("record ", i, " of the zip directory (byte ", rest.data() - bytes.data(), ")");
    };
    if (rest.size() < kEntryBytes || Load<uint32_t>(rest, 0) != kEntrySignature) {
      return DataLossError(place(), ": there is none");
    }
    const size_t name_bytes = Load<uint16_t>(rest, 28);
    const size_t extra_bytes = Load<uint16_t>(rest, 30);
    const size_t size = kEntryBytes + name_bytes + extra_bytes + Load<uint16_t>(rest, 32);
    if (size > rest.size()) {
      return DataLossError(place(), ": reaches past the directory's end");
    }
    Entry entry{Text(rest.subspan(kEntryBytes, name_bytes)), Load<uint32_t>(rest, 20),
                Load<uint32_t>(rest, 24), Load<uint32_t>(rest, 42), Load<uint16_t>(rest, 10)};
    RAG_RETURN_IF_ERROR(CheckName(entry.name).WithContext(place()));
    const std::string record = StrCat("record '", entry.name, "'");
    if ((Load<uint16_t>(rest, 8) & kEncrypted) != 0) {
      return UnsupportedError(record, ": is encrypted");
    }
    RAG_RETURN_IF_ERROR(
        WidenEntry(rest.subspan(kEntryBytes + name_bytes, extra_bytes), entry).WithContext(record));
    Result<ZipRecord> found = ReadRecord(bytes, entry, directory.begin);
    if (!found.ok()) return std::move(found).status().WithContext(record);
    records.emplace_back(entry, *found);
    rest = rest.subspan(size);
  }
  if (!rest.empty()) {
    return DataLossError("the zip directory has ", rest.size(), " bytes behind its last record");
  }
  RAG_RETURN_IF_ERROR(CheckApart(records, bytes));
  std::vector<ZipRecord> sorted;
  sorted.reserve(records.size());
  for (const auto& [entry, record] : records) sorted.push_back(record);
  std::sort(sorted.begin(), sorted.end(),
            [](const ZipRecord& a, const ZipRecord& b) { return a.name < b.name; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i].name == sorted[i - 1].name) {
      return InvalidArgumentError("record '", sorted[i].name, "' is there twice");
    }
  }
  return sorted;
}

const ZipRecord* FindRecord(std::span<const ZipRecord> sorted, std::string_view name) {
  const auto found = std::lower_bound(
      sorted.begin(), sorted.end(), name,
      [](const ZipRecord& record, std::string_view key) { return record.name < key; });
  return found != sorted.end() && found->name == name ? &*found : nullptr;
}

}  // namespace rag
