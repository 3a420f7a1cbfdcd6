#!/usr/bin/env python3
"""The ann-benchmarks module as that framework drives it: fit, query, batch_query, against NumPy's exact search.

    ann_benchmarks_test.py LIBRAG
"""

import importlib
import os
import pathlib
import re
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import own_python  # noqa: E402: after the folder that has it

own_python.need("numpy")

import numpy as np  # noqa: E402: after the look for it

if os.environ.get("RAG_SANITIZE") == "thread":
    print("SKIPPED ann_benchmarks_test.py: a Python that begins with the thread sanitizer's runtime crashes by itself")
    sys.exit(77)

SOURCE = ROOT / "benchmarks" / "ann_benchmarks"


def load_module(folder):
    """The module where ann-benchmarks has it, beside a base class like its own."""
    algorithms = folder / "ann_benchmarks" / "algorithms"
    (algorithms / "base").mkdir(parents=True)
    (algorithms / "rag").mkdir()
    for package in (folder / "ann_benchmarks", algorithms, algorithms / "base", algorithms / "rag"):
        (package / "__init__.py").touch()
    (algorithms / "base" / "module.py").write_text("class BaseANN(object):\n    pass\n", encoding="utf-8")
    shutil.copy(SOURCE / "module.py", algorithms / "rag" / "module.py")
    sys.path.insert(0, str(folder))
    return importlib.import_module("ann_benchmarks.algorithms.rag.module")


def exact(base, queries, metric, k):
    if metric == "euclidean":
        scores = -((queries[:, None] - base[None]) ** 2).sum(-1)
    else:
        scores = queries @ (base / np.linalg.norm(base, axis=1, keepdims=True)).T
    return np.argsort(-scores, axis=1)[:, :k]


def main():
    os.environ["RAG_LIBRARY"] = sys.argv[1]
    config = (SOURCE / "config.yml").read_text(encoding="utf-8")
    random = np.random.default_rng(4)
    base = random.normal(size=(1500, 24))  # float64, as a caller may have it
    queries = random.normal(size=(40, 24))
    with tempfile.TemporaryDirectory() as name:
        module = load_module(pathlib.Path(name))
        constructor = getattr(module, re.search(r"constructor: (\w+)", config).group(1))
        specs = re.findall(r"'((?:flat|hnsw|ivf)[^']*)'", config)
        assert {spec.split(":")[0] for spec in specs} == {"flat", "hnsw", "ivf"}
        for metric in ("euclidean", "angular"):
            truth = exact(base, queries, metric, 10)
            for spec in specs:
                index = constructor(metric, spec)
                index.fit(base)
                index.set_query_arguments(200)
                assert spec in str(index)
                found = [index.query(query, 10) for query in queries]
                index.batch_query(queries, 10)
                hits = sum(len(set(f) & set(t)) for f, t in zip(found, truth)) / truth.size
                assert hits >= (0.999 if spec == "flat" else 0.97), (metric, spec, hits)
                assert all((a == b).all() for a, b in zip(found, index.get_batch_results()))
                index.done()
        few = constructor("euclidean", "flat")
        few.fit(base[:3])
        assert len(few.query(queries[0], 10)) == 3
        for arguments, words in ((("euclidean", "tree"), "tree"), (("euclidean", "hnsw:m=1000"), "m")):
            try:
                constructor(*arguments).fit(base)
            except RuntimeError as error:
                assert words in str(error), error
            else:
                raise AssertionError(f"{arguments} was taken")
    print("ann-benchmarks module: ok")


if __name__ == "__main__":
    main()
