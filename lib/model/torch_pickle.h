// The pickles of PyTorch's files, as far as tensors by name need them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/tensor/tensor.h"

namespace rag {

enum class PickleKind : uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,  // what it is nobody asks
  kString,
  kTuple,
  kList,
  kDict,
  kGlobal,
  kStorage,
  kTensor,
};
std::string_view PickleKindName(PickleKind kind);

struct PickleItem {
  PickleKind kind = PickleKind::kNone;
  uint64_t value = 0;  // a number's bits, or where TorchPickle has the rest
};

struct PickledStorage {
  std::string_view key;  // under which its bytes lie in the file
  DType type = DType::kF32;
  uint64_t elements = 0;
};

// As the pickle says, and inside its storage: rows may lie in any order. As many strides as
// extents.
struct PickledTensor {
  uint32_t storage = 0;
  uint64_t offset = 0;  // elements
  PickleItem shape;     // a tuple of numbers from 0
  PickleItem strides;   // likewise, in elements
};

// A pickle read, and none of it executed: its program is run by a machine that knows the values of
// Python's that have no code (numbers, texts, tuples, lists, dictionaries) and three of PyTorch's
// functions, which make a storage's view, a parameter and an ordered dictionary. Attributes of
// dictionaries are passed over. Texts are views of the bytes it was read from.
struct TorchPickle {
  enum class Form { kZip, kLegacy };  // legacy: before PyTorch 1.6

  // The pickle that `bytes` begin with. What it takes in memory is at most some ten times its
  // bytes and 16 MiB.
  // Format: protocol 2 (Python's Lib/pickletools.py; PEP 307).
  // Errors: data_loss (cut off), invalid_argument, unsupported (another protocol, an operation or
  // a global that tensors do not need, named) and resource_exhausted, each with the byte.
  static Result<TorchPickle> Read(std::span<const std::byte> bytes, Form form);

  std::string_view Text(const PickleItem& item) const;
  // Of a tuple or list.
  std::span<const PickleItem> Items(const PickleItem& item) const;
  using Pair = std::pair<PickleItem, PickleItem>;
  std::span<const Pair> Pairs(const PickleItem& dict) const;
  // The last value under that text; null when there is none.
  const PickleItem* Find(const PickleItem& dict, std::string_view key) const;

  std::span<const std::byte> bytes;  // the pickle's own
  PickleItem root;
  std::vector<PickledStorage> storages;  // each once
  std::vector<PickledTensor> tensors;
  std::vector<PickleItem> tuple_items;
  std::vector<std::vector<PickleItem>> lists;
  std::vector<std::vector<Pair>> dicts;
};

}  // namespace rag
