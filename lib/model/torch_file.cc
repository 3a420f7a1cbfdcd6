#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/model/tensor_parsers.h"
#include "lib/model/torch_pickle.h"
#include "lib/model/zip_directory.h"

namespace rag {
namespace {

// The first pickle of the form before PyTorch 1.6: the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyMagic("\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.",
                                        15);
constexpr std::string_view kZipMagic = "PK\3\4";
constexpr uint64_t kLegacyVersion = 1001;
// torch::jit's kMaxSupportedFileFormatVersion (caffe2/serialize/versions.h).
constexpr int kMaxZipVersion = 10;

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The views of a file's tensors, of bytes of the file or of copies.
class ViewMaker {
 public:
  // `storages` are the bytes of pickle.storages; both outlive this. No more than `max_copied` bytes
  // are copied.
  ViewMaker(const TorchPickle& pickle, std::span<const std::span<const std::byte>> storages,
            size_t max_copied)
      : pickle_(pickle), storages_(storages), left_(max_copied) {}

  Result<TensorView> Make(const PickledTensor& tensor) {
    const PickledStorage& storage = pickle_.storages[tensor.storage];
    const size_t size = GetDTypeInfo(storage.type).block_bytes;
    TensorView view;
    view.type = storage.type;
    size_t elements = 1;
    for (const PickleItem& extent : pickle_.Items(tensor.shape)) {
      const size_t count = extent.value;
      if (count != 0 && elements > std::numeric_limits<size_t>::max() / count) {
        return InvalidArgumentError("shape has too many elements");
      }
      elements *= count;
      view.shape.push_back(count);
    }
    if (elements == 0) return view;
    const std::span<const std::byte> bytes =
        storages_[tensor.storage].subspan(tensor.offset * size);
    if (IsRowMajor(view.shape, tensor)) {
      view.bytes = bytes.first(elements * size);
      return view;
    }
    // Copies are of what the file has, not of what it repeats.
    if (elements > storage.elements) {
      return UnsupportedError("shows some of its storage's ", storage.elements,
                              " elements several times");
    }
    if (elements * size > left_) {
      return ResourceExhaustedError(
          "of tensors that do not lie row by row more would be copied "
          "than the file has bytes");
    }
    left_ -= elements * size;
    view.bytes = Copy(view.shape, tensor, bytes, elements * size, size);
    return view;
  }

  std::shared_ptr<const void> copies() const { return copies_; }

 private:
  bool IsRowMajor(std::span<const size_t> shape, const PickledTensor& tensor) const {
    const std::span<const PickleItem> strides = pickle_.Items(tensor.strides);
    size_t below = 1;
    for (size_t i = shape.size(); i-- > 0;) {
      if (shape[i] != 1 && strides[i].value != below) return false;
      below *= shape[i];
    }
    return true;
  }

  // `from` begins with the tensor's first element; `size` is an element's.
  std::span<const std::byte> Copy(std::span<const size_t> shape, const PickledTensor& tensor,
                                  std::span<const std::byte> from, size_t bytes, size_t size) {
    const std::span<const PickleItem> strides = pickle_.Items(tensor.strides);
    std::vector<std::byte>& to = copies_->emplace_back(bytes);
    std::array<size_t, kMaxTensorDimensions> at = {};
    const size_t last = shape.size() - 1;
    const size_t step = strides[last].value * size;
    size_t row = 0;  // where the row begins in `from`
    for (size_t done = 0; done < bytes;) {
      for (size_t i = 0; i < shape[last]; ++i, done += size) {
        std::memcpy(to.data() + done, from.data() + row + i * step, size);
      }
      for (size_t i = last; i-- > 0;) {
        row += strides[i].value * size;
        if (++at[i] < shape[i]) break;
        row -= at[i] * strides[i].value * size;
        at[i] = 0;
      }
    }
    return to;
  }

  const TorchPickle& pickle_;
  const std::span<const std::span<const std::byte>> storages_;
  size_t left_;
  std::shared_ptr<std::deque<std::vector<std::byte>>> copies_ =
      std::make_shared<std::deque<std::vector<std::byte>>>();
};

// A module's tensors by name: the pickled value itself, or its "state_dict".
Result<PickleItem> FindStateDict(const TorchPickle& pickle) {
  if (pickle.root.kind != PickleKind::kDict) {
    return InvalidArgumentError("holds a ", PickleKindName(pickle.root.kind),
                                ", not a dictionary of tensors");
  }
  const PickleItem* inner = pickle.Find(pickle.root, "state_dict");
  return inner != nullptr && inner->kind == PickleKind::kDict ? *inner : pickle.root;
}

Status AddTensors(const TorchPickle& pickle, std::span<const std::span<const std::byte>> storages,
                  TensorShard& shard) {
  RAG_ASSIGN_OR_RETURN(const PickleItem state, FindStateDict(pickle));
  const std::span<const TorchPickle::Pair> pairs = pickle.Pairs(state);
  constexpr std::string_view kWrapper = "module.";
  bool wrapped = true;
  for (const auto& [key, value] : pairs) {
    if (key.kind != PickleKind::kString) {
      return InvalidArgumentError("key ", static_cast<int64_t>(key.value), " is no tensor's name");
    }
    if (value.kind != PickleKind::kTensor) {
      return InvalidArgumentError("'", pickle.Text(key), "' is a ", PickleKindName(value.kind),
                                  ", not a tensor");
    }
    wrapped &= pickle.Text(key).starts_with(kWrapper);
  }
  ViewMaker maker(pickle, storages, shard.file.bytes().size());
  for (const auto& [key, value] : pairs) {
    std::string_view name = pickle.Text(key);
    if (wrapped) name.remove_prefix(kWrapper.size());
    Result<TensorView> view = maker.Make(pickle.tensors[value.value]);
    if (!view.ok()) {
      return std::move(view).status().WithContext(StrCat("tensor '", name, "'"));
    }
    shard.tensors.emplace_back(name, std::move(view).value());
  }
  shard.copies = maker.copies();
  return OkStatus();
}

// nullopt: more than a file of `max_bytes` can hold.
std::optional<size_t> StorageBytes(const PickledStorage& storage, size_t max_bytes) {
  const size_t size = GetDTypeInfo(storage.type).block_bytes;
  if (storage.elements > max_bytes / size) return std::nullopt;
  return storage.elements * size;
}

// NAME/data.pkl, the only one; all of NAME's records begin with "NAME/".
Result<std::string> FindArchive(std::span<const ZipRecord> records) {
  std::optional<std::string> archive;
  for (const ZipRecord& record : records) {
    const size_t slash = record.name.find('/');
    if (slash == std::string_view::npos || record.name.substr(slash + 1) != "data.pkl") continue;
    if (archive.has_value()) {
      return InvalidArgumentError("the records '", *archive, "data.pkl' and '", record.name,
                                  "' are both there");
    }
    archive = record.name.substr(0, slash + 1);
  }
  if (!archive.has_value()) {
    return InvalidArgumentError(
        "the zip file has no record NAME/data.pkl: torch.save did not "
        "write it");
  }
  return *archive;
}

// A zip file that torch.save wrote.
class ZipReader {
 public:
  explicit ZipReader(TensorShard& shard) : shard_(shard) {}

  Status Run() {
    const std::span<const std::byte> file = shard_.file.bytes();
    RAG_ASSIGN_OR_RETURN(records_, ReadZipDirectory(file));
    RAG_ASSIGN_OR_RETURN(archive_, FindArchive(records_));
    RAG_RETURN_IF_ERROR(CheckSettings());
    const std::string program = archive_ + "data.pkl";
    RAG_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, Stored(program));
    const auto pickle = TorchPickle::Read(bytes, TorchPickle::Form::kZip);
    if (!pickle.ok()) return pickle.status().WithContext(program);
    if (pickle->bytes.size() != bytes.size()) {
      return InvalidArgumentError(program, ": ", bytes.size() - pickle->bytes.size(),
                                  " bytes follow the pickle's end");
    }
    std::vector<std::span<const std::byte>> storages;
    for (const PickledStorage& storage : pickle->storages) {
      const std::string name = StrCat(archive_, "data/", storage.key);
      RAG_ASSIGN_OR_RETURN(const std::span<const std::byte> stored, Stored(name));
      if (StorageBytes(storage, file.size()) != stored.size()) {
        return DataLossError("record '", name, "' is of ", stored.size(),
                             " bytes, and the pickle says ", storage.elements, " ",
                             GetDTypeInfo(storage.type).name);
      }
      storages.push_back(stored);
    }
    return AddTensors(*pickle, storages, shard_);
  }

 private:
  Result<std::span<const std::byte>> Stored(const std::string& name) const {
    const ZipRecord* const record = FindRecord(records_, name);
    if (record == nullptr) return DataLossError("there is no record '", name, "'");
    if (record->method != 0) {
      return UnsupportedError("record '", name, "' is compressed (method ", record->method,
                              "), which torch.save does not do");
    }
    return record->bytes;
  }

  Status CheckSettings() const {
    if (FindRecord(records_, archive_ + "constants.pkl") != nullptr) {
      return UnsupportedError(
          "is a TorchScript program, not a file of tensors; save its "
          "state_dict()");
    }
    const std::string order = archive_ + "byteorder";
    if (FindRecord(records_, order) != nullptr) {
      RAG_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, Stored(order));
      if (Text(bytes) != "little") {
        return UnsupportedError("record '", order,
                                "' does not say 'little': numbers in another "
                                "byte order are not read");
      }
    }
    const std::string version = archive_ + "version";
    if (FindRecord(records_, version) == nullptr) return OkStatus();
    RAG_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, Stored(version));
    for (int known = 1; known <= kMaxZipVersion; ++known) {
      if (Text(bytes) == StrCat(known, '\n')) return OkStatus();
    }
    return UnsupportedError("record '", version, "' is none of the versions 1 to ", kMaxZipVersion);
  }

  TensorShard& shard_;
  std::vector<ZipRecord> records_;
  std::string archive_;  // what stands before the names
};

// The form before PyTorch 1.6 (torch/serialization.py, _legacy_save): pickles of a number, a
// version, the machine's properties, the value and the storages' keys; then, in the keys' order,
// each storage's count of elements and its bytes.
class LegacyReader {
 public:
  explicit LegacyReader(TensorShard& shard)
      : shard_(shard), bytes_(shard.file.bytes()), position_(kLegacyMagic.size()) {}

  Status Run() {
    RAG_ASSIGN_OR_RETURN(const TorchPickle version, Next());
    if (version.root.kind != PickleKind::kInt || version.root.value != kLegacyVersion) {
      return UnsupportedError("the pickle at byte ", kLegacyMagic.size(), " is not the version ",
                              kLegacyVersion);
    }
    RAG_ASSIGN_OR_RETURN(const TorchPickle machine, Next());
    const PickleItem* const little = machine.root.kind == PickleKind::kDict
                                         ? machine.Find(machine.root, "little_endian")
                                         : nullptr;
    if (little == nullptr || little->kind != PickleKind::kBool || little->value != 1) {
      return UnsupportedError(
          "'little_endian' is not true: numbers in another byte order are "
          "not read");
    }
    RAG_ASSIGN_OR_RETURN(const TorchPickle pickle, Next());
    const size_t at = position_;
    RAG_ASSIGN_OR_RETURN(const TorchPickle keys, Next());
    if (keys.root.kind != PickleKind::kList) {
      return InvalidArgumentError("the pickle at byte ", at, " is a ",
                                  PickleKindName(keys.root.kind), ", not the list of storages");
    }
    RAG_RETURN_IF_ERROR(ReadStorages(pickle, keys));
    return AddTensors(pickle, storages_, shard_);
  }

 private:
  Result<TorchPickle> Next() {
    const size_t at = position_;
    auto pickle = TorchPickle::Read(bytes_.subspan(at), TorchPickle::Form::kLegacy);
    if (!pickle.ok()) {
      return std::move(pickle).status().WithContext(StrCat("pickle at byte ", at));
    }
    position_ += pickle->bytes.size();
    return pickle;
  }

  Status ReadStorages(const TorchPickle& pickle, const TorchPickle& keys) {
    std::map<std::string_view, size_t> number_of;
    for (const PickledStorage& storage : pickle.storages) {
      number_of.emplace(storage.key, number_of.size());
    }
    storages_.resize(pickle.storages.size());
    for (const PickleItem& key : keys.Items(keys.root)) {
      const auto found =
          key.kind == PickleKind::kString ? number_of.find(keys.Text(key)) : number_of.end();
      if (found == number_of.end()) {
        return InvalidArgumentError(
            "the list of storages names one twice, or one that no tensor "
            "has");
      }
      const PickledStorage& storage = pickle.storages[found->second];
      const size_t left = bytes_.size() - position_;
      uint64_t elements = 0;
      if (left < sizeof(elements)) {
        return DataLossError("the file ends before storage '", storage.key, "'");
      }
      std::memcpy(&elements, bytes_.data() + position_, sizeof(elements));
      if (elements != storage.elements) {
        return DataLossError("storage '", storage.key, "' at byte ", position_, " has ", elements,
                             " elements, and the pickle says ", storage.elements);
      }
      const std::optional<size_t> size = StorageBytes(storage, left - sizeof(elements));
      if (!size.has_value()) {
        return DataLossError("the file ends in storage '", storage.key, "' at byte ", position_);
      }
      position_ += sizeof(elements);
      storages_[found->second] = bytes_.subspan(position_, *size);
      position_ += *size;
      number_of.erase(found);
    }
    if (!number_of.empty()) {
      return DataLossError("storage '", number_of.begin()->first, "' is not in the file");
    }
    if (position_ != bytes_.size()) {
      return InvalidArgumentError("bytes ", position_, "..", bytes_.size(),
                                  " belong to no storage");
    }
    return OkStatus();
  }

  TensorShard& shard_;
  const std::span<const std::byte> bytes_;
  size_t position_;
  std::vector<std::span<const std::byte>> storages_;
};

}  // namespace

Status ParseTorch(TensorShard& shard) {
  const std::string_view bytes = Text(shard.file.bytes());
  if (bytes.starts_with(kZipMagic)) return ZipReader(shard).Run();
  if (bytes.starts_with(kLegacyMagic)) return LegacyReader(shard).Run();
  return InvalidArgumentError(
      "is no file of tensors that torch.save wrote: it begins neither as a "
      "zip file nor as a pickle of PyTorch's");
}

}  // namespace rag
