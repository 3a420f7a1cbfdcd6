#!/usr/bin/env python3
"""Vector search of other libraries, driven by `rag-bench search --peers --peers-python PYTHON`.

The interpreter needs numpy and whichever peers are to be measured:

    python3 -m venv peers
    peers/bin/pip install numpy faiss-cpu usearch
    peers/bin/pip install --no-binary hnswlib hnswlib    # built here, so for this processor
    peers/bin/pip install "pybind11<3" wheel setuptools
    git clone https://github.com/zilliztech/pyglass
    peers/bin/pip install --no-deps --no-build-isolation pyglass/python
    git clone https://github.com/gouyt13/SymphonyQG
    peers/bin/pip install --no-deps --no-build-isolation SymphonyQG/python

Reads one JSON object a line from standard input and answers each with one on standard output; the
process lives as long as the run, so that the systems take turns with rag's own, round by round:

    {"do": "open", "base": NPY, "queries": NPY, "metric": "l2"|"ip", "k", "threads", "build_threads",
     "m", "ef_construction", "only": [NAME]}
        -> {"systems": [{"name", "version", "parameters", "width", "widths"}], "missing": [TEXT]}
    {"do": "build", "system": NAME}                 -> {"seconds", "resident_bytes", "memory_bytes"}
    {"do": "search", "system": NAME, "width": N, "queries": N, "found": FILE}
        -> {"seconds"}; FILE gets the rows found as little-endian int32 [queries, k], -1 for none
    {"do": "pin", "processor": N}                   -> {}; searches run there from then on
    {"do": "quit"}

A failure is answered with {"error": TEXT}. All queries of a search are passed in one call, which
spares the peers Python's cost of a call; with one thread they answer them one after another.
"""

import ctypes
import gc
import json
import os
import sys
import time

import numpy as np

GRAPH_WIDTHS = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400]
PROBES = [1, 2, 4, 8, 16, 32, 64, 128]
# Rows of the final list that are compared exactly, a result.
RERANKED = 10


def resident_bytes():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Peer:
    """A system: build() makes it of self.base, search(width, count) returns rows [count, k]."""

    widths = GRAPH_WIDTHS
    width_name = "ef"
    memory_bytes = 0

    def __init__(self, setup):
        self.base = setup["base"]
        self.queries = setup["queries"]
        self.inner_product = setup["metric"] == "ip"
        self.k = setup["k"]
        self.threads = setup["threads"]
        self.build_threads = setup["build_threads"]
        self.m = setup["m"]
        self.ef_construction = setup["ef_construction"]
        self.parameters = {"m": self.m, "ef_construction": self.ef_construction}
        self.index = None


class Hnswlib(Peer):
    name = "hnswlib-py"

    def load(self):
        import hnswlib
        self.library = hnswlib
        # The package does not say its version at run time.
        from importlib.metadata import version
        self.version = version("hnswlib")

    def build(self):
        self.index = self.library.Index("ip" if self.inner_product else "l2", self.base.shape[1])
        self.index.init_index(len(self.base), ef_construction=self.ef_construction, M=self.m)
        self.index.add_items(self.base, num_threads=self.build_threads)

    def search(self, width, count):
        self.index.set_ef(max(width, self.k))
        return self.index.knn_query(self.queries[:count], k=self.k, num_threads=self.threads)[0]


class Faiss(Peer):
    factory = ""

    def load(self):
        import faiss
        self.library = faiss
        self.version = faiss.__version__

    def build(self):
        metric = self.library.METRIC_INNER_PRODUCT if self.inner_product else self.library.METRIC_L2
        self.library.omp_set_num_threads(self.build_threads)
        self.index = self.library.index_factory(self.base.shape[1], self.factory, metric)
        self.prepare()
        self.index.train(self.base)
        self.index.add(self.base)

    def prepare(self):
        pass

    def search(self, width, count):
        self.set_width(width)
        self.library.omp_set_num_threads(self.threads)
        return self.index.search(self.queries[:count], self.k)[1]


class FaissHnsw(Faiss):
    name = "faiss-hnsw"
    codes = "Flat"

    def load(self):
        super().load()
        self.factory = f"HNSW{self.m},{self.codes}"

    def prepare(self):
        self.index.hnsw.efConstruction = self.ef_construction

    def set_width(self, width):
        self.index.hnsw.efSearch = width


class FaissHnswSq8(FaissHnsw):
    name = "faiss-hnsw-sq8"
    codes = "SQ8"


class FaissIvfFastScan(Faiss):
    name = "faiss-ivf-fastscan"
    widths = PROBES
    width_name = "nprobe"
    parts = 0  # 0: of two dimensions each

    def load(self):
        super().load()
        dim = self.base.shape[1]
        lists = max(1, int(np.sqrt(len(self.base))))
        parts = self.parts or (dim // 2 if dim % 2 == 0 else dim)
        self.factory = f"IVF{lists},PQ{parts}x4fs,RFlat"
        self.parameters = {"factory": self.factory, "k_factor": RERANKED}

    def prepare(self):
        self.index.k_factor = RERANKED

    def set_width(self, width):
        self.library.extract_index_ivf(self.index).nprobe = width


class FaissIvfFastScan32(FaissIvfFastScan):
    """Codes of 32 bytes; the dimension has to be a multiple of 64."""

    name = "faiss-ivf-fastscan-32"
    parts = 64


class Usearch(Peer):
    name = "usearch-f32"
    dtype = "f32"

    def load(self):
        import usearch
        import usearch.index
        self.library = usearch.index
        self.version = usearch.__version__

    def build(self):
        self.index = self.library.Index(ndim=self.base.shape[1],
                                        metric="ip" if self.inner_product else "l2sq",
                                        dtype=self.dtype, connectivity=self.m,
                                        expansion_add=self.ef_construction)
        self.index.add(np.arange(len(self.base), dtype=np.uint64), self.stored(self.base),
                       threads=self.build_threads)
        self.memory_bytes = int(self.index.memory_usage)

    def stored(self, vectors):
        return vectors

    def search(self, width, count):
        self.index.expansion_search = max(width, self.k)
        return self.index.search(self.stored(self.queries[:count]), self.k, threads=self.threads).keys


class UsearchBf16(Usearch):
    name = "usearch-bf16"
    dtype = "bf16"


class UsearchI8(Usearch):
    """Converting floats itself, usearch scales each vector by its own length, which is right for
    cosine alone; here all are brought to the range of int8 alike."""

    name = "usearch-i8"
    dtype = "i8"

    def build(self):
        low, high = float(self.base.min()), float(self.base.max())
        self.shift = 0.0 if self.inner_product else (low + high) / 2
        self.scale = 127 / max(abs(low - self.shift), abs(high - self.shift), 1e-30)
        super().build()

    def stored(self, vectors):
        return np.clip(np.rint((vectors - self.shift) * self.scale), -127, 127).astype(np.int8)


class Glass(Peer):
    """pyglass: 8-bit codes in the graph's walk, re-ranked by halves; tuned when it is built."""

    name = "pyglass"
    codes = "SQ8U"
    refine = "FP16"

    def load(self):
        import glass
        from importlib.metadata import version
        self.library = glass
        self.version = version("glass")
        self.parameters = {"R": 2 * self.m, "L": self.ef_construction, "codes": self.codes,
                           "refine": self.refine}

    def build(self):
        metric = "IP" if self.inner_product else "L2"
        self.library.set_num_threads(self.build_threads)
        graph = self.library.Index("HNSW", metric, self.codes, 2 * self.m,
                                   self.ef_construction).build(self.base)
        self.index = self.library.Searcher(graph, self.base, metric, self.codes, self.refine)
        self.index.optimize(self.threads)

    def search(self, width, count):
        self.index.set_ef(max(width, self.k))
        return self.index.batch_search(self.queries[:count], self.k, self.threads)[0]


class SymphonyQg(Peer):
    """A graph whose nodes hold their neighbours' codes of one bit a dimension; L2 alone."""

    name = "symphonyqg"

    def load(self):
        import symphonyqg
        from importlib.metadata import version
        if self.inner_product:
            raise ValueError("knows no metric but l2")
        self.library = symphonyqg
        self.version = version("symphonyqg")
        # Links by the 32: as many as the other graphs have in their lowest layer.
        self.degree = max(1, 2 * self.m // 32) * 32
        self.parameters = {"degree": self.degree, "ef": self.ef_construction}

    def build(self):
        self.index = self.library.Index("QG", "L2", len(self.base), self.base.shape[1], self.degree)
        self.index.build_index(self.base, self.ef_construction, 3, self.build_threads)

    def search(self, width, count):
        self.index.set_ef(max(width, self.k))
        return [self.index.search(query, self.k) for query in self.queries[:count]]


PEERS = [Hnswlib, FaissHnsw, FaissHnswSq8, FaissIvfFastScan, FaissIvfFastScan32, Usearch, UsearchBf16, UsearchI8, Glass,
         SymphonyQg]


class Session:
    def __init__(self):
        self.systems = {}

    def open(self, request):
        setup = dict(request, base=np.ascontiguousarray(np.load(request["base"])),
                     queries=np.ascontiguousarray(np.load(request["queries"])))
        missing = []
        for kind in PEERS:
            if request.get("only") and kind.name not in request["only"]:
                continue
            peer = kind(setup)
            try:
                peer.load()
                self.systems[kind.name] = peer
            except Exception as error:  # a package that is absent or broken is left out
                missing.append(f"{kind.name}: {error}")
        return {"systems": [{"name": p.name, "version": p.version, "parameters": p.parameters,
                             "width": p.width_name, "widths": p.widths} for p in self.systems.values()],
                "missing": missing}

    def build(self, request):
        peer = self.systems[request["system"]]
        before = resident_bytes()
        begin = time.perf_counter()
        peer.build()
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "resident_bytes": max(0, resident_bytes() - before),
                "memory_bytes": peer.memory_bytes}

    def search(self, request):
        peer = self.systems[request["system"]]
        count = request["queries"]
        begin = time.perf_counter()
        found = peer.search(request["width"], count)
        seconds = time.perf_counter() - begin
        rows = np.full((count, peer.k), -1, dtype="<i4")
        found = np.asarray(found)
        # "None" is -1, or the largest unsigned number.
        valid = (found.astype(np.int64) >= 0) & (found.astype(np.int64) < len(peer.base))
        rows[:, :found.shape[1]] = np.where(valid, found.astype(np.int64), -1)
        rows.tofile(request["found"])
        return {"seconds": seconds}

    def pin(self, request):
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), {request["processor"]})
        return {}


def main():
    session = Session()
    # Libraries that print may do so; the answers have the real standard output for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if request["do"] == "quit":
                break
            answer = {"open": session.open, "build": session.build, "search": session.search,
                      "pin": session.pin}[request["do"]](request)
        except Exception as error:  # one peer's failure is its answer, not the end of the others
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
