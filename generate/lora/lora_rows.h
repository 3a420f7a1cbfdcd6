// LoraRows: adds what each row's adapters do to the products of a forward pass.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "generate/lora/lora_adapter.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Rows of sequences with different adapters, or none, lie side by side in one batch: their products
// with the model's weights are made together, and what adapters add is made here, for runs of
// neighbouring rows with the same ones (after Chen et al. 2024, "Punica", section 4). A row's
// result depends on the row and its adapters alone, bit for bit. Used by one thread at a time.
class LoraRows {
 public:
  // A pass begins; rows are then told in order. The uses outlive the pass.
  void Reset();
  void Append(size_t rows, std::span<const LoraUse> uses);

  // From now on row i of what Add gets is the appended row rows[i].
  void Select(std::span<const size_t> rows);
  // Row i is row i, as after Reset.
  void SelectAll();

  // outputs[i] += the adapters' products of `input` for the projection. Nothing where no row has
  // one.
  using Output = std::pair<const Projection*, Matrix*>;
  void Add(const Runtime& runtime, const MatrixView& input, std::span<const Output> outputs);

 private:
  // Neighbouring rows with one adapter.
  struct Run {
    size_t begin;
    size_t end;
    LoraUse use;
  };
  // A run's part of one output: rows of `low` from low_begin on hold down x.
  struct Part {
    const Run* run;
    const LoraMatrix* matrix;
    Matrix* out;
    size_t low_begin;
  };
  void AddRuns(std::vector<Run>& runs, size_t begin, size_t end, std::span<const LoraUse> uses);
  void Down(const Runtime& runtime, const MatrixView& input);
  void Up(const Runtime& runtime);

  std::vector<std::pair<size_t, std::span<const LoraUse>>> appended_;  // end of the rows, uses
  std::vector<Run> all_;       // in order of rows, then of their uses
  std::vector<Run> selected_;  // those that Add takes
  std::vector<Part> parts_;
  std::vector<float> low_;  // [rows, rank] of each part
};

}  // namespace rag
