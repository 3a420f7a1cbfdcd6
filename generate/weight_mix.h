// Which type each matrix of a model is written as.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "lib/tensor/tensor.h"

namespace rag {

// What the choice depends on besides the tensor itself.
struct MixModel {
  size_t layers = 0;
  size_t queries_a_key = 1;  // heads that share a key head
  size_t experts = 0;
};

// A type by which users ask: one for all matrices ("Q4_K"), or llama.cpp's mixes, in which those
// that matter most take more bits ("Q4_K_M"; "Q2_K_M" is what llama.cpp calls Q2_K).
struct WeightMix {
  std::string_view name;
  DType base;
  int64_t file_type;  // llama.cpp's llama_ftype
  // The type of a layer's matrix whose name holds `kind` ("attn_v"); null: all are of base.
  DType (*choose)(const MixModel& model, std::string_view kind, size_t layer);
};

std::span<const WeightMix> WeightMixes();
// Null when there is none of this name.
const WeightMix* FindWeightMix(std::string_view name);

}  // namespace rag
