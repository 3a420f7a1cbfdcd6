// Saving, loading and checking. Section 2 of a snapshot holds the model and, for each slot in a
// list, norm, factor and code in the codec's own order, so that a file does not depend on the
// instruction set; section 3 holds each slot's list. Both are empty before the first training.
#include <algorithm>
#include <cmath>

#include "index/vector/ivf_index.h"

namespace rag {

Status IvfIndex::Save(const std::string& path, uint64_t tag) const {
  const auto gate = gate_.Exclusive();
  StreamWriter out;
  std::vector<uint32_t> list_of;
  if (const State* const state = state_.load(std::memory_order_relaxed)) {
    const IvfLayout& layout = state->lists.layout();
    state->model->Write(out);
    out.PutOne<uint64_t>(state->trained_rows);
    {
      std::lock_guard lock(state->mutex);
      out.PutOne<uint64_t>(state->added_rows);
      out.PutOne(state->added_error);
    }
    list_of.assign(slots_.end(), kNoList);
    const size_t code_bytes = layout.code_bytes;
    std::vector<float> norms(layout.units > 0 ? slots_.end() : 0);
    std::vector<float> factors(layout.has_factors ? slots_.end() : 0);
    std::vector<std::byte> codes(slots_.end() * code_bytes);
    for (size_t list = 0; list < state->lists.count(); ++list) {
      const IvfList* const content = state->lists.Get(list);
      if (content == nullptr) continue;
      for (size_t i = 0; i < content->slots.size(); ++i) {
        const uint32_t slot = content->slots[i];
        list_of[slot] = static_cast<uint32_t>(list);
        if (layout.units == 0) continue;
        norms[slot] = content->norms[i];
        if (layout.has_factors) factors[slot] = content->factors[i];
        layout.Get(content->codes.data(), i, codes.data() + slot * code_bytes);
      }
    }
    out.Put(std::span<const float>(norms));
    out.Put(std::span<const float>(factors));
    out.Put(std::span<const std::byte>(codes));
  }
  Extras extras;
  extras.levels = out.bytes();
  extras.upper = list_of;
  return SaveSlots(path, MakeSnapshotHeader(options_, tag), extras);
}

Status IvfIndex::LoadFrom(const SnapshotFile& file) {
  const bool coded = !file.section(2).empty() && options_.ivf.codes != IvfCodes::kNone;
  RAG_RETURN_IF_ERROR(LoadSlots(file, false, nullptr, coded));
  RAG_RETURN_IF_ERROR(file.CheckSection(2));
  RAG_RETURN_IF_ERROR(file.CheckSection(3));
  const uint32_t count = slots_.end();
  for (uint32_t slot = 0; slot < count; ++slot) {
    list_of_.Ensure(slot);
    list_of_[slot] = kNoList;
  }
  if (file.section(2).empty() && file.section(3).empty()) return OkStatus();
  StreamReader in(file.section(2));
  std::unique_ptr<IvfModel> model = IvfModel::Read(in, options_, runtime_);
  uint64_t trained_rows = 0, added_rows = 0;
  double added_error = 0;
  if (model == nullptr || !in.GetOne(trained_rows) || !in.GetOne(added_rows) ||
      !in.GetOne(added_error) || !std::isfinite(added_error)) {
    return file.Damaged("the trained lists");
  }
  const IvfLayout layout = model->codec().layout();
  IvfEntries entries;
  std::vector<float> norms(layout.units > 0 ? count : 0);
  std::vector<float> factors(layout.has_factors ? count : 0);
  if (in.rest() != (norms.size() + factors.size()) * sizeof(float) + count * layout.code_bytes ||
      !in.GetFinite(norms) || !in.GetFinite(factors) ||
      file.section(3).size() != count * sizeof(uint32_t)) {
    return file.Damaged(StrCat("codes that do not fit ", count, " slots"));
  }
  std::vector<std::byte> codes(count * layout.code_bytes);
  std::vector<uint32_t> list_of(count);
  if (!in.Get(std::span(codes)) || !StreamReader(file.section(3)).Get(std::span(list_of))) {
    return file.Damaged("the codes");
  }
  for (uint32_t slot = 0; slot < count; ++slot) {
    const bool live = slots_.IsLive(slot);
    if (live != (list_of[slot] != kNoList) || (live && list_of[slot] >= model->lists())) {
      return file.Damaged(StrCat("list ", list_of[slot], " of slot ", slot));
    }
    if (!live) continue;
    list_of_[slot] = list_of[slot];
    entries.lists.push_back(list_of[slot]);
    entries.slots.push_back(slot);
    if (layout.units == 0) continue;
    entries.norms.push_back(norms[slot]);
    if (layout.has_factors) entries.factors.push_back(factors[slot]);
    entries.codes.insert(entries.codes.end(), codes.begin() + slot * layout.code_bytes,
                         codes.begin() + (slot + size_t{1}) * layout.code_bytes);
  }
  auto state = std::make_unique<State>(std::move(model), trained_rows);
  state->lists.Append(entries);
  state->added_rows = added_rows;
  state->added_error = added_error;
  state_.store(state.release(), std::memory_order_release);
  return OkStatus();
}

Status IvfIndex::Verify() const {
  const auto gate = gate_.Exclusive();
  RAG_RETURN_IF_ERROR(slots_.Verify());
  RAG_RETURN_IF_ERROR(slots_.ReadRows());
  const State* const state = state_.load(std::memory_order_relaxed);
  if (state == nullptr) return OkStatus();
  std::vector<uint8_t> seen(slots_.end(), 0);
  size_t listed = 0;
  for (size_t list = 0; list < state->lists.count(); ++list) {
    const IvfList* const content = state->lists.Get(list);
    if (content == nullptr) continue;
    for (const uint32_t slot : content->slots) {
      if (slot >= slots_.end() || !slots_.IsLive(slot) || seen[slot]++ != 0 ||
          list_of_[slot] != list) {
        return DataLossError("slot ", slot, " in list ", list);
      }
      ++listed;
    }
    if (state->lists.layout().units == 0) continue;
    if (state->lists.layout().has_factors && content->factors.size() != content->norms.size()) {
      return DataLossError(content->factors.size(), " factors in list ", list);
    }
    for (size_t i = 0; i < content->norms.size(); ++i) {
      if (std::isfinite(content->norms[i]) != (i < content->slots.size())) {
        return DataLossError("norm ", content->norms[i], " of place ", i, " in list ", list);
      }
    }
  }
  if (listed != slots_.size()) {
    return DataLossError(listed, " vectors in lists, of ", slots_.size());
  }
  return OkStatus();
}

}  // namespace rag
