#!/usr/bin/env python3
"""Vector databases that live in the caller's process, driven by benchmarks/store/run.py, each in a process of its own:

    python3 -m venv peers
    peers/bin/pip install numpy chromadb lancedb "pymilvus[milvus-lite]" qdrant-client
    peers/bin/python benchmarks/peers/store_peers.py chroma|lancedb|milvus-lite|qdrant-local

Qdrant's server is no package of PyPI; the local mode of its client stands in, which is an exact scan in NumPy and warns
above 20,000 rows itself. Each is used as its documentation says, at its own defaults; `settings` lists what a search can
be given beside them, the defaults first.

Says {"name", "version", "index", "settings", "import_seconds"} first, then reads one JSON object a line from standard input and
answers each with one on standard output. A row is its number, a vector, a text, a number and a tag; DATA holds base.f32 and queries.f32
(little-endian f32, row-major) and rows.jsonl ({"text", "number", "tag"} a line):

    {"do": "open", "data": DATA, "store": FOLDER, "dim": N}                 -> {"seconds"}
    {"do": "insert", "first": ROW, "count": N}                              -> {"seconds"}; acknowledged, as the system does it
    {"do": "finish"}                     -> {"seconds"}; what the documentation does after loading: indexes, flushes
    {"do": "search", "first": QUERY, "count": N, "k": N, "setting": I, "filter": null|{"below": N}|{"tag": TEXT},
     "most_seconds": S, "out": PREFIX}
        -> {"searched": N}; PREFIX.rows gets int32 [searched, k], -1 for none, PREFIX.seconds f64 [searched]
    {"do": "own", "rows": [ROW]}                                            -> {"found": N}; the nearest to a row's vector is the row
    {"do": "remove", "rows": [ROW]}                                         -> {"seconds"}
    {"do": "count"}                                                         -> {"rows"}
    {"do": "present", "first": ROW, "count": N}                             -> {"rows"}; how many of these can be read
    {"do": "recover", "rows": [ROW]}     -> {"rows"}; how many of these removed rows the system gives back by an older version, or null
    {"do": "compact"}                    -> {"seconds", "how"}, or {"how"} alone where the system has nothing of the kind
    {"do": "close"}                                                         -> {}

A search gives each hit's text too, as an application needs it. A failure is answered with {"error": TEXT}.
"""

import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

COLLECTION = "rows"


class Peer:
    settings = [{}]

    def load(self, request):
        self.dim = request["dim"]
        data = pathlib.Path(request["data"])
        self.base = data / "base.f32"
        self.query_file = data / "queries.f32"
        self.row_file = data / "rows.jsonl"
        self.lines = []
        self.store = request["store"]

    def vectors(self, path, first, count):
        # Read, not mapped: pages of the input would count as the system's memory.
        return np.fromfile(path, dtype="<f4", count=count * self.dim,
                           offset=first * self.dim * 4).reshape(-1, self.dim)

    def rows(self, first, count):
        # Not before, so that a process that only searches does not hold them.
        self.lines = self.lines or self.row_file.read_text(encoding="utf-8").splitlines()
        return self.vectors(self.base, first, count), [json.loads(line) for line in self.lines[first:first + count]]

    def finish(self):
        pass

    def use(self, setting):
        """What is set once and not with each search."""

    def recover(self, rows):
        return None


class Chroma(Peer):
    package = "chromadb"
    index = "HNSW, made as rows come; texts in a full-text index"
    settings = [{}, {"ef_search": 200}, {"ef_search": 400}, {"ef_search": 800}]

    def start(self):
        import chromadb
        self.library = chromadb

    def open(self):
        self.client = self.library.PersistentClient(
            self.store, settings=self.library.config.Settings(anonymized_telemetry=False))
        self.collection = self.client.get_or_create_collection(
            COLLECTION, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)

    def insert(self, first, count):
        vectors, rows = self.rows(first, count)
        ids = [str(row) for row in range(first, first + count)]
        texts = [row["text"] for row in rows]
        metadata = [{"number": row["number"], "tag": row["tag"]} for row in rows]
        return lambda: self.collection.add(ids=ids, embeddings=vectors, documents=texts, metadatas=metadata)

    def use(self, setting):
        if setting:
            self.collection.modify(configuration={"hnsw": setting})

    def search(self, query, k, filter_, setting):
        where = None
        if filter_:
            where = {"number": {"$lt": filter_["below"]}} if "below" in filter_ else {"tag": filter_["tag"]}
        found = self.collection.query(query_embeddings=[query], n_results=k, where=where, include=["documents"])
        return [int(row) for row in found["ids"][0]]

    def remove(self, rows):
        self.collection.delete(ids=[str(row) for row in rows])

    def count(self):
        return self.collection.count()

    def present(self, first, count):
        return len(self.collection.get(ids=[str(row) for row in range(first, first + count)], include=[])["ids"])

    def close(self):
        # The client keeps its database open; a cleared cache lets go of it.
        self.collection = self.client = None
        self.library.api.shared_system_client.SharedSystemClient.clear_system_cache()

    def compact(self):
        self.close()
        program = pathlib.Path(sys.executable).parent / "chroma"
        subprocess.run([program, "vacuum", "--path", self.store, "--force"], check=True, stdout=sys.stderr,
                       stdin=subprocess.DEVNULL)
        self.open()
        return "chroma vacuum"


class LanceDb(Peer):
    package = "lancedb"
    index = "IVF_PQ; BTREE for row and number, BITMAP for tag"
    settings = [{}, {"refine_factor": 5}, {"refine_factor": 10}, {"refine_factor": 20},
                {"refine_factor": 20, "nprobes": 40}, {"refine_factor": 20, "nprobes": 80},
                {"refine_factor": 50, "nprobes": 80}, {"refine_factor": 50, "nprobes": 160}]

    def start(self):
        import lancedb
        import pyarrow
        self.library, self.arrow = lancedb, pyarrow

    def open(self):
        arrow = self.arrow
        self.schema = arrow.schema([("row", arrow.int64()), ("vector", arrow.list_(arrow.float32(), self.dim)),
                                    ("text", arrow.string()), ("number", arrow.int64()), ("tag", arrow.string())])
        self.table = self.library.connect(self.store).create_table(COLLECTION, schema=self.schema, exist_ok=True)

    def insert(self, first, count):
        vectors, rows = self.rows(first, count)
        arrow = self.arrow
        data = arrow.Table.from_arrays(
            [arrow.array(range(first, first + count), arrow.int64()),
             arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), self.dim),
             arrow.array([row["text"] for row in rows]), arrow.array([row["number"] for row in rows], arrow.int64()),
             arrow.array([row["tag"] for row in rows])], schema=self.schema)
        return lambda: self.table.add(data)

    def finish(self):
        from lancedb.index import Bitmap, BTree, IvfPq
        self.table.create_index("vector", config=IvfPq(distance_type="cosine"))
        self.table.create_index("row", config=BTree())
        self.table.create_index("number", config=BTree())
        self.table.create_index("tag", config=Bitmap())
        self.table.optimize()

    def search(self, query, k, filter_, setting):
        search = self.table.search(query, vector_column_name="vector").distance_type("cosine").limit(k).select(
            ["row", "text", "_distance"])
        if filter_:
            search = search.where(f"number < {filter_['below']}" if "below" in filter_ else f"tag = '{filter_['tag']}'")
        if "nprobes" in setting:
            search = search.nprobes(setting["nprobes"])
        if "refine_factor" in setting:
            search = search.refine_factor(setting["refine_factor"])
        found = search.to_arrow().to_pydict()
        return found["row"]

    def remove(self, rows):
        self.table.delete(f"row IN ({', '.join(map(str, rows))})")

    def count(self):
        return self.table.count_rows()

    def present(self, first, count):
        return self.table.count_rows(f"row >= {first} AND row < {first + count}")

    def close(self):
        self.table = None

    def recover(self, rows):
        wanted = f"row IN ({', '.join(map(str, rows))})"
        present = 0
        for version in self.table.list_versions():
            self.table.checkout(version["version"])
            present = max(present, self.table.count_rows(wanted))
        self.table.checkout_latest()
        return present

    def compact(self):
        self.table.optimize(cleanup_older_than=datetime.timedelta(0))
        return "optimize(cleanup_older_than=0)"


class MilvusLite(Peer):
    package = "milvus-lite"
    index = "AUTOINDEX (FAISS HNSW a segment); INVERTED for number and tag"
    settings = [{}, {"ef": 128}, {"ef": 256}, {"ef": 512}]

    def start(self):
        import milvus_lite
        import pymilvus
        self.library, self.engine = pymilvus, milvus_lite

    def open(self):
        types = self.library.DataType
        self.client = self.library.MilvusClient(self.store + "/milvus.db")
        if self.client.has_collection(COLLECTION):
            self.client.load_collection(COLLECTION)
            return
        schema = self.client.create_schema(auto_id=False)
        schema.add_field("row", types.INT64, is_primary=True)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=self.dim)
        schema.add_field("text", types.VARCHAR, max_length=65535)
        schema.add_field("number", types.INT64)
        schema.add_field("tag", types.VARCHAR, max_length=64)
        indexes = self.client.prepare_index_params()
        indexes.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
        indexes.add_index("number", index_type="INVERTED")
        indexes.add_index("tag", index_type="INVERTED")
        self.client.create_collection(COLLECTION, schema=schema, index_params=indexes)

    def insert(self, first, count):
        vectors, rows = self.rows(first, count)
        data = [{"row": first + i, "vector": vectors[i].tolist(), **row} for i, row in enumerate(rows)]
        return lambda: self.client.insert(COLLECTION, data)

    def finish(self):
        self.client.flush(COLLECTION)

    def search(self, query, k, filter_, setting):
        condition = ""
        if filter_:
            condition = f"number < {filter_['below']}" if "below" in filter_ else f"tag == '{filter_['tag']}'"
        found = self.client.search(COLLECTION, [query.tolist()], filter=condition, limit=k, output_fields=["text"],
                                   search_params={"metric_type": "COSINE", "params": setting})
        return [hit["row"] for hit in found[0]]

    def remove(self, rows):
        self.client.delete(COLLECTION, ids=rows)

    def count(self):
        return self.client.query(COLLECTION, filter="", output_fields=["count(*)"])[0]["count(*)"]

    def present(self, first, count):
        return len(self.client.query(COLLECTION, filter=f"row >= {first} and row < {first + count}",
                                     output_fields=["row"], limit=count))

    def close(self):
        self.client.close()
        from milvus_lite.server_manager import server_manager_instance
        server_manager_instance.release_all()

    def compact(self):
        self.client.flush(COLLECTION)
        self.client.compact(COLLECTION)
        return "flush, compact"


class QdrantLocal(Peer):
    package = "qdrant-client"
    index = "none: an exact scan in NumPy"

    def start(self):
        import qdrant_client
        self.library, self.models = qdrant_client, qdrant_client.models

    def open(self):
        models = self.models
        self.client = self.library.QdrantClient(path=self.store)
        if not self.client.collection_exists(COLLECTION):
            self.client.create_collection(COLLECTION, vectors_config=models.VectorParams(
                size=self.dim, distance=models.Distance.COSINE))

    def insert(self, first, count):
        vectors, rows = self.rows(first, count)
        points = self.models.Batch(ids=list(range(first, first + count)), vectors=vectors.tolist(), payloads=rows)
        return lambda: self.client.upsert(COLLECTION, points)

    def search(self, query, k, filter_, setting):
        models = self.models
        condition = None
        if filter_:
            condition = models.Filter(must=[
                models.FieldCondition(key="number", range=models.Range(lt=filter_["below"])) if "below" in filter_ else
                models.FieldCondition(key="tag", match=models.MatchValue(value=filter_["tag"]))])
        found = self.client.query_points(COLLECTION, query=query, query_filter=condition, limit=k, with_payload=True)
        return [point.id for point in found.points]

    def remove(self, rows):
        self.client.delete(COLLECTION, points_selector=self.models.PointIdsList(points=rows))

    def count(self):
        return self.client.count(COLLECTION).count

    def present(self, first, count):
        return len(self.client.retrieve(COLLECTION, list(range(first, first + count)), with_payload=False))

    def close(self):
        self.client.close()

    def compact(self):
        return None


PEERS = {"chroma": Chroma, "lancedb": LanceDb, "milvus-lite": MilvusLite, "qdrant-local": QdrantLocal}


def timed(action):
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def search(peer, request):
    setting = peer.settings[request["setting"]]
    peer.use(setting)
    k = request["k"]
    queries = peer.vectors(peer.query_file, request["first"], request["count"])
    found, seconds = [], []
    end = time.perf_counter() + request["most_seconds"]
    for query in queries:
        took, rows = timed(lambda: peer.search(query, k, request["filter"], setting))
        seconds.append(took)
        found.append((list(rows) + [-1] * k)[:k])
        if time.perf_counter() > end:
            break
    np.asarray(found, dtype="<i4").tofile(request["out"] + ".rows")
    np.asarray(seconds, dtype="<f8").tofile(request["out"] + ".seconds")
    return {"searched": len(found)}


def answer(peer, request):
    do = request["do"]
    if do == "open":
        peer.load(request)
        return {"seconds": timed(peer.open)[0]}
    if do == "insert":
        return {"seconds": timed(peer.insert(request["first"], request["count"]))[0]}
    if do == "search":
        return search(peer, request)
    if do == "own":
        nearest = [peer.search(peer.vectors(peer.base, row, 1)[0], 1, None, peer.settings[0]) for row in request["rows"]]
        return {"found": sum(list(near) == [row] for near, row in zip(nearest, request["rows"]))}
    if do == "remove":
        return {"seconds": timed(lambda: peer.remove(request["rows"]))[0]}
    if do == "count":
        return {"rows": peer.count()}
    if do == "present":
        return {"rows": peer.present(request["first"], request["count"])}
    if do == "recover":
        return {"rows": peer.recover(request["rows"])}
    if do == "finish":
        return {"seconds": timed(peer.finish)[0]}
    if do == "compact":
        seconds, how = timed(peer.compact)
        return {"seconds": seconds, "how": how} if how else {"how": None}
    if do == "close":
        peer.close()
        return {}
    raise ValueError(f"unknown request {do}")


def main():
    # Libraries that print may do so; the answers have the real standard output for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    peer = PEERS[sys.argv[1]]()
    seconds = timed(peer.start)[0]
    say({"name": sys.argv[1], "version": importlib.metadata.version(peer.package), "index": peer.index,
         "settings": peer.settings, "import_seconds": seconds})
    with contextlib.suppress(KeyboardInterrupt):
        for line in sys.stdin:
            try:
                say(answer(peer, json.loads(line)))
            except Exception as error:  # a failure is its answer, so that the others go on
                say({"error": f"{type(error).__name__}: {error}"[:500]})
    # Without the libraries' own ends: what they were to write they wrote on close.
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PEERS:
        sys.exit(__doc__)
    main()
