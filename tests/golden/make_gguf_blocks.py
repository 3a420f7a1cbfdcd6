"""Random blocks of every GGUF type with the values that the gguf package's dequantize() gives, and blocks that its
quantize() makes of random values.

Run: python3 make_gguf_blocks.py > gguf_blocks.json     (gguf 0.19, numpy 2.x; versions are in the output)
"""
import importlib.metadata
import json

import gguf
import numpy as np

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
         "IQ4_NL", "IQ4_XS", "MXFP4"]
# Where a block keeps its half-precision scales: random bits there would often be infinite or NaN.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": []}

random = np.random.default_rng(20240501)
out = {"gguf": importlib.metadata.version("gguf"), "numpy": np.__version__, "types": {}}
for name in TYPES:
    kind = getattr(gguf.GGMLQuantizationType, name)
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if block_size == 1:
        values = random.normal(size=64).astype(np.float32)
        data = gguf.quantize(values, kind).view(np.uint8) if name != "F32" else values.view(np.uint8)
    else:
        blocks = 2 if block_size == 256 else 5
        data = random.integers(0, 256, size=(blocks, block_bytes), dtype=np.uint8)
        for at in HALVES[name]:
            scale = random.normal(size=(blocks, 1)).astype(np.float16)
            data[:, at:at + 2] = scale.view(np.uint8)
        if name == "MXFP4":
            data[:, 0] = [0, 1, 2, 127, 250]  # the exponents' corners
        data = data.reshape(-1)
    values = gguf.dequantize(data, kind).astype(np.float32).reshape(-1)
    assert np.isfinite(values).all()
    out["types"][name] = {"bytes": data.tobytes().hex(), "f32": values.astype("<f4").tobytes().hex()}
# What the package makes of f32 values, for the types that it writes: a normal row, one with a large element, zeros.
out["encoded"] = {}
for name in ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4"]:
    values = random.normal(size=(8, 32)).astype(np.float32)
    values[5, 7] = 40
    values[6] = 0
    values[7] = values[7, 0]
    data = gguf.quantize(values, getattr(gguf.GGMLQuantizationType, name))
    out["encoded"][name] = {"f32": values.astype("<f4").tobytes().hex(), "bytes": data.tobytes().hex()}
print(json.dumps(out, indent=0))
