#include "embed/quantize_encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <filesystem>
#include <set>

#include "embed/encoder_config.h"
#include "embed/fingerprint.h"
#include "embed/open_clip.h"
#include "embed/transformer_weights.h"
#include "lib/base/copy_file.h"
#include "lib/base/folder.h"
#include "lib/base/hash.h"
#include "lib/base/partial_folder.h"
#include "lib/model/safetensors_writer.h"

namespace rag {
namespace {

namespace fs = std::filesystem;

// Larger files beside the weights are none that an encoder reads.
constexpr uintmax_t kMaxSettingsBytes = uintmax_t{64} << 20;
constexpr std::string_view kInt8Type = "int8";

// Weights in any program's format, or the list of their parts.
bool IsWeightsFile(const fs::path& path) {
  static const std::set<std::string> kEnds = {".safetensors", ".bin",     ".pt",  ".pth",
                                              ".h5",          ".msgpack", ".ot",  ".onnx",
                                              ".ckpt",        ".gguf",    ".npz", ".tflite"};
  return kEnds.count(path.extension().string()) != 0 ||
         path.filename().string().ends_with(".index.json");
}

// The files of one folder, without those below it.
Status CopySettings(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return IoError("cannot make '", to.string(), "': ", error.message());
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(from));
  for (const fs::path& path : paths) {
    std::error_code failed;
    const bool copied = fs::is_regular_file(path, failed) && !IsWeightsFile(path) &&
                        fs::file_size(path, failed) <= kMaxSettingsBytes;
    if (failed) return IoError("cannot copy '", path.string(), "': ", failed.message());
    if (copied) {
      RAG_RETURN_IF_ERROR(CopyFile(path.string(), (to / path.filename()).string()));
    }
  }
  return OkStatus();
}

// All that Encoder::Load reads but the network's weights: `weights` is their folder, `from` or one
// below it. A dense module's own weights are copied as they are.
Status CopyEncoder(const fs::path& from, const fs::path& weights, const fs::path& to) {
  RAG_RETURN_IF_ERROR(CopySettings(from, to));
  RAG_ASSIGN_OR_RETURN(const std::vector<fs::path> paths, ListFolder(from));
  for (const fs::path& path : paths) {
    std::error_code failed;
    if (!fs::is_directory(path, failed)) continue;
    const fs::path target = to / path.filename();
    if (fs::equivalent(path, weights, failed)) {
      RAG_RETURN_IF_ERROR(CopySettings(path, target));
      continue;
    }
    // A module's folder says what it is; others ("onnx", "openvino") hold the weights again.
    if (!fs::exists(path / "config.json", failed) || fs::exists(path / "model.onnx", failed)) {
      continue;
    }
    RAG_RETURN_IF_ERROR(CopyFolder(path, target));
  }
  return OkStatus();
}

// The tensors of the new file, and the bytes of those that were made anew.
class Rounder {
 public:
  explicit Rounder(const TensorFile& file) : file_(file) {}

  // Layers' matrices as their products round them.
  Status Round(const std::vector<std::string>& rounded, const CancelToken* cancel) {
    const std::set<std::string_view> names(rounded.begin(), rounded.end());
    for (const std::string& name : file_.TensorNames()) {
      if (cancel != nullptr && cancel->cancelled()) return CancelledError("writing was cancelled");
      const TensorView& tensor = *file_.Find(name);
      if (names.contains(name) && tensor.shape.back() <= kMaxInt8Depth) {
        RAG_RETURN_IF_ERROR(AddInt8(name, tensor));
      } else {
        tensors_.emplace_back(name, tensor);
      }
    }
    return OkStatus();
  }

  // All matrices in a narrower floating-point type.
  Status ToFloat(DType type, const CancelToken* cancel) {
    for (const std::string& name : file_.TensorNames()) {
      if (cancel != nullptr && cancel->cancelled()) return CancelledError("writing was cancelled");
      const TensorView& tensor = *file_.Find(name);
      const bool wide = tensor.type == DType::kF32 || tensor.type == DType::kF64;
      const bool other = tensor.type == DType::kF16 || tensor.type == DType::kBF16;
      if (tensor.shape.size() < 2 || tensor.type == type || (!wide && !other)) {
        tensors_.emplace_back(name, tensor);
        continue;
      }
      RAG_RETURN_IF_ERROR(AddFloats(name, tensor, type));
    }
    return OkStatus();
  }

  const std::vector<NamedTensorView>& tensors() const { return tensors_; }
  size_t rounded() const { return rounded_; }

 private:
  static Result<std::vector<float>> Read(const std::string& name, const TensorView& tensor) {
    std::vector<float> values(tensor.elements());
    RAG_RETURN_IF_ERROR(DequantizeTo(tensor, 0, values));
    const auto wrong =
        std::find_if_not(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
    if (wrong != values.end()) {
      return InvalidArgumentError("tensor '", name, "' holds ", *wrong);
    }
    return values;
  }

  Status AddInt8(const std::string& name, const TensorView& tensor) {
    const size_t rows = tensor.shape[0];
    const size_t cols = tensor.shape[1];
    RAG_ASSIGN_OR_RETURN(const std::vector<float> values, Read(name, tensor));
    const std::span<std::byte> codes = Add(name, DType::kI8, tensor.shape);
    const std::span<std::byte> scales = Add(name + "_scale", DType::kF32, {rows});
    for (size_t row = 0; row < rows; ++row) {
      const float scale = QuantizeWeights(values.data() + row * cols, cols,
                                          reinterpret_cast<int8_t*>(codes.data()) + row * cols);
      std::memcpy(scales.data() + row * sizeof(scale), &scale, sizeof(scale));
    }
    ++rounded_;
    return OkStatus();
  }

  // In f16 or bf16.
  Status AddFloats(const std::string& name, const TensorView& tensor, DType type) {
    RAG_ASSIGN_OR_RETURN(const std::vector<float> values, Read(name, tensor));
    const std::span<std::byte> out = Add(name, type, tensor.shape);
    for (size_t i = 0; i < values.size(); ++i) {
      const uint16_t bits =
          type == DType::kF16 ? FloatToHalf(values[i]) : FloatToBFloat16(values[i]);
      if (type == DType::kF16 && !std::isfinite(HalfToFloat(bits))) {
        return InvalidArgumentError("tensor '", name, "' holds ", values[i], ", more than f16 can");
      }
      std::memcpy(out.data() + i * sizeof(bits), &bits, sizeof(bits));
    }
    ++rounded_;
    return OkStatus();
  }

  std::span<std::byte> Add(const std::string& name, DType type, std::vector<size_t> shape) {
    TensorView view{type, std::move(shape), {}};
    std::vector<std::byte>& bytes =
        made_.emplace_back(view.elements() * GetDTypeInfo(type).block_bytes);
    view.bytes = bytes;
    tensors_.emplace_back(name, std::move(view));
    return bytes;
  }

  const TensorFile& file_;
  std::deque<std::vector<std::byte>> made_;
  std::vector<NamedTensorView> tensors_;
  size_t rounded_ = 0;
};

// What the layers of the folder's network, or of both its networks, round.
Result<std::vector<std::string>> FindRounded(const EncoderConfig& config, const Runtime& runtime) {
  std::vector<std::string> tensors;
  const auto add = [&](const TransformerConfig& model, size_t max_tokens) -> Status {
    RAG_ASSIGN_OR_RETURN(const std::vector<std::string> rounded,
                         TransformerWeights::FindRounded(config.folder, model,
                                                         {max_tokens, Precision::kInt8}, runtime));
    tensors.insert(tensors.end(), rounded.begin(), rounded.end());
    return OkStatus();
  };
  RAG_RETURN_IF_ERROR(add(config.model, config.limits.max_tokens));
  if (config.images.has_value()) {
    const TransformerConfig& model = config.images->model;
    RAG_RETURN_IF_ERROR(add(model, model.max_sequence));
  }
  return tensors;
}

Result<EncoderQuantizeReport> WriteWeights(const EncoderConfig& config, const fs::path& to,
                                           std::string_view type, const Runtime& runtime,
                                           const CancelToken* cancel) {
  RAG_ASSIGN_OR_RETURN(const TensorFile file, OpenWeights(config.folder));
  const std::vector<NamedTensorView> source = FileTensors(file);
  for (const auto& [name, tensor] : source) {
    if (tensor.type != DType::kI8) continue;
    return InvalidArgumentError(config.folder, ": tensor '", name,
                                "' is in 8 bits: quantize what it was made of");
  }
  Rounder rounder(file);
  std::vector<std::pair<std::string, std::string>> metadata = {{"format", "pt"}};
  const bool int8 = type == kInt8Type;
  if (int8) {
    RAG_ASSIGN_OR_RETURN(const std::vector<std::string> rounded, FindRounded(config, runtime));
    RAG_RETURN_IF_ERROR(rounder.Round(rounded, cancel));
    std::vector<NamedTensorView> sorted = rounder.tensors();
    std::sort(sorted.begin(), sorted.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    const auto keep = [](std::span<const std::byte>) {};
    metadata.emplace_back(kSourceHashKey,
                          HashToHex(HashTensors(source, kWeightsHashForm, runtime.pool(), keep)));
    metadata.emplace_back(kOwnHashKey,
                          HashToHex(HashTensors(sorted, kWeightsHashForm, runtime.pool(), keep)));
  } else {
    RAG_RETURN_IF_ERROR(rounder.ToFloat(type == "f16" ? DType::kF16 : DType::kBF16, cancel));
  }
  const fs::path path = to / (int8 ? "model.int8.safetensors" : "model.safetensors");
  RAG_RETURN_IF_ERROR(WriteSafetensors(path.string(), rounder.tensors(), metadata));
  EncoderQuantizeReport report;
  report.tensors = source.size();
  report.rounded = rounder.rounded();
  for (const auto& [name, tensor] : source) {
    report.parameters += tensor.elements();
    report.source_bytes += tensor.bytes.size();
  }
  for (const auto& [name, tensor] : rounder.tensors()) report.bytes += tensor.bytes.size();
  return report;
}

}  // namespace

Result<EncoderQuantizeReport> QuantizeEncoder(const std::string& from, const std::string& to,
                                              std::string_view type, const Runtime& runtime,
                                              const CancelToken* cancel) {
  if (type != kInt8Type && type != "bf16" && type != "f16") {
    return InvalidArgumentError("type '", type, "' is none of int8, bf16 and f16");
  }
  RAG_ASSIGN_OR_RETURN(const EncoderConfig config, ReadEncoderConfig(from, {}));
  if (IsBelow(to, from)) {
    return InvalidArgumentError("'", to, "' is in the folder '", from, "' that is read");
  }
  RAG_ASSIGN_OR_RETURN(PartialFolder folder, PartialFolder::Create(to));
  RAG_RETURN_IF_ERROR(CopyEncoder(from, config.folder, folder.path()));
  std::error_code error;
  const fs::path below = fs::relative(config.folder, from, error);
  if (error) return IoError("'", config.folder, "': ", error.message());
  RAG_ASSIGN_OR_RETURN(
      const EncoderQuantizeReport report,
      WriteWeights(config, (folder.path() / below).lexically_normal(), type, runtime, cancel));
  RAG_RETURN_IF_ERROR(folder.Finish());
  return report;
}

}  // namespace rag
