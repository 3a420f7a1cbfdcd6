#include "index/lexical/sparse_postings.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

namespace rag {
namespace {

constexpr size_t kBitmapBytes = 8;
constexpr size_t kRunBytes = 4;      // the largest weight, and the end of the run's postings
constexpr size_t kPostingBytes = 3;  // place in the run, weight

// Little-endian, as every processor that this library runs on.
template <class T>
T LoadAt(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

template <class T>
void AppendBytes(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// A segment's bytes, whose sizes fit together; borrowed.
class SegmentView {
 public:
  static std::optional<SegmentView> Parse(std::string_view bytes) {
    if (bytes.size() < kBitmapBytes) return std::nullopt;
    SegmentView view;
    view.bitmap_ = LoadAt<uint64_t>(bytes.data());
    const auto runs = static_cast<size_t>(std::popcount(view.bitmap_));
    if (runs == 0 || bytes.size() < kBitmapBytes + runs * kRunBytes) return std::nullopt;
    view.runs_ = bytes.data() + kBitmapBytes;
    size_t before = 0;
    for (size_t run = 0; run < runs; ++run) {
      const size_t end = view.End(run);
      if (end <= before || end - before > kRunChunks) return std::nullopt;
      before = end;
    }
    if (bytes.size() != kBitmapBytes + runs * kRunBytes + before * kPostingBytes) {
      return std::nullopt;
    }
    view.places_ = view.runs_ + runs * kRunBytes;
    view.weights_ = view.places_ + before;
    return view;
  }

  uint64_t bitmap() const { return bitmap_; }
  size_t size() const { return static_cast<size_t>(weights_ - places_); }  // postings
  // By number among the runs that are there.
  uint16_t Largest(size_t run) const { return LoadAt<uint16_t>(runs_ + run * kRunBytes); }
  size_t Begin(size_t run) const { return run == 0 ? 0 : End(run - 1); }
  size_t End(size_t run) const { return LoadAt<uint16_t>(runs_ + run * kRunBytes + 2); }
  uint8_t Place(size_t posting) const { return LoadAt<uint8_t>(places_ + posting); }
  uint16_t Code(size_t posting) const { return LoadAt<uint16_t>(weights_ + 2 * posting); }

 private:
  uint64_t bitmap_ = 0;
  const char* runs_ = nullptr;
  const char* places_ = nullptr;
  const char* weights_ = nullptr;
};

}  // namespace

std::string EncodeSparseVector(const SparseVector& vector) {
  RecordWriter writer;
  uint32_t previous = 0;
  for (const SparseVector::Entry& entry : vector.entries) {
    writer.PutVarint(entry.token - previous);
    writer.PutVarint(EncodeWeight(entry.weight));
    previous = entry.token;
  }
  return writer.Take();
}

bool DecodeSparseVector(std::string_view bytes, SparseVector& vector) {
  vector.entries.clear();
  RecordReader reader(bytes);
  uint64_t token = 0;
  while (!reader.AtEnd()) {
    uint64_t delta = 0, code = 0;
    if (!reader.ReadVarint(delta) || !reader.ReadVarint(code) || code == 0 ||
        code > kLargestWeightCode || delta > UINT32_MAX - token ||
        (delta == 0 && !vector.entries.empty())) {
      return false;
    }
    token += delta;
    vector.entries.push_back(
        {static_cast<uint32_t>(token), DecodeWeight(static_cast<uint16_t>(code))});
  }
  return !vector.entries.empty();
}

std::string SparseSegment::Encode() const {
  uint64_t bitmap = 0;
  std::string runs, places, weights;
  for (size_t begin = 0; begin < entries.size();) {
    const uint64_t run = entries[begin].place / kRunChunks;
    uint16_t largest = 0;
    size_t end = begin;
    for (; end < entries.size() && entries[end].place / kRunChunks == run; ++end) {
      largest = std::max(largest, entries[end].code);
      places += static_cast<char>(entries[end].place % kRunChunks);
      AppendBytes(weights, entries[end].code);
    }
    bitmap |= uint64_t{1} << run;
    AppendBytes(runs, largest);
    AppendBytes(runs, static_cast<uint16_t>(end));
    begin = end;
  }
  std::string bytes;
  bytes.reserve(kBitmapBytes + runs.size() + places.size() + weights.size());
  AppendBytes(bytes, bitmap);
  return bytes.append(runs).append(places).append(weights);
}

bool SparseSegment::Decode(std::string_view bytes) {
  entries.clear();
  const std::optional<SegmentView> view = SegmentView::Parse(bytes);
  if (!view.has_value()) return false;
  entries.reserve(view->size());
  size_t number = 0;
  for (uint64_t left = view->bitmap(); left != 0; left &= left - 1, ++number) {
    const auto first = static_cast<size_t>(std::countr_zero(left)) * kRunChunks;
    uint16_t largest = 0;
    for (size_t i = view->Begin(number); i < view->End(number); ++i) {
      const size_t place = first + view->Place(i);
      const uint16_t code = view->Code(i);
      if (place >= first + kRunChunks || code == 0 || code > kLargestWeightCode ||
          (!entries.empty() && place <= entries.back().place)) {
        return false;
      }
      entries.push_back({static_cast<uint16_t>(place), code});
      largest = std::max(largest, code);
    }
    if (largest != view->Largest(number)) return false;
  }
  return true;
}

Result<SparseSegment*> SparseChanges::Load(uint32_t token, uint64_t chunk) {
  const uint64_t segment = chunk / kSegmentChunks;
  const auto [found, added] = segments_.try_emplace({token, segment});
  if (!added || segment * kSegmentChunks >= first_new_) return &found->second;
  const Result<std::string> bytes =
      database_.Get(Family::kPostings, SparseKey(collection_, token, segment));
  if (bytes.ok()) {
    if (!found->second.Decode(*bytes)) {
      return DataLossError("the weights of token ", token, " in segment ", segment, " are damaged");
    }
  } else if (bytes.status().code() != StatusCode::kNotFound) {
    return bytes.status().WithContext(StrCat("the weights of token ", token));
  }
  return &found->second;
}

Status SparseChanges::Add(uint64_t chunk, const SparseVector& vector) {
  for (const SparseVector::Entry& entry : vector.entries) {
    RAG_ASSIGN_OR_RETURN(SparseSegment * segment, Load(entry.token, chunk));
    segment->entries.push_back(
        {static_cast<uint16_t>(chunk % kSegmentChunks), EncodeWeight(entry.weight)});
  }
  return OkStatus();
}

Status SparseChanges::Remove(uint64_t chunk, const SparseVector& vector) {
  for (const SparseVector::Entry& entry : vector.entries) {
    RAG_ASSIGN_OR_RETURN(SparseSegment * segment, Load(entry.token, chunk));
    std::vector<SparseSegment::Entry>& entries = segment->entries;
    const auto found = std::lower_bound(
        entries.begin(), entries.end(), chunk % kSegmentChunks,
        [](const SparseSegment::Entry& posting, uint64_t place) { return posting.place < place; });
    if (found != entries.end() && found->place == chunk % kSegmentChunks) entries.erase(found);
  }
  return OkStatus();
}

void SparseChanges::AppendTo(Batch& batch) const {
  for (const auto& [place, segment] : segments_) {
    const std::string key = SparseKey(collection_, place.first, place.second);
    if (segment.entries.empty()) {
      batch.Delete(Family::kPostings, key);
    } else {
      batch.Put(Family::kPostings, key, segment.Encode());
    }
  }
}

}  // namespace rag
