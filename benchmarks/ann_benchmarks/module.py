"""rag in ann-benchmarks (https://github.com/erikbern/ann-benchmarks), through the C library.

To install, from a checkout of ann-benchmarks:

    cp -r RAG/benchmarks/ann_benchmarks ann_benchmarks/algorithms/rag
    touch ann_benchmarks/algorithms/rag/__init__.py
    git -C RAG archive --prefix=rag/ -o "$PWD/rag.tar" HEAD     # the image is built from it
    python install.py --algorithm rag
    python run.py --algorithm rag --dataset fashion-mnist-784-euclidean

Without a container: cmake --preset core && cmake --build build-core --target rag_c, and RAG_LIBRARY names the
librag.so under build-core.
"""

import ctypes
import os

import numpy as np

from ..base.module import BaseANN

NO_ID = np.uint64(0xFFFFFFFFFFFFFFFF)
METRICS = {"euclidean": "l2", "angular": "cosine", "dot": "ip"}


def load_library():
    library = ctypes.CDLL(os.environ.get("RAG_LIBRARY", "librag.so.1"))
    handle, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    library.rag_last_error.restype = text
    library.rag_vector_index_create.argtypes = [text, text, size, ctypes.c_int, ctypes.POINTER(handle)]
    library.rag_vector_index_add.argtypes = [handle, ctypes.c_void_p, ctypes.c_void_p, size]
    library.rag_vector_index_search.argtypes = [handle, ctypes.c_void_p, size, size, size, ctypes.c_void_p,
                                                ctypes.c_void_p]
    library.rag_vector_index_free.argtypes = [handle]
    library.rag_vector_index_free.restype = None
    return library


class Rag(BaseANN):
    """`spec` is an index's text form, "hnsw:m=16,ef_construction=200"."""

    def __init__(self, metric, spec):
        if metric not in METRICS:
            raise NotImplementedError(f"rag has no metric {metric}")
        self.metric = METRICS[metric]
        self.spec = spec
        self.width = 0
        self.library = load_library()
        self.index = ctypes.c_void_p()
        self.found = np.zeros((0, 0), dtype=np.uint64)
        self.name = f"rag ({spec})"

    def check(self, code):
        if code != 0:
            raise RuntimeError(self.library.rag_last_error().decode("utf-8", "replace"))

    def fit(self, X):
        vectors = np.ascontiguousarray(X, dtype=np.float32)
        ids = np.arange(len(vectors), dtype=np.uint64)
        # All processors build; ann-benchmarks pins the container to one when it measures queries.
        self.check(self.library.rag_vector_index_create(self.spec.encode(), self.metric.encode(), vectors.shape[1], 0,
                                                        ctypes.byref(self.index)))
        self.check(self.library.rag_vector_index_add(self.index, ids.ctypes.data, vectors.ctypes.data, len(vectors)))

    def set_query_arguments(self, width):
        self.width = width
        self.name = f"rag ({self.spec}, width {width})"

    def search(self, queries, n):
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        ids = np.empty((len(queries), n), dtype=np.uint64)
        self.check(self.library.rag_vector_index_search(self.index, queries.ctypes.data, len(queries), n, self.width,
                                                        ids.ctypes.data, None))
        return ids

    def query(self, q, n):
        ids = self.search(q[np.newaxis], n)[0]
        return ids[ids != NO_ID]

    def batch_query(self, X, n):
        self.found = self.search(X, n)

    def get_batch_results(self):
        return [row[row != NO_ID] for row in self.found]

    def done(self):
        self.library.rag_vector_index_free(self.index)
        self.index = ctypes.c_void_p()

    def __str__(self):
        return self.name
