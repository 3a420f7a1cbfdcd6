#include "generate/lora/lora_rows.h"

#include <algorithm>

#include "lib/kernels/kernels.h"

namespace rag {
namespace {

// Columns of a product that a worker adds to at once: they stay in the first cache.
constexpr size_t kColumns = 1024;

}  // namespace

void LoraRows::Reset() {
  appended_.clear();
  all_.clear();
  selected_.clear();
}

void LoraRows::AddRuns(std::vector<Run>& runs, size_t begin, size_t end,
                       std::span<const LoraUse> uses) {
  for (const LoraUse& use : uses) runs.push_back({begin, end, use});
}

void LoraRows::Append(size_t rows, std::span<const LoraUse> uses) {
  const size_t begin = appended_.empty() ? 0 : appended_.back().first;
  appended_.emplace_back(begin + rows, uses);
  AddRuns(all_, begin, begin + rows, uses);
  AddRuns(selected_, begin, begin + rows, uses);
}

void LoraRows::SelectAll() { selected_ = all_; }

void LoraRows::Select(std::span<const size_t> rows) {
  if (all_.empty()) return;
  selected_.clear();
  for (size_t begin = 0; begin < rows.size();) {
    const auto of = [&](size_t i) {
      return std::upper_bound(appended_.begin(), appended_.end(), rows[i],
                              [](size_t row, const auto& item) { return row < item.first; });
    };
    const auto chunk = of(begin);
    size_t end = begin + 1;
    while (end < rows.size() && of(end) == chunk) ++end;
    AddRuns(selected_, begin, end, chunk->second);
    begin = end;
  }
}

void LoraRows::Add(const Runtime& runtime, const MatrixView& input,
                   std::span<const Output> outputs) {
  if (selected_.empty()) return;
  parts_.clear();
  size_t low = 0;
  for (const auto& [projection, out] : outputs) {
    for (const Run& run : selected_) {
      const LoraMatrix* matrix = run.use.adapter->Find(*projection);
      if (matrix == nullptr) continue;
      parts_.push_back({&run, matrix, out, low});
      low += (run.end - run.begin) * matrix->down->rows();
    }
  }
  if (parts_.empty()) return;
  if (low_.size() < low) low_.resize(low);
  Down(runtime, input);
  Up(runtime);
}

void LoraRows::Down(const Runtime& runtime, const MatrixView& input) {
  const Kernels& kernels = runtime.kernels();
  // An item is a row of a part.
  std::vector<std::pair<const Part*, size_t>> items;
  for (const Part& part : parts_) {
    for (size_t row = part.run->begin; row < part.run->end; ++row) items.emplace_back(&part, row);
  }
  runtime.pool().ParallelFor(items.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      const auto& [part, row] = items[i];
      const Matrix& down = *part->matrix->down;
      float* const low = low_.data() + part->low_begin + (row - part->run->begin) * down.rows();
      kernels.dot_rows(input.row(row).data(), down.data(), down.cols(), down.rows(), down.cols(),
                       low);
      const float scale = part->run->use.scale * part->matrix->scale;
      for (size_t r = 0; r < down.rows(); ++r) low[r] *= scale;
    }
  });
}

void LoraRows::Up(const Runtime& runtime) {
  const Kernels& kernels = runtime.kernels();
  // An item is a run of columns of an output: its parts come one after another, so that a row's sum
  // runs in the order of its adapters.
  struct Item {
    Matrix* out;
    size_t begin;
  };
  std::vector<Item> items;
  const Matrix* last = nullptr;
  for (const Part& part : parts_) {
    if (part.out == last) continue;
    last = part.out;
    const size_t cols = part.matrix->up.cols();
    for (size_t begin = 0; begin < cols; begin += kColumns) items.push_back({part.out, begin});
  }
  runtime.pool().ParallelFor(items.size(), 1, [&](size_t first, size_t end, int) {
    for (size_t i = first; i < end; ++i) {
      const Item& item = items[i];
      for (const Part& part : parts_) {
        if (part.out != item.out) continue;
        const Matrix& up = part.matrix->up;
        const size_t cols = std::min(kColumns, up.cols() - item.begin);
        const float* low = low_.data() + part.low_begin;
        for (size_t row = part.run->begin; row < part.run->end; ++row, low += up.rows()) {
          float* const out = part.out->row(row).data() + item.begin;
          for (size_t r = 0; r < up.rows(); ++r) {
            kernels.axpy(low[r], up.row(r).data() + item.begin, out, cols);
          }
        }
      }
    }
  });
}

}  // namespace rag
