#include "generate/quantize.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>

#include "generate/expert_names.h"
#include "generate/folder/folder_vocabulary.h"
#include "generate/folder/model_folder.h"
#include "generate/lora/lora_merge.h"
#include "generate/weight_mix.h"
#include "lib/kernels/kernels.h"
#include "lib/kernels/quantized_blocks.h"
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

DType SmallBlocks(DType type) {
  switch (type) {
    case DType::kQ4_K:
      return DType::kQ5_0;
    case DType::kQ5_K:
      return DType::kQ5_1;
    case DType::kQ2_K:
    case DType::kQ3_K:
    case DType::kIQ4_XS:
      return DType::kIQ4_NL;
    default:
      return DType::kQ8_0;
  }
}

// "blk.12.attn_v.weight" -> 12 and "attn_v"; false for a name of no layer.
bool ParseLayer(std::string_view name, size_t& layer, std::string_view& kind) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return false;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kPrefix.size(), end, layer);
  if (error != std::errc() || rest == end || *rest != '.') return false;
  kind = std::string_view(rest + 1, end);
  for (const std::string_view tail : {".weight", "_exps"}) {
    if (kind.ends_with(tail)) kind.remove_suffix(tail.size());
  }
  return true;
}

// How the tensors of one model become those of another file.
class Planner {
 public:
  Planner(const GgufFile& file, const WeightMix& mix) : file_(file), mix_(mix) {
    const std::string architecture = Text("general.architecture");
    model_.layers = Count(architecture + ".block_count");
    model_.experts = Count(architecture + ".expert_count");
    const size_t heads = Count(architecture + ".attention.head_count");
    const size_t key_heads = Count(architecture + ".attention.head_count_kv");
    if (key_heads != 0) model_.queries_a_key = heads / key_heads;
    output_ = file.Find("output.weight") == nullptr ? "token_embd.weight" : "output.weight";
  }

  DType Choose(const std::string& name, const TensorView& tensor) const {
    const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
    if (tensor.shape.size() < 2 || has("_norm") || has("ffn_gate_inp") || has("position_embd")) {
      return DType::kF32;
    }
    DType wanted = mix_.base;
    size_t layer = 0;
    std::string_view kind;
    if (mix_.choose != nullptr && ParseLayer(name, layer, kind)) {
      wanted = mix_.choose(model_, kind, layer);
    }
    const bool small = GetDTypeInfo(wanted).block_size > 1 && wanted != DType::kQ8_0;
    if (name == output_ && small) wanted = DType::kQ6_K;
    const size_t cols = tensor.shape.back();
    if (GetDTypeInfo(wanted).block_size == 256 && cols % 256 != 0) wanted = SmallBlocks(wanted);
    return cols % GetDTypeInfo(wanted).block_size == 0 ? wanted : DType::kF16;
  }

  Result<std::vector<Plan>> Plans() const;

 private:
  std::string Text(const std::string& key) const {
    const Value* const found = file_.FindMetadata(key);
    return found != nullptr && found->is_string() ? found->as_string() : "";
  }
  size_t Count(const std::string& key) const {
    const Value* const found = file_.FindMetadata(key);
    const bool counts = found != nullptr && found->is_int() && found->as_int() > 0;
    return counts ? static_cast<size_t>(found->as_int()) : 0;
  }

  const GgufFile& file_;
  const WeightMix& mix_;
  MixModel model_;
  std::string output_;
};

Result<std::vector<Plan>> Planner::Plans() const {
  std::vector<Plan> plans;
  std::map<std::string, std::map<size_t, Source>> stacks;
  for (const std::string& name : file_.TensorNames()) {
    const TensorView& tensor = *file_.Find(name);
    std::string stacked;
    size_t expert = 0;
    if (ParseExpert(name, stacked, expert)) {
      stacks[stacked][expert] = {name, tensor};
      continue;
    }
    plans.push_back({name, Choose(name, tensor), tensor.shape, {{name, tensor}}});
  }
  for (const auto& [name, experts] : stacks) {
    const TensorView& first = experts.begin()->second.tensor;
    Plan plan = {name, Choose(name, first), first.shape, {}};
    for (const auto& [expert, source] : experts) {
      if (expert != plan.parts.size() || source.tensor.shape != first.shape) {
        return InvalidArgumentError(file_.path(), ": the experts of '", name,
                                    "' are not complete or differ in shape");
      }
      plan.parts.push_back(source);
    }
    plan.shape.insert(plan.shape.begin(), plan.parts.size());
    plans.push_back(std::move(plan));
  }
  return plans;
}

Status AddMetadata(const GgufFile& file, const Value::Object& metadata,
                   const QuantizeOptions& options, int64_t file_type, GgufWriter& writer) {
  size_t index = 0;
  for (const auto& [key, value] : metadata) {
    const auto raw = file.RawMetadata(index++);
    const bool replaced = key == "general.file_type" || key == "general.quantization_version" ||
                          key == "general.alignment" || key.starts_with("split.") ||
                          key.starts_with("quantize.imatrix.");
    if (replaced) continue;
    RAG_RETURN_IF_ERROR(raw.empty() ? writer.Add(key, value) : writer.AddRaw(key, raw));
  }
  RAG_RETURN_IF_ERROR(writer.Add("general.file_type", file_type));
  RAG_RETURN_IF_ERROR(writer.Add("general.quantization_version", kQuantizationVersion));
  if (options.importance == nullptr) return OkStatus();
  RAG_RETURN_IF_ERROR(
      writer.Add("quantize.imatrix.entries_count", options.importance->entries.size()));
  return writer.Add("quantize.imatrix.chunks_count", options.importance->chunks);
}

// Rows of a tensor that become another type.
struct Conversion {
  const Source& source;
  size_t first_row;  // counted through all experts
  size_t rows;
  DType type;
  std::vector<float> importance;  // of the columns, or empty
  std::span<std::byte> out;
};

// Rows [begin, end) of the conversion's.
Status ConvertRows(const Conversion& conversion, const LoraMerge& merge, const Kernels& kernels,
                   size_t begin, size_t end) {
  const auto& [name, tensor] = conversion.source;
  const size_t cols = tensor.shape.back();
  const size_t row_bytes = conversion.out.size() / conversion.rows;
  const size_t first = conversion.first_row + begin;
  std::vector<float> values((end - begin) * cols);
  RAG_RETURN_IF_ERROR(DequantizeTo(tensor, first * cols, values));
  for (size_t i = 0; i < end - begin; ++i) {
    merge.AddTo(name, tensor.shape, first + i, kernels, std::span(values).subspan(i * cols, cols));
  }
  return EncodeBlocks(conversion.type, values,
                      conversion.out.subspan(begin * row_bytes, (end - begin) * row_bytes),
                      conversion.importance);
}

Status Convert(const Plan& plan, const LoraMerge& merge, const Importance* importance,
               const Runtime& runtime, std::span<std::byte> bytes) {
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
    // A tensor of all experts has a matrix, and an importance, for each.
    const bool stacked = part.shape.size() == 3;
    const size_t matrices = stacked ? part.shape[0] : 1;
    const size_t rows = part.elements() / part.shape.back() / matrices;
    for (size_t m = 0; m < matrices; ++m) {
      const size_t matrix_bytes = out.size() / matrices;
      Conversion conversion{.source = source,
                            .first_row = m * rows,
                            .rows = rows,
                            .type = plan.type,
                            .importance = {},
                            .out = out.subspan(m * matrix_bytes, matrix_bytes)};
      if (importance != nullptr && IsBlockType(plan.type)) {
        conversion.importance =
            importance->Columns(plan.name, stacked ? m : i).value_or(std::vector<float>());
      }
      const size_t columns = conversion.importance.size();
      if (columns != 0 && columns != part.shape.back()) {
        return InvalidArgumentError("the importance of '", plan.name, "' is of ", columns,
                                    " columns, and the tensor has ", part.shape.back());
      }
      runtime.pool().ParallelFor(rows, kRowGrain, [&](size_t begin, size_t end, int) {
        Status converted = ConvertRows(conversion, merge, runtime.kernels(), begin, end);
        if (converted.ok()) return;
        std::lock_guard lock(mutex);
        status = std::move(converted);
      });
    }
  }
  return status;
}

// An importance of another model would change nothing, silently.
Status CheckImportance(const Importance& importance, const std::vector<Plan>& plans) {
  for (const Plan& plan : plans) {
    if (importance.entries.count(plan.name) != 0) return OkStatus();
  }
  return InvalidArgumentError("the importance matrix names no tensor of this model");
}

}  // namespace

Result<QuantizeReport> QuantizeModel(const std::string& from, const std::string& to,
                                     const QuantizeOptions& options, const Runtime& runtime,
                                     const CancelToken* cancel) {
  const WeightMix* const mix = FindWeightMix(options.type);
  if (mix == nullptr) {
    std::string names;
    for (const WeightMix& known : WeightMixes()) {
      names += StrCat(names.empty() ? "" : ", ", known.name);
    }
    return InvalidArgumentError("type '", options.type, "' is none of ", names);
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
  RAG_ASSIGN_OR_RETURN(const std::vector<Plan> plans, Planner(file, *mix).Plans());
  if (options.importance != nullptr) {
    RAG_RETURN_IF_ERROR(CheckImportance(*options.importance, plans));
  }
  RAG_ASSIGN_OR_RETURN(const LoraMerge merge, LoraMerge::Load(options.adapters, file));
  GgufWriter writer;
  RAG_RETURN_IF_ERROR(AddMetadata(file, metadata, options, mix->file_type, writer));
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
    return Convert(plans[index], merge, options.importance, runtime, bytes);
  };
  RAG_RETURN_IF_ERROR(writer.Write(to, fill));
  return report;
}

}  // namespace rag
