"""Blocks that llama.cpp makes of f32 rows, plain and with an importance of their columns: what ours are compared with.

Run: python3 make_gguf_importance.py LIBGGML_BASE_SO VERSION > gguf_importance.json     (numpy)

LIBGGML_BASE_SO is libggml-base.so of a llama.cpp built with shared libraries, VERSION its name. The rows are those of a
matrix with columns of different importance, as activations have them, and some large weights.
"""
import ctypes
import json
import sys

import numpy as np

# ggml_type, values and bytes of a block.
TYPES = {"Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q2_K": (10, 256, 84),
         "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210),
         "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136)}
ROWS, COLUMNS = 12, 256


def main():
    library = ctypes.CDLL(sys.argv[1])
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                            ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    random = np.random.default_rng(11)
    values = (0.02 * random.normal(size=(ROWS, COLUMNS))).astype(np.float32)
    values[random.random(size=values.shape) < 0.01] *= 5
    importance = np.exp(1.5 * random.normal(size=COLUMNS)).astype(np.float32)
    out = {"llama.cpp": sys.argv[2], "numpy": np.__version__, "columns": COLUMNS,
           "values": values.astype("<f4").tobytes().hex(), "importance": importance.astype("<f4").tobytes().hex(),
           "types": {}}
    for name, (kind, block, size) in TYPES.items():
        entry = {}
        for key, weights in (("plain", None), ("weighted", importance)):
            data = np.zeros(ROWS * COLUMNS // block * size, np.uint8)
            written = library.ggml_quantize_chunk(kind, values.ctypes.data, data.ctypes.data, 0, ROWS, COLUMNS,
                                                  None if weights is None else weights.ctypes.data)
            assert written == data.size, (name, written)
            entry[key] = data.tobytes().hex()
        out["types"][name] = entry
    print(json.dumps(out, indent=0))


if __name__ == "__main__":
    main()
