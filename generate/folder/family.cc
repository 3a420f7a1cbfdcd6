#include "generate/folder/family.h"

#include <charconv>
#include <string>

namespace rag {
namespace {

using enum TensorChange;

// Sources: the modules' attributes in transformers' modeling_*.py; GGUF's names as the gguf
// package's tensor_mapping.py and llama.cpp's conversion scripts give them.
constexpr TensorRule kLlamaRules[] = {
    {"embed_tokens", "token_embd"}, {"norm", "output_norm"}, {"lm_head", "output"}};
constexpr TensorRule kLlamaLayer[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q", kPairQueryRows},
    {"self_attn.k_proj", "attn_k", kPairKeyRows},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"block_sparse_moe.experts.*.w1", "ffn_gate.*"},
    {"block_sparse_moe.experts.*.w2", "ffn_down.*"},
    {"block_sparse_moe.experts.*.w3", "ffn_up.*"},
};
// Qwen, StableLM, Phi-3: as Llama, rotated in halves by GGUF too.
constexpr TensorRule kHalvesLayer[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.q_layernorm.norms.*", "attn_q_norm", kStackHeads},
    {"self_attn.k_layernorm.norms.*", "attn_k_norm", kStackHeads},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr TensorRule kOlmo2Layer[] = {
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "post_attention_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr TensorRule kGemmaRules[] = {
    {"embed_tokens", "token_embd"}, {"norm", "output_norm", kAddOne}, {"lm_head", "output"}};
constexpr TensorRule kGemmaLayer[] = {
    {"input_layernorm", "attn_norm", kAddOne},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm", kAddOne},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr TensorRule kGemma2Layer[] = {
    {"input_layernorm", "attn_norm", kAddOne},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.q_norm", "attn_q_norm", kAddOne},
    {"self_attn.k_norm", "attn_k_norm", kAddOne},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "post_attention_norm", kAddOne},
    {"pre_feedforward_layernorm", "ffn_norm", kAddOne},
    {"post_feedforward_layernorm", "post_ffw_norm", kAddOne},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr TensorRule kPhiRules[] = {
    {"embed_tokens", "token_embd"}, {"final_layernorm", "output_norm"}, {"lm_head", "output"}};
constexpr TensorRule kPhiLayer[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.dense", "attn_output"},
    {"mlp.fc1", "ffn_up"},
    {"mlp.fc2", "ffn_down"},
};
constexpr TensorRule kGpt2Rules[] = {{"wte", "token_embd"},
                                     {"wpe", "position_embd"},
                                     {"ln_f", "output_norm"},
                                     {"lm_head", "output"}};
constexpr TensorRule kGpt2Layer[] = {
    {"ln_1", "attn_norm"},
    {"attn.c_attn", "attn_qkv", kTranspose},
    {"attn.c_proj", "attn_output", kTranspose},
    {"ln_2", "ffn_norm"},
    {"mlp.c_fc", "ffn_up", kTranspose},
    {"mlp.c_proj", "ffn_down", kTranspose},
};
constexpr TensorRule kNeoxRules[] = {
    {"embed_in", "token_embd"}, {"final_layer_norm", "output_norm"}, {"embed_out", "output"}};
constexpr TensorRule kNeoxLayer[] = {
    {"input_layernorm", "attn_norm"},   {"attention.query_key_value", "attn_qkv", kGatherHeads},
    {"attention.dense", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.dense_h_to_4h", "ffn_up"},    {"mlp.dense_4h_to_h", "ffn_down"},
};
constexpr TensorRule kBloomRules[] = {{"word_embeddings", "token_embd"},
                                      {"word_embeddings_layernorm", "token_embd_norm"},
                                      {"ln_f", "output_norm"},
                                      {"lm_head", "output"}};
constexpr TensorRule kBloomLayer[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attention.query_key_value", "attn_qkv", kGatherHeads},
    {"self_attention.dense", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.dense_h_to_4h", "ffn_up"},
    {"mlp.dense_4h_to_h", "ffn_down"},
};
constexpr TensorRule kMptRules[] = {
    {"wte", "token_embd"}, {"norm_f", "output_norm"}, {"lm_head", "output"}};
constexpr TensorRule kMptLayer[] = {
    {"norm_1", "attn_norm"}, {"attn.Wqkv", "attn_qkv"}, {"attn.out_proj", "attn_output"},
    {"norm_2", "ffn_norm"},  {"ffn.up_proj", "ffn_up"}, {"ffn.down_proj", "ffn_down"},
};

constexpr Family kFamilies[] = {
    {"bloom", "bloom", "", "h.", kBloomLayer, kBloomRules, 1, true},
    {"gemma", "gemma", "gelu_pytorch_tanh", "layers.", kGemmaLayer, kGemmaRules, 1, true},
    {"gemma2", "gemma2", "gelu_pytorch_tanh", "layers.", kGemma2Layer, kGemmaRules, 1, true},
    {"gemma3", "gemma3", "gelu_pytorch_tanh", "layers.", kGemma2Layer, kGemmaRules, 1, true},
    {"gemma3_text", "gemma3", "gelu_pytorch_tanh", "layers.", kGemma2Layer, kGemmaRules, 1, true},
    {"gpt2", "gpt2", "gelu_new", "h.", kGpt2Layer, kGpt2Rules, 1, true},
    {"gpt_neox", "gptneox", "gelu", "layers.", kNeoxLayer, kNeoxRules, 0.25},
    {"llama", "llama", "silu", "layers.", kLlamaLayer, kLlamaRules},
    {"mistral", "llama", "silu", "layers.", kLlamaLayer, kLlamaRules},
    {"mixtral", "llama", "silu", "layers.", kLlamaLayer, kLlamaRules},
    {"mpt", "mpt", "", "blocks.", kMptLayer, kMptRules, 1, true},
    {"olmo2", "olmo2", "silu", "layers.", kOlmo2Layer, kLlamaRules},
    {"phi", "phi2", "gelu_new", "layers.", kPhiLayer, kPhiRules, 0.5},
    {"phi3", "phi3", "silu", "layers.", kHalvesLayer, kLlamaRules},
    {"qwen2", "qwen2", "silu", "layers.", kHalvesLayer, kLlamaRules},
    {"qwen3", "qwen3", "silu", "layers.", kHalvesLayer, kLlamaRules},
    {"smollm3", "smollm3", "silu", "layers.", kLlamaLayer, kLlamaRules, 1, true},
    {"stablelm", "stablelm", "silu", "layers.", kHalvesLayer, kLlamaRules, 0.25},
};

}  // namespace

const Family* FindFamily(std::string_view model_type) {
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

const Family* FindFamilyOfArchitecture(std::string_view architecture) {
  for (const Family& family : kFamilies) {
    if (family.architecture == architecture) return &family;
  }
  return nullptr;
}

std::string_view KnownFamilies() {
  static const std::string known = [] {
    std::string names;
    for (const Family& family : kFamilies) {
      if (!names.empty()) names += ", ";
      names += family.model_type;
    }
    return names;
  }();
  return known;
}

const TensorRule* FindRule(std::span<const TensorRule> rules, std::string_view name,
                           size_t& number) {
  for (const TensorRule& rule : rules) {
    const size_t star = rule.from.find('*');
    if (star == std::string_view::npos) {
      if (rule.from == name) return &rule;
      continue;
    }
    const std::string_view after = rule.from.substr(star + 1);
    if (!name.starts_with(rule.from.substr(0, star)) || !name.ends_with(after) ||
        name.size() <= star + after.size()) {
      continue;
    }
    const std::string_view digits = name.substr(star, name.size() - after.size() - star);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error == std::errc() && end == digits.data() + digits.size()) return &rule;
  }
  return nullptr;
}

}  // namespace rag
