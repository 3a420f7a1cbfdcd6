// Tiny random Llama decoders, written as GGUF files. The weights are counter-based random numbers
// that tests/golden/make_llama_logits.py makes too: change both or none.
#pragma once

#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/status.h"
#include "tests/generate/gguf_writer.h"

namespace rag::test {

struct RandomModel {
  DType type = DType::kF32;
  size_t index = 0;  // odd: tied embeddings; index % 3: 1 linear rope scaling, 2 rope factors
  size_t width = 256;
  size_t heads = 4;
  size_t kv_heads = 2;
  size_t head_dim = 64;
  size_t feed_forward = 256;
  size_t layers = 2;
  size_t vocabulary = 64;
  size_t context = 128;
  std::string architecture = "llama";
  // For damaged files: drops a tensor, or gives it another shape or type.
  std::string drop;
  std::map<std::string, std::vector<size_t>> shapes;
  std::map<std::string, DType> types;
  // For damaged weights: called with a tensor's name and bytes before they are written.
  std::function<void(std::string_view, std::span<std::byte>)> damage;
  // Called before the file is written: for more keys and tensors.
  std::function<void(GgufWriter&)> more;
};

inline uint64_t Mix(uint64_t counter) {
  uint64_t z = counter + 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

inline float Uniform(uint64_t tensor, uint64_t i) {
  return (static_cast<float>(Mix(tensor << 32 | i) >> 40) - 0x1p23f) * 0x1p-26f;
}

// Byte offset and biased exponent of each half in a block.
inline std::vector<std::pair<size_t, uint16_t>> Halves(DType type) {
  switch (type) {
    case DType::kQ8_0:
      return {{0, 4}};
    case DType::kQ4_0:
      return {{0, 8}};
    case DType::kQ4_1:
      return {{0, 8}, {2, 11}};
    case DType::kQ5_0:
      return {{0, 7}};
    case DType::kQ5_1:
      return {{0, 7}, {2, 11}};
    case DType::kQ2_K:
      return {{80, 7}, {82, 8}};
    case DType::kQ3_K:
      return {{108, 5}};
    case DType::kQ4_K:
      return {{0, 2}, {2, 5}};
    case DType::kQ5_K:
      return {{0, 1}, {2, 5}};
    case DType::kQ6_K:
      return {{208, 1}};
    case DType::kIQ4_NL:
      return {{0, 4}};
    case DType::kIQ4_XS:
      return {{0, 0}};
    default:
      return {};
  }
}

inline std::vector<std::byte> RandomTensor(DType type, uint64_t tensor, size_t elements) {
  const DTypeInfo& info = GetDTypeInfo(type);
  const size_t blocks = elements / info.block_size;
  std::vector<std::byte> bytes(blocks * info.block_bytes);
  if (info.block_size == 1) {
    for (size_t i = 0; i < elements; ++i) {
      const float value = Uniform(tensor, i);
      const uint16_t narrow = type == DType::kF16 ? FloatToHalf(value) : FloatToBFloat16(value);
      const void* from = type == DType::kF32 ? static_cast<const void*>(&value) : &narrow;
      std::memcpy(bytes.data() + i * info.block_bytes, from, info.block_bytes);
    }
    return bytes;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(Mix(tensor << 32 | i) >> 56);
  }
  for (size_t block = 0; type == DType::kMXFP4 && block < blocks; ++block) {
    std::byte& exponent = bytes[block * info.block_bytes];
    exponent = static_cast<std::byte>(120 + static_cast<int>(exponent) % 3);
  }
  const auto halves = Halves(type);
  for (size_t block = 0; block < blocks; ++block) {
    for (size_t i = 0; i < halves.size(); ++i) {
      uint16_t half = static_cast<uint16_t>(halves[i].second << 10);
      half |= static_cast<uint16_t>(Mix(tensor << 32 | uint64_t{1} << 31 | (2 * block + i)) >> 54);
      // Q4_1 and Q5_1 add their minimum, the others take it off.
      if (i == 1 && (type == DType::kQ4_1 || type == DType::kQ5_1)) half |= 0x8000;
      std::memcpy(bytes.data() + block * info.block_bytes + halves[i].first, &half, sizeof(half));
    }
  }
  return bytes;
}

// For RandomModel::damage: the embedding of a token, of F32 or Q8_0, becomes NaN.
inline std::function<void(std::string_view, std::span<std::byte>)> PoisonToken(
    const RandomModel& model, size_t token) {
  const DTypeInfo& info = GetDTypeInfo(model.type);
  const size_t row_bytes = model.width / info.block_size * info.block_bytes;
  return [type = model.type, row_bytes, token](std::string_view name, std::span<std::byte> bytes) {
    if (name != "token_embd.weight") return;
    const std::span<std::byte> row = bytes.subspan(token * row_bytes, row_bytes);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const uint16_t half = FloatToHalf(nan);  // the scale of a block of Q8_0
    if (type == DType::kF32) {
      std::memcpy(row.data(), &nan, sizeof(nan));
    } else {
      std::memcpy(row.data(), &half, sizeof(half));
    }
  };
}

class RandomModelWriter {
 public:
  explicit RandomModelWriter(const RandomModel& model) : model_(model) {}

  void Write(const std::string& path) {
    Metadata();
    const size_t width = model_.width;
    Matrix("token_embd.weight", 0, model_.vocabulary, width);
    if (model_.index % 2 == 0) Matrix("output.weight", 1, model_.vocabulary, width);
    Norm("output_norm.weight", 2);
    if (model_.index % 3 == 2) {
      std::vector<float> factors;
      for (size_t i = 0; i < model_.head_dim / 2; ++i) factors.push_back(1.5f + 4 * Uniform(3, i));
      Add("rope_freqs.weight", DType::kF32, {factors.size()}, std::as_bytes(std::span(factors)));
    }
    for (size_t i = 0; i < model_.layers; ++i) {
      const std::string prefix = StrCat("blk.", i, ".");
      const uint64_t base = 16 * (i + 1);
      const size_t q_width = model_.heads * model_.head_dim;
      const size_t kv_width = model_.kv_heads * model_.head_dim;
      Norm(prefix + "attn_norm.weight", base);
      Matrix(prefix + "attn_q.weight", base + 1, q_width, width);
      Matrix(prefix + "attn_k.weight", base + 2, kv_width, width);
      Matrix(prefix + "attn_v.weight", base + 3, kv_width, width);
      Matrix(prefix + "attn_output.weight", base + 4, width, q_width);
      Norm(prefix + "ffn_norm.weight", base + 5);
      Matrix(prefix + "ffn_gate.weight", base + 6, model_.feed_forward, width);
      Matrix(prefix + "ffn_up.weight", base + 7, model_.feed_forward, width);
      Matrix(prefix + "ffn_down.weight", base + 8, width, model_.feed_forward);
    }
    if (model_.more) model_.more(writer_);
    writer_.Write(path);
  }

 private:
  void Metadata() {
    const std::string prefix = model_.architecture + ".";
    const auto size = [&](const char* key, size_t value) {
      writer_.Integer(prefix + key, static_cast<uint32_t>(value));
    };
    writer_.Text("general.architecture", model_.architecture);
    size("block_count", model_.layers);
    size("context_length", model_.context);
    size("embedding_length", model_.width);
    size("feed_forward_length", model_.feed_forward);
    size("attention.head_count", model_.heads);
    size("attention.head_count_kv", model_.kv_heads);
    size("attention.key_length", model_.head_dim);
    size("attention.value_length", model_.head_dim);
    size("rope.dimension_count", model_.head_dim);
    writer_.Float(prefix + "attention.layer_norm_rms_epsilon", 1e-5f);
    if (model_.index % 3 == 1) {
      writer_.Text(prefix + "rope.scaling.type", "linear");
      writer_.Float(prefix + "rope.scaling.factor", 2.0f);
    }
  }
  void Matrix(const std::string& name, uint64_t tensor, size_t rows, size_t cols) {
    Add(name, model_.type, {rows, cols}, RandomTensor(model_.type, tensor, rows * cols));
  }
  void Norm(const std::string& name, uint64_t tensor) {
    std::vector<float> gamma;
    for (size_t i = 0; i < model_.width; ++i) gamma.push_back(1.0f + Uniform(tensor, i));
    Add(name, DType::kF32, {gamma.size()}, std::as_bytes(std::span(gamma)));
  }
  void Add(const std::string& name, DType type, std::vector<size_t> shape,
           std::span<const std::byte> bytes) {
    if (name == model_.drop) return;
    std::vector<std::byte> other(bytes.begin(), bytes.end());
    const auto new_shape = model_.shapes.find(name);
    const auto new_type = model_.types.find(name);
    if (new_shape != model_.shapes.end()) shape = new_shape->second;
    if (new_type != model_.types.end()) type = new_type->second;
    if (new_shape != model_.shapes.end() || new_type != model_.types.end()) {
      size_t elements = 1;
      for (const size_t extent : shape) elements *= extent;
      const DTypeInfo& info = GetDTypeInfo(type);
      other.resize(elements / info.block_size * info.block_bytes);
    }
    if (model_.damage) model_.damage(name, other);
    writer_.Tensor(name, type, shape, other);
  }

  const RandomModel& model_;
  GgufWriter writer_;
};

inline void WriteRandomModel(const RandomModel& model, const std::string& path) {
  RandomModelWriter(model).Write(path);
}

}  // namespace rag::test
