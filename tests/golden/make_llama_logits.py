"""Logits of tiny random Llama decoders, one for each GGUF weight type, from numpy in double precision.

The weights are not stored: tests/generate/random_model.h makes the same bytes from the same counter-based numbers, and
the gguf package dequantizes them here. For block types `logits8` is the same forward pass with every matrix product's
activations rounded to 8 bits in groups of 32, as lib/kernels/quantized.h documents.

Run: python3 make_llama_logits.py > llama_logits.json
"""
import importlib.metadata
import json

import gguf
import numpy as np

WIDTH, HEADS, KV_HEADS, HEAD_DIM, FEED_FORWARD, LAYERS, VOCABULARY, TOKENS = 256, 4, 2, 64, 256, 2, 64, 70
EPSILON = 1e-5
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
         "IQ4_NL", "IQ4_XS", "MXFP4"]
# Byte offset and biased exponent of each half in a block: weights near 1 / sqrt(width), minima that centre them.
HALVES = {"Q8_0": [(0, 4)], "Q4_0": [(0, 8)], "Q4_1": [(0, 8), (2, 11)], "Q5_0": [(0, 7)], "Q5_1": [(0, 7), (2, 11)],
          "Q2_K": [(80, 7), (82, 8)], "Q3_K": [(108, 5)], "Q4_K": [(0, 2), (2, 5)], "Q5_K": [(0, 1), (2, 5)],
          "Q6_K": [(208, 1)], "IQ4_NL": [(0, 4)], "IQ4_XS": [(0, 0)], "MXFP4": []}


def mix(counter):
    z = np.asarray(counter, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def counters(tensor, count, lane=0):
    return np.arange(count, dtype=np.uint64) + np.uint64((tensor << 32) | (lane << 31))


def uniform(tensor, count):
    """Multiples of 2^-26 in [-1/8, 1/8), exact in f32."""
    return ((mix(counters(tensor, count)) >> np.uint64(40)).astype(np.float64) - 2.0**23) * 2.0**-26


def weights(name, tensor, rows, cols):
    kind = getattr(gguf.GGMLQuantizationType, name)
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    count = rows * cols
    if block_size == 1:
        data = gguf.quantize(uniform(tensor, count).astype(np.float32), kind)
        return gguf.dequantize(data, kind).astype(np.float64).reshape(rows, cols)
    blocks = count // block_size
    data = (mix(counters(tensor, blocks * block_bytes)) >> np.uint64(56)).astype(np.uint8).reshape(blocks, block_bytes)
    for i, (at, exponent) in enumerate(HALVES[name]):
        mantissa = (mix(counters(tensor, 2 * blocks, lane=1)) >> np.uint64(54)).astype(np.uint16)[i::2]
        half = (np.uint16(exponent << 10) | mantissa).astype("<u2")
        if i == 1 and name in ("Q4_1", "Q5_1"):
            half |= np.uint16(0x8000)  # these add their minimum
        data[:, at:at + 2] = half.view(np.uint8).reshape(blocks, 2)
    if name == "MXFP4":
        data[:, 0] = 120 + data[:, 0] % 3
    return gguf.dequantize(data.reshape(-1), kind).astype(np.float64).reshape(rows, cols)


def round8(x):
    x = x.astype(np.float32)
    groups = x.reshape(x.shape[0], -1, 32)
    largest = np.abs(groups).max(axis=-1, keepdims=True)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)
    values = np.rint(groups * inverse)
    return (values.astype(np.float64) * (largest / np.float32(127)).astype(np.float64)).reshape(x.shape)


def forward(model, tokens, eight):
    product = (lambda x, w: round8(x) @ w.T) if eight else (lambda x, w: x @ w.T)
    norm = lambda x, g: x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON) * g
    n = len(tokens)
    angles = np.outer(np.arange(n), model["frequencies"])
    cosine, sine = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]

    def rope(x):
        even, odd = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2], out[..., 1::2] = even * cosine - odd * sine, even * sine + odd * cosine
        return out

    x = model["embeddings"][tokens]
    for layer in model["layers"]:
        h = norm(x, layer["attn_norm"])
        q = rope(product(h, layer["q"]).reshape(n, HEADS, HEAD_DIM))
        k = rope(product(h, layer["k"]).reshape(n, KV_HEADS, HEAD_DIM))
        v = product(h, layer["v"]).reshape(n, KV_HEADS, HEAD_DIM)
        heads = []
        for head in range(HEADS):
            group = head // (HEADS // KV_HEADS)
            scores = q[:, head] @ k[:, group].T / np.sqrt(HEAD_DIM)
            scores[np.triu_indices(n, 1)] = -np.inf
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            heads.append(scores / scores.sum(axis=-1, keepdims=True) @ v[:, group])
        x = x + product(np.concatenate(heads, axis=-1), layer["output"])
        h = norm(x, layer["ffn_norm"])
        gate = product(h, layer["gate"])
        x = x + product(gate / (1 + np.exp(-gate)) * product(h, layer["up"]), layer["down"])
    return product(norm(x, model["output_norm"]), model["output"])


def make_model(index, name):
    # Tensor numbers are those of random_model.h: 0 embeddings, 1 output, 2 output_norm, 3 rope_freqs, 16 * (i + 1) ...
    model = {"embeddings": weights(name, 0, VOCABULARY, WIDTH), "output_norm": 1 + uniform(2, WIDTH), "layers": []}
    model["output"] = model["embeddings"] if index % 2 else weights(name, 1, VOCABULARY, WIDTH)
    frequencies = 10000.0 ** (-2.0 * np.arange(HEAD_DIM // 2) / HEAD_DIM)
    if index % 3 == 1:
        frequencies /= 2.0
    if index % 3 == 2:
        frequencies /= 1.5 + 4 * uniform(3, HEAD_DIM // 2)
    model["frequencies"] = frequencies
    for i in range(LAYERS):
        base = 16 * (i + 1)
        model["layers"].append({
            "attn_norm": 1 + uniform(base, WIDTH),
            "q": weights(name, base + 1, HEADS * HEAD_DIM, WIDTH),
            "k": weights(name, base + 2, KV_HEADS * HEAD_DIM, WIDTH),
            "v": weights(name, base + 3, KV_HEADS * HEAD_DIM, WIDTH),
            "output": weights(name, base + 4, WIDTH, HEADS * HEAD_DIM),
            "ffn_norm": 1 + uniform(base + 5, WIDTH),
            "gate": weights(name, base + 6, FEED_FORWARD, WIDTH),
            "up": weights(name, base + 7, FEED_FORWARD, WIDTH),
            "down": weights(name, base + 8, WIDTH, FEED_FORWARD),
        })
    return model


def main():
    tokens = (mix(counters(255, TOKENS)) % np.uint64(VOCABULARY)).astype(int)
    out = {"gguf": importlib.metadata.version("gguf"), "numpy": np.__version__, "types": {}}
    for index, name in enumerate(TYPES):
        model = make_model(index, name)
        exact = forward(model, tokens, False)
        entry = {"index": index, "logits": [[float(f"{x:.9g}") for x in exact[i]] for i in (3, TOKENS - 1)]}
        if name not in ("F32", "F16", "BF16"):
            rounded = forward(model, tokens, True)
            entry["logits8"] = [[float(f"{x:.9g}") for x in rounded[i]] for i in (3, TOKENS - 1)]
        out["types"][name] = entry
    print(json.dumps(out))


if __name__ == "__main__":
    main()
