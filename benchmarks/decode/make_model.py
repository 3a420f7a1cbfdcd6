"""Writes a GGUF decoder of random weights for measuring speed: the bytes of the blocks are random, the scales small.

    make_model.py OUT.gguf --type Q4_K [--width 2048 --layers 22 --heads 32 --kv-heads 4 --feed-forward 5632 --vocabulary 32000]

The defaults are TinyLlama-1.1B's shape; SmolLM-135M's is --width 576 --layers 30 --heads 9 --kv-heads 3 --feed-forward 1536
--vocabulary 49152 --tied. "Q4_K_M" is llama.cpp's mixture: Q4_K, with Q6_K for the output, the values and half of the down
projections; matrices whose columns are no multiple of 256 have Q5_0 and Q8_0 instead, as there. Needs the gguf and numpy packages.
"""
import argparse

import gguf
import numpy as np

HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
SCALE = {"Q8_0": 3e-4, "Q4_0": 4e-3, "Q4_1": 4e-3, "Q5_0": 2e-3, "Q5_1": 2e-3, "Q2_K": 1e-3, "Q3_K": 1e-4, "Q4_K": 4e-5,
         "Q5_K": 2e-5, "Q6_K": 1e-5}

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--type", default="Q4_K_M")
for name, value in [("width", 2048), ("layers", 22), ("heads", 32), ("kv-heads", 4), ("feed-forward", 5632),
                    ("vocabulary", 32000), ("context", 4096)]:
    parser.add_argument("--" + name, type=int, default=value)
parser.add_argument("--tied", action="store_true", help="no output matrix of its own: the embeddings are it")
a = parser.parse_args()
random = np.random.default_rng(1)
writer = gguf.GGUFWriter(a.out, "llama")
head = a.width // a.heads
writer.add_block_count(a.layers)
writer.add_context_length(a.context)
writer.add_embedding_length(a.width)
writer.add_feed_forward_length(a.feed_forward)
writer.add_head_count(a.heads)
writer.add_head_count_kv(a.kv_heads)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_dimension_count(head)
writer.add_vocab_size(a.vocabulary)
tokens = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{i:02X}>".encode() for i in range(256)]
types = [2, 3, 3] + [6] * 256
while len(tokens) < a.vocabulary:
    tokens.append(f"t{len(tokens)}".encode())
    types.append(1)
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores([0.0] * len(tokens))
writer.add_token_types(types)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)


def matrix(name, rows, cols, larger=False):
    kind = a.type
    if kind == "Q4_K_M":
        kind = "Q6_K" if larger else "Q4_K"
    if cols % 256:
        kind = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}.get(kind, kind)
    kind_id = getattr(gguf.GGMLQuantizationType, kind)
    if kind in ("F32", "F16"):
        data = (random.standard_normal((rows, cols), dtype=np.float32) / np.sqrt(cols)).astype(
            np.float32 if kind == "F32" else np.float16)
        writer.add_tensor(name, data)
        return
    block, size = gguf.GGML_QUANT_SIZES[kind_id]
    data = random.integers(0, 256, size=(rows * cols // block, size), dtype=np.uint8)
    for i, at in enumerate(HALVES[kind]):
        scale = np.full((len(data), 1), SCALE[kind] * (7 if i else 1), dtype=np.float16)
        data[:, at:at + 2] = scale.view(np.uint8)
    writer.add_tensor(name, data.reshape(rows, -1), raw_dtype=kind_id)


norm = np.ones(a.width, dtype=np.float32)
matrix("token_embd.weight", a.vocabulary, a.width, a.tied)
writer.add_tensor("output_norm.weight", norm)
if not a.tied:
    matrix("output.weight", a.vocabulary, a.width, True)
for i in range(a.layers):
    p = f"blk.{i}."
    writer.add_tensor(p + "attn_norm.weight", norm)
    writer.add_tensor(p + "ffn_norm.weight", norm)
    matrix(p + "attn_q.weight", a.width, a.width)
    matrix(p + "attn_k.weight", a.kv_heads * head, a.width)
    matrix(p + "attn_v.weight", a.kv_heads * head, a.width, i % 2 == 0)
    matrix(p + "attn_output.weight", a.width, a.width)
    matrix(p + "ffn_gate.weight", a.feed_forward, a.width)
    matrix(p + "ffn_up.weight", a.feed_forward, a.width)
    matrix(p + "ffn_down.weight", a.width, a.feed_forward, i % 2 == 0)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
