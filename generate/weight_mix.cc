#include "generate/weight_mix.h"

namespace rag {
namespace {

// Mixtral's eight experts share small attention matrices: eight bits for them cost hardly anything.
constexpr size_t kEightExperts = 8;

// The first and the last eighth of the layers, and every third between them.
bool TakesMoreBits(size_t layer, size_t layers) {
  const size_t eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

// What all mixes do for eight experts. False: nothing.
bool OfEightExperts(const MixModel& model, std::string_view kind, DType output, DType& type) {
  if (model.experts != kEightExperts) return false;
  if (kind == "attn_v" || kind == "attn_k") {
    type = DType::kQ8_0;
    return true;
  }
  if (kind != "attn_output") return false;
  type = output;
  return true;
}

// The rules below are those of llama.cpp's llama_tensor_get_type (src/llama-quant.cpp), but for
// the one of 70B models, whose values get more bits there.
DType ChooseQ2_K_M(const MixModel& model, std::string_view kind, size_t) {
  DType type = DType::kQ2_K;
  if (OfEightExperts(model, kind, DType::kQ5_K, type)) return type;
  if (kind == "attn_v") return model.queries_a_key >= 4 ? DType::kQ4_K : DType::kQ3_K;
  return kind == "ffn_down" || kind == "attn_output" ? DType::kQ3_K : type;
}

DType ChooseQ3_K_M(const MixModel& model, std::string_view kind, size_t layer) {
  DType type = DType::kQ3_K;
  if (OfEightExperts(model, kind, DType::kQ5_K, type)) return type;
  if (kind == "attn_v") return layer < 2 ? DType::kQ5_K : DType::kQ4_K;
  if (kind == "ffn_down") return layer < model.layers / 16 ? DType::kQ5_K : DType::kQ4_K;
  return kind == "attn_output" || kind == "attn_qkv" ? DType::kQ4_K : type;
}

DType ChooseQ3_K_L(const MixModel& model, std::string_view kind, size_t) {
  DType type = DType::kQ3_K;
  if (OfEightExperts(model, kind, DType::kQ3_K, type)) return type;
  if (kind == "attn_qkv") return DType::kQ4_K;
  return kind == "attn_v" || kind == "ffn_down" || kind == "attn_output" ? DType::kQ5_K : type;
}

DType ChooseQ4_K_S(const MixModel& model, std::string_view kind, size_t layer) {
  DType type = DType::kQ4_K;
  if (OfEightExperts(model, kind, DType::kQ5_K, type)) return type;
  const bool more =
      (kind == "attn_v" && layer < 4) || (kind == "ffn_down" && layer < model.layers / 8);
  return more ? DType::kQ5_K : type;
}

DType ChooseQ4_K_M(const MixModel& model, std::string_view kind, size_t layer) {
  DType type = DType::kQ4_K;
  if (OfEightExperts(model, kind, DType::kQ5_K, type)) return type;
  if (kind == "attn_qkv") return DType::kQ5_K;
  const bool more = (kind == "attn_v" || kind == "ffn_down") && TakesMoreBits(layer, model.layers);
  return more ? DType::kQ6_K : type;
}

DType ChooseQ5_K_M(const MixModel& model, std::string_view kind, size_t layer) {
  DType type = DType::kQ5_K;
  if (OfEightExperts(model, kind, DType::kQ5_K, type)) return type;
  if (kind == "attn_qkv") return DType::kQ6_K;
  const bool more = (kind == "attn_v" || kind == "ffn_down") && TakesMoreBits(layer, model.layers);
  return more ? DType::kQ6_K : type;
}

constexpr WeightMix kMixes[] = {
    {"F32", DType::kF32, 0, nullptr},           {"F16", DType::kF16, 1, nullptr},
    {"BF16", DType::kBF16, 32, nullptr},        {"Q8_0", DType::kQ8_0, 7, nullptr},
    {"Q4_0", DType::kQ4_0, 2, nullptr},         {"Q4_1", DType::kQ4_1, 3, nullptr},
    {"Q5_0", DType::kQ5_0, 8, nullptr},         {"Q5_1", DType::kQ5_1, 9, nullptr},
    {"Q2_K", DType::kQ2_K, 21, nullptr},        {"Q2_K_M", DType::kQ2_K, 10, ChooseQ2_K_M},
    {"Q3_K", DType::kQ3_K, 11, nullptr},        {"Q3_K_M", DType::kQ3_K, 12, ChooseQ3_K_M},
    {"Q3_K_L", DType::kQ3_K, 13, ChooseQ3_K_L}, {"Q4_K", DType::kQ4_K, 14, nullptr},
    {"Q4_K_S", DType::kQ4_K, 14, ChooseQ4_K_S}, {"Q4_K_M", DType::kQ4_K, 15, ChooseQ4_K_M},
    {"Q5_K", DType::kQ5_K, 16, nullptr},        {"Q5_K_M", DType::kQ5_K, 17, ChooseQ5_K_M},
    {"Q6_K", DType::kQ6_K, 18, nullptr},        {"IQ4_NL", DType::kIQ4_NL, 25, nullptr},
    {"IQ4_XS", DType::kIQ4_XS, 30, nullptr},    {"MXFP4", DType::kMXFP4, 38, nullptr},
};

}  // namespace

std::span<const WeightMix> WeightMixes() { return kMixes; }

const WeightMix* FindWeightMix(std::string_view name) {
  for (const WeightMix& mix : kMixes) {
    if (mix.name == name) return &mix;
  }
  return nullptr;
}

}  // namespace rag
