// The codes that a graph is walked over: when they are learned, and when anew.
#include <algorithm>

#include "index/vector/hnsw_index.h"
#include "index/vector/projection.h"

namespace rag {
namespace {

// Rows that are read at a time.
constexpr size_t kRowsHeld = 256;
// Of a code's bytes, that may differ from what its vector gives.
constexpr size_t kOthersShare = 6;

}  // namespace

Status HnswIndex::EncodeNode(uint32_t slot) {
  RAG_RETURN_IF_ERROR(owned_codes_->Ensure(slot));
  thread_local std::vector<float> vector;
  thread_local RowBatch batch;
  vector.resize(options_.dim);
  batch.Read(slots_, {&slot, 1});
  slots_.rows().Decode(batch.row(0), vector.data());
  owned_codes_->Encode(slot, vector.data());
  return OkStatus();
}

Status HnswIndex::CheckCodes() const {
  if (owned_codes_ == nullptr) return OkStatus();
  const NodeCodec& codec = owned_codes_->codec();
  const size_t bytes = codec.code_bytes();
  std::vector<float> vector(options_.dim);
  Matrix made(1, bytes / sizeof(float));  // aligned
  auto* const code = reinterpret_cast<std::byte*>(made.data());
  RowBatch batch;
  std::vector<uint32_t> live;
  for (uint32_t slot = 0; slot < slots_.end(); ++slot) {
    if (slots_.IsLive(slot)) live.push_back(slot);
    if (live.size() < kRowsHeld && slot + 1 < slots_.end()) continue;
    batch.Read(slots_, live);
    for (size_t i = 0; i < live.size(); ++i) {
      slots_.rows().Decode(batch.row(i), vector.data());
      codec.Encode(vector.data(), code);
      const std::byte* const there = owned_codes_->code(live[i]);
      size_t differ = 0;
      for (size_t at = 0; at < bytes; ++at) differ += code[at] != there[at] ? 1 : 0;
      // Another instruction set sums in another order, and rounds a few elements the other way. The
      // codes of two vectors have hardly a byte in common.
      if (differ > bytes / kOthersShare) {
        return DataLossError("the code of slot ", live[i], " is not its vector's");
      }
    }
    live.clear();
  }
  return slots_.CheckRows();
}

Status HnswIndex::LearnCodes(MatrixView coming) {
  const CodeKind kind = options_.hnsw.codes;
  if (kind == CodeKind::kNone || options_.dim < NodeCodec::MinDim(kind)) return OkStatus();
  // Few vectors do not tell which components may be left out: what comes later, and what is asked,
  // may lie in those. All are kept until there are enough.
  const size_t enough = options_.hnsw.code_dims == 0 && NodeCodec::HasAxes(kind)
                            ? NodeCodec::MaxSample(options_.dim)
                            : 0;
  const auto wanted = [&] {
    const NodeCodes* const codes = this->codes();
    const size_t rows = slots_.size() + coming.rows;
    if (codes == nullptr) return rows >= NodeCodec::MinSample(kind, options_.dim);
    return (codes->learned_rows() < enough && rows >= enough) || codes->Drifted();
  };
  {
    const Readers::Guard guard(slots_.readers());  // others may replace the codes meanwhile
    if (!wanted()) return OkStatus();
  }
  const auto gate = gate_.Exclusive();
  if (!wanted()) return OkStatus();  // somebody else has learned them meanwhile

  std::vector<uint32_t> live;
  live.reserve(slots_.size());
  for (uint32_t slot = 0; slot < slots_.end(); ++slot) {
    if (!slots_.IsFree(slot)) live.push_back(slot);
  }
  // Spread evenly over both: neither the order of arrival nor its end decides.
  const size_t all = live.size() + coming.rows;
  const size_t count = std::min(all, NodeCodec::MaxSample(options_.dim));
  const Rows& rows = slots_.rows();
  Matrix sample(count, options_.dim);
  std::vector<std::byte> row(rows.bytes());
  RowBatch batch;
  for (size_t i = 0; i < count; ++i) {
    const size_t at = i * all / count;
    if (at < live.size()) {
      batch.Read(slots_, {&live[at], 1});
      rows.Decode(batch.row(0), sample.row(i).data());
    } else {
      rows.Encode(coming.row(at - live.size()), row.data());
      rows.Decode(row.data(), sample.row(i).data());
    }
  }
  const size_t dims =
      all < enough ? std::min(options_.dim, Projection::kMostChosen) : options_.hnsw.code_dims;
  auto codes = std::make_unique<NodeCodes>(
      NodeCodec::Train(sample.view(), kind, dims, options_.metric, runtime_), all);
  for (const uint32_t slot : live) RAG_RETURN_IF_ERROR(codes->Ensure(slot));
  const auto encode = [&](size_t begin, size_t end, int) {
    std::vector<float> vector(options_.dim);
    RowBatch held;
    for (size_t first = begin; first < end; first += kRowsHeld) {
      const auto slots = std::span(live).subspan(first, std::min(kRowsHeld, end - first));
      held.Read(slots_, slots);
      for (size_t i = 0; i < slots.size(); ++i) {
        rows.Decode(held.row(i), vector.data());
        codes->Encode(slots[i], vector.data());
      }
    }
  };
  if (!runtime_.pool().TryParallelFor(live.size(), kRowsHeld, encode)) encode(0, live.size(), 0);
  RAG_RETURN_IF_ERROR(slots_.CheckRows());
  RAG_RETURN_IF_ERROR(PlaceRows());
  codes->ForgetErrors();
  codes_.store(codes.get(), std::memory_order_release);
  slots_.readers().Wait();  // for those that walk over the old ones
  owned_codes_ = std::move(codes);
  return OkStatus();
}

}  // namespace rag
