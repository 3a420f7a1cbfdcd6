#include "index/vector/disk_rows.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "index/vector/saved_rows.h"
#include "lib/base/descriptor.h"

namespace rag {
namespace {

constexpr unsigned kChunkShift = 13;

// A file that no other process sees, and nobody after this one.
Result<int> OpenNameless(const std::string& folder) {
  int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return file;
  // A file system that knows none without a name.
  std::string path = folder + "/rag-rows.XXXXXX";
  file = ::mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) return ErrnoError("cannot make a file of vectors in", folder);
  ::unlink(path.c_str());
  return file;
}

}  // namespace

// Replaced as a whole, so that a reader uses one set throughout.
struct DiskRows::Files {
  ~Files() {
    if (base >= 0) ::close(base);
    if (fresh >= 0) ::close(fresh);
  }
  int base = -1;
  uint64_t offset = 0;
  std::string base_path;
  int fresh = -1;                                       // row of slot i at i * row_bytes
  Chunked<std::atomic<uint8_t>> in_fresh{kChunkShift};  // by slot: 1 where the row lies in `fresh`
};

DiskRows::DiskRows(size_t row_bytes, std::string folder, RowFailure& failure)
    : row_bytes_(row_bytes), folder_(std::move(folder)), hashes_(kChunkShift), failure_(failure) {}

DiskRows::~DiskRows() { delete files_.load(std::memory_order_relaxed); }

Result<std::unique_ptr<DiskRows>> DiskRows::Create(size_t row_bytes, const std::string& folder,
                                                   RowFailure& failure) {
  std::string place = folder;
  if (place.empty()) {
    std::error_code error;
    place = std::filesystem::temp_directory_path(error).string();
    if (error) place = "/tmp";
  }
  std::unique_ptr<DiskRows> rows(new DiskRows(row_bytes, std::move(place), failure));
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Files> files, rows->MakeFiles("", 0));
  rows->files_.store(files.release(), std::memory_order_release);
  return rows;
}

Result<std::unique_ptr<DiskRows::Files>> DiskRows::MakeFiles(const std::string& base,
                                                             uint64_t offset) const {
  auto files = std::make_unique<Files>();
  RAG_ASSIGN_OR_RETURN(files->fresh, OpenNameless(folder_));
  if (base.empty()) return files;
  files->base = ::open(base.c_str(), O_RDONLY | O_CLOEXEC);
  if (files->base < 0) return ErrnoError("cannot open", base);
  files->base_path = base;
  files->offset = offset;
  // Rows are read alone, and not the one that is read tells which is next.
  ::posix_fadvise(files->base, 0, 0, POSIX_FADV_RANDOM);
  return files;
}

Status DiskRows::Open(const std::string& path, uint64_t offset, std::span<const uint32_t> hashes) {
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Files> files, MakeFiles(path, offset));
  for (size_t first = 0; first < hashes.size(); first += size_t{1} << kChunkShift) {
    const size_t count = std::min(hashes.size() - first, size_t{1} << kChunkShift);
    hashes_.Ensure(first);
    files->in_fresh.Ensure(first);
    std::copy_n(hashes.data() + first, count, &hashes_[first]);
  }
  delete files_.exchange(files.release(), std::memory_order_acq_rel);
  return OkStatus();
}

Status DiskRows::SwitchTo(const std::string& path, uint64_t offset, Readers& readers) {
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<Files> files, MakeFiles(path, offset));
  for (size_t chunk = 0; chunk < kMaxChunks; ++chunk) {
    const size_t first = chunk << kChunkShift;
    if (!hashes_.Has(first)) continue;
    files->in_fresh.Ensure(first);
  }
  const std::unique_ptr<Files> old(files_.exchange(files.release(), std::memory_order_acq_rel));
  readers.Wait();
  return OkStatus();
}

Status DiskRows::Write(uint32_t slot, const std::byte* row) {
  Files& files = *files_.load(std::memory_order_acquire);
  hashes_.Ensure(slot);
  files.in_fresh.Ensure(slot);
  for (size_t done = 0; done < row_bytes_;) {
    const ssize_t put = ::pwrite(files.fresh, row + done, row_bytes_ - done,
                                 static_cast<off_t>(slot * row_bytes_ + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoError("cannot write a vector to a file in", folder_);
    done += static_cast<size_t>(put);
  }
  hashes_[slot] = RowHash(row, row_bytes_);
  files.in_fresh[slot].store(1, std::memory_order_release);
  return OkStatus();
}

Status DiskRows::Erase(uint32_t slot) {
  Files& files = *files_.load(std::memory_order_acquire);
  hashes_[slot] = 0;
  if (files.in_fresh[slot].load(std::memory_order_acquire) == 0) return OkStatus();
  const std::vector<std::byte> zeros(row_bytes_);
  return Write(slot, zeros.data());
}

void DiskRows::Read(std::span<const uint32_t> slots, std::byte* out) const {
  const Files& files = *files_.load(std::memory_order_acquire);
  // Rows that lie one behind the other are read as one.
  struct Piece {
    int file;
    off_t at;
    size_t first;
    size_t count;
  };
  constexpr size_t kMaxPieceBytes = size_t{1} << 20;
  const size_t most = std::max<size_t>(1, kMaxPieceBytes / row_bytes_);
  std::vector<Piece> pieces;
  for (size_t i = 0; i < slots.size(); ++i) {
    const bool fresh = files.in_fresh[slots[i]].load(std::memory_order_acquire) != 0;
    const int file = fresh ? files.fresh : files.base;
    const auto at = static_cast<off_t>((fresh ? 0 : files.offset) + slots[i] * row_bytes_);
    if (!pieces.empty()) {
      Piece& last = pieces.back();
      if (last.file == file && last.count < most &&
          last.at + static_cast<off_t>(last.count * row_bytes_) == at) {
        ++last.count;
        continue;
      }
    }
    pieces.push_back({file, at, i, 1});
  }
  // What is in the system's cache, at once; the rest is asked for all together.
  std::vector<Piece> waiting;
  for (const Piece& piece : pieces) {
    const size_t bytes = piece.count * row_bytes_;
    const iovec place{out + piece.first * row_bytes_, bytes};
    const ssize_t got = ::preadv2(piece.file, &place, 1, piece.at, RWF_NOWAIT);
    if (got == static_cast<ssize_t>(bytes)) continue;
    if (pieces.size() > 1) {
      ::posix_fadvise(piece.file, piece.at, static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
    }
    waiting.push_back(piece);
  }
  for (const Piece& piece : waiting) {
    std::byte* const to = out + piece.first * row_bytes_;
    const size_t bytes = piece.count * row_bytes_;
    for (size_t done = 0; done < bytes;) {
      const ssize_t got =
          ::pread(piece.file, to + done, bytes - done, piece.at + static_cast<off_t>(done));
      if (got < 0 && errno == EINTR) continue;
      if (got > 0) {
        done += static_cast<size_t>(got);
        continue;
      }
      const std::string& path = piece.file == files.base ? files.base_path : folder_;
      failure_.Set(got < 0 ? ErrnoError("cannot read a vector from", path)
                           : DataLossError("'", path, "' ends before the vector of slot ",
                                           slots[piece.first]));
      std::memset(to + done, 0, bytes - done);
      break;
    }
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    std::byte* const row = out + i * row_bytes_;
    if (RowHash(row, row_bytes_) == hashes_[slots[i]]) continue;
    std::memset(row, 0, row_bytes_);
    const bool fresh = files.in_fresh[slots[i]].load(std::memory_order_acquire) != 0;
    failure_.Set(DataLossError("'", fresh ? folder_ : files.base_path,
                               "' is damaged: checksum of the vector of slot ", slots[i]));
  }
}

}  // namespace rag
