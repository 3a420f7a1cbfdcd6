#include "embed/tensor_names.h"

namespace rag {
namespace {

constexpr LayerNames kBertLayers = {
    .layer = "encoder.layer.",
    .qkv = {"attention.self.query", "attention.self.key", "attention.self.value"},
    .attention_out = "attention.output.dense",
    .attention_norm = "attention.output.LayerNorm",
    .up = {"intermediate.dense"},
    .down = "output.dense",
    .output_norm = "output.LayerNorm",
};

constexpr TensorNames kBert = {.layers = kBertLayers};

constexpr TensorNames kElectra = {.projection = "embeddings_project", .layers = kBertLayers};

constexpr TensorNames kMobileBert = {.projection = "embeddings.embedding_transformation",
                                     .layers = kBertLayers};

constexpr TensorNames kDistilBert = {
    .layers = {
        .layer = "transformer.layer.",
        .qkv = {"attention.q_lin", "attention.k_lin", "attention.v_lin"},
        .attention_out = "attention.out_lin",
        .attention_norm = "sa_layer_norm",
        .up = {"ffn.lin1"},
        .down = "ffn.lin2",
        .output_norm = "output_layer_norm",
    }};

constexpr TensorNames kMpNet = {
    .score_bias = "encoder.relative_attention_bias.weight",
    .layers = {
        .layer = "encoder.layer.",
        .qkv = {"attention.attn.q", "attention.attn.k", "attention.attn.v"},
        .attention_out = "attention.attn.o",
        .attention_norm = "attention.LayerNorm",
        .up = {"intermediate.dense"},
        .down = "output.dense",
        .output_norm = "output.LayerNorm",
    }};

constexpr TensorNames kAlbert = {.projection = "encoder.embedding_hidden_mapping_in",
                                 .layers = {
                                     .layer = "encoder.albert_layer_groups.",
                                     .qkv = {"attention.query", "attention.key", "attention.value"},
                                     .attention_out = "attention.dense",
                                     .attention_norm = "attention.LayerNorm",
                                     .up = {"ffn"},
                                     .down = "ffn_output",
                                     .output_norm = "full_layer_layer_norm",
                                 }};

constexpr TensorNames kModernBert = {.words = "embeddings.tok_embeddings.weight",
                                     .embedding_norm = "embeddings.norm",
                                     .final_norm = "final_norm",
                                     .layers = {
                                         .layer = "layers.",
                                         .qkv = {"attn.Wqkv"},
                                         .attention_out = "attn.Wo",
                                         .attention_norm = "attn_norm",
                                         .up = {"mlp.Wi"},
                                         .down = "mlp.Wo",
                                         .output_norm = "mlp_norm",
                                         .attention_bias = BiasRule::kOptional,
                                         .up_bias = BiasRule::kOptional,
                                         .down_bias = BiasRule::kOptional,
                                         .norm_bias = BiasRule::kOptional,
                                     }};

constexpr TensorNames kNomic = {.embedding_norm = "emb_ln",
                                .layers = {
                                    .layer = "encoder.layers.",
                                    .qkv = {"attn.Wqkv"},
                                    .attention_out = "attn.out_proj",
                                    .attention_norm = "norm1",
                                    .up = {"mlp.fc12", "mlp.fc11"},
                                    .down = "mlp.fc2",
                                    .output_norm = "norm2",
                                    .attention_bias = BiasRule::kOptional,
                                    .up_bias = BiasRule::kOptional,
                                    .down_bias = BiasRule::kOptional,
                                }};

constexpr TensorNames kGte = {.layers = {
                                  .layer = "encoder.layer.",
                                  .qkv = {"attention.qkv_proj"},
                                  .attention_out = "attention.o_proj",
                                  .attention_norm = "attn_ln",
                                  .up = {"mlp.up_gate_proj"},
                                  .down = "mlp.down_proj",
                                  .output_norm = "mlp_ln",
                                  .up_bias = BiasRule::kNone,
                                  .swap_up = true,
                              }};

constexpr TensorNames kJinaBert = {
    .layers = {
        .layer = "encoder.layer.",
        .qkv = {"attention.self.query", "attention.self.key", "attention.self.value"},
        .attention_out = "attention.output.dense",
        .attention_norm = "attention.output.LayerNorm",
        .up = {"mlp.gated_layers"},
        .down = "mlp.wo",
        .output_norm = "mlp.layernorm",
        .up_bias = BiasRule::kNone,
    }};

constexpr LayerNames MakeVitLayers(std::string_view layer) {
  return {
      .layer = layer,
      .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
      .attention_out = "self_attn.out_proj",
      .attention_norm = "layer_norm1",
      .up = {"mlp.fc1"},
      .down = "mlp.fc2",
      .output_norm = "layer_norm2",
  };
}

constexpr TensorNames kTextTower = {.words = "text_model.embeddings.token_embedding.weight",
                                    .positions = "text_model.embeddings.position_embedding.weight",
                                    .embedding_norm = "",
                                    .final_norm = "text_model.final_layer_norm",
                                    .layers = MakeVitLayers("text_model.encoder.layers.")};

constexpr TensorNames kClipVision = {
    .words = "",
    .positions = "vision_model.embeddings.position_embedding.weight",
    .embedding_norm = "vision_model.pre_layrnorm",
    .final_norm = "vision_model.post_layernorm",
    .layers = MakeVitLayers("vision_model.encoder.layers.")};

constexpr TensorNames kSiglipVision = {
    .words = "",
    .positions = "vision_model.embeddings.position_embedding.weight",
    .embedding_norm = "",
    .final_norm = "vision_model.post_layernorm",
    .layers = MakeVitLayers("vision_model.encoder.layers.")};

constexpr TensorNames kDecoder = {
    .words = "embed_tokens.weight",
    .embedding_norm = "",
    .final_norm = "norm",
    .layers = {
        .layer = "layers.",
        .qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
        .attention_out = "self_attn.o_proj",
        .attention_norm = "input_layernorm",
        .head_norms = {"self_attn.q_norm", "self_attn.k_norm"},
        .up = {"mlp.gate_proj", "mlp.up_proj"},
        .down = "mlp.down_proj",
        .output_norm = "post_attention_layernorm",
        .attention_bias = BiasRule::kOptional,
        .up_bias = BiasRule::kOptional,
        .down_bias = BiasRule::kOptional,
        .norm_bias = BiasRule::kNone,
    }};

constexpr TensorNames MakeGemma() {
  TensorNames names = kDecoder;
  names.layers.output_norm = "pre_feedforward_layernorm";
  names.layers.result_norms[0] = "post_attention_layernorm";
  names.layers.result_norms[1] = "post_feedforward_layernorm";
  names.layers.norm_offset = 1;
  return names;
}
constexpr TensorNames kGemma = MakeGemma();

constexpr TensorNames kT5 = {
    .words = "shared.weight",
    .embedding_norm = "",
    .final_norm = "encoder.final_layer_norm",
    .score_bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    .layers = {
        .layer = "encoder.block.",
        .qkv = {"layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v"},
        .attention_out = "layer.0.SelfAttention.o",
        .attention_norm = "layer.0.layer_norm",
        .up = {"layer.1.DenseReluDense.wi"},
        .down = "layer.1.DenseReluDense.wo",
        .output_norm = "layer.1.layer_norm",
        .attention_bias = BiasRule::kNone,
        .up_bias = BiasRule::kNone,
        .down_bias = BiasRule::kNone,
        .norm_bias = BiasRule::kNone,
    }};

constexpr TensorNames MakeGatedT5() {
  TensorNames names = kT5;
  names.layers.up[0] = "layer.1.DenseReluDense.wi_0";
  names.layers.up[1] = "layer.1.DenseReluDense.wi_1";
  return names;
}
constexpr TensorNames kGatedT5 = MakeGatedT5();

constexpr std::string_view kPrefixes[] = {
    "",        "bert.",    "roberta.",    "distilbert.", "model.", "mpnet.",
    "albert.", "electra.", "mobilebert.", "nomic_bert.", "new.",   "gte.",
};

}  // namespace

const TensorNames& FamilyTensorNames(const TransformerConfig& config) {
  switch (config.family) {
    case EncoderFamily::kBert:
    case EncoderFamily::kRoberta:
      return kBert;
    case EncoderFamily::kDistilBert:
      return kDistilBert;
    case EncoderFamily::kMpNet:
      return kMpNet;
    case EncoderFamily::kAlbert:
      return kAlbert;
    case EncoderFamily::kElectra:
      return kElectra;
    case EncoderFamily::kMobileBert:
      return kMobileBert;
    case EncoderFamily::kModernBert:
      return kModernBert;
    case EncoderFamily::kNomic:
      return kNomic;
    case EncoderFamily::kJinaBert:
      return kJinaBert;
    case EncoderFamily::kGte:
      return kGte;
    case EncoderFamily::kClipText:
    case EncoderFamily::kSiglipText:
      return kTextTower;
    case EncoderFamily::kClipVision:
      return kClipVision;
    case EncoderFamily::kSiglipVision:
      return kSiglipVision;
    case EncoderFamily::kDecoder:
      return kDecoder;
    case EncoderFamily::kGemma:
      return kGemma;
    case EncoderFamily::kT5:
      return config.gated ? kGatedT5 : kT5;
  }
  return kBert;
}

std::span<const std::string_view> TensorPrefixes() { return kPrefixes; }

}  // namespace rag
