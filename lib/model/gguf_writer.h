// GgufWriter: metadata and tensors -> a GGUF file of version 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "lib/base/value.h"
#include "lib/runtime/runtime.h"
#include "lib/tensor/tensor.h"

namespace rag {

// Format: github.com/ggml-org/ggml, docs/gguf.md. Everything is declared first, then written.
class GgufWriter {
 public:
  // Whole numbers become uint32 where they fit, else int64; other numbers float32; of arrays, whole
  // numbers become int32. Errors: invalid_argument naming a key whose value has no GGUF type, or
  // that is there already.
  Status Add(const std::string& key, const Value& value);
  // The type and value as another file's bytes had them (GgufFile::RawMetadata).
  Status AddRaw(const std::string& key, std::span<const std::byte> type_and_value);

  // Tensors are written in the order in which they are declared. shape is outermost first. Errors:
  // invalid_argument for a shape that is no whole number of blocks, or a name that is there
  // already.
  Status Declare(const std::string& name, DType type, std::vector<size_t> shape);

  // Fills the bytes of one declared tensor, by its index.
  using Fill = FunctionRef<Status(size_t index, std::span<std::byte> bytes)>;
  // Writes beside `path` and renames, so that a broken-off file never looks whole. One tensor is in
  // memory at a time. Errors: io_error, and what `fill` returns; no file is left then.
  Status Write(const std::string& path, Fill fill) const;

 private:
  struct Tensor {
    std::string name;
    DType type;
    std::vector<size_t> shape;
    size_t bytes;
  };
  Status AddKey(const std::string& key);
  std::string Header() const;

  std::vector<std::string> keys_;
  std::string metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace rag
