#!/usr/bin/env python3
"""ragd's endpoints and their errors, over TCP and a Unix domain socket.

    ragd_api_test.py RAGD_PROGRAM
"""

import base64
import json
import math
import pathlib
import re
import shutil
import struct
import sys
import tempfile
import threading
import unittest
import urllib.parse

from ragd_harness import Daemon, default_encoder, eventually, events, shared_data, status_of

PROGRAM = None
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
PASSAGES = {
    "sky": "The sky is blue because air scatters short wavelengths of sunlight more than long ones.",
    "keys": "Rotate the signing key every ninety days. The old key stays valid for one more day.",
    "bread": "Sourdough bread rises slowly. A starter of flour and water must be fed every day.",
    "ko": "서울은 대한민국의 수도이다. 한강이 도시를 가로질러 흐른다.",
}


class Api(unittest.TestCase):
    """One daemon for a class; `flags` are a subclass's."""

    flags = ("--encoder", "none")
    collection = "notes"

    @classmethod
    def setUpClass(cls):
        cls.daemon = cls.start()

    @classmethod
    def start(cls):
        return Daemon(PROGRAM, *cls.flags)

    @classmethod
    def copy_model(cls, name, golden, tokenizer):
        """A small model of random weights under its name, with a tokenizer."""
        folder = tempfile.TemporaryDirectory(prefix="ragd-model-")
        cls.addClassCleanup(folder.cleanup)
        model = pathlib.Path(folder.name) / name
        shutil.copytree(GOLDEN / golden, model)
        shutil.copy(GOLDEN / tokenizer, model / "tokenizer.json")
        return str(model)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def call(self, method, path, body=None, status=200):
        answer = self.daemon.request(method, path, body)
        self.assertEqual(answer.status, status, answer.body[:2000])
        return answer.json()

    def fails(self, method, path, body, status, code, param=None):
        error = self.call(method, path, body, status)["error"]
        self.assertEqual((error["code"], error["param"]), (code, param), error)
        self.assertEqual(error["type"], "invalid_request_error" if status < 500 else "server_error")
        return error["message"]

    def add_passages(self, collection):
        documents = [{"key": key, "text": text, "title": key.title(), "metadata": {"lang": "ko" if key == "ko" else
                                                                                   "en", "size": len(text)}}
                     for key, text in PASSAGES.items()]
        answer = self.call("POST", "/v1/documents", {"collection": collection, "documents": documents}, 201)
        self.assertEqual((answer["written"], answer["failed"]), (4, 0))


class Documents(Api):
    def test_add_read_replace_list_remove(self):
        body = {"collection": "c1", "key": "a/b c", "text": "First text.", "title": "T", "metadata": {"year": 2024}}
        added = self.call("POST", "/v1/documents", body, 201)
        self.assertEqual((added["key"], added["collection"], added["replaced"]), ("a/b c", "c1", False))
        self.assertGreaterEqual(added["chunks"], 1)
        for path in ("a%2Fb%20c", "a/b%20c"):
            document = self.call("GET", f"/v1/documents/{path}?collection=c1")
            self.assertEqual((document["document"], document["text"], document["title"], document["metadata"]["year"]),
                             ("a/b c", "First text.", "T", 2024))
        replaced = self.call("POST", "/v1/documents", body | {"text": "Second text."})
        self.assertTrue(replaced["replaced"])
        self.assertEqual(self.call("GET", "/v1/documents/a%2Fb%20c?collection=c1")["text"], "Second text.")
        self.assertTrue(self.call("DELETE", "/v1/documents/a%2Fb%20c?collection=c1")["deleted"])
        self.fails("GET", "/v1/documents/a%2Fb%20c?collection=c1", None, 404, "not_found")
        self.fails("DELETE", "/v1/documents/a%2Fb%20c?collection=c1", None, 404, "not_found")

    def test_keys_of_any_script_and_paths(self):
        for key in ("/home/me/notes.md", "한국어", "a?b&c=d#e", "%2F", "..", "emoji 🙂"):
            self.call("POST", "/v1/documents", {"collection": "keys", "key": key, "text": f"text of {key}"}, 201)
            document = self.call("GET", f"/v1/documents/{urllib.parse.quote(key, safe='')}?collection=keys")
            self.assertEqual((document["document"], document["text"]), (key, f"text of {key}"))

    def test_many_at_once_and_pages_of_keys(self):
        documents = [{"id": f"k{i:03}", "text": f"text number {i}"} for i in range(25)]
        self.call("POST", "/v1/documents", {"collection": "pages", "documents": documents}, 201)
        self.call("POST", "/v1/documents", [{"id": "other", "text": "x", "collection": "pages2"}], 201)
        keys, after = [], ""
        for _ in range(4):
            page = self.call("GET", f"/v1/documents?collection=pages&limit=10&after={after}")
            keys += page["documents"]
            after = page["next"]
            if after is None:
                break
        self.assertEqual(keys, [f"k{i:03}" for i in range(25)])
        self.assertEqual(self.call("GET", "/v1/documents?collection=pages2")["documents"], ["other"])

    def writes(self):
        """How many times the daemon has written to a file or socket."""
        return int(re.search(r"syscw: (\d+)", pathlib.Path(f"/proc/{self.daemon.process.pid}/io").read_text()).group(1))

    def test_collections_that_take_turns_are_written_together(self):
        documents = [{"id": f"k{i:03}", "text": f"text number {i}" if i != 7 else " ", "collection": f"turn{i % 2}"}
                     for i in range(400)]
        before = self.writes()
        answer = self.call("POST", "/v1/documents", documents, 400)
        self.assertLess(self.writes() - before, 200)  # a document by itself is one at least
        self.assertEqual((answer["written"], answer["failed"]), (399, 1))
        self.assertEqual([(d["key"], d["collection"], "error" in d) for d in answer["documents"]],
                         [(d["id"], d["collection"], d["id"] == "k007") for d in documents])
        for turn in (0, 1):
            keys = self.call("GET", f"/v1/documents?collection=turn{turn}&limit=1000")["documents"]
            self.assertEqual(keys, [f"k{i:03}" for i in range(turn, 400, 2) if i != 7])

    def test_errors_write_nothing(self):
        good = {"key": "good", "text": "good text"}
        cases = [
            ([], "documents"), ({"documents": []}, "documents"), ({"documents": 5}, "documents"),
            ({"key": "a"}, "text"), ({"text": "a"}, "key"), ({"key": "", "text": "a"}, "key"),
            ({"key": "a", "text": ""}, "text"), ({"key": 5, "text": "a"}, "key"), ({"key": "a", "text": 5}, "text"),
            ({"key": "a", "id": "b", "text": "c"}, "id"), ({"key": "a" * 4097, "text": "c"}, "key"),
            ({"key": "a", "text": "b", "metadata": [1]}, "metadata"),
            ({"key": "a", "text": "b", "media_type": "application/pdf"}, "media_type"),
            ({"key": "a", "text": "b", "title": {}}, "title"),
            ({"documents": [good, {"key": "bad"}]}, "documents[1].text"),
            ({"documents": [good, 5]}, "documents[1]"), ([good, good], "documents"),
        ]
        for body, param in cases:
            with self.subTest(body=str(body)[:80]):
                if isinstance(body, dict):
                    body = body | {"collection": "errors"}
                self.fails("POST", "/v1/documents", body, 400, "invalid_argument", param)
        other = {"key": "other", "text": "b"}
        self.assertEqual(self.fails("POST", "/v1/documents", {"collection": "errors", "documents": [good, other, good]}, 400,
                                    "invalid_argument", "documents"),
                         "'documents' holds the key 'good' of the collection 'errors' twice, in documents[0] and documents[2]")
        self.fails("POST", "/v1/documents", {"key": "a", "text": "b", "texts": 1}, 400, "unknown_parameter", "texts")
        self.fails("GET", "/v1/documents?collection=errors", None, 404, "not_found")
        for limit in ("0", "1001", "x", "-1", ""):
            self.fails("GET", f"/v1/documents?limit={limit}", None, 400, "invalid_argument", "limit")
        self.fails("POST", "/v1/documents", good | {"collection": "bad/name"}, 400, "invalid_argument")

    def test_a_misspelt_collection_is_not_the_default_one(self):
        self.call("POST", "/v1/documents", {"key": "kept", "text": "kept text"}, 201)
        for method, path in (("GET", "/v1/documents"), ("GET", "/v1/documents/kept"), ("DELETE", "/v1/documents/kept")):
            self.fails(method, f"{path}?colection=other", None, 400, "unknown_parameter", "colection")
        self.assertEqual(self.call("GET", "/v1/documents/kept")["text"], "kept text")


class Collections(Api):
    def test_make_list_look_at_drop(self):
        made = self.call("PUT", "/v1/collections/papers",
                         {"chunk": {"strategy": "sentence", "tokens": 64, "overlap": 8}, "index": {"kind": "flat"}}, 201)
        self.assertEqual(made["name"], "papers")
        self.assertEqual(made["documents"], 0)
        self.fails("PUT", "/v1/collections/papers", {}, 409, "already_exists")
        self.call("PUT", "/v1/collections/plain", None, 201)
        names = [c["name"] for c in self.call("GET", "/v1/collections")["collections"]]
        self.assertTrue({"papers", "plain"} <= set(names))
        self.call("POST", "/v1/documents", {"collection": "papers", "key": "k", "text": "One. Two."}, 201)
        self.assertEqual(self.call("GET", "/v1/collections/papers")["documents"], 1)
        self.assertTrue(self.call("DELETE", "/v1/collections/papers")["deleted"])
        self.fails("GET", "/v1/collections/papers", None, 404, "not_found")
        self.fails("DELETE", "/v1/collections/papers", None, 404, "not_found")

    def test_errors(self):
        for body, param in (({"chunk": {"tokens": 7}}, "chunk.tokens"), ({"chunk": {"tokens": "many"}}, "chunk.tokens"),
                            ({"chunk": {"strategy": "x"}}, None), ({"chunk": 5}, "chunk"),
                            ({"chunk": {"tokens": 8, "overlap": 4}}, None), ({"index": {"kind": "x"}}, None),
                            ({"index": {"m": 1}}, "index.m"), ([], None), ("x", None)):
            with self.subTest(body):
                self.fails("PUT", "/v1/collections/bad", body, 400, "invalid_argument", param)
        for body, param in (({"x": 1}, "x"), ({"chunk": {"size": 9}}, "chunk.size")):
            self.fails("PUT", "/v1/collections/bad", body, 400, "unknown_parameter", param)
        self.fails("PUT", "/v1/collections/.hidden", {}, 400, "invalid_argument")
        self.fails("PUT", "/v1/collections/a%2Fb", {}, 400, "invalid_argument")
        self.fails("GET", "/v1/collections/bad", None, 404, "not_found")


class Questions(Api):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.add_passages(cls("run_nothing"), cls.collection)

    def run_nothing(self):
        """Stands for a test, so that the class can use its own helpers once."""

    def test_search(self):
        result = self.call("POST", "/v1/search", {"query": "rotate signing key", "collection": "notes", "k": 2,
                                                  "mode": "lexical"})
        hit = result["hits"][0]
        self.assertEqual((hit["rank"], hit["document"]), (1, "keys"))
        text = PASSAGES["keys"].encode()
        self.assertEqual(text[hit["start"]:hit["end"]].decode(), hit["text"])
        self.assertIn("took_ms", result)
        filtered = self.call("POST", "/v1/search", {"query": "day", "collection": "notes", "mode": "lexical",
                                                    "filter": 'lang = "ko"'})
        self.assertNotIn("keys", [h["document"] for h in filtered["hits"]])

    def test_a_compressed_body_is_refused(self):
        answer = self.daemon.request("POST", "/v1/search", b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
        self.assertEqual(answer.status, 415)
        self.assertIn("Content-Encoding 'gzip'", answer.json()["error"]["message"])
        body = json.dumps({"query": "sky", "collection": "notes", "mode": "lexical"})
        self.assertEqual(self.daemon.request("POST", "/v1/search", body, {"Content-Encoding": "Identity"}).status, 200)
        head = f"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        for codings, status in ((("identity", "IDENTITY"), 200), (("identity", "gzip"), 415),
                                (("identity, Identity",), 200), (("identity ,\t,identity",), 200),
                                (("identity, gzip",), 415), (("identity identity",), 415)):
            fields = "".join(f"Content-Encoding: {coding}\r\n" for coding in codings)
            raw = self.daemon.exchange(f"{head}{fields}\r\n{body}".encode())
            self.assertEqual(status_of(raw), status, raw[:500])

    def test_ask_quotes_its_sources(self):
        answer = self.call("POST", "/v1/ask", {"question": "How often must the signing key be rotated?",
                                               "collection": "notes", "mode": "lexical"})
        self.assertEqual(answer["mode"], "extractive")
        self.assertIn("ninety days", answer["answer"])
        citation = answer["citations"][0]
        self.assertEqual(citation["document"], "keys")
        self.assertTrue(citation["verified"])
        self.assertEqual(PASSAGES["keys"].encode()[citation["start"]:citation["end"]].decode(), citation["quote"])

    def test_ask_streams_events(self):
        answer = self.daemon.request("POST", "/v1/ask", {"question": "Why is the sky blue?", "collection": "notes",
                                                         "mode": "lexical", "stream": True})
        self.assertEqual(answer.headers["Content-Type"], "text/event-stream")
        found = events(answer.body)
        self.assertEqual({name for name, _ in found}, {"text", "answer"})
        self.assertEqual(found[-1][0], "answer")
        text = "".join(json.loads(data)["text"] for name, data in found if name == "text")
        whole = json.loads(found[-1][1])
        self.assertEqual(text, whole["answer"])
        self.assertEqual(whole["citations"][0]["document"], "sky")

    def test_errors(self):
        for path, word in (("/v1/search", "query"), ("/v1/ask", "question")):
            good = {word: "x", "collection": "notes", "mode": "lexical"}
            cases = [({word: None}, word), ({word: ""}, word), ({word: " \n"}, word), ({word: 5}, word), ({"k": 0}, "k"), ({"k": 10_001}, "k"),
                     ({"k": 2.5}, "k"), ({"k": "2"}, "k"), ({"mode": "both"}, "mode"), ({"dense_weight": -1}, "dense_weight"),
                     ({"rrf_k": 1.5}, "rrf_k"), ({"top_k": -1}, "top_k"),
                     ({"mode": 1}, "mode"), ({"filter": 5}, "filter"), ({"exact": "yes"}, "exact"),
                     ({"ef_search": -1}, "ef_search"), ({"collection": 4}, "collection")]
            if path == "/v1/ask":
                cases += [({"strategy": "guess"}, "strategy"), ({"max_tokens": 0}, "max_tokens"),
                          ({"temperature": -1}, "temperature"), ({"temperature": "hot"}, "temperature"),
                          ({"top_p": 0}, "top_p"), ({"stop": [1]}, "stop"), ({"stop": ["x"] * 17}, "stop"),
                          ({"stream": 1}, "stream"), ({"seed": 1.5}, "seed")]
            else:
                cases += [({"k": 1, "top_k": 1}, "top_k")]
            for change, param in cases:
                with self.subTest(path=path, change=change):
                    self.fails("POST", path, good | change, 400, "invalid_argument", param)
            self.assertEqual(self.fails("POST", path, good | {"sparse_weight": -2}, 400, "invalid_argument", "sparse_weight"),
                             "'sparse_weight' -2 is not a finite number of at least 0")
            self.fails("POST", path, good | {"quary": 1}, 400, "unknown_parameter", "quary")
            self.fails("POST", path, good | {"collection": "nowhere"}, 404, "not_found")
            self.fails("POST", path, good | {"filter": "year >="}, 400, "invalid_argument")
            self.fails("POST", path, good | {"template": "/etc/passwd"}, 400, "unknown_parameter", "template")
        self.assertIn("the question is empty", self.call("POST", "/v1/chat/completions", {
            "model": "extractive", "messages": [{"role": "user", "content": " "}], "rag": {"collection": "notes"}},
            400)["error"]["message"])
        # Also when it was to be streamed: nothing has been sent yet.
        self.fails("POST", "/v1/ask", {"question": "x", "collection": "nowhere", "stream": True}, 404, "not_found")
        self.fails("POST", "/v1/ask", {"question": "x", "response_format": {"type": "json_object"}}, 409,
                   "failed_precondition", "response_format")

    def test_chat_with_rag_quotes_without_a_decoder(self):
        body = {"model": "extractive", "messages": [{"role": "user", "content": "Why is the sky blue?"}],
                "rag": {"collection": "notes", "top_k": 2, "mode": "lexical"}}
        answer = self.call("POST", "/v1/chat/completions", body)
        self.assertEqual(answer["object"], "chat.completion")
        self.assertIn("scatters", answer["choices"][0]["message"]["content"])
        self.assertEqual(answer["rag"]["mode"], "extractive")
        self.assertEqual(answer["rag"]["citations"][0]["document"], "sky")
        self.assertTrue(answer["rag"]["citations"][0]["verified"])
        called = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": None}] + body["messages"]
        self.call("POST", "/v1/chat/completions", body | {"messages": called})
        streamed = events(self.daemon.request("POST", "/v1/chat/completions", body | {"stream": True}).body)
        self.assertEqual(streamed[-1][1], "[DONE]")
        chunks = [json.loads(data) for _, data in streamed[:-1]]
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)
        self.assertEqual(text, answer["choices"][0]["message"]["content"])
        self.assertEqual(chunks[-1]["rag"]["citations"][0]["document"], "sky")
        self.fails("POST", "/v1/chat/completions", body | {"rag": {"collection": "nowhere"}}, 404, "not_found")
        self.fails("POST", "/v1/chat/completions", body | {"rag": {"top_k": 0}}, 400, "invalid_argument", "rag.top_k")
        self.fails("POST", "/v1/chat/completions", body | {"rag": {"colection": "x"}}, 400, "unknown_parameter",
                   "rag.colection")
        self.fails("POST", "/v1/chat/completions", body | {"rag": 5}, 400, "invalid_argument", "rag")
        self.fails("POST", "/v1/chat/completions", body | {"model": "gpt"}, 404, "model_not_found", "model")
        self.fails("POST", "/v1/chat/completions",
                   body | {"messages": [{"role": "assistant", "content": "x"}]}, 400, "invalid_argument", "messages")
        del body["rag"]
        self.fails("POST", "/v1/chat/completions", body, 400, "no_decoder", "model")

    def test_reranking_without_a_reranker(self):
        self.fails("POST", "/v1/rerank", {"query": "q", "documents": ["a"]}, 400, "no_reranker", "model")
        self.fails("POST", "/v1/search", {"query": "q", "collection": "c", "rerank": True}, 400, "no_reranker", "rerank")
        self.fails("POST", "/v1/search", {"query": "q", "collection": "c", "rerank_top": 5}, 400, "no_reranker", "rerank_top")
        self.fails("POST", "/v1/classify", {"texts": ["a"]}, 400, "no_classifier", "texts")

    def test_embeddings_without_an_encoder(self):
        self.fails("POST", "/v1/embeddings", {"model": "m", "input": "x"}, 400, "no_encoder", "model")

    def test_models_metrics_and_page(self):
        models = self.call("GET", "/v1/models")
        self.assertEqual((models["object"], [m["id"] for m in models["data"]]), ("list", ["extractive"]))
        self.assertEqual(self.call("GET", "/v1/models/extractive")["object"], "model")
        self.fails("GET", "/v1/models/nothing", None, 404, "model_not_found", "model")

        metrics = self.daemon.request("GET", "/metrics")
        self.assertTrue(metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        sample = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+')
        for line in metrics.body.decode().splitlines():
            self.assertTrue(line.startswith("# ") or sample.fullmatch(line), line)
        self.assertEqual(self.daemon.metric("rag_documents"), 4)
        self.assertGreaterEqual(self.daemon.metric("rag_chunks"), 4)
        self.assertGreater(self.daemon.metric("process_resident_memory_bytes"), 1e6)
        self.assertTrue(eventually(lambda: self.daemon.metric("rag_http_requests_in_flight") == 1))
        for name in ("rag_http_requests_total", "rag_http_request_seconds_count"):
            before = self.daemon.metric(name, "/healthz")
            self.daemon.request("GET", "/healthz")
            self.assertTrue(eventually(lambda n=name, b=before: self.daemon.metric(n, "/healthz") == b + 1))

        page = self.daemon.request("GET", "/")
        self.assertEqual(page.headers["Content-Type"], "text/html; charset=utf-8")
        policy = page.headers["Content-Security-Policy"]
        nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy).group(1)
        self.assertTrue(policy.startswith("default-src 'none';"))
        html = page.body.decode()
        self.assertEqual(html.count(f'nonce="{nonce}"'), 2)
        self.assertNotIn("NONCE", html)
        self.assertNotIn("innerHTML", html)
        self.assertIsNone(re.search(r'(src|href)="?http', html))
        self.assertNotIn(nonce, self.daemon.request("GET", "/").body.decode())


@unittest.skipUnless(default_encoder(), "the default encoder is not set up (./dev setup)")
class Embedding(Api):
    flags = ()
    MODEL = "all-MiniLM-L6-v2"

    def embed(self, **body):
        return self.call("POST", "/v1/embeddings", {"model": self.MODEL} | body)

    def test_vectors_as_floats_and_as_base64(self):
        texts = ["The sky is blue.", "서울은 수도이다.", "emoji 🙂"]
        answer = self.embed(input=texts)
        self.assertEqual((answer["object"], answer["model"]), ("list", self.MODEL))
        self.assertEqual([d["index"] for d in answer["data"]], [0, 1, 2])
        vectors = [d["embedding"] for d in answer["data"]]
        for vector in vectors:
            self.assertEqual(len(vector), 384)
            self.assertAlmostEqual(math.fsum(x * x for x in vector), 1, places=4)
        packed = self.embed(input=texts, encoding_format="base64", dimensions=384)
        for vector, item in zip(vectors, packed["data"]):
            unpacked = struct.unpack("<384f", base64.b64decode(item["embedding"], validate=True))
            for a, b in zip(vector, unpacked):
                self.assertAlmostEqual(a, b, places=6)
        self.assertGreater(answer["usage"]["prompt_tokens"], 5)
        self.assertEqual(answer["usage"]["total_tokens"], answer["usage"]["prompt_tokens"])
        self.assertEqual(len(self.embed(input="one text")["data"]), 1)
        self.assertNotIn("rag", answer)

    def test_a_cut_text_is_told(self):
        answer = self.embed(input=["short", "word " * 2000])
        self.assertEqual([t["index"] for t in answer["rag"]["truncated"]], [1])
        self.assertGreater(answer["rag"]["truncated"][0]["tokens_lost"], 1000)

    def test_errors(self):
        good = {"model": self.MODEL, "input": "x"}
        cases = [({"input": None}, "input"), ({"input": []}, "input"), ({"input": ""}, "input"),
                 ({"input": ["a", ""]}, "input"), ({"input": ["a", 5]}, "input"), ({"input": {}}, "input"),
                 ({"input": ["x"] * 2049}, "input"), ({"model": None}, "model"), ({"model": ""}, "model"),
                 ({"encoding_format": "int8"}, "encoding_format"), ({"dimensions": 256}, "dimensions"),
                 ({"dimensions": 0}, "dimensions")]
        for change, param in cases:
            with self.subTest(change=str(change)[:60]):
                self.fails("POST", "/v1/embeddings", good | change, 400, "invalid_argument", param)
        self.assertEqual(self.fails("POST", "/v1/embeddings", good | {"input": ["a", ""]}, 400, "invalid_argument", "input"),
                         "'input' [1] must not be an empty text")
        for tokens in ([1, 2, 3], [[1, 2], [3]]):
            self.fails("POST", "/v1/embeddings", good | {"input": tokens}, 400, "tokens_not_supported", "input")
        self.fails("POST", "/v1/embeddings", good | {"model": "text-embedding-3-small"}, 404, "model_not_found",
                   "model")

    def test_the_fusion_is_the_request_s(self):
        self.add_passages("fusion")
        body = {"query": "rotate signing key", "collection": "fusion", "mode": "hybrid"}
        words = self.call("POST", "/v1/search", body | {"lexical_weight": 2, "dense_weight": 0, "rrf_k": 9})["hits"][0]
        self.assertEqual(words["document"], "keys")
        self.assertAlmostEqual(words["score"], 2 / (9 + 1), places=6)
        heavy = {"lexical_weight": 3e7, "dense_weight": 0, "rrf_k": 2}
        self.assertAlmostEqual(self.call("POST", "/v1/search", body | heavy)["hits"][0]["score"], 3e7 / 3, places=3)
        most = {"lexical_weight": 1e308, "dense_weight": 1e308}
        self.assertIn("added up", self.fails("POST", "/v1/search", body | most, 400, "invalid_argument"))
        both = self.call("POST", "/v1/search", body | {"rrf_k": 4, "dense_weight": 3})["hits"][0]
        self.assertAlmostEqual(both["score"], 1 / (4 + 1) + 3 / (4 + 1), places=6)

    def test_dense_search_finds_what_shares_no_word(self):
        self.add_passages("dense")
        result = self.call("POST", "/v1/search", {"query": "Why does the atmosphere look azure?", "collection": "dense",
                                                  "mode": "dense", "k": 1})
        self.assertEqual([h["document"] for h in result["hits"]], ["sky"])
        self.assertEqual([m["kind"] for m in self.call("GET", "/v1/models")["data"]], ["encoder", "extractive"])
        self.assertEqual(self.call("GET", f"/v1/models/{self.MODEL}")["info"]["dim"], 384)
        self.embed(input=["a", "b"])
        self.assertGreaterEqual(self.daemon.metric("rag_texts_encoded_total"), 2)
        self.assertGreater(self.daemon.metric("rag_index_memory_bytes"), 384 * 4 * 4 - 1)


class Rerank(Api):
    """With a small cross-encoder of random weights."""

    @classmethod
    def start(cls):
        model = cls.copy_model("small-reranker", "rerankers/bert", "encoder_families/tokenizers/word_piece.json")
        return Daemon(PROGRAM, "--encoder", "none", "--rerank", model, "--rerank-top", "4")

    def test_documents_are_ordered_by_relevance(self):
        pairs = json.loads((GOLDEN / "rerankers" / "pairs.json").read_text(encoding="utf-8"))
        expected = struct.unpack("<320f", (GOLDEN / "rerankers" / "bert" / "scores.f32").read_bytes())[:16]
        body = {"model": "small-reranker", "query": pairs["queries"][0], "documents": pairs["passages"]}
        answer = self.call("POST", "/v1/rerank", body)
        self.assertEqual(answer["model"], "small-reranker")
        order = [r["index"] for r in answer["results"]]
        self.assertEqual(order, sorted(range(16), key=lambda i: -expected[i]))
        for result in answer["results"]:
            self.assertAlmostEqual(result["relevance_score"], expected[result["index"]], places=4)
            self.assertEqual(result["document"], {"text": pairs["passages"][result["index"]]})
        self.assertGreater(answer["usage"]["total_tokens"], 16)
        self.assertGreater(answer["rag"]["truncated"], 0)  # the longest is longer than the model reads
        # As Cohere's clients ask: no model, objects, the best alone, without the documents.
        short = self.call("POST", "/v1/rerank", {"query": pairs["queries"][0], "top_n": 2, "return_documents": False,
                                                 "documents": [{"text": p} for p in pairs["passages"]]})
        self.assertEqual([r["index"] for r in short["results"]], order[:2])
        self.assertNotIn("document", short["results"][0])
        self.assertEqual([m["kind"] for m in self.call("GET", "/v1/models")["data"]], ["reranker", "extractive"])

    def test_errors(self):
        good = {"query": "q", "documents": ["a", "b"]}
        for change, param in [({"query": ""}, "query"), ({"query": None}, "query"), ({"documents": []}, "documents"),
                              ({"documents": "a"}, "documents"), ({"documents": ["a", 5]}, "documents"),
                              ({"documents": [{"txt": "a"}]}, "documents"), ({"documents": ["x"] * 1001}, "documents"),
                              ({"top_n": 0}, "top_n"), ({"return_documents": "yes"}, "return_documents")]:
            with self.subTest(change=str(change)[:60]):
                self.fails("POST", "/v1/rerank", good | change, 400, "invalid_argument", param)
        self.fails("POST", "/v1/rerank", good | {"model": "other"}, 404, "model_not_found", "model")

    def test_searches_are_reranked_unless_declined(self):
        self.add_passages("reranked")
        body = {"query": "the", "collection": "reranked", "mode": "lexical", "k": 3}
        plain = self.call("POST", "/v1/search", body | {"rerank": False})
        self.assertEqual(plain["rerank_ms"], 0)
        found = self.call("POST", "/v1/search", body)
        self.assertGreater(found["rerank_ms"], 0)
        scores = [h["score"] for h in found["hits"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertTrue(all(0 < s < 1 for s in scores), scores)
        asked = self.call("POST", "/v1/ask", {"question": "the", "collection": "reranked", "mode": "lexical", "k": 2})
        self.assertTrue(asked["answer"])
        self.fails("POST", "/v1/search", body | {"rerank_top": 1001}, 400, "invalid_argument", "rerank_top")


class Texts(Api):
    """With a small classifier, a reader and a sparse encoder of random weights."""

    @classmethod
    def start(cls):
        tokenizer = "encoder_families/tokenizers/word_piece.json"
        cls.expected = json.loads((GOLDEN / "heads" / "sequence-bert" / "expected.json").read_text(encoding="utf-8"))
        return Daemon(PROGRAM, "--encoder", "none",
                      "--classifier", cls.copy_model("topics", "heads/sequence-bert", tokenizer),
                      "--reader", cls.copy_model("reader", "heads/answer-bert", tokenizer),
                      "--sparse", cls.copy_model("splade", "sparse/bert", tokenizer))

    def test_labels(self):
        texts = self.expected["texts"][:4]
        results = self.call("POST", "/v1/classify", {"texts": texts})["results"]
        self.assertEqual(len(results), 4)
        for result, scores in zip(results, self.expected["scores"]):
            wanted = dict(zip(("world", "sport", "business", "science"), scores))
            for label in result["labels"]:
                self.assertAlmostEqual(label["probability"], wanted[label["label"]], delta=2e-5)
        good = {"texts": texts}
        for change, param in [({"texts": []}, "texts"), ({"texts": ["x"] * 257}, "texts"), ({"texts": [1]}, "texts"),
                              ({"tokens": True}, None), ({"tokens": True, "labels": ["a"]}, "labels"),
                              ({"several": 1}, "several")]:
            with self.subTest(change=str(change)[:60]):
                self.fails("POST", "/v1/classify", good | change, 400, "invalid_argument", param)
        self.fails("POST", "/v1/classify", good | {"images": ["x"]}, 400, "unknown_parameter", "images")
        error = self.call("POST", "/v1/classify", good | {"labels": ["a", "b"]}, 409)["error"]
        self.assertEqual(error["code"], "failed_precondition")

    def test_sparse_search_and_a_reader(self):
        self.add_passages("sparse")
        body = {"query": "the signing key", "collection": "sparse", "mode": "sparse"}
        hits = self.call("POST", "/v1/search", body)["hits"]
        self.assertTrue(hits and all(hit["score"] > 0 for hit in hits))
        self.assertEqual(self.call("GET", "/v1/collections/sparse")["sparse"]["dim"], 600)
        answer = self.call("POST", "/v1/ask", {"question": "What must be fed?", "collection": "sparse"})
        self.assertIn("reader", answer["note"])
        self.assertTrue(all(citation["verified"] for citation in answer["citations"]))
        models = {model["kind"]: model for model in self.call("GET", "/v1/models")["data"]}
        self.assertEqual([(kind, model["id"]) for kind, model in models.items()],
                         [("sparse", "splade"), ("classifier", "topics"), ("reader", "reader"),
                          ("extractive", "extractive")])
        self.assertEqual((models["sparse"]["info"]["vocab"], models["sparse"]["info"]["model_type"]), (600, "bert"))
        self.assertEqual(models["classifier"]["info"],
                         {"task": "text-classification", "labels": ["world", "sport", "business", "science"]})


class Pictures(Api):
    """With a small CLIP model of random weights."""

    @classmethod
    def start(cls):
        return Daemon(PROGRAM, "--encoder", cls.copy_model("small-clip", "image_encoders/clip",
                                                           "image_encoders/clip_tokenizer.json"))

    def test_pictures_are_kept_and_found(self):
        rows = {row["name"]: row["file"] for row in json.loads((GOLDEN / "images" / "decode.json").read_text())}
        documents = [{"key": name, "image": rows[name], "text": f"a picture called {name}"}
                     for name in ("jpeg", "webp-lossy", "gif")]
        documents[1]["image"] = "data:image/webp;base64," + documents[1]["image"]
        added = self.call("POST", "/v1/documents", {"collection": "pictures", "documents": documents}, 201)
        self.assertEqual((added["written"], added["failed"]), (3, 0))
        hits = self.call("POST", "/v1/search", {"collection": "pictures", "image": rows["gif"]})["hits"]
        self.assertEqual((len(hits), hits[0]["document"], hits[0]["text"]), (3, "gif", "a picture called gif"))
        self.assertAlmostEqual(hits[0]["score"], 1, places=4)
        found = self.call("POST", "/v1/search", {"collection": "pictures", "query": "lossy", "mode": "lexical"})
        self.assertEqual([hit["document"] for hit in found["hits"]], ["webp-lossy"])

    def test_labels(self):
        rows = {row["name"]: row["file"] for row in json.loads((GOLDEN / "images" / "decode.json").read_text())}
        body = {"images": [rows["jpeg"], "data:image/gif;base64," + rows["gif"]], "labels": ["cat", "dog", "barn"]}
        results = self.call("POST", "/v1/classify", body)["results"]
        self.assertEqual(len(results), 2)
        for result in results:
            scores = [label["probability"] for label in result["labels"]]
            self.assertEqual({label["label"] for label in result["labels"]}, set(body["labels"]))
            self.assertEqual(scores, sorted(scores, reverse=True))
            self.assertAlmostEqual(sum(scores), 1, places=6)
        other = self.call("POST", "/v1/classify", body | {"templates": ["{}", "one {}"]})["results"]
        self.assertNotEqual(other, results)
        for change, param in [({"images": []}, "images"), ({"images": ["d29yZHM="]}, "images"), ({"images": ["?"]}, "images"),
                              ({"images": ["d29yZHM="] * 33}, "images"), ({"labels": []}, "labels"),
                              ({"labels": ["x" * 1001]}, None), ({"templates": ["no place"]}, None),
                              ({"templates": ["{}" * 9]}, None), ({"templates": ["{}" + "x" * 1000]}, None)]:
            with self.subTest(change=str(change)[:60]):
                self.fails("POST", "/v1/classify", body | change, 400, "invalid_argument", param)
        self.fails("POST", "/v1/classify", body | {"label": "cat"}, 400, "unknown_parameter", "label")

    def test_errors(self):
        good = {"collection": "wrong", "key": "a"}
        self.fails("POST", "/v1/documents", good | {"image": "not base64!"}, 400, "invalid_argument", "image")
        self.fails("POST", "/v1/documents", good | {"image": "d29yZHM="}, 400, "invalid_argument")
        self.fails("POST", "/v1/documents", good | {"image": "d29yZHM=", "media_type": "image/png"}, 400, "invalid_argument",
                   "media_type")
        both = {"collection": "pictures", "image": "d29yZHM=", "query": "x"}
        self.fails("POST", "/v1/search", both, 400, "invalid_argument", "image")


@unittest.skipUnless(shared_data("models/stories260K/stories260K.gguf"), "stories260K.gguf is not here")
class Chat(Api):
    MODEL = "stories260K"

    @classmethod
    def start(cls):
        return Daemon(PROGRAM, "--encoder", "none", "--llm", shared_data("models/stories260K/stories260K.gguf"))

    def body(self, **more):
        return {"model": self.MODEL, "messages": [{"role": "user", "content": "Once upon a time"}],
                "max_tokens": 40} | more

    def chat(self, **more):
        return self.call("POST", "/v1/chat/completions", self.body(**more))

    def test_a_completion(self):
        answer = self.chat()
        self.assertEqual((answer["object"], answer["model"]), ("chat.completion", self.MODEL))
        self.assertTrue(answer["id"].startswith("chatcmpl-"))
        choice = answer["choices"][0]
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertTrue(choice["message"]["content"])
        self.assertIn(choice["finish_reason"], ("stop", "length"))
        usage = answer["usage"]
        self.assertLessEqual(usage["completion_tokens"], 40)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertEqual(self.chat()["choices"][0]["message"], choice["message"])  # greedy
        self.assertEqual(self.chat(max_tokens=None, max_completion_tokens=3)["usage"]["completion_tokens"], 3)
        self.assertGreater(self.daemon.metric("rag_tokens_generated_total"), 40)

    def test_a_seed_repeats_and_another_differs(self):
        def text(seed):
            return self.chat(temperature=1.5, top_p=0.95, seed=seed)["choices"][0]["message"]["content"]
        self.assertEqual(text(7), text(7))
        self.assertGreater(len({text(seed) for seed in range(5)}), 1)

    def test_a_stop_string_ends_the_text_and_is_not_in_it(self):
        whole = self.chat()["choices"][0]["message"]["content"]
        stop = whole.strip()[6:10]
        for given in (stop, [stop, "never said"]):
            choice = self.chat(stop=given)["choices"][0]
            self.assertEqual(choice["finish_reason"], "stop")
            self.assertEqual(choice["message"]["content"], whole[:whole.index(stop)])

    def text(self, **more):
        return self.chat(**more)["choices"][0]["message"]["content"]

    def test_response_format(self):
        schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {
            "type": "integer", "minimum": 0, "maximum": 120}}, "required": ["name", "age"], "additionalProperties": False}
        for seed in range(4):
            answer = json.loads(self.text(temperature=1.5, seed=seed, max_tokens=60, response_format={
                "type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}))
            self.assertEqual(sorted(answer), ["age", "name"])
            self.assertLessEqual(len(answer["name"]), 8)
            self.assertIn(answer["age"], range(121))
            found = json.loads(self.text(temperature=2, seed=seed, response_format={"type": "json_object"}))
            self.assertIsInstance(found, dict)
        self.assertIn(self.text(response_format={"type": "choice", "choices": ["yes", "no"]}), ("yes", "no"))
        self.assertRegex(self.text(response_format={"type": "regex", "value": "[0-9]{3}-[a-z]+"}), r"\A[0-9]{3}-[a-z]+\Z")
        self.assertEqual(self.text(response_format={"type": "grammar", "value": 'root ::= "o" "k"'}), "ok")
        self.assertEqual(self.text(response_format={"type": "text"}), self.text())
        for wrong, param in [({"type": "json_schema", "json_schema": {"schema": {"not": {}}}}, "response_format"),
                             ({"type": "json_schema"}, "response_format.json_schema.schema"),
                             ({"type": "grammar", "value": "root ::= nothing"}, "response_format"),
                             ({"type": "choice", "choices": ["yes", 1]}, "response_format.choices"),
                             ({"type": "choice"}, "response_format"),
                             ({"type": "xml"}, "response_format.type")]:
            with self.subTest(wrong=wrong):
                answer = self.daemon.request("POST", "/v1/chat/completions", self.body(response_format=wrong))
                self.assertIn(answer.status, (400, 501))
                self.assertEqual(json.loads(answer.body)["error"]["param"], param)

    def test_several_answers_and_log_probabilities(self):
        answer = self.chat(n=3, temperature=1.5, seed=3, logprobs=True, top_logprobs=2, max_tokens=6)
        self.assertEqual([c["index"] for c in answer["choices"]], [0, 1, 2])
        self.assertGreater(len({c["message"]["content"] for c in answer["choices"]}), 1)
        self.assertEqual(answer["choices"][0]["message"]["content"],
                         self.text(temperature=1.5, seed=3, max_tokens=6))
        self.assertLessEqual(answer["usage"]["completion_tokens"], 18)
        for choice in answer["choices"]:
            content = choice["logprobs"]["content"]
            text = b"".join(bytes(token["bytes"]) for token in content)
            self.assertEqual(text.decode(errors="ignore").strip(), choice["message"]["content"].strip())
            for token in content:
                best, second = token["top_logprobs"]
                self.assertGreaterEqual(best["logprob"], second["logprob"])
                self.assertLessEqual(token["logprob"], best["logprob"])
                self.assertLessEqual(best["logprob"], 0)

        wrong = self.daemon.request("POST", "/v1/chat/completions", self.body(top_logprobs=2))
        self.assertEqual((wrong.status, json.loads(wrong.body)["error"]["param"]), (400, "top_logprobs"))
        wrong = self.daemon.request("POST", "/v1/chat/completions",
                                    self.body(n=8, logprobs=True, top_logprobs=20, max_tokens=100_000))
        self.assertEqual((wrong.status, json.loads(wrong.body)["error"]["param"]), (400, "logprobs"))

    def test_penalties_and_biases(self):
        plain = self.text()
        self.assertNotEqual(self.text(frequency_penalty=2, presence_penalty=2), plain)
        self.assertNotEqual(self.text(dry_multiplier=5, max_tokens=150), self.text(max_tokens=150))
        first = self.chat(logprobs=True, max_tokens=1, top_logprobs=2)["choices"][0]["logprobs"]["content"][0]
        self.assertEqual(first["token"], first["top_logprobs"][0]["token"])
        second = first["top_logprobs"][1]
        biased = self.chat(logprobs=True, max_tokens=1, logit_bias={str(second["id"]): 100})["choices"][0]
        self.assertEqual(biased["logprobs"]["content"][0]["bytes"], second["bytes"])
        self.fails("POST", "/v1/chat/completions", self.body(logit_bias={"x": 1}), 400, "invalid_argument", "logit_bias")
        self.fails("POST", "/v1/chat/completions", self.body(typical_p=0), 400, "invalid_argument", "typical_p")

    def test_streaming(self):
        whole = self.chat()
        answer = self.daemon.request("POST", "/v1/chat/completions",
                                     self.body(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(answer.headers["Content-Type"], "text/event-stream")
        found = events(answer.body)
        self.assertEqual(found[-1][1], "[DONE]")
        chunks = [json.loads(data) for _, data in found[:-1]]
        self.assertEqual({c["object"] for c in chunks}, {"chat.completion.chunk"})
        self.assertEqual(len({c["id"] for c in chunks}), 1)
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
        self.assertEqual(text, whole["choices"][0]["message"]["content"])
        self.assertGreater(len(chunks), 5)
        self.assertEqual(chunks[-1]["choices"], [])
        for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
            self.assertEqual(chunks[-1]["usage"][key], whole["usage"][key])
        self.assertEqual(chunks[-1]["usage"]["prompt_tokens_details"],
                         {"cached_tokens": whole["usage"]["prompt_tokens"] - 1})
        self.assertEqual(chunks[-2]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"])

    def streamed(self, **more):
        """The choices of a stream: for each index the deltas' text, the tokens' log-probabilities and why it ended."""
        answer = self.daemon.request("POST", "/v1/chat/completions", self.body(stream=True, **more))
        found = events(answer.body)
        self.assertEqual(found[-1][1], "[DONE]")
        choices = {}
        for _, data in found[:-1]:
            for choice in json.loads(data)["choices"]:
                own = choices.setdefault(choice["index"], {"text": "", "logprobs": [], "finish_reason": None, "roles": 0})
                self.assertIsNone(own["finish_reason"])
                own["text"] += choice["delta"].get("content", "")
                own["roles"] += "role" in choice["delta"]
                own["logprobs"] += (choice["logprobs"] or {"content": []})["content"]
                own["finish_reason"] = choice["finish_reason"]
        return choices

    def test_streams_of_several_answers_and_log_probabilities(self):
        for more in ({}, {"stop": ["e", "day", " the"]}, {"stop": "zzz", "max_tokens": 5},
                     {"response_format": {"type": "regex", "value": "(ä|€|😀){3}"}}):
            more = {"n": 3, "temperature": 1.5, "seed": 3, "logprobs": True, "top_logprobs": 2} | more
            with self.subTest(more=more):
                whole = self.chat(**more)["choices"]
                streamed = self.streamed(**more)
                self.assertEqual(sorted(streamed), [0, 1, 2])
                for choice in whole:
                    own = streamed[choice["index"]]
                    self.assertEqual(own["roles"], 1)
                    self.assertEqual(own["text"], choice["message"]["content"])
                    self.assertEqual(own["logprobs"], choice["logprobs"]["content"])
                    self.assertEqual(own["finish_reason"], choice["finish_reason"])
                    # A stop string's tokens are not told of; the last may have begun before it.
                    text = b"".join(bytes(token["bytes"]) for token in own["logprobs"]).decode(errors="ignore")
                    self.assertTrue(text.strip().startswith(own["text"].strip()), (text, own["text"]))
                    last = bytes(own["logprobs"][-1]["bytes"]).decode(errors="ignore") if own["logprobs"] else ""
                    self.assertLessEqual(len(text.lstrip()) - len(own["text"].lstrip()), max(0, len(last) - 1))

    def test_errors(self):
        user = [{"role": "user", "content": "x"}]
        cases = [({"messages": None}, "messages"), ({"messages": []}, "messages"), ({"messages": "x"}, "messages"),
                 ({"messages": [{"content": "x"}]}, "messages[0].role"),
                 ({"messages": [*user, {"role": "user"}]}, "messages[1].content"),
                 ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
                 ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": "x"}, "max_tokens"),
                 ({"temperature": -0.1}, "temperature"), ({"top_p": 0}, "top_p"), ({"top_p": 1.1}, "top_p"),
                 ({"stop": 5}, "stop"), ({"stream": "yes"}, "stream"), ({"seed": "x"}, "seed"), ({"model": None}, "model"),
                 ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage")]
        for change, param in cases:
            with self.subTest(change=change):
                self.fails("POST", "/v1/chat/completions", self.body() | change, 400, "invalid_argument", param)
        rag = {"rag": {"collection": "c"}}
        for change, param in [({"n": 2} | rag, "n"), ({"logprobs": True} | rag, "logprobs"),
                              ({"tools": [{"type": "function"}]}, "tools")]:
            with self.subTest(change=change):
                self.fails("POST", "/v1/chat/completions", self.body() | change, 400, "unsupported_parameter", param)
        self.fails("POST", "/v1/chat/completions", self.body() | {"messages": [{"role": "tool", "content": "x"}]}, 400,
                   "unsupported_role", "messages[0].role")
        image = [{"type": "image_url", "image_url": {"url": "data:"}}]
        self.fails("POST", "/v1/chat/completions", self.body() | {"messages": [{"role": "user", "content": image}]},
                   400, "unsupported_content", "messages[0].content")
        self.fails("POST", "/v1/chat/completions", self.body() | {"model": "gpt-4"}, 404, "model_not_found", "model")
        long = [{"role": "user", "content": "a long story " * 5000}]
        for stream in (False, True):
            self.fails("POST", "/v1/chat/completions", self.body() | {"messages": long, "stream": stream}, 400,
                       "context_length_exceeded", "messages")
        parts = [{"type": "text", "text": "Once upon"}, {"type": "text", "text": " a time"}]
        whole = self.chat()["choices"][0]["message"]
        self.assertEqual(self.chat(messages=[{"role": "user", "content": parts}])["choices"][0]["message"], whole)

    def test_only_a_long_prompt_is_one(self):
        wide = {"type": "regex", "value": "((a{1000}){1000}){1000}"}
        self.fails("POST", "/v1/chat/completions", self.body(response_format=wide), 413, "resource_exhausted",
                   "response_format")
        many = {"type": "regex", "value": "([a-z ]?){100000}"}
        self.fails("POST", "/v1/chat/completions", self.body(response_format=many), 413, "resource_exhausted")

    def test_constraints_share_a_limit_of_memory(self):
        sizes = []
        for i in range(12):
            self.chat(max_tokens=4, response_format={"type": "regex", "value": f"([a-z ]?){{{2000 + i}}}"})
            sizes.append(self.daemon.metric("rag_constraint_bytes"))
        self.assertGreater(sizes[0], 100_000)
        # Eight are kept compiled for requests to come.
        self.assertLess(max(sizes), 10 * sizes[0])

    def test_an_answer_that_fails_ends_the_others(self):
        # What follows "a0000" is too much to work out; an answer of "b" takes some hundredths of a second a step.
        costly = {"temperature": 2, "max_tokens": 100, "logit_bias": {"2": -100}, "response_format": {
            "type": "regex", "value": "a0000([a-z ]?){100000}|b([a-z ]?){4000}"}}
        # The same choice at the first step.
        cheap = costly | {"max_tokens": 8, "response_format": {"type": "regex", "value": "a0000|b([a-z ]?){40}"}}
        fails = [self.text(**cheap, seed=seed).startswith("a") for seed in range(60)]
        seed = next(i for i in range(59) if fails[i] != fails[i + 1])
        for stream in (False, True):
            with self.subTest(stream=stream):
                before = self.daemon.metric("rag_tokens_generated_total")
                answer = self.daemon.request("POST", "/v1/chat/completions",
                                             self.body(**costly, n=2, seed=seed, stream=stream))
                self.assertIn(b"resource_exhausted", answer.body)
                self.assertNotIn(b'"finish_reason":"', answer.body)
                self.assertLess(self.daemon.metric("rag_tokens_generated_total") - before, 60)

    def test_a_closed_client_ends_its_generation(self):
        connection = self.daemon.connection()
        connection.request("POST", "/v1/chat/completions",
                           json.dumps(self.body(stream=True, max_tokens=400, temperature=1, seed=1)))
        connection.getresponse().read(200)
        connection.close()
        self.assertTrue(eventually(lambda: self.daemon.metric("rag_http_requests_in_flight") == 1))
        self.assertEqual(len(self.chat()["choices"]), 1)


class Asking(Api):
    """/v1/ask, and the order of chats, with a small decoder of random weights."""

    @classmethod
    def start(cls):
        return Daemon(PROGRAM, "--encoder", "none", "--llm", cls.long_model(2048))

    @classmethod
    def long_model(cls, context_tokens):
        model = cls.copy_model("tiny", "decoders/llama3", "decoders/tokenizer.json")
        config = pathlib.Path(model) / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": context_tokens}))
        return model

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls("run_nothing").call("POST", "/v1/documents", {"collection": "n", "key": "a", "text": "A red ball."}, 201)

    def run_nothing(self):
        """Stands for a test, so that the class can use its own helpers once."""

    def ask(self, status=200, **more):
        return self.call("POST", "/v1/ask", {"question": "Which ball?", "collection": "n", "mode": "lexical",
                                             "max_tokens": 12} | more, status)

    def text(self, **more):
        answer = self.ask(**more)
        self.assertEqual(answer["mode"], "generative")
        return answer["answer"]

    def test_top_k_is_the_sampler_s(self):
        greedy = self.text()
        self.assertEqual({self.text(temperature=5, seed=seed, top_k=1) for seed in range(3)}, {greedy})
        self.assertGreater(len({self.text(temperature=5, seed=seed, top_k=50) for seed in range(3)}), 1)
        self.assertEqual(len(self.ask(top_k=1)["sources"]), 1)

    def test_the_sampling_of_chats(self):
        greedy = self.text()
        for change in ({"min_p": 0.99}, {"xtc_threshold": 0.5}):
            self.assertEqual(self.text(**change), greedy)
        self.assertEqual(self.text(temperature=5, seed=1, min_p=0.999), greedy)
        first = self.text(max_tokens=40)
        self.assertNotEqual(self.text(max_tokens=40, frequency_penalty=2, presence_penalty=2, repetition_penalty=5), first)
        self.assertEqual(self.text(logit_bias={"42": 100}, max_tokens=3), "JJJ")

    def test_response_format(self):
        schema = {"type": "object", "properties": {"color": {"enum": ["red", "blue"]}}, "required": ["color"],
                  "additionalProperties": False}
        answer = json.loads(self.text(temperature=2, seed=4, max_tokens=40, response_format={
            "type": "json_schema", "json_schema": {"name": "ball", "schema": schema}}))
        self.assertIn(answer["color"], ("red", "blue"))
        choice = {"type": "choice", "choices": ["yes", "no"]}
        self.assertIn(self.text(response_format=choice), ("yes", "no"))
        self.assertEqual(self.text(response_format={"type": "text"}), self.text())
        # Where nothing is found our own sentence would not be of that form.
        self.assertIn("Nothing was found", self.ask(question="zebra")["answer"])
        for stream in (False, True):
            self.assertIn("found no passage of the collection 'n'", self.fails(
                "POST", "/v1/ask", {"question": "zebra", "collection": "n", "mode": "lexical", "response_format": choice,
                                    "stream": stream}, 404, "not_found"))

    def test_priorities(self):
        with Daemon(PROGRAM, "--encoder", "none", "--parallel", "1", "--llm", self.long_model(1 << 16)) as daemon:
            done = []
            body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "logit_bias": {"95": -100}}

            def ask(name, **more):
                answer = daemon.request("POST", "/v1/chat/completions", body | {"max_tokens": 6_000} | more)
                done.append((name, answer.status))
            # It goes on for many seconds, if nobody ends it; the others take long enough to be told apart.
            first = daemon.connection()
            first.request("POST", "/v1/chat/completions", json.dumps(body | {"stream": True, "max_tokens": 65_000}))
            self.assertEqual(first.getresponse().read(5), b"data:")
            threads = []
            # As in vLLM, lower ones go first; those that come later among equals.
            for waiting, (name, priority) in enumerate([("late", 7), ("plain", None), ("soon", -3), ("soon too", -3)]):
                more = {} if priority is None else {"priority": priority}
                threads.append(threading.Thread(target=ask, args=(name,), kwargs=more))
                threads[-1].start()
                if not eventually(lambda: daemon.metric("rag_generations_waiting") == waiting + 1):
                    break
            first.close()
            for thread in threads:
                thread.join()
            self.assertEqual(done, [(name, 200) for name in ("soon", "soon too", "plain", "late")])
        self.fails("POST", "/v1/ask", {"question": "x", "priority": "high"}, 400, "invalid_argument", "priority")

    def test_system_and_history(self):
        plain = self.ask()["usage"]["prompt_tokens"]
        short = self.ask(system="Be brief.")["usage"]["prompt_tokens"]
        self.assertLess(short, plain)
        turns = [{"role": "user", "content": "Hello, who are you?"}, {"role": "assistant", "content": "A machine."}]
        self.assertGreater(self.ask(system="Be brief.", history=turns)["usage"]["prompt_tokens"], short)
        self.assertEqual(self.ask(system="Be brief.", history=[])["usage"]["prompt_tokens"], short)

    def test_errors(self):
        good = {"question": "x", "collection": "n", "mode": "lexical"}
        for change, param in [({"response_format": {"type": "xml"}}, "response_format.type"),
                              ({"response_format": {"type": "grammar", "value": "root ::= x"}}, "response_format"),
                              ({"frequency_penalty": 3}, "frequency_penalty"), ({"logit_bias": {"x": 1}}, "logit_bias"),
                              ({"system": 1}, "system"), ({"history": "x"}, "history"), ({"history": [1]}, "history[0].role"),
                              ({"history": [{"role": "system", "content": "x"}]}, "history[0].role"),
                              ({"history": [{"role": "user"}]}, "history[0].content")]:
            with self.subTest(change=change):
                self.fails("POST", "/v1/ask", good | change, 400, "invalid_argument", param)
        for bias, message in (({"3": 1, "x": 1}, "'logit_bias' has the key 'x', which is no token id"),
                              ({"-1": 1}, "'logit_bias' has the key '-1', which is no token id"),
                              ({"3": 101}, "'logit_bias' has for '3' 101, not a number from -100 to 100"),
                              ({"3": "high"}, "'logit_bias' has for '3' string, not a number from -100 to 100")):
            self.assertEqual(self.fails("POST", "/v1/ask", good | {"logit_bias": bias}, 400, "invalid_argument", "logit_bias"), message)
        self.fails("POST", "/v1/ask", good | {"n": 2}, 400, "unknown_parameter", "n")


class Adapters(Api):
    @classmethod
    def start(cls):
        model = cls.copy_model("tiny", "decoders/llama3", "decoders/tokenizer.json")
        return Daemon(PROGRAM, "--encoder", "none", "--llm", model, "--draft-model", model,
                      "--lora", f"first={GOLDEN / 'lora' / 'llama_all'}:1.5",
                      "--lora", f"{GOLDEN / 'lora' / 'llama_attention' / 'adapter.gguf'}")

    def chat(self, status=200, **more):
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 12} | more
        return self.call("POST", "/v1/chat/completions", body, status)

    def text(self, **more):
        return self.chat(**more)["choices"][0]["message"]["content"]

    def test_adapters_are_models_and_may_be_mixed(self):
        models = {model["id"]: model for model in self.call("GET", "/v1/models")["data"]}
        self.assertEqual(set(models), {"tiny", "first", "adapter"})
        self.assertEqual((models["first"]["parent"], models["first"]["kind"]), ("tiny", "adapter"))
        self.assertEqual((models["first"]["info"]["rank"], models["first"]["info"]["scale"]), (4, 1.5))
        plain, first, second = self.text(), self.text(model="first"), self.text(model="adapter")
        self.assertEqual(len({plain, first, second}), 3)
        self.assertEqual(self.chat(model="first")["model"], "first")
        self.assertEqual(self.text(lora=[{"id": 0}]), first)
        self.assertEqual(self.text(lora=[{"name": "first", "scale": 1.5}]), first)
        self.assertEqual(self.text(lora=[{"id": 1, "scale": 1}]), second)
        self.assertEqual(self.text(lora=[]), plain)
        self.assertEqual(self.text(lora=[{"id": 0, "scale": 0}, {"id": 1, "scale": 0}]), plain)
        both = [{"id": 0, "scale": 3}, {"id": 1, "scale": -2}]
        self.assertEqual(self.text(lora=both), self.text(lora=both[::-1]))
        self.assertNotIn(self.text(lora=both), (plain, first, second))
        self.assertEqual(self.text(), plain)

    def test_errors(self):
        for wrong, param in (([{"id": 2}], "lora[0].id"), ([{"name": "x"}], "lora[0].name")):
            error = self.chat(404, lora=wrong)["error"]
            self.assertEqual((error["code"], error["param"]), ("adapter_not_found", param))
        for wrong, param in (({}, "lora"), ([3], "lora[0]"), ([{}], "lora[0].id"),
                             ([{"id": 0, "name": "first"}], "lora[0].id"), ([{"id": 0, "scale": 101}], "lora[0].scale"),
                             ([{"id": 0}, {"name": "first"}], "lora")):
            error = self.chat(400, lora=wrong)["error"]
            self.assertEqual(error["param"], param)
        self.assertEqual(self.chat(400, model="first", lora=[])["error"]["param"], "lora")
        self.assertEqual(self.chat(404, model="third")["error"]["code"], "model_not_found")
        self.fails("POST", "/v1/ask", {"question": "x", "lora": [{"id": 7}]}, 404, "adapter_not_found", "lora[0].id")


class Administration(Api):
    @classmethod
    def start(cls):
        cls.backups = tempfile.TemporaryDirectory(prefix="ragd-backups-")
        cls.addClassCleanup(cls.backups.cleanup)
        encoder = () if default_encoder() else ("--encoder", "none")
        return Daemon(PROGRAM, *encoder, "--api-key", "secret", "--backups", cls.backups.name, key="secret")

    def test_backup_and_vacuum(self):
        self.add_passages("care")
        made = self.call("POST", "/v1/admin/backup", {"name": "first"}, 201)
        self.assertEqual(made["name"], "first")
        self.assertTrue((pathlib.Path(self.backups.name) / "first" / "backup.json").exists())
        unnamed = self.call("POST", "/v1/admin/backup", None, 201)
        self.assertRegex(unnamed["name"], r"^\d{8}T\d{6}Z$")
        several = {self.call("POST", "/v1/admin/backup", None, 201)["name"] for _ in range(4)}
        self.assertEqual(len(several), 4, "those of one second have names of their own")
        self.assertEqual(len(list(pathlib.Path(self.backups.name).iterdir())), 6)
        self.fails("POST", "/v1/admin/backup", {"name": "first"}, 409, "already_exists")
        for name in ("../first", "a/b", ".hidden", "a" * 200):
            self.fails("POST", "/v1/admin/backup", {"name": name}, 400, "invalid_argument", "name")
        self.fails("POST", "/v1/admin/backup", {"path": "/tmp/x"}, 400, "unknown_parameter", "path")
        self.assertGreater(self.call("POST", "/v1/admin/vacuum")["bytes_after"], 0)
        found = self.call("POST", "/v1/search", {"query": "signing", "collection": "care", "mode": "lexical"})
        self.assertEqual([hit["document"] for hit in found["hits"]], ["keys"])

    def test_recall(self):
        self.add_passages("recall")
        self.fails("POST", "/v1/admin/recall", {"collection": "nothing"}, 404, "not_found")
        self.fails("POST", "/v1/admin/recall", {"collection": "recall", "sample": 0}, 400, "invalid_argument", "sample")
        if not default_encoder():
            self.fails("POST", "/v1/admin/recall", {"collection": "recall"}, 409, "failed_precondition")
            return
        self.assertNotIn("rag_index_recall{", self.daemon.request("GET", "/metrics").body.decode())
        report = self.call("POST", "/v1/admin/recall", {"collection": "recall", "k": 2})
        self.assertEqual((report["collection"], report["queries"], report["k"], report["recall"]), ("recall", 4, 2, 1))
        self.assertIn('rag_index_recall{collection="recall",k="2"} 1\n',
                      self.daemon.request("GET", "/metrics").body.decode())

    def test_tune(self):
        self.fails("POST", "/v1/admin/tune", {"collection": "nothing"}, 404, "not_found")
        self.fails("POST", "/v1/admin/tune", {"recall": 2}, 400, "invalid_argument", "recall")
        self.fails("POST", "/v1/admin/tune", {"memory": "1gb"}, 400, "unknown_parameter", "memory")
        if not default_encoder():
            self.skipTest("the default encoder is not set up")
        texts = [f"Item {i} of shelf {i % 37}" for i in range(1_100)]
        for first in range(0, len(texts), 100):
            self.call("POST", "/v1/documents", {"collection": "tuned", "key": f"d{first}",
                                                "text": "\n\n".join(f"# {t}\n\n{t}." for t in texts[first:first + 100]),
                                                "media_type": "text/markdown"}, 201)
        goal = {"collection": "tuned", "recall": 0.8, "k": 5}
        before = self.call("GET", "/v1/collections/tuned")
        self.assertGreaterEqual(before["chunks"], 1_000)
        report = self.call("POST", "/v1/admin/tune", dict(goal, dry_run=True))
        self.assertGreaterEqual(report["picked"]["recall"], 0.8)
        self.assertEqual(self.call("GET", "/v1/collections/tuned")["index"], before["index"])
        self.call("POST", "/v1/admin/tune", goal)
        self.assertEqual(self.call("GET", "/v1/collections/tuned")["index"]["goal"], "auto:recall=0.800,k=5")
        self.fails("POST", "/v1/admin/tune", dict(goal, memory_bytes=1000), 409, "failed_precondition")

    def test_without_the_key(self):
        for path in ("backup", "vacuum", "recall", "tune", "cache/save"):
            answer = self.daemon.request("POST", f"/v1/admin/{path}", {}, headers={"Authorization": "Bearer wrong"})
            self.assertEqual(answer.status, 401)
        with Daemon(PROGRAM, "--encoder", "none") as daemon:
            for path in ("backup", "vacuum", "recall", "tune", "cache/save"):
                answer = daemon.request("POST", f"/v1/admin/{path}", {})
                self.assertEqual((answer.status, answer.json()["error"]["code"]), (403, "permission_denied"))
        with Daemon(PROGRAM, "--encoder", "none", "--api-key", "k", key="k") as daemon:
            for path in ("backup", "cache/save"):
                answer = daemon.request("POST", f"/v1/admin/{path}", {})
                self.assertEqual((answer.status, answer.json()["error"]["code"]), (409, "failed_precondition"))


class UnixSocket(unittest.TestCase):
    def test_the_same_api(self):
        with Daemon(PROGRAM, "--encoder", "none", "--listen", "none", "--socket", "/dev/null", wait=False) as daemon:
            self.assertEqual(daemon.wait(), 1)
            self.assertIn("not a socket", daemon.output())
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            with Daemon(PROGRAM, "--encoder", "none", "--listen", "none", "--socket", f"{folder}/rag.sock",
                        folder=folder) as daemon:
                body = {"collection": "c", "key": "k", "text": "The sky is blue."}
                self.assertEqual(daemon.request("POST", "/v1/documents", body, unix=True).status, 201)
                answer = daemon.request("POST", "/v1/search", {"query": "sky", "collection": "c", "mode": "lexical"},
                                        unix=True)
                self.assertEqual(answer.json()["hits"][0]["document"], "k")
                # No browser comes this way, so any Host will do.
                self.assertEqual(daemon.request("GET", "/healthz", headers={"Host": "x"}, unix=True).status, 200)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
