"""Distances of FAISS's RaBitQ codes, without a rotation and with whole queries, and the best cosines
that codes of 4 bits can have, by trying every scale.

Run: python3 make_rabitq.py > rabitq.json     (faiss-cpu 1.15, numpy 2.x; versions are in the output)
"""
import json

import faiss
import numpy as np

ROWS, QUERIES, DIM = 24, 4, 72


def best_cosine(row):
    """Of the odd numbers up to 15 in the row's signs, the ones that point most in its direction."""
    size = np.abs(row).astype(np.float64)
    best = 0.0
    # A code changes where a scale takes an element over a whole number.
    scales = np.unique(np.arange(0, 8)[None, :] / size[size > 0][:, None])
    for scale in scales * (1 + 1e-9):
        odd = 2 * np.minimum(np.floor(size * scale), 7) + 1
        best = max(best, float(size @ odd / np.sqrt(size @ size) / np.sqrt(odd @ odd)))
    return best


random = np.random.default_rng(20240512)
rows = np.round(random.normal(size=(ROWS, DIM)) * random.uniform(0.5, 2, size=(ROWS, 1)), 3).astype(np.float32)
queries = np.round(random.normal(size=(QUERIES, DIM)), 3).astype(np.float32)
out = {"faiss": faiss.__version__, "numpy": np.__version__, "dim": DIM, "rows": rows.flatten().tolist(),
       "queries": queries.flatten().tolist(), "best_cosines": [best_cosine(row) for row in rows], "distances": {}}
for name, metric in (("l2", faiss.METRIC_L2), ("ip", faiss.METRIC_INNER_PRODUCT)):
    index = faiss.IndexRaBitQ(DIM, metric)
    index.qb = 0
    index.train(rows)
    index.add(rows)
    found, ids = index.search(queries, ROWS)
    ordered = np.zeros_like(found)
    for q in range(QUERIES):
        ordered[q, ids[q]] = found[q]
    out["distances"][name] = [round(float(x), 4) for x in ordered.flatten()]
for key in ("rows", "queries"):
    out[key] = [round(x, 3) for x in out[key]]
out["best_cosines"] = [round(x, 6) for x in out["best_cosines"]]
print(json.dumps(out, separators=(",", ":")))
