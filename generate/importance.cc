#include "generate/importance.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "lib/base/file.h"
#include "lib/model/gguf_writer.h"
#include "lib/model/model_file.h"

namespace rag {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";
constexpr size_t kMaxEntries = 1 << 20;
constexpr size_t kMaxNameBytes = 4096;
constexpr double kLargestFloat = std::numeric_limits<float>::max();  // files hold floats

Status CheckEntry(const std::string& name, const ImportanceEntry& entry) {
  for (size_t i = 0; i < entry.sums.size(); ++i) {
    if (entry.sums[i] >= 0 && entry.sums[i] <= kLargestFloat) continue;
    return InvalidArgumentError("the importance of '", name, "', column ", i % entry.columns,
                                ", is ", entry.sums[i]);
  }
  for (const double count : entry.counts) {
    if (count >= 0 && std::isfinite(count)) continue;
    return InvalidArgumentError("the importance of '", name, "' has a count of ", count);
  }
  return OkStatus();
}

Result<std::vector<double>> ReadNumbers(const TensorView& tensor) {
  std::vector<float> values(tensor.elements());
  RAG_RETURN_IF_ERROR(DequantizeTo(tensor, 0, values));
  return std::vector<double>(values.begin(), values.end());
}

// Of the columns that the last extent counts.
size_t Rows(const TensorView& tensor) {
  return tensor.shape.empty() || tensor.shape.back() == 0 ? 0
                                                          : tensor.elements() / tensor.shape.back();
}

Result<Importance> LoadGguf(const GgufFile& file) {
  Importance out;
  for (const std::string& name : file.TensorNames()) {
    if (!name.ends_with(kSums)) continue;
    const std::string base = name.substr(0, name.size() - kSums.size());
    const TensorView& sums = *file.Find(name);
    const TensorView* const counts = file.Find(StrCat(base, kCounts));
    if (counts == nullptr) return InvalidArgumentError("'", name, "' stands without its counts");
    if (sums.type != DType::kF32 || counts->type != DType::kF32) {
      return InvalidArgumentError("'", base, "' is not of type F32");
    }
    if (Rows(sums) == 0 || counts->elements() != Rows(sums)) {
      return InvalidArgumentError("'", base, "' has sums of ", Rows(sums), " matrices and ",
                                  counts->elements(), " counts");
    }
    ImportanceEntry entry;
    entry.columns = sums.shape.back();
    RAG_ASSIGN_OR_RETURN(entry.sums, ReadNumbers(sums));
    RAG_ASSIGN_OR_RETURN(entry.counts, ReadNumbers(*counts));
    RAG_RETURN_IF_ERROR(CheckEntry(base, entry));
    out.entries.emplace(base, std::move(entry));
  }
  if (out.entries.empty()) return InvalidArgumentError("no tensor of an importance matrix");
  const Value* const names = file.FindMetadata("imatrix.datasets");
  if (names != nullptr && names->is_array()) {
    for (const Value& value : names->as_array()) {
      if (value.is_string()) out.datasets.push_back(value.as_string());
    }
  }
  const auto size = [&](const char* key, size_t& value) {
    const Value* const found = file.FindMetadata(key);
    if (found != nullptr && found->is_int() && found->as_int() >= 0) {
      value = static_cast<size_t>(found->as_int());
    }
  };
  size("imatrix.chunk_count", out.chunks);
  size("imatrix.chunk_size", out.chunk_tokens);
  return out;
}

// The older form: counts of entries, names and values, little-endian, one after another.
class OldReader {
 public:
  explicit OldReader(std::string_view bytes) : rest_(bytes) {}

  Result<size_t> Count(std::string_view what, size_t max) {
    int32_t value = 0;
    RAG_RETURN_IF_ERROR(Take(what, sizeof(value), &value));
    if (value < 0 || static_cast<size_t>(value) > max) {
      return InvalidArgumentError(what, " ", value, " is not from 0 to ", max);
    }
    return static_cast<size_t>(value);
  }
  Status Take(std::string_view what, size_t bytes, void* out) {
    if (bytes > rest_.size()) return DataLossError("the file ends within ", what);
    std::memcpy(out, rest_.data(), bytes);
    rest_.remove_prefix(bytes);
    return OkStatus();
  }
  bool empty() const { return rest_.empty(); }
  size_t size() const { return rest_.size(); }

 private:
  std::string_view rest_;
};

Result<Importance> LoadOld(std::string_view bytes) {
  OldReader reader(bytes);
  Importance out;
  RAG_ASSIGN_OR_RETURN(const size_t count, reader.Count("the number of entries", kMaxEntries));
  for (size_t i = 0; i < count; ++i) {
    RAG_ASSIGN_OR_RETURN(const size_t length, reader.Count("a name's length", kMaxNameBytes));
    std::string name(length, '\0');
    RAG_RETURN_IF_ERROR(reader.Take("a name", length, name.data()));
    RAG_ASSIGN_OR_RETURN(const size_t calls, reader.Count("a count of calls", INT32_MAX));
    RAG_ASSIGN_OR_RETURN(const size_t values, reader.Count("a number of values", INT32_MAX));
    if (values == 0 || values > reader.size() / sizeof(float)) {
      return DataLossError("'", name, "' has ", values, " values, past the file's end");
    }
    std::vector<float> read(values);
    RAG_RETURN_IF_ERROR(reader.Take("values", values * sizeof(float), read.data()));
    ImportanceEntry entry;
    entry.columns = values;
    entry.sums.assign(read.begin(), read.end());
    entry.counts = {static_cast<double>(calls)};
    RAG_RETURN_IF_ERROR(CheckEntry(name, entry));
    out.entries.insert_or_assign(std::move(name), std::move(entry));
  }
  if (out.entries.empty()) return InvalidArgumentError("no entries");
  if (reader.empty()) return out;
  RAG_ASSIGN_OR_RETURN(out.chunks, reader.Count("the number of calls", INT32_MAX));
  if (reader.empty()) return out;
  RAG_ASSIGN_OR_RETURN(const size_t length, reader.Count("a data set's length", kMaxNameBytes));
  std::string name(length, '\0');
  RAG_RETURN_IF_ERROR(reader.Take("a data set's name", length, name.data()));
  out.datasets.push_back(std::move(name));
  return out;
}

}  // namespace

Result<Importance> Importance::Load(const std::string& path) {
  RAG_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(path));
  const std::string_view bytes(reinterpret_cast<const char*>(mapped.bytes().data()),
                               mapped.bytes().size());
  if (!bytes.starts_with("GGUF")) {
    Result<Importance> old = LoadOld(bytes);
    return old.ok() ? std::move(old) : std::move(old).status().WithContext(path);
  }
  RAG_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  Result<Importance> found = LoadGguf(file);
  return found.ok() ? std::move(found) : std::move(found).status().WithContext(path);
}

Status Importance::Check() const {
  for (const auto& [name, entry] : entries) RAG_RETURN_IF_ERROR(CheckEntry(name, entry));
  return OkStatus();
}

Status Importance::Save(const std::string& path) const {
  GgufWriter writer;
  RAG_RETURN_IF_ERROR(writer.Add("general.type", "imatrix"));
  RAG_RETURN_IF_ERROR(
      writer.Add("imatrix.datasets", Value::Array(datasets.begin(), datasets.end())));
  RAG_RETURN_IF_ERROR(writer.Add("imatrix.chunk_count", chunks));
  RAG_RETURN_IF_ERROR(writer.Add("imatrix.chunk_size", chunk_tokens));
  std::vector<const std::vector<double>*> numbers;
  for (const auto& [name, entry] : entries) {
    RAG_RETURN_IF_ERROR(
        writer.Declare(StrCat(name, kSums), DType::kF32, {entry.matrices(), entry.columns}));
    RAG_RETURN_IF_ERROR(writer.Declare(StrCat(name, kCounts), DType::kF32, {entry.matrices(), 1}));
    numbers.push_back(&entry.sums);
    numbers.push_back(&entry.counts);
  }
  return writer.Write(path, [&](size_t index, std::span<std::byte> bytes) {
    const std::vector<float> values(numbers[index]->begin(), numbers[index]->end());
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return OkStatus();
  });
}

std::optional<std::vector<float>> Importance::Columns(std::string_view name, size_t matrix) const {
  const auto found = entries.find(name);
  if (found == entries.end()) return std::nullopt;
  const ImportanceEntry& entry = found->second;
  if (entry.matrices() == 1) matrix = 0;
  if (matrix >= entry.matrices() || !(entry.counts[matrix] > 0)) return std::nullopt;
  std::vector<float> means;
  means.reserve(entry.columns);
  for (size_t i = 0; i < entry.columns; ++i) {
    means.push_back(
        static_cast<float>(entry.sums[matrix * entry.columns + i] / entry.counts[matrix]));
  }
  return means;
}

}  // namespace rag
