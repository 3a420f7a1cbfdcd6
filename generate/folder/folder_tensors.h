// Tensors of a Hugging Face folder under GGUF's names.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/folder/folder_config.h"
#include "lib/base/status.h"
#include "lib/model/model_file.h"

namespace rag {

// What a family calls `name`, with its ".weight" or ".bias", in GGUF's terms; nullopt where it has
// no such tensor.
struct TranslatedName {
  std::string gguf;
  TensorChange change;
  size_t number;  // an expert's or head's
};
std::optional<TranslatedName> TranslateName(const Family& family, std::string_view name);

// Changes tensors on their way.
class TensorChanger {
 public:
  // What is made anew lies in `storage`, which outlives this.
  TensorChanger(size_t heads, size_t kv_heads, std::deque<std::vector<std::byte>>& storage)
      : heads_(heads), kv_heads_(kv_heads), storage_(storage) {}

  // Errors: invalid_argument for a shape that the change does not fit.
  Result<TensorView> Change(TensorChange change, const TensorView& from);
  TensorView Own(DType type, std::vector<size_t> shape, std::vector<std::byte> bytes);

 private:
  template <class RowOf>
  TensorView MoveRows(const TensorView& from, RowOf row_of);
  Result<TensorView> PairRows(const TensorView& from, size_t heads);
  Result<TensorView> GatherHeads(const TensorView& from);
  Result<TensorView> AddOne(const TensorView& from);
  TensorView Transpose(const TensorView& from);

  const size_t heads_;
  const size_t kv_heads_;
  std::deque<std::vector<std::byte>>& storage_;
};

// Keeps what the views in `tensors` point to.
struct FolderTensors {
  explicit FolderTensors(TensorFile opened) : file(std::move(opened)) {}

  TensorFile file;
  std::deque<std::vector<std::byte>> changed;
  std::vector<NamedTensorView> tensors;
};

// Fills out.tensors from out.file. Errors: unsupported naming a tensor that the family does not
// have; invalid_argument naming a tensor whose shape its change does not fit.
Status RenameTensors(const FolderConfig& config, const std::string& where, FolderTensors& out);

}  // namespace rag
