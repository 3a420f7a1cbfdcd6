#include "lib/model/torch_pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <string>

#include "lib/model/tensor_parsers.h"
#include "lib/text/utf8.h"

namespace rag {
namespace {

static_assert(std::endian::native == std::endian::little);

// A tensor takes 100 to 200 bytes.
constexpr size_t kMaxPickleBytes = size_t{32} << 20;
// Dictionaries and argument lists come in batches of a thousand.
constexpr size_t kMaxStack = size_t{1} << 16;
constexpr size_t kMaxMarks = 64;
constexpr size_t kMaxTextBytes = size_t{64} << 10;
constexpr size_t kMaxGlobalBytes = 128;
// What the values may take together: so much, and more as the pickle's size speaks for it. Of a
// tensor they take three to four times what its part of the pickle does.
constexpr size_t kFreeBytes = size_t{8} << 20;
constexpr size_t kBytesPerByte = 8;
// With what becomes of it: a name and a view.
constexpr size_t kPairBytes = 128;

// The operations that protocol 2 writes for such values.
enum Operation : uint8_t {
  kMark = '(',
  kStop = '.',
  kEmptyTuple = ')',
  kEmptyList = ']',
  kEmptyDict = '}',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersistentId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kProtocol = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8A,
};

// What a storage type's item holds is its place here.
struct KnownGlobal {
  std::string_view module;
  std::string_view name;
  DType type = DType::kF32;  // of a storage
};
constexpr KnownGlobal kGlobals[] = {
    {"collections", "OrderedDict"},          {"torch._utils", "_rebuild_tensor_v2"},
    {"torch._utils", "_rebuild_parameter"},  {"torch", "FloatStorage", DType::kF32},
    {"torch", "HalfStorage", DType::kF16},   {"torch", "BFloat16Storage", DType::kBF16},
    {"torch", "DoubleStorage", DType::kF64}, {"torch", "LongStorage", DType::kI64},
    {"torch", "IntStorage", DType::kI32},    {"torch", "ShortStorage", DType::kI16},
    {"torch", "CharStorage", DType::kI8},    {"torch", "ByteStorage", DType::kU8},
    {"torch", "BoolStorage", DType::kBool},
};
constexpr uint64_t kOrderedDict = 0;
constexpr uint64_t kRebuildTensor = 1;
constexpr uint64_t kRebuildParameter = 2;
constexpr uint64_t kFirstStorage = 3;

// A text's or tuple's place and length.
uint64_t Range(size_t begin, size_t size) { return uint64_t{begin} << 32 | size; }
size_t RangeBegin(const PickleItem& item) { return item.value >> 32; }
size_t RangeSize(const PickleItem& item) { return item.value & 0xFFFFFFFF; }

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, TorchPickle::Form form)
      : bytes_(bytes.first(std::min(bytes.size(), kMaxPickleBytes))),
        whole_(bytes.size() <= kMaxPickleBytes),
        form_(form) {
    out_.bytes = bytes_;
  }

  Result<TorchPickle> Run() {
    while (!stopped_) {
      const size_t at = position_;
      RAG_RETURN_IF_ERROR(Step().WithContext(StrCat("byte ", at, " of the pickle")));
    }
    out_.bytes = bytes_.first(position_);
    return std::move(out_);
  }

 private:
  Status Step() {
    RAG_ASSIGN_OR_RETURN(const uint8_t operation, Take<uint8_t>());
    if ((operation == kProtocol) != (position_ == 1)) {
      return position_ == 1 ? InvalidArgumentError("no pickle of protocol 2 begins here")
                            : InvalidArgumentError("the pickle begins anew");
    }
    switch (operation) {
      case kProtocol:
        return BeginProtocol();
      case kMark:
        if (marks_.size() == kMaxMarks) {
          return ResourceExhaustedError("over ", kMaxMarks, " marks, one in another");
        }
        marks_.push_back(stack_.size());
        return OkStatus();
      case kStop:
        return Stop();
      case kNone:
        return Push(PickleKind::kNone, 0);
      case kNewTrue:
      case kNewFalse:
        return Push(PickleKind::kBool, operation == kNewTrue);
      case kBinInt:
      case kBinInt1:
      case kBinInt2:
      case kLong1:
        return PushInt(operation);
      case kBinFloat:
        RAG_RETURN_IF_ERROR(Take<uint64_t>().status());
        return Push(PickleKind::kFloat, 0);
      case kBinUnicode:
        return PushText();
      case kEmptyTuple:
        return Push(PickleKind::kTuple, Range(0, 0));
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return MakeTuple(size_t{operation} - kTuple1 + 1);
      case kTuple: {
        RAG_ASSIGN_OR_RETURN(const size_t count, PopMark());
        return MakeTuple(count);
      }
      case kEmptyList:
        RAG_RETURN_IF_ERROR(Charge(sizeof(out_.lists[0])));
        out_.lists.emplace_back();
        return Push(PickleKind::kList, out_.lists.size() - 1);
      case kEmptyDict:
        return PushDict();
      case kAppend:
        return Append(1);
      case kAppends: {
        RAG_ASSIGN_OR_RETURN(const size_t count, PopMark());
        return Append(count);
      }
      case kSetItem:
        return SetItems(2);
      case kSetItems: {
        RAG_ASSIGN_OR_RETURN(const size_t count, PopMark());
        return SetItems(count);
      }
      case kBinPut:
      case kLongBinPut:
        return Remember(operation);
      case kBinGet:
      case kLongBinGet:
        return Recall(operation);
      case kGlobal:
        return PushGlobal();
      case kReduce:
        return Reduce();
      case kBuild:
        return Build();
      case kBinPersistentId:
        return PushStorage();
      default:
        return UnsupportedError("operation ", int{operation}, " is none that tensors need");
    }
  }

  template <class T>
  Result<T> Take() {
    RAG_RETURN_IF_ERROR(CheckLeft(sizeof(T)));
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }
  Status CheckLeft(size_t count) const {
    if (count <= bytes_.size() - position_) return OkStatus();
    if (whole_) return DataLossError("the pickle is cut off");
    return ResourceExhaustedError("the pickle is over the limit of ", kMaxPickleBytes, " bytes");
  }
  Status Charge(size_t bytes) {
    charged_ += bytes;
    const size_t most = kFreeBytes + kBytesPerByte * position_;
    if (charged_ <= most) return OkStatus();
    return ResourceExhaustedError("the values up to here take over ", most, " bytes");
  }

  Status BeginProtocol() {
    RAG_ASSIGN_OR_RETURN(const uint8_t protocol, Take<uint8_t>());
    if (protocol == 2) return OkStatus();
    return UnsupportedError("the pickle is of protocol ", int{protocol},
                            ", and known is 2, which torch.save writes unless told otherwise");
  }
  Status Stop() {
    if (stack_.size() != 1 || !marks_.empty()) {
      return InvalidArgumentError("the pickle ends with ", stack_.size(), " values and ",
                                  marks_.size(), " marks, not with one value");
    }
    out_.root = stack_[0];
    stopped_ = true;
    return OkStatus();
  }

  Status Push(PickleKind kind, uint64_t value) {
    if (stack_.size() == kMaxStack) {
      return ResourceExhaustedError("over ", kMaxStack, " values wait to be used");
    }
    stack_.push_back({kind, value});
    return OkStatus();
  }
  // The values above the last mark, or above all that a mark covers, are the `count` topmost.
  Status CheckTop(size_t count) const {
    const size_t base = marks_.empty() ? 0 : marks_.back();
    if (count <= stack_.size() - base) return OkStatus();
    return InvalidArgumentError("needs ", count, " values, and there are ", stack_.size() - base);
  }
  Result<size_t> PopMark() {
    if (marks_.empty()) return InvalidArgumentError("there is no mark");
    const size_t count = stack_.size() - marks_.back();
    marks_.pop_back();
    return count;
  }
  Result<PickleItem> Pop(PickleKind kind, std::string_view what) {
    RAG_RETURN_IF_ERROR(CheckTop(1));
    const PickleItem item = stack_.back();
    if (item.kind != kind) {
      return InvalidArgumentError(what, " is a ", PickleKindName(item.kind), ", not a ",
                                  PickleKindName(kind));
    }
    stack_.pop_back();
    return item;
  }

  Status PushInt(uint8_t operation) {
    int64_t value = 0;
    if (operation == kBinInt) {
      RAG_ASSIGN_OR_RETURN(value, Take<int32_t>());
    } else if (operation == kBinInt1) {
      RAG_ASSIGN_OR_RETURN(value, Take<uint8_t>());
    } else if (operation == kBinInt2) {
      RAG_ASSIGN_OR_RETURN(value, Take<uint16_t>());
    } else {
      RAG_ASSIGN_OR_RETURN(const uint8_t size, Take<uint8_t>());
      if (size > sizeof(value)) {
        return InvalidArgumentError("a number of ", int{size}, " bytes is no count");
      }
      RAG_RETURN_IF_ERROR(CheckLeft(size));
      // Two's complement: the last byte's sign fills the rest.
      const bool negative =
          size > 0 && (std::to_integer<int>(bytes_[position_ + size - 1]) & 0x80) != 0;
      value = negative ? -1 : 0;
      std::memcpy(&value, bytes_.data() + position_, size);
      position_ += size;
    }
    return Push(PickleKind::kInt, static_cast<uint64_t>(value));
  }

  Status PushText() {
    RAG_ASSIGN_OR_RETURN(const uint32_t size, Take<uint32_t>());
    if (size > kMaxTextBytes) {
      return InvalidArgumentError("a text of ", size, " bytes is over the limit of ",
                                  kMaxTextBytes);
    }
    RAG_RETURN_IF_ERROR(CheckLeft(size));
    const PickleItem text{PickleKind::kString, Range(position_, size)};
    if (!IsValidUtf8(out_.Text(text))) return InvalidArgumentError("a text is no UTF-8");
    position_ += size;
    return Push(text.kind, text.value);
  }

  Status PushDict() {
    RAG_RETURN_IF_ERROR(Charge(sizeof(out_.dicts[0])));
    out_.dicts.emplace_back();
    return Push(PickleKind::kDict, out_.dicts.size() - 1);
  }

  Status MakeTuple(size_t count) {
    RAG_RETURN_IF_ERROR(CheckTop(count));
    RAG_RETURN_IF_ERROR(Charge(count * sizeof(PickleItem)));
    const size_t begin = out_.tuple_items.size();
    out_.tuple_items.insert(out_.tuple_items.end(), stack_.end() - static_cast<ptrdiff_t>(count),
                            stack_.end());
    stack_.resize(stack_.size() - count);
    return Push(PickleKind::kTuple, Range(begin, count));
  }

  Status Append(size_t count) {
    RAG_RETURN_IF_ERROR(CheckTop(count + 1));
    const auto first = stack_.end() - static_cast<ptrdiff_t>(count);
    const PickleItem& list = first[-1];
    if (list.kind != PickleKind::kList) {
      return InvalidArgumentError("appends to a ", PickleKindName(list.kind));
    }
    RAG_RETURN_IF_ERROR(Charge(2 * count * sizeof(PickleItem)));  // vectors grow by doubling
    std::vector<PickleItem>& items = out_.lists[list.value];
    items.insert(items.end(), first, stack_.end());
    stack_.resize(stack_.size() - count);
    return OkStatus();
  }

  Status SetItems(size_t count) {
    RAG_RETURN_IF_ERROR(CheckTop(count + 1));
    const auto first = stack_.end() - static_cast<ptrdiff_t>(count);
    const PickleItem& dict = first[-1];
    if (dict.kind != PickleKind::kDict) {
      return InvalidArgumentError("sets items of a ", PickleKindName(dict.kind));
    }
    if (count % 2 != 0) return InvalidArgumentError("sets a key without a value");
    std::vector<TorchPickle::Pair>& pairs = out_.dicts[dict.value];
    for (auto item = first; item != stack_.end(); item += 2) {
      if (item->kind != PickleKind::kString && item->kind != PickleKind::kInt) {
        return InvalidArgumentError("a key is a ", PickleKindName(item->kind));
      }
      const size_t name = item->kind == PickleKind::kString ? RangeSize(*item) : 0;
      RAG_RETURN_IF_ERROR(Charge(kPairBytes + name));
      pairs.emplace_back(item[0], item[1]);
    }
    stack_.resize(stack_.size() - count);
    return OkStatus();
  }

  Result<size_t> TakeMemoPlace(bool wide) {
    if (wide) {
      RAG_ASSIGN_OR_RETURN(const uint32_t place, Take<uint32_t>());
      return size_t{place};
    }
    RAG_ASSIGN_OR_RETURN(const uint8_t place, Take<uint8_t>());
    return size_t{place};
  }
  // Pickle numbers what it remembers one after another.
  Status Remember(uint8_t operation) {
    RAG_ASSIGN_OR_RETURN(const size_t place, TakeMemoPlace(operation == kLongBinPut));
    RAG_RETURN_IF_ERROR(CheckTop(1));
    if (place > memo_.size()) {
      return InvalidArgumentError("remembers a value as number ", place, ", the last was ",
                                  memo_.size());
    }
    if (place < memo_.size()) {
      memo_[place] = stack_.back();
      return OkStatus();
    }
    RAG_RETURN_IF_ERROR(Charge(sizeof(PickleItem)));
    memo_.push_back(stack_.back());
    return OkStatus();
  }
  Status Recall(uint8_t operation) {
    RAG_ASSIGN_OR_RETURN(const size_t place, TakeMemoPlace(operation == kLongBinGet));
    if (place >= memo_.size()) {
      return InvalidArgumentError("asks for value number ", place, " of ", memo_.size());
    }
    return Push(memo_[place].kind, memo_[place].value);
  }

  // "module\nname\n".
  Result<std::string_view> TakeLine() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_,
                                std::min(bytes_.size() - position_, kMaxGlobalBytes));
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
      if (rest.size() < kMaxGlobalBytes) RAG_RETURN_IF_ERROR(CheckLeft(kMaxGlobalBytes));
      return InvalidArgumentError("a global's name is over ", kMaxGlobalBytes, " bytes");
    }
    position_ += end + 1;
    const std::string_view line = rest.substr(0, end);
    const auto printable = [](char letter) { return letter >= '!' && letter <= '~'; };
    if (line.empty() || !std::all_of(line.begin(), line.end(), printable)) {
      return InvalidArgumentError("a global's name is not of letters");
    }
    return line;
  }
  Status PushGlobal() {
    RAG_ASSIGN_OR_RETURN(const std::string_view module, TakeLine());
    RAG_ASSIGN_OR_RETURN(const std::string_view name, TakeLine());
    for (uint64_t i = 0; i < std::size(kGlobals); ++i) {
      if (kGlobals[i].module == module && kGlobals[i].name == name) {
        return Push(PickleKind::kGlobal, i);
      }
    }
    return UnsupportedError("the pickle asks for '", module, ".", name,
                            "', which is none of what tensors need; nothing was executed. If you "
                            "trust the file, save its state dict with "
                            "safetensors.torch.save_file instead");
  }

  // Calls a function with the tuple of its arguments.
  Status Reduce() {
    RAG_ASSIGN_OR_RETURN(const PickleItem arguments,
                         Pop(PickleKind::kTuple, "what a function is called with"));
    RAG_ASSIGN_OR_RETURN(const PickleItem function, Pop(PickleKind::kGlobal, "what is called"));
    const std::span<const PickleItem> given = out_.Items(arguments);
    switch (function.value) {
      case kOrderedDict:
        if (!given.empty()) return WrongArguments(function);
        return PushDict();
      case kRebuildTensor:
        return RebuildTensor(function, given);
      case kRebuildParameter:
        // The tensor, whether it is trained, and hooks.
        if (given.size() != 3 || given[0].kind != PickleKind::kTensor ||
            given[1].kind != PickleKind::kBool || !IsEmptyDict(given[2])) {
          return WrongArguments(function);
        }
        return Push(given[0].kind, given[0].value);
      default:
        return WrongArguments(function);
    }
  }
  Status WrongArguments(const PickleItem& function) const {
    const KnownGlobal& known = kGlobals[function.value];
    return InvalidArgumentError("'", known.module, ".", known.name,
                                "' is called with arguments that are none of its own");
  }
  bool IsEmptyDict(const PickleItem& item) const {
    return item.kind == PickleKind::kDict && out_.dicts[item.value].empty();
  }

  // (storage, offset, shape, strides, whether it is trained, hooks[, metadata]).
  Status RebuildTensor(const PickleItem& function, std::span<const PickleItem> given) {
    if ((given.size() != 6 && given.size() != 7) || given[0].kind != PickleKind::kStorage ||
        given[1].kind != PickleKind::kInt || given[2].kind != PickleKind::kTuple ||
        given[3].kind != PickleKind::kTuple || given[4].kind != PickleKind::kBool ||
        !IsEmptyDict(given[5])) {
      return WrongArguments(function);
    }
    if (given.size() == 7 && given[6].kind != PickleKind::kNone && !IsEmptyDict(given[6])) {
      return UnsupportedError("a tensor is conjugated, negated or otherwise more than its bytes");
    }
    const PickledTensor tensor{static_cast<uint32_t>(given[0].value), given[1].value, given[2],
                               given[3]};
    RAG_RETURN_IF_ERROR(CheckInside(tensor));
    RAG_RETURN_IF_ERROR(Charge(sizeof(tensor)));
    out_.tensors.push_back(tensor);
    return Push(PickleKind::kTensor, out_.tensors.size() - 1);
  }

  // All elements lie in the storage; sums stop before they could wrap around.
  Status CheckInside(const PickledTensor& tensor) const {
    const std::span<const PickleItem> shape = out_.Items(tensor.shape);
    const std::span<const PickleItem> strides = out_.Items(tensor.strides);
    if (shape.size() != strides.size() || shape.size() > kMaxTensorDimensions) {
      return InvalidArgumentError("a tensor has ", shape.size(), " extents (at most ",
                                  kMaxTensorDimensions, ") and ", strides.size(), " strides");
    }
    const PickledStorage& storage = out_.storages[tensor.storage];
    const auto negative = [](uint64_t value) { return static_cast<int64_t>(value) < 0; };
    const auto outside = [&] {
      return InvalidArgumentError("a tensor reaches out of its storage '", storage.key, "' of ",
                                  storage.elements, " elements");
    };
    if (negative(tensor.offset)) {
      return InvalidArgumentError("a tensor's offset is ", static_cast<int64_t>(tensor.offset));
    }
    bool empty = false;
    for (size_t i = 0; i < shape.size(); ++i) {
      for (const PickleItem& item : {shape[i], strides[i]}) {
        if (item.kind != PickleKind::kInt) {
          return InvalidArgumentError("an extent or stride is a ", PickleKindName(item.kind));
        }
        if (negative(item.value)) {
          return InvalidArgumentError("an extent or stride is ", static_cast<int64_t>(item.value));
        }
      }
      empty |= shape[i].value == 0;
    }
    if (empty) return tensor.offset <= storage.elements ? OkStatus() : outside();
    uint64_t last = tensor.offset;
    if (last >= storage.elements) return outside();
    for (size_t i = 0; i < shape.size(); ++i) {
      const uint64_t steps = shape[i].value - 1;
      const uint64_t stride = strides[i].value;
      if (steps == 0 || stride == 0) continue;
      if (steps > (storage.elements - 1 - last) / stride) return outside();
      last += steps * stride;
    }
    return OkStatus();
  }

  // Only dictionaries have attributes ("_metadata": versions of modules), which change no tensor.
  Status Build() {
    RAG_ASSIGN_OR_RETURN(const PickleItem attributes, Pop(PickleKind::kDict, "an object's state"));
    (void)attributes;
    RAG_RETURN_IF_ERROR(CheckTop(1));
    if (stack_.back().kind == PickleKind::kDict) return OkStatus();
    return InvalidArgumentError("gives attributes to a ", PickleKindName(stack_.back().kind));
  }

  // ("storage", its type, key, device, elements), and in the old form a view of it.
  Status PushStorage() {
    RAG_ASSIGN_OR_RETURN(const PickleItem id, Pop(PickleKind::kTuple, "a persistent id"));
    const std::span<const PickleItem> given = out_.Items(id);
    const bool legacy = form_ == TorchPickle::Form::kLegacy;
    if (given.size() != (legacy ? 6 : 5) || given[0].kind != PickleKind::kString ||
        out_.Text(given[0]) != "storage" || given[1].kind != PickleKind::kGlobal ||
        given[1].value < kFirstStorage || given[2].kind != PickleKind::kString ||
        given[3].kind != PickleKind::kString || given[4].kind != PickleKind::kInt) {
      return InvalidArgumentError("a persistent id is no storage's");
    }
    if (legacy && given[5].kind != PickleKind::kNone) {
      return UnsupportedError("a storage is a view of another one");
    }
    const PickledStorage storage{out_.Text(given[2]), kGlobals[given[1].value].type,
                                 given[4].value};
    if (static_cast<int64_t>(storage.elements) < 0) {
      return InvalidArgumentError("storage '", storage.key, "' has ",
                                  static_cast<int64_t>(storage.elements), " elements");
    }
    const auto [known, is_new] = number_of_.try_emplace(storage.key, out_.storages.size());
    if (is_new) {
      RAG_RETURN_IF_ERROR(Charge(2 * sizeof(storage) + sizeof(*known)));
      out_.storages.push_back(storage);
    }
    const PickledStorage& first = out_.storages[known->second];
    if (first.type != storage.type || first.elements != storage.elements) {
      return InvalidArgumentError("storage '", storage.key, "' is of ", first.elements, " ",
                                  GetDTypeInfo(first.type).name, " and of ", storage.elements, " ",
                                  GetDTypeInfo(storage.type).name);
    }
    return Push(PickleKind::kStorage, known->second);
  }

  const std::span<const std::byte> bytes_;
  const bool whole_;  // nothing of the file lies behind bytes_
  const TorchPickle::Form form_;
  size_t position_ = 0;
  size_t charged_ = 0;
  bool stopped_ = false;
  std::vector<PickleItem> stack_;
  std::vector<size_t> marks_;
  std::vector<PickleItem> memo_;
  std::map<std::string_view, size_t> number_of_;  // of a storage, by its key
  TorchPickle out_;
};

}  // namespace

std::string_view PickleKindName(PickleKind kind) {
  switch (kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return "bool";
    case PickleKind::kInt:
      return "number";
    case PickleKind::kFloat:
      return "float";
    case PickleKind::kString:
      return "text";
    case PickleKind::kTuple:
      return "tuple";
    case PickleKind::kList:
      return "list";
    case PickleKind::kDict:
      return "dictionary";
    case PickleKind::kGlobal:
      return "function or type";
    case PickleKind::kStorage:
      return "storage";
    case PickleKind::kTensor:
      return "tensor";
  }
  return "";
}

Result<TorchPickle> TorchPickle::Read(std::span<const std::byte> bytes, Form form) {
  return Machine(bytes, form).Run();
}

std::string_view TorchPickle::Text(const PickleItem& item) const {
  return {reinterpret_cast<const char*>(bytes.data()) + RangeBegin(item), RangeSize(item)};
}

std::span<const PickleItem> TorchPickle::Items(const PickleItem& item) const {
  if (item.kind == PickleKind::kList) return lists[item.value];
  return std::span(tuple_items).subspan(RangeBegin(item), RangeSize(item));
}

std::span<const TorchPickle::Pair> TorchPickle::Pairs(const PickleItem& dict) const {
  return dicts[dict.value];
}

const PickleItem* TorchPickle::Find(const PickleItem& dict, std::string_view key) const {
  const std::span<const Pair> pairs = Pairs(dict);
  for (auto pair = pairs.rbegin(); pair != pairs.rend(); ++pair) {
    if (pair->first.kind == PickleKind::kString && Text(pair->first) == key) return &pair->second;
  }
  return nullptr;
}

}  // namespace rag
