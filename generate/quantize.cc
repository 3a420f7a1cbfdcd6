#include "generate/quantize.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>

#include "generate/folder/folder_vocabulary.h"
#include "generate/folder/model_folder.h"
#include "generate/lora/lora_merge.h"
#include "lib/kernels/kernels.h"
#include "lib/kernels/quantized_encode.h"
#include "lib/model/gguf_writer.h"
#include "lib/model/model_file.h"

namespace rag {
namespace {

// Rows that a worker converts at once.
constexpr size_t kRowGrain = 16;
constexpr int64_t kQuantizationVersion = 2;  // llama.cpp's GGML_QNT_VERSION

// A tensor of the old file.
struct Source {
  std::string name;
  TensorView tensor;
};

// A tensor of the new file; several parts are stacked as its first dimension.
struct Plan {
  std::string name;
  DType type = DType::kF32;
  std::vector<size_t> shape;
  std::vector<Source> parts;
};

// llama.cpp's llama_ftype.
int64_t FileType(DType type) {
  switch (type) {
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ8_0:
      return 7;
    case DType::kQ5_0:
      return 8;
    case DType::kQ5_1:
      return 9;
    case DType::kQ4_K:
      return 14;  // "small": all matrices alike
    case DType::kQ5_K:
      return 16;
    case DType::kQ6_K:
      return 18;
    case DType::kBF16:
      return 32;
    default:
      return 0;
  }
}

DType SmallBlocks(DType type) {
  switch (type) {
    case DType::kQ4_K:
      return DType::kQ5_0;
    case DType::kQ5_K:
      return DType::kQ5_1;
    default:
      return DType::kQ8_0;
  }
}

DType ChooseType(const std::string& name, const TensorView& tensor, DType wanted, bool is_output) {
  const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (tensor.shape.size() < 2 || has("_norm") || has("ffn_gate_inp") || has("position_embd")) {
    return DType::kF32;
  }
  const bool small = GetDTypeInfo(wanted).block_size > 1 && wanted != DType::kQ8_0;
  if (is_output && small) wanted = DType::kQ6_K;
  const size_t cols = tensor.shape.back();
  if (GetDTypeInfo(wanted).block_size == 256 && cols % 256 != 0) wanted = SmallBlocks(wanted);
  return cols % GetDTypeInfo(wanted).block_size == 0 ? wanted : DType::kF16;
}

// "blk.0.ffn_gate.3.weight" -> "blk.0.ffn_gate_exps.weight" and 3: one tensor of all experts is
// what other programs read.
bool ParseExpert(const std::string& name, std::string& stacked, size_t& expert) {
  for (const std::string_view kind : {".ffn_gate.", ".ffn_up.", ".ffn_down."}) {
    const size_t at = name.find(kind);
    if (at == std::string::npos) continue;
    const char* digits = name.data() + at + kind.size();
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(digits, end, expert);
    if (error != std::errc() || std::string_view(rest, end) != ".weight") continue;
    stacked = StrCat(name.substr(0, at + kind.size() - 1), "_exps.weight");
    return true;
  }
  return false;
}

Result<std::vector<Plan>> MakePlans(const GgufFile& file, DType type) {
  std::vector<Plan> plans;
  std::map<std::string, std::map<size_t, Source>> stacks;
  const bool tied = file.Find("output.weight") == nullptr;
  const std::string_view output = tied ? "token_embd.weight" : "output.weight";
  for (const std::string& name : file.TensorNames()) {
    const TensorView& tensor = *file.Find(name);
    std::string stacked;
    size_t expert = 0;
    if (ParseExpert(name, stacked, expert)) {
      stacks[stacked][expert] = {name, tensor};
      continue;
    }
    plans.push_back(
        {name, ChooseType(name, tensor, type, name == output), tensor.shape, {{name, tensor}}});
  }
  for (const auto& [name, experts] : stacks) {
    const TensorView& first = experts.begin()->second.tensor;
    Plan plan = {name, ChooseType(name, first, type, false), first.shape, {}};
    for (const auto& [expert, source] : experts) {
      if (expert != plan.parts.size() || source.tensor.shape != first.shape) {
        return InvalidArgumentError(file.path(), ": the experts of '", name,
                                    "' are not complete or differ in shape");
      }
      plan.parts.push_back(source);
    }
    plan.shape.insert(plan.shape.begin(), plan.parts.size());
    plans.push_back(std::move(plan));
  }
  return plans;
}

Status AddMetadata(const GgufFile& file, const Value::Object& metadata, DType type,
                   GgufWriter& writer) {
  size_t index = 0;
  for (const auto& [key, value] : metadata) {
    const auto raw = file.RawMetadata(index++);
    const bool replaced = key == "general.file_type" || key == "general.quantization_version" ||
                          key == "general.alignment" || key.starts_with("split.");
    if (replaced) continue;
    RAG_RETURN_IF_ERROR(raw.empty() ? writer.Add(key, value) : writer.AddRaw(key, raw));
  }
  RAG_RETURN_IF_ERROR(writer.Add("general.file_type", FileType(type)));
  return writer.Add("general.quantization_version", kQuantizationVersion);
}

// Rows [begin, end) of `from`, as `type`.
Status ConvertRows(const Source& from, const LoraMerge& merge, size_t begin, size_t end, DType type,
                   const Kernels& kernels, std::span<std::byte> out) {
  const size_t cols = from.tensor.shape.back();
  std::vector<float> values((end - begin) * cols);
  RAG_RETURN_IF_ERROR(DequantizeTo(from.tensor, begin * cols, values));
  for (size_t row = begin; row < end; ++row) {
    merge.AddTo(from.name, from.tensor.shape, row, kernels,
                std::span(values).subspan((row - begin) * cols, cols));
  }
  return EncodeBlocks(type, values, out);
}

Status Convert(const Plan& plan, const LoraMerge& merge, const Runtime& runtime,
               std::span<std::byte> bytes) {
  const size_t part_bytes = bytes.size() / plan.parts.size();
  std::mutex mutex;  // guards status
  Status status;
  for (size_t i = 0; i < plan.parts.size(); ++i) {
    const Source& source = plan.parts[i];
    const TensorView& part = source.tensor;
    const std::span<std::byte> out = bytes.subspan(i * part_bytes, part_bytes);
    if (part.type == plan.type && !merge.Changes(source.name, part.shape)) {
      std::memcpy(out.data(), part.bytes.data(), out.size());
      continue;
    }
    const size_t rows = part.elements() / part.shape.back();
    const size_t row_bytes = part_bytes / rows;
    runtime.pool().ParallelFor(rows, kRowGrain, [&](size_t begin, size_t end, int) {
      Status converted = ConvertRows(source, merge, begin, end, plan.type, runtime.kernels(),
                                     out.subspan(begin * row_bytes, (end - begin) * row_bytes));
      if (converted.ok()) return;
      std::lock_guard lock(mutex);
      status = std::move(converted);
    });
  }
  return status;
}

}  // namespace

Result<QuantizeReport> QuantizeModel(const std::string& from, const std::string& to, DType type,
                                     const Runtime& runtime, const CancelToken* cancel,
                                     std::span<const MergedAdapter> adapters) {
  if (!CanEncode(type)) {
    return InvalidArgumentError("weights cannot be written as ", GetDTypeInfo(type).name);
  }
  std::error_code ignored;
  if (std::filesystem::equivalent(from, to, ignored)) {
    return InvalidArgumentError("'", to, "' is the model itself");
  }
  const bool folder = std::filesystem::is_directory(from, ignored);
  RAG_ASSIGN_OR_RETURN(const GgufFile file, folder ? OpenModelFolder(from) : GgufFile::Open(from));
  Value::Object metadata = file.metadata();
  if (folder) {
    const TensorView* embeddings = file.Find("token_embd.weight");
    if (embeddings == nullptr || embeddings->shape.empty()) {
      return InvalidArgumentError(from, ": tensor 'token_embd.weight' is missing");
    }
    RAG_RETURN_IF_ERROR(AddVocabulary(from, embeddings->shape[0], metadata));
  }
  RAG_ASSIGN_OR_RETURN(const std::vector<Plan> plans, MakePlans(file, type));
  RAG_ASSIGN_OR_RETURN(const LoraMerge merge, LoraMerge::Load(adapters, file));
  GgufWriter writer;
  RAG_RETURN_IF_ERROR(AddMetadata(file, metadata, type, writer));
  QuantizeReport report;
  for (const Plan& plan : plans) {
    RAG_RETURN_IF_ERROR(writer.Declare(plan.name, plan.type, plan.shape));
    ++report.tensors;
    for (const Source& part : plan.parts) {
      report.parameters += part.tensor.elements();
      report.source_bytes += part.tensor.bytes.size();
    }
  }
  const auto fill = [&](size_t index, std::span<std::byte> bytes) -> Status {
    if (cancel != nullptr && cancel->cancelled()) return CancelledError("writing was cancelled");
    report.bytes += bytes.size();
    return Convert(plans[index], merge, runtime, bytes);
  };
  RAG_RETURN_IF_ERROR(writer.Write(to, fill));
  return report;
}

}  // namespace rag
