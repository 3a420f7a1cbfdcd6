// Builds torch.save's files field by field, so that a test can write any of them wrongly.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/model/model_file.h"
#include "tests/lib/model/model_bytes.h"

namespace rag::test {

// A pickle's program.
class Pickle {
 public:
  explicit Pickle(int protocol = 2) { Op('\x80').Byte(protocol); }

  Pickle& Op(char operation) {
    operations_.push_back(text_.size());
    text_ += operation;
    return *this;
  }
  Pickle& Byte(int value) {
    text_ += static_cast<char>(value);
    return *this;
  }
  Pickle& Raw(std::string_view bytes) {
    text_ += bytes;
    return *this;
  }
  Pickle& Text(std::string_view text) { return TextOf(static_cast<uint32_t>(text.size()), text); }
  Pickle& TextOf(uint32_t size, std::string_view text) {
    Op('X').Raw({reinterpret_cast<const char*>(&size), sizeof(size)});
    return Raw(text);
  }
  // As LONG1, in eight bytes.
  Pickle& Int(int64_t value) {
    return Op('\x8A').Byte(8).Raw({reinterpret_cast<const char*>(&value), sizeof(value)});
  }
  Pickle& Global(std::string_view module, std::string_view name) {
    return Op('c').Raw(module).Raw("\n").Raw(name).Raw("\n");
  }
  Pickle& Ints(const std::vector<int64_t>& values) {
    Op('(');
    for (const int64_t value : values) Int(value);
    return Op('t');
  }
  Pickle& Storage(std::string_view type, std::string_view key, int64_t elements) {
    Op('(').Text("storage").Global("torch", type).Text(key).Text("cpu").Int(elements);
    return Op('t').Op('Q');
  }
  Pickle& EmptyDict() { return Global("collections", "OrderedDict").Op(')').Op('R'); }
  // What stands behind the storage in a call of _rebuild_tensor_v2, and the call.
  Pickle& Rebuild(int64_t offset, const std::vector<int64_t>& shape,
                  const std::vector<int64_t>& strides) {
    return Int(offset).Ints(shape).Ints(strides).Op('\x89').EmptyDict().Op('t').Op('R');
  }
  // A tensor of six floats under key "0".
  Pickle& Tensor(int64_t offset = 0, const std::vector<int64_t>& shape = {2, 3},
                 const std::vector<int64_t>& strides = {3, 1}) {
    return Global("torch._utils", "_rebuild_tensor_v2")
        .Op('(')
        .Storage("FloatStorage", "0", 6)
        .Rebuild(offset, shape, strides);
  }
  const std::string& text() const { return text_; }
  const std::vector<size_t>& operations() const { return operations_; }

 private:
  std::string text_;
  std::vector<size_t> operations_;
};

// A zip file as torch.save lays it out, with the places of its parts.
struct Zip {
  using Records = std::vector<std::pair<std::string, std::string>>;

  // wide: the directory has its sizes and places in eight bytes, as where four are too few.
  explicit Zip(const Records& records, bool wide = false) {
    Bytes out;
    for (const auto& [name, data] : records) {
      headers.push_back(out.text().size());
      const size_t before = out.text().size() + 30 + name.size();
      const size_t padding = (64 - before % 64) % 64;
      out.Put<uint32_t>(0x04034B50).Put<uint16_t>(0).Put<uint16_t>(0x800).Put<uint16_t>(0);
      out.Put<uint32_t>(0).Put<uint32_t>(0).Put(Size(data)).Put(Size(data));
      out.Put(static_cast<uint16_t>(name.size())).Put(static_cast<uint16_t>(padding));
      out.Append(name).Append(std::string(padding, 'Z')).Append(data);
    }
    const size_t directory = out.text().size();
    for (size_t i = 0; i < records.size(); ++i) {
      const auto& [name, data] = records[i];
      entries.push_back(out.text().size());
      out.Put<uint32_t>(0x02014B50).Put<uint16_t>(0).Put<uint16_t>(0).Put<uint16_t>(0x800);
      const uint32_t size = wide ? ~uint32_t{0} : Size(data);
      out.Put<uint16_t>(0).Put<uint32_t>(0).Put<uint32_t>(0).Put(size).Put(size);
      out.Put(static_cast<uint16_t>(name.size())).Put(static_cast<uint16_t>(wide ? 28 : 0));
      out.Put<uint16_t>(0).Put<uint32_t>(0).Put<uint32_t>(0);
      out.Put(wide ? ~uint32_t{0} : static_cast<uint32_t>(headers[i])).Append(name);
      if (!wide) continue;
      out.Put<uint16_t>(1).Put<uint16_t>(24).Put<uint64_t>(data.size());
      out.Put<uint64_t>(data.size()).Put<uint64_t>(headers[i]);
    }
    end64 = out.text().size();
    const uint64_t size = end64 - directory;
    const uint64_t count = records.size();
    out.Put<uint32_t>(0x06064B50).Put<uint64_t>(44).Put<uint32_t>(0).Put<uint64_t>(0);
    out.Put(count).Put(count).Put(size).Put<uint64_t>(directory);
    locator = out.text().size();
    out.Put<uint32_t>(0x07064B50).Put<uint32_t>(0).Put<uint64_t>(end64).Put<uint32_t>(1);
    end = out.text().size();
    out.Put<uint32_t>(0x06054B50).Put<uint32_t>(0).Put(static_cast<uint16_t>(count));
    out.Put(static_cast<uint16_t>(count)).Put(static_cast<uint32_t>(size));
    out.Put(static_cast<uint32_t>(directory)).Put<uint16_t>(0);
    bytes = out.text();
  }

  // The file with another value at `at`.
  template <class T>
  std::string With(size_t at, T value) const {
    std::string changed = bytes;
    changed.replace(at, sizeof(T), reinterpret_cast<const char*>(&value), sizeof(T));
    return changed;
  }

  std::string bytes;
  std::vector<size_t> headers;  // of each record
  std::vector<size_t> entries;  // of the directory
  size_t end64 = 0;
  size_t locator = 0;
  size_t end = 0;

 private:
  static uint32_t Size(const std::string& data) { return static_cast<uint32_t>(data.size()); }
};

// 24 bytes: the floats 0 to 5.
inline std::string SixFloats() {
  Bytes floats;
  for (int i = 0; i < 6; ++i) floats.Put(static_cast<float>(i));
  return floats.text();
}

inline Zip::Records TorchRecords(const std::string& pickle) {
  return {{"m/data.pkl", pickle},
          {"m/byteorder", "little"},
          {"m/data/0", SixFloats()},
          {"m/version", "3\n"}};
}

// The file's tensors as torch.save writes them, each in a storage of its own.
inline std::string TorchBytes(const TensorFile& file) {
  const auto type_name = [](DType type) {
    switch (type) {
      case DType::kF32:
        return "FloatStorage";
      case DType::kF16:
        return "HalfStorage";
      case DType::kBF16:
        return "BFloat16Storage";
      default:
        return "LongStorage";
    }
  };
  Pickle pickle;
  pickle.EmptyDict();
  Zip::Records records = {{"m/data.pkl", ""}, {"m/byteorder", "little"}, {"m/version", "3\n"}};
  for (const std::string& name : file.TensorNames()) {
    const TensorView& tensor = *file.Find(name);
    const std::string key = std::to_string(records.size());
    std::vector<int64_t> shape(tensor.shape.begin(), tensor.shape.end());
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    pickle.Text(name).Global("torch._utils", "_rebuild_tensor_v2").Op('(');
    pickle.Storage(type_name(tensor.type), key, static_cast<int64_t>(tensor.elements()));
    pickle.Rebuild(0, shape, strides).Op('s');
    records.emplace_back(
        "m/data/" + key,
        std::string(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()));
  }
  records[0].second = pickle.Op('.').text();
  return Zip(records).bytes;
}

}  // namespace rag::test
