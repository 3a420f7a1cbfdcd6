#include "index/vector/slots.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "index/vector/top_k.h"

namespace rag {

Slots::Slots(size_t dim, Metric metric, ElementType element, size_t link_words,
             const Runtime& runtime)
    : rows_(dim, metric, element, runtime), runtime_(runtime), vectors_(rows_.bytes()) {
  if (link_words > 0) links_.emplace(link_words * sizeof(uint32_t));
}

Status Slots::Ensure(uint32_t slot) {
  if (slot >= kMaxSlots) {
    return ResourceExhaustedError("an index holds at most ", kMaxSlots, " vectors");
  }
  if (!rows_on_disk()) RAG_RETURN_IF_ERROR(vectors_.Ensure(slot));
  if (links_) RAG_RETURN_IF_ERROR(links_->Ensure(slot));
  info_.Ensure(slot);
  return OkStatus();
}

Status Slots::CheckAdd(std::span<const uint64_t> ids, MatrixView vectors) const {
  if (ids.size() != vectors.rows) {
    return InvalidArgumentError(ids.size(), " ids for ", vectors.rows, " vectors");
  }
  if (vectors.rows == 0) return OkStatus();
  if (vectors.cols != dim() || vectors.stride < vectors.cols) {
    return InvalidArgumentError("vectors have dimension ", vectors.cols, ", the index has ", dim());
  }
  for (size_t row = 0; row < vectors.rows; ++row) {
    RAG_RETURN_IF_ERROR(rows_.Check(vectors.row(row), "vector of row", row));
  }
  IdMap seen;
  seen.Reserve(ids.size());
  for (size_t row = 0; row < ids.size(); ++row) {
    const uint32_t before = seen.Put(ids[row], static_cast<uint32_t>(row));
    if (before != kNoSlot) {
      return InvalidArgumentError("rows ", before, " and ", row, " have the same id ", ids[row]);
    }
  }
  return OkStatus();
}

Result<Matrix> Slots::PrepareQueries(MatrixView queries, size_t k) const {
  if (k < 1 || k > 65'535) return InvalidArgumentError("k is ", k, ", not between 1 and 65535");
  if (queries.rows > 0 && (queries.cols != dim() || queries.stride < queries.cols)) {
    return InvalidArgumentError("queries have dimension ", queries.cols, ", the index has ", dim());
  }
  Matrix prepared(queries.rows, rows_.query_floats());
  for (size_t row = 0; row < queries.rows; ++row) {
    RAG_RETURN_IF_ERROR(rows_.CheckQuery(queries.row(row), row));
    rows_.PrepareQuery(queries.row(row), prepared.row(row).data());
  }
  return prepared;
}

Result<uint32_t> Slots::Allocate(uint64_t id, std::span<const float> vector) {
  uint32_t slot;
  {
    std::lock_guard lock(free_mutex_);
    if (!free_.empty()) {
      slot = free_.back();
      free_.pop_back();
    } else {
      slot = end_.load(std::memory_order_relaxed);
      RAG_RETURN_IF_ERROR(Ensure(slot));
      end_.store(slot + 1, std::memory_order_release);
    }
  }
  info_[slot].id = id;
  if (links_) std::memset(links_->Record(slot), 0xFF, links_->record_bytes());  // all kNoSlot
  const Status written = WriteRow(slot, vector);
  if (!written.ok()) {
    std::lock_guard lock(free_mutex_);
    free_.push_back(slot);
    return written;
  }
  info_[slot].died.store(kNever, std::memory_order_relaxed);
  return slot;
}

Status Slots::WriteRow(uint32_t slot, std::span<const float> vector) {
  if (DiskRows* const disk = disk_.load(std::memory_order_acquire)) {
    thread_local Matrix row;
    if (row.cols() * sizeof(float) != rows_.bytes()) row = Matrix(1, rows_.bytes() / sizeof(float));
    auto* const bytes = reinterpret_cast<std::byte*>(row.data());
    rows_.Encode(vector, bytes);
    return disk->Write(slot, bytes);
  }
  RAG_RETURN_IF_ERROR(vectors_.Own(slot));
  rows_.Encode(vector, vectors_.Record(slot));
  return OkStatus();
}

uint32_t Slots::Publish(uint32_t slot) {
  std::lock_guard lock(map_mutex_);
  const uint64_t version = version_.load(std::memory_order_relaxed) + 1;
  const uint32_t old = map_.Put(info_[slot].id, slot);
  if (old != kNoSlot) info_[old].died.store(version, std::memory_order_release);
  info_[slot].born.store(version, std::memory_order_release);
  version_.store(version, std::memory_order_release);
  live_.store(map_.size(), std::memory_order_relaxed);
  return old;
}

std::vector<uint32_t> Slots::Take(std::span<const uint64_t> ids) {
  std::vector<uint32_t> taken;
  std::lock_guard lock(map_mutex_);
  const uint64_t version = version_.load(std::memory_order_relaxed) + 1;
  for (const uint64_t id : ids) {
    const uint32_t slot = map_.Erase(id);
    if (slot == kNoSlot) continue;
    info_[slot].died.store(version, std::memory_order_release);
    taken.push_back(slot);
  }
  version_.store(version, std::memory_order_release);
  live_.store(map_.size(), std::memory_order_relaxed);
  return taken;
}

void Slots::Free(std::span<const uint32_t> slots) {
  if (slots.empty()) return;
  readers_.Wait();
  for (const uint32_t slot : slots) {
    EraseRow(slot);
    if (links_) std::memset(links_->Record(slot), 0, links_->record_bytes());
    info_[slot].born.store(kNever, std::memory_order_relaxed);
    info_[slot].died.store(kFree, std::memory_order_relaxed);
  }
  std::lock_guard lock(free_mutex_);
  free_.insert(free_.end(), slots.begin(), slots.end());
}

void Slots::EraseRow(uint32_t slot) {
  if (DiskRows* const disk = disk_.load(std::memory_order_acquire)) {
    // No search sees the row any more, so the index is as good as before.
    const Status erased = disk->Erase(slot);
    if (!erased.ok()) {
      runtime_.Log(
          LogLevel::kWarning,
          StrCat("a removed vector is still in a file without a name: ", erased.ToString()));
    }
  } else {
    vectors_.Erase(slot);
  }
}

bool Slots::Contains(uint64_t id) const {
  std::shared_lock lock(map_mutex_);
  return map_.Find(id) != kNoSlot;
}

std::vector<uint32_t> Slots::Find(std::span<const uint64_t> ids, uint64_t& version) const {
  std::vector<uint32_t> found;
  found.reserve(ids.size());
  std::shared_lock lock(map_mutex_);
  version = this->version();
  for (const uint64_t id : ids) {
    const uint32_t slot = map_.Find(id);
    if (slot != kNoSlot) found.push_back(slot);
  }
  return found;
}

Status Slots::GetVector(uint64_t id, std::span<float> out) const {
  if (out.size() != dim()) {
    return InvalidArgumentError("room for ", out.size(), " elements, the index has dimension ",
                                dim());
  }
  Readers::Guard guard(readers_);
  uint32_t slot;
  {
    std::shared_lock lock(map_mutex_);
    slot = map_.Find(id);
  }
  if (slot == kNoSlot) return NotFoundError("no vector with id ", id);
  RowBatch batch;
  batch.Read(*this, {&slot, 1});
  rows_.Decode(batch.row(0), out.data());
  return CheckRows();
}

std::vector<uint64_t> Slots::Ids() const {
  std::vector<uint64_t> ids;
  std::shared_lock lock(map_mutex_);
  ids.reserve(map_.size());
  map_.ForEach([&](uint64_t id, uint32_t) { ids.push_back(id); });
  return ids;
}

size_t Slots::memory_bytes() const {
  std::shared_lock lock(map_mutex_);
  const size_t link_bytes = links_ ? links_->record_bytes() : 0;
  // Of a row on disk there is the checksum, and the note of the file that it lies in.
  const size_t row_bytes =
      rows_on_disk() ? sizeof(uint32_t) + sizeof(uint8_t) : vectors_.record_bytes();
  return end() * (row_bytes + link_bytes + sizeof(Info)) + map_.memory_bytes();
}

Status Slots::Verify() const {
  std::shared_lock lock(map_mutex_);
  size_t live = 0;
  for (uint32_t slot = 0; slot < end(); ++slot) {
    if (!IsLive(slot)) continue;
    ++live;
    if (map_.Find(id(slot)) != slot) {
      return DataLossError("id ", id(slot), " of slot ", slot, " is not found under it");
    }
  }
  if (live != map_.size()) return DataLossError(map_.size(), " ids for ", live, " live vectors");
  return OkStatus();
}

Status Slots::Restore(std::span<const uint64_t> ids, std::span<const uint8_t> live,
                      std::unique_ptr<SavedRows> saved) {
  vectors_.Borrow(std::move(saved));
  return RestoreSlots(ids, live);
}

Status Slots::Restore(std::span<const uint64_t> ids, std::span<const uint8_t> live,
                      std::unique_ptr<DiskRows> rows) {
  owned_disk_ = std::move(rows);
  disk_.store(owned_disk_.get(), std::memory_order_release);
  return RestoreSlots(ids, live);
}

Status Slots::RestoreSlots(std::span<const uint64_t> ids, std::span<const uint8_t> live) {
  std::scoped_lock lock(free_mutex_, map_mutex_);
  map_.Reserve(ids.size());
  for (uint32_t slot = 0; slot < ids.size(); ++slot) {
    RAG_RETURN_IF_ERROR(Ensure(slot));
    if (live[slot] == 0) {
      free_.push_back(slot);
      continue;
    }
    info_[slot].id = ids[slot];
    info_[slot].born.store(1, std::memory_order_relaxed);
    info_[slot].died.store(kNever, std::memory_order_relaxed);
    if (map_.Put(ids[slot], slot) != kNoSlot)
      return DataLossError("id ", ids[slot], " is there twice");
  }
  live_.store(map_.size(), std::memory_order_relaxed);
  end_.store(static_cast<uint32_t>(ids.size()), std::memory_order_release);
  return OkStatus();
}

Status Slots::ReadRows() const {
  const DiskRows* const disk = this->disk();
  if (disk == nullptr) {
    vectors_.ReadBorrowed();
    return CheckRows();
  }
  constexpr size_t kTogether = 256;
  RowBatch batch;
  std::vector<uint32_t> slots;
  for (uint32_t slot = 0; slot < end() && CheckRows().ok(); ++slot) {
    if (IsLive(slot)) slots.push_back(slot);
    if (slots.size() < kTogether && slot + 1 < end()) continue;
    batch.Read(*this, slots);
    slots.clear();
  }
  return CheckRows();
}

Status Slots::TakeRows() {
  if (!vectors_.borrows()) return CheckRows();
  RAG_RETURN_IF_ERROR(vectors_.OwnAll());
  RAG_RETURN_IF_ERROR(CheckRows());
  readers_.Wait();
  vectors_.EndBorrowing();
  return OkStatus();
}

Status Slots::MoveRowsToDisk(const std::string& folder) {
  RAG_ASSIGN_OR_RETURN(std::unique_ptr<DiskRows> disk,
                       DiskRows::Create(rows_.bytes(), folder, failure_));
  for (uint32_t slot = 0; slot < end(); ++slot) {
    if (!IsFree(slot)) RAG_RETURN_IF_ERROR(disk->Write(slot, row(slot)));
  }
  RAG_RETURN_IF_ERROR(CheckRows());
  owned_disk_ = std::move(disk);
  disk_.store(owned_disk_.get(), std::memory_order_release);
  readers_.Wait();  // for those that read what is in memory
  vectors_.Clear();
  return OkStatus();
}

void Slots::Saved(const std::string& path, uint64_t offset) {
  if (owned_disk_ == nullptr) return;
  const Status switched = owned_disk_->SwitchTo(path, offset, readers_);
  if (!switched.ok()) {
    // The old files go on serving: they hold the same rows.
    runtime_.Log(LogLevel::kWarning, switched.ToString());
  }
}

void RowBatch::Read(const Slots& slots, std::span<const uint32_t> wanted) {
  rows_.resize(wanted.size());
  const DiskRows* const disk = slots.disk();
  if (disk == nullptr) {
    for (size_t i = 0; i < wanted.size(); ++i) rows_[i] = slots.row(wanted[i]);
    return;
  }
  const size_t bytes = slots.rows().bytes();
  const size_t floats = bytes / sizeof(float);
  if (held_.cols() != floats || held_.rows() < wanted.size()) held_ = Matrix(wanted.size(), floats);
  auto* const begin = reinterpret_cast<std::byte*>(held_.data());
  disk->Read(wanted, begin);
  for (size_t i = 0; i < wanted.size(); ++i) rows_[i] = begin + i * bytes;
}

namespace {
// A tile of records that stays in a core's second-level cache while a group of queries is compared
// with it.
constexpr size_t kTileBytes = size_t{256} << 10;
constexpr size_t kMaxTile = 512;  // records
constexpr size_t kQueryGroup = 16;
}  // namespace

void Slots::ScanItems(const Matrix& queries, size_t first_query, size_t last_query, size_t first,
                      size_t last, const std::vector<uint32_t>* list, const IdFilter* filter,
                      uint64_t version, std::span<TopK> tops) const {
  const bool blocked = rows_.f32() && rows_.metric() != Metric::kManhattan;
  const bool l2 = rows_.metric() == Metric::kL2;
  const auto rows_kernel = l2 ? runtime_.kernels().l2_squared_rows : runtime_.kernels().dot_rows;
  const size_t row_bytes = vectors_.record_bytes();
  const size_t tile = std::clamp<size_t>(kTileBytes / row_bytes, 1, kMaxTile);
  struct Run {
    uint32_t slot;
    uint32_t count;
  };
  std::vector<Run> runs;
  std::vector<uint32_t> seen;
  RowBatch batch;
  const bool on_disk = rows_on_disk();
  float distances[kMaxTile];
  for (size_t begin = first; begin < last; begin += tile) {
    const size_t end = std::min(last, begin + tile);
    runs.clear();
    seen.clear();
    for (size_t i = begin; i < end; ++i) {
      const uint32_t slot = list != nullptr ? (*list)[i] : static_cast<uint32_t>(i);
      if (!Visible(slot, version)) continue;
      if (list == nullptr && filter != nullptr && !filter->Contains(id(slot))) continue;
      seen.push_back(slot);
      const bool continues = !runs.empty() && runs.back().slot + runs.back().count == slot &&
                             (on_disk || vectors_.FollowsLast(slot));
      if (continues) {
        ++runs.back().count;
      } else {
        runs.push_back({slot, 1});
      }
    }
    if (on_disk) batch.Read(*this, seen);
    for (size_t q = first_query; q < last_query; ++q) {
      TopK& top = tops[q - first_query];
      size_t before = 0;  // of `seen`
      for (const Run& run : runs) {
        const float* const query = queries.row(q).data();
        const std::byte* const rows = on_disk ? batch.row(before) : row(run.slot);
        before += run.count;
        if (blocked) {
          rows_kernel(query, reinterpret_cast<const float*>(rows), row_bytes / sizeof(float),
                      run.count, dim(), distances);
          if (!l2) {
            for (uint32_t i = 0; i < run.count; ++i) distances[i] = -distances[i];
          }
        } else {
          for (uint32_t i = 0; i < run.count; ++i) {
            distances[i] = rows_.Distance(query, rows + i * row_bytes);
          }
        }
        for (uint32_t i = 0; i < run.count; ++i) {
          if (distances[i] <= top.bound()) top.Offer(distances[i], id(run.slot + i));
        }
      }
    }
  }
}

std::vector<std::vector<Neighbor>> Slots::Exact(const Matrix& queries, size_t k,
                                                const IdFilter* filter) const {
  Readers::Guard guard(readers_);
  uint64_t version = this->version();
  std::vector<uint32_t> listed;
  const std::vector<uint32_t>* list = nullptr;
  if (filter != nullptr && !filter->Ids().empty()) {
    listed = Find(filter->Ids(), version);
    std::sort(listed.begin(), listed.end());
    listed.erase(std::unique(listed.begin(), listed.end()), listed.end());
    list = &listed;
  }
  const size_t items = list != nullptr ? list->size() : end();
  if (list == nullptr && !rows_on_disk()) vectors_.ReadBorrowed();  // a scan sees all of them
  const size_t n = queries.rows();
  std::vector<std::vector<Neighbor>> results(n);
  if (n == 0 || items == 0) return results;

  ThreadPool& pool = runtime_.pool();
  const size_t groups = (n + kQueryGroup - 1) / kQueryGroup;
  // Few queries share the records out among the threads, many the queries. A small job is not worth
  // waking anybody.
  constexpr size_t kWorthwhileBytes = size_t{4} << 20;
  const bool alone = pool.size() == 1 || items * n * rows_.bytes() < kWorthwhileBytes;
  const size_t threads = static_cast<size_t>(pool.size());
  const size_t parts = alone || groups >= threads ? 1 : std::min(items, threads);
  std::vector<TopK> tops(n * parts, TopK(k));
  const auto scan = [&](size_t job) {
    const size_t group = job / parts, part = job % parts;
    const size_t first_query = group * kQueryGroup,
                 last_query = std::min(n, first_query + kQueryGroup);
    // The tops of one part lie together.
    ScanItems(queries, first_query, last_query, items * part / parts, items * (part + 1) / parts,
              list, filter, version,
              std::span(tops).subspan(part * n + first_query, last_query - first_query));
  };
  const auto scan_range = [&](size_t begin, size_t end, int) {
    for (size_t job = begin; job < end; ++job) scan(job);
  };
  // Not ParallelFor: a loop that is running may be waiting for a Remove, and that for this reader.
  if (alone || !pool.TryParallelFor(groups * parts, 1, scan_range)) {
    scan_range(0, groups * parts, 0);
  }
  for (size_t q = 0; q < n; ++q) {
    for (size_t part = 1; part < parts; ++part) tops[q].Merge(tops[part * n + q]);
    results[q] = tops[q].Take();
  }
  return results;
}

}  // namespace rag
