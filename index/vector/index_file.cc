// Saving and loading of what all kinds of index have.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "index/vector/index_base.h"

namespace rag {
namespace {

// Rows that are read from disk at a time while they are saved.
constexpr size_t kRowsHeld = 512;

size_t Blocks(const Arena& arena, size_t count) {
  return (count + arena.block_records() - 1) / arena.block_records();
}

size_t RecordsOf(const Arena& arena, size_t block, size_t count) {
  return std::min(arena.block_records(), count - block * arena.block_records());
}

// Rows in memory, all of them the index's own; what is free is zero.
SnapshotRows RowsInMemory(const Arena& rows, size_t count) {
  SnapshotRows out;
  out.bytes = count * rows.record_bytes();
  out.write = [&rows, count](const SnapshotRows::Put& put) -> Status {
    for (size_t block = 0; block < Blocks(rows, count); ++block) {
      RAG_RETURN_IF_ERROR(put(rows.Block(block, RecordsOf(rows, block, count))));
    }
    return OkStatus();
  };
  return out;
}

// Rows on disk; of what is free, zeros.
SnapshotRows RowsOnDisk(const Slots& slots) {
  SnapshotRows out;
  out.bytes = slots.end() * slots.rows().bytes();
  out.write = [&slots](const SnapshotRows::Put& put) -> Status {
    const std::vector<std::byte> zeros(slots.rows().bytes());
    RowBatch batch;
    std::vector<uint32_t> live;
    for (uint32_t first = 0; first < slots.end(); first += kRowsHeld) {
      const uint32_t end = std::min<uint32_t>(slots.end(), first + kRowsHeld);
      live.clear();
      for (uint32_t slot = first; slot < end; ++slot) {
        if (slots.IsLive(slot)) live.push_back(slot);
      }
      batch.Read(slots, live);
      RAG_RETURN_IF_ERROR(slots.CheckRows());
      for (uint32_t slot = first, i = 0; slot < end; ++slot) {
        const bool here = i < live.size() && live[i] == slot;
        RAG_RETURN_IF_ERROR(put({here ? batch.row(i++) : zeros.data(), slots.rows().bytes()}));
      }
    }
    return OkStatus();
  };
  return out;
}

// What was copied out of a mapping need not stay in memory: the system reads it again if anybody
// asks. Whole pages only.
void GiveBack(std::span<const std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

Status IndexBase::SaveSlots(const std::string& path, SnapshotHeader header,
                            const Extras& extras) const {
  auto& slots = const_cast<Slots&>(slots_);  // where rows lie is no property of the index
  RAG_RETURN_IF_ERROR(slots.TakeRows());
  const uint32_t count = slots_.end();
  const size_t row_bytes = slots_.rows().bytes();
  std::vector<uint64_t> ids(count, 0);
  std::vector<uint8_t> live(count, 0);
  std::vector<uint32_t> row_hashes(count);
  const DiskRows* const disk = slots_.disk();
  const auto describe = [&](size_t begin, size_t end, int) {
    const std::vector<std::byte> zeros(row_bytes);
    const uint32_t zeros_hash = RowHash(zeros.data(), row_bytes);
    for (uint32_t slot = static_cast<uint32_t>(begin); slot < end; ++slot) {
      row_hashes[slot] = zeros_hash;
      if (!slots_.IsLive(slot)) continue;
      live[slot] = 1;
      ids[slot] = slots_.id(slot);
      row_hashes[slot] = disk != nullptr ? disk->hash(slot) : RowHash(slots_.row(slot), row_bytes);
    }
  };
  if (!runtime_.pool().TryParallelFor(count, 4'096, describe)) describe(0, count, 0);
  header.slots = count;
  std::vector<std::byte> unmade;
  std::vector<std::span<const std::byte>> sections = {
      std::as_bytes(std::span(ids)),       std::as_bytes(std::span(live)),
      std::as_bytes(extras.levels),        std::as_bytes(extras.upper),
      std::as_bytes(extras.codec),         {},
      std::as_bytes(std::span(row_hashes))};
  for (const Arena* arena : {extras.links, extras.codes}) {
    if (arena == nullptr) continue;
    for (size_t block = 0; block < Blocks(*arena, count); ++block) {
      const std::span<const std::byte> made = arena->Block(block, RecordsOf(*arena, block, count));
      if (made.data() == nullptr) {
        // Slots whose vectors could not be written, at the end, and nothing else.
        unmade.resize(std::max(unmade.size(), made.size()));
      }
      sections.push_back(made);
    }
  }
  for (std::span<const std::byte>& section : sections) {
    if (section.data() == nullptr) section = std::span(unmade).first(section.size());
  }
  const SnapshotRows rows =
      disk != nullptr ? RowsOnDisk(slots_) : RowsInMemory(slots_.vectors(), count);
  RAG_ASSIGN_OR_RETURN(const uint64_t rows_at, WriteSnapshot(path, header, sections, rows));
  slots.Saved(path, rows_at);
  return OkStatus();
}

Status IndexBase::LoadSlots(const SnapshotFile& file, bool with_links, Arena* codes, bool coded) {
  const uint64_t count = file.header().slots;
  const size_t row_bytes = slots_.rows().bytes();
  if (count > kMaxSlots || file.section(0).size() != count * sizeof(uint64_t) ||
      file.section(1).size() != count || file.section(kRowsSection).size() != count * row_bytes ||
      file.section(kRowHashesSection).size() != count * sizeof(uint32_t)) {
    return file.Damaged(StrCat("sections that do not fit ", count, " slots"));
  }
  for (const size_t section : {size_t{0}, size_t{1}, kRowHashesSection}) {
    RAG_RETURN_IF_ERROR(file.CheckSection(section));
  }
  // What the blocks must be, before room is made for them.
  struct Place {
    const Arena* arena;
    size_t block;
    size_t section;
  };
  std::vector<Place> places;
  size_t section = kFixedSections;
  for (const Arena* arena :
       {with_links ? &slots_.link_records() : nullptr, static_cast<const Arena*>(codes)}) {
    if (arena == nullptr) continue;
    for (size_t block = 0; block < Blocks(*arena, count); ++block, ++section) {
      if (section >= file.header().section_count ||
          file.section(section).size() != RecordsOf(*arena, block, count) * arena->record_bytes()) {
        return file.Damaged(StrCat("section ", section, " does not fit ", count, " slots"));
      }
      places.push_back({arena, block, section});
    }
  }
  if (section != file.header().section_count) {
    return file.Damaged(StrCat(file.header().section_count, " sections, not ", section));
  }
  std::vector<uint64_t> ids(count);
  std::vector<uint8_t> live(count);
  std::vector<uint32_t> hashes(count);
  if (count > 0) {
    std::memcpy(ids.data(), file.section(0).data(), file.section(0).size());
    std::memcpy(live.data(), file.section(1).data(), file.section(1).size());
    std::memcpy(hashes.data(), file.section(kRowHashesSection).data(), count * sizeof(uint32_t));
  }
  if (options_.rows == RowPlace::kDisk && coded) {
    RAG_ASSIGN_OR_RETURN(std::unique_ptr<DiskRows> disk,
                         DiskRows::Create(row_bytes, options_.folder, slots_.row_failure()));
    RAG_RETURN_IF_ERROR(disk->Open(file.file()->path(), file.offset(kRowsSection), hashes));
    RAG_RETURN_IF_ERROR(slots_.Restore(ids, live, std::move(disk)));
  } else {
    RAG_RETURN_IF_ERROR(slots_.Restore(
        ids, live,
        std::make_unique<SavedRows>(file.file(), file.section(kRowsSection), row_bytes,
                                    std::move(hashes), slots_.row_failure())));
  }
  for (uint32_t slot = 0; codes != nullptr && slot < count; ++slot) {
    RAG_RETURN_IF_ERROR(codes->Ensure(slot));
  }

  std::mutex status_mutex;  // guards status
  Status status;
  runtime_.pool().ParallelFor(places.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      const Place& place = places[i];
      Status checked = file.CheckSection(place.section);
      if (!checked.ok()) {
        std::lock_guard lock(status_mutex);
        status = std::move(checked);
        return;
      }
      const std::span<const std::byte> bytes = file.section(place.section);
      std::memcpy(
          place.arena->Block(place.block, RecordsOf(*place.arena, place.block, count)).data(),
          bytes.data(), bytes.size());
      GiveBack(bytes);
    }
  });
  return status;
}

}  // namespace rag
