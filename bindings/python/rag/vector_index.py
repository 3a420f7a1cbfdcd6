"""The vector index by itself: vectors that carry the caller's ids, in memory."""

import ctypes
import os
import threading

import numpy as np

from ._library import HANDLE, SIZE, call, integer, lib, needed, path, size
from .errors import FailedPreconditionError, InvalidArgumentError


def _rows(values, dim, name):
    given = np.asarray(values)
    if given.size and given.dtype.kind not in "fiub":
        raise InvalidArgumentError(f"{name} must be numbers, not {given.dtype}")
    rows = np.require(given, np.float32, ["C", "ALIGNED"])
    if rows.ndim == 1:
        rows = rows[np.newaxis, :]
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise InvalidArgumentError(f"{name} has the shape {np.shape(values)}, not [n, {dim}]")
    return rows


def _ids(values, count=None):
    given = np.asarray(values)
    if given.size and given.dtype.kind not in "iu":
        raise InvalidArgumentError(f"ids must be integers, not {given.dtype}")
    if given.ndim != 1 or (count is not None and len(given) != count):
        raise InvalidArgumentError(f"ids has the shape {given.shape}, not [{'n' if count is None else count}]")
    if given.size and (given.min() < 0 or given.max() > np.iinfo(np.int64).max):
        raise InvalidArgumentError("ids must be from 0 to 2**63 - 1")
    return np.ascontiguousarray(given, dtype=np.uint64)


class VectorIndex:
    """Nearest neighbours of vectors [n, dim] f32.

    kind: "flat", "hnsw", "hnsw:pca8", "ivf:pq4,lists=1024" and so on, as README's "Vector indexes" has them;
    metric: "l2", "ip" or "cosine"; threads: 0 for every processor. Methods may be called from several threads.

        with rag.VectorIndex(384) as index:
            index.add(vectors)                       # ids 0, 1, ...
            ids, scores = index.search(queries, k=10)
    """

    def __init__(self, dim, metric="cosine", kind="hnsw:pca8", threads=0):
        self._begin(dim, metric, kind, 0)
        call("rag_vector_index_create", needed(kind, "kind"), needed(metric, "metric"), self.dim, integer(threads, "threads"),
             ctypes.byref(self._handle))

    def _begin(self, dim, metric, kind, first):
        self._handle = HANDLE()
        self._process = os.getpid()
        self.dim, self.metric, self.kind = size(dim, "dim"), metric, kind
        self._adding = threading.Lock()  # guards the next id
        self._next = first
        self._calls = 0  # that run now; guarded, as whether it closes, by the condition
        self._closing = False
        self._idle = threading.Condition()

    def _call(self, name, *arguments):
        if os.getpid() != self._process:
            raise FailedPreconditionError("the index was made in another process, before a fork: its threads are not here")
        with self._idle:
            if self._closing:
                raise ValueError("the index is closed")
            self._calls += 1
        try:
            call(name, self._handle, *arguments)
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    def close(self):
        """Gives its memory up, when the calls of other threads have returned. Again: nothing. What is not saved is
        gone."""
        if os.getpid() != self._process:
            return
        with self._idle:
            self._closing = True  # no call begins any more
            self._idle.wait_for(lambda: self._calls == 0)
            handle, self._handle = self._handle, HANDLE()
        if handle:
            lib.rag_vector_index_free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __reduce__(self):
        raise TypeError("a VectorIndex cannot be copied; save() and load() it")

    @classmethod
    def load(cls, file, dim, metric="cosine", kind="hnsw:pca8", threads=0):
        """What save() wrote, with the dim, metric and kind that it was made with."""
        self = cls.__new__(cls)
        self._begin(dim, metric, kind, None)
        call("rag_vector_index_load", path(file, "file"), needed(kind, "kind"), needed(metric, "metric"), self.dim, integer(threads, "threads"),
             ctypes.byref(self._handle))
        return self

    def add(self, vectors, ids=None):
        """vectors [n, dim]; ids [n] integers from 0, each once (None: the numbers after those that add() gave
        before). A vector whose id is there already is replaced. After an error nothing was added."""
        rows = _rows(vectors, self.dim, "vectors")
        with self._adding:
            if ids is None:
                if self._next is None:
                    raise InvalidArgumentError(
                        "ids must be given, as add(vectors, ids=range(n, n + len(vectors))): after load() or ids of the "
                        "caller's own it is not known which numbers are free")
                given = np.arange(self._next, self._next + len(rows), dtype=np.uint64)
            else:
                given = _ids(ids, len(rows))
            self._call("rag_vector_index_add", given.ctypes.data, rows.ctypes.data, len(rows))
            self._next = self._next + len(rows) if ids is None else None

    def remove(self, ids):
        """How many of the ids were there."""
        given = _ids(ids)
        removed = SIZE()
        self._call("rag_vector_index_remove", given.ctypes.data, len(given), ctypes.byref(removed))
        return removed.value

    def search(self, queries, k=10, width=0):
        """(ids [n, k] int64, scores [n, k] f32) of queries [n, dim], best first; a larger score is better (l2: the
        negative squared distance). Where there are fewer than k: -1 and -inf. width: how widely the graph or the
        lists are searched, 0 for the index's own."""
        rows = _rows(queries, self.dim, "queries")
        k = size(k, "k")
        if not 1 <= k <= 65535:
            raise InvalidArgumentError(f"k is {k}, not from 1 to 65535")
        ids = np.empty((len(rows), k), dtype=np.int64)  # RAG_NO_ID is -1 here
        scores = np.empty((len(rows), k), dtype=np.float32)
        self._call("rag_vector_index_search", rows.ctypes.data, len(rows), k, size(width, "width"), ids.ctypes.data,
             scores.ctypes.data)
        return ids, scores

    def save(self, file):
        """One file, written atomically."""
        self._call("rag_vector_index_save", path(file, "file"))

    def _size(self):
        vectors, memory = SIZE(), SIZE()
        self._call("rag_vector_index_size", ctypes.byref(vectors), ctypes.byref(memory))
        return vectors.value, memory.value

    def __len__(self):
        return self._size()[0]

    @property
    def memory_bytes(self):
        return self._size()[1]

    def __repr__(self):
        state = "closed" if self._closing else f"vectors={len(self)}"
        return f"rag.VectorIndex({self.dim}, metric={self.metric!r}, kind={self.kind!r}, {state})"

    def __del__(self):
        if getattr(self, "_handle", None) and os.getpid() == self._process:
            lib.rag_vector_index_free(self._handle)
