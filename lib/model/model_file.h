// Model files: safetensors, PyTorch's and GGUF, mapped into memory. Everything in them comes from
// outside, so every size, offset, type, alignment and count is checked before it is used: a damaged
// or hostile file gives invalid_argument or data_loss naming the file and the place, never a crash
// or a large allocation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/file.h"
#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/tensor/tensor.h"

namespace rag {

// A model's tensors by name: of one file, or of a sharded set through its index.
// - *.safetensors and *.safetensors.index.json. Format: github.com/huggingface/safetensors, README
//   "Format".
// - *.bin and *.bin.index.json, as torch.save writes them: a zip file since PyTorch 1.6, a row of
//   pickles before. Nothing of a pickle is executed (lib/model/torch_pickle.h). Tensors that do not
//   lie row by row are copied; those that share a storage are views of the same bytes.
class TensorFile {
 public:
  // `path` is a file or index of those, or a folder: of what lies in it model.safetensors, the only
  // index or the only file of safetensors, else pytorch_model.bin or its index. Errors: not_found;
  // invalid_argument, data_loss, out_of_range, resource_exhausted and unsupported, naming the
  // file and the place in it.
  static Result<TensorFile> Open(const std::string& path);
  TensorFile(TensorFile&&) noexcept;
  TensorFile& operator=(TensorFile&&) noexcept;
  ~TensorFile();

  // The file with these tensors instead of its own: views of its bytes, or of what `storage` keeps.
  // Errors: invalid_argument for a tensor that is there twice.
  Result<TensorFile> WithTensors(std::vector<NamedTensorView> tensors,
                                 std::shared_ptr<const void> storage) &&;

  // Views live as long as the object. Null when there is no such tensor.
  const TensorView* Find(std::string_view name) const;
  std::vector<std::string> TensorNames() const;  // sorted
  // "__metadata__" of safetensors, or the index's; an object, empty where there is none.
  const Value& metadata() const;
  // Lets go of the memory of some of a tensor's bytes; reading them reads the file again.
  void Forget(std::span<const std::byte> bytes) const;

 private:
  struct Impl;
  explicit TensorFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A model in GGUF's terms that is not in a file of that format.
struct GgufParts {
  std::string path;  // where it comes from, for errors
  Value::Object metadata;
  std::vector<NamedTensorView> tensors;  // by GGUF's names, outermost first
  std::shared_ptr<const void> storage;   // keeps the views' bytes
};

// A GGUF file, versions 2 and 3, little-endian (github.com/ggml-org/ggml, docs/gguf.md).
class GgufFile {
 public:
  // Of a model in parts (split.count), `path` is the first and the others lie beside it.
  static Result<GgufFile> Open(const std::string& path);
  // Errors: invalid_argument for a tensor that is there twice.
  static Result<GgufFile> FromParts(GgufParts parts);
  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  uint32_t version() const;
  // Metadata by key ("llama.context_length"); null when absent. Arrays are Value arrays.
  const Value* FindMetadata(std::string_view key) const;
  // All metadata, in file order.
  const Value::Object& metadata() const;
  // The type and value of the index-th key of metadata() as they stand in the file; empty for one
  // that was made of parts.
  std::span<const std::byte> RawMetadata(size_t index) const;
  // shape is outermost first: the reverse of the file's order, so a weight is [out, in].
  const TensorView* Find(std::string_view name) const;
  std::vector<std::string> TensorNames() const;  // file order
  // As TensorFile's.
  void Forget(std::span<const std::byte> bytes) const;
  const std::string& path() const;

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rag
