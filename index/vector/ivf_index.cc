#include "index/vector/ivf_index.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

namespace rag {
namespace {

// Rows for each list below which k-means finds noise (FAISS warns there as well), and above which
// it gains nothing.
constexpr size_t kRowsPerList = 39;
constexpr size_t kMaxRowsPerList = 256;
// With the number of lists left open: a smaller collection is scanned as fast.
constexpr size_t kTrainFrom = 4'096;
constexpr size_t kMaxLists = 65'536;
// A training is repeated when there are so many times the rows that it saw, or when as many rows as
// a quarter of those lie this much farther from their centroids than they did.
constexpr size_t kGrowth = 4;
constexpr double kDrift = 1.5;
// Rows that an Add brings in at once: the lists are copied for each piece.
constexpr size_t kPiece = 16'384;
// Rows whose copies are held at once.
constexpr size_t kRowsHeld = 2'048;

}  // namespace

IvfIndex::IvfIndex(const VectorIndexOptions& options, const Runtime& runtime)
    : IndexBase(options, 0, runtime), list_of_(kSlotShift) {}

IvfIndex::~IvfIndex() { delete state_.load(std::memory_order_relaxed); }

size_t IvfIndex::WantedLists(size_t rows) const {
  const size_t asked = options_.ivf.lists;
  if (asked > 0) return rows >= kRowsPerList * asked ? asked : 0;
  if (rows < kTrainFrom) return 0;
  const size_t wanted = static_cast<size_t>(4 * std::sqrt(static_cast<double>(rows)));
  return std::min({wanted, rows / kRowsPerList, kMaxLists});
}

bool IvfIndex::NeedsTraining(const State* state) const {
  const size_t rows = slots_.size();
  if (WantedLists(rows) == 0) return false;
  if (state == nullptr) return true;
  // With few rows a list the centroids gain by more of them, however many lists there are.
  const bool complete =
      options_.ivf.lists > 0 && state->trained_rows >= kMaxRowsPerList * options_.ivf.lists;
  if (rows >= kGrowth * state->trained_rows && !complete) return true;
  std::lock_guard lock(state->mutex);
  return state->added_rows * 4 >= state->trained_rows &&
         state->added_error / static_cast<double>(state->added_rows) >
             kDrift * static_cast<double>(state->model->training_error());
}

void IvfIndex::Place(State& state, std::span<const uint32_t> slots) {
  const size_t dim = options_.dim;
  IvfEntries all;
  RowBatch batch;
  double error = 0;
  for (size_t first = 0; first < slots.size(); first += kRowsHeld) {
    const auto held = slots.subspan(first, std::min(kRowsHeld, slots.size() - first));
    Matrix rows(held.size(), dim);
    batch.Read(slots_, held);
    for (size_t i = 0; i < held.size(); ++i) {
      slots_.rows().Decode(batch.row(i), rows.row(i).data());
    }
    IvfEntries entries;
    state.model->Place(state.model->Transform(rows.view(), true), entries, error);
    all.lists.insert(all.lists.end(), entries.lists.begin(), entries.lists.end());
    all.norms.insert(all.norms.end(), entries.norms.begin(), entries.norms.end());
    all.factors.insert(all.factors.end(), entries.factors.begin(), entries.factors.end());
    all.codes.insert(all.codes.end(), entries.codes.begin(), entries.codes.end());
  }
  all.slots.assign(slots.begin(), slots.end());
  for (size_t i = 0; i < slots.size(); ++i) {
    list_of_.Ensure(slots[i]);
    list_of_[slots[i]] = all.lists[i];
  }
  state.lists.Append(all);
  std::lock_guard lock(state.mutex);
  state.added_rows += slots.size();
  state.added_error += error;
}

Status IvfIndex::Train() {
  State* const before = state_.load(std::memory_order_relaxed);
  if (!NeedsTraining(before)) return OkStatus();
  // Searches of earlier versions may look for what has died since.
  slots_.readers().Wait();
  std::vector<uint32_t> live;
  live.reserve(slots_.size());
  for (uint32_t slot = 0; slot < slots_.end(); ++slot) {
    if (slots_.IsLive(slot)) live.push_back(slot);
  }
  const size_t lists = WantedLists(live.size()), dim = options_.dim;
  // Not in the order of slots, which may be one of content.
  std::vector<size_t> chosen =
      SampleNumbers(live.size(), lists * kMaxRowsPerList, options_.ivf.seed);
  std::mt19937_64 random(options_.ivf.seed);
  for (size_t i = chosen.size(); i > 1; --i) std::swap(chosen[i - 1], chosen[random() % i]);
  Matrix sample(chosen.size(), dim);
  RowBatch batch;
  for (size_t i = 0; i < chosen.size(); ++i) {
    batch.Read(slots_, {&live[chosen[i]], 1});
    slots_.rows().Decode(batch.row(0), sample.row(i).data());
  }
  RAG_RETURN_IF_ERROR(slots_.CheckRows());
  auto state = std::make_unique<State>(IvfModel::Train(sample.view(), options_, lists, runtime_),
                                       live.size());
  sample = Matrix();
  Place(*state, live);
  state->added_rows = 0;
  state->added_error = 0;
  RAG_RETURN_IF_ERROR(slots_.CheckRows());
  if (state->model->codec().has_codes()) RAG_RETURN_IF_ERROR(PlaceRows());
  state_.store(state.release(), std::memory_order_release);
  slots_.readers().Wait();
  delete before;
  return OkStatus();
}

Status IvfIndex::Add(std::span<const uint64_t> ids, MatrixView vectors, const CancelToken* cancel) {
  RAG_RETURN_IF_ERROR(slots_.CheckAdd(ids, vectors));
  Status status;
  bool train = false;
  // In pieces, so that a Remove need not wait for all of them.
  for (size_t first = 0; first < ids.size() && status.ok(); first += kPiece) {
    const auto gate = gate_.Shared();
    State* const state = state_.load(std::memory_order_relaxed);
    const size_t count = std::min(kPiece, ids.size() - first);
    status = CheckRoom(options_.memory_budget_bytes);
    if (!status.ok()) break;
    std::vector<uint32_t> slots, replaced;
    for (size_t row = first; row < first + count; ++row) {
      if (cancel != nullptr && cancel->cancelled()) {
        status = CancelledError("adding was cancelled after ", row, " of ", ids.size(), " vectors");
        break;
      }
      Result<uint32_t> slot = slots_.Allocate(ids[row], vectors.row(row));
      if (!slot.ok()) {
        status = slot.status();
        break;
      }
      list_of_.Ensure(*slot);
      list_of_[*slot] = kNoList;
      slots.push_back(*slot);
    }
    // In their lists before a search may ask for them.
    if (state != nullptr && !slots.empty()) Place(*state, slots);
    for (const uint32_t slot : slots) {
      const uint32_t old = slots_.Publish(slot);
      if (old != kNoSlot) replaced.push_back(old);
    }
    Drop(replaced);
    if (state != nullptr) state->lists.Reclaim(slots_.readers(), !replaced.empty());
    train = NeedsTraining(state);
  }
  if (train && status.ok()) {
    const auto gate = gate_.Exclusive();
    status = Train();
  }
  return status.ok() ? slots_.CheckRows() : status;
}

void IvfIndex::Drop(std::span<const uint32_t> slots) {
  if (slots.empty()) return;
  if (State* const state = state_.load(std::memory_order_relaxed)) {
    // A search whose version still shows the slots must find them in their lists.
    slots_.readers().Wait();
    std::vector<uint32_t> lists;
    lists.reserve(slots.size());
    for (const uint32_t slot : slots) lists.push_back(list_of_[slot]);
    state->lists.Remove(slots, lists);
  }
  slots_.Free(slots);
}

Result<size_t> IvfIndex::Remove(std::span<const uint64_t> ids) {
  const auto gate = gate_.Exclusive();
  const std::vector<uint32_t> taken = slots_.Take(ids);
  Drop(taken);
  State* const state = state_.load(std::memory_order_relaxed);
  if (state != nullptr && !taken.empty()) state->lists.Reclaim(slots_.readers(), true);
  return taken.size();
}

size_t IvfIndex::memory_bytes() const {
  size_t bytes = slots_.memory_bytes() + slots_.end() * sizeof(uint32_t);
  Readers::Guard guard(slots_.readers());
  if (const State* const state = state_.load(std::memory_order_acquire)) {
    bytes += state->model->memory_bytes() + state->lists.memory_bytes();
  }
  return bytes;
}

std::unique_ptr<VectorIndex> MakeIvfIndex(const VectorIndexOptions& options,
                                          const Runtime& runtime) {
  return std::make_unique<IvfIndex>(options, runtime);
}

Result<VectorIndex::Loaded> LoadIvfIndex(const SnapshotFile& file,
                                         const VectorIndexOptions& options,
                                         const Runtime& runtime) {
  auto index = std::make_unique<IvfIndex>(options, runtime);
  RAG_RETURN_IF_ERROR(index->LoadFrom(file));
  return VectorIndex::Loaded{std::move(index), file.header().tag};
}

}  // namespace rag
