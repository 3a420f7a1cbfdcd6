#!/usr/bin/env python3
"""The Python package over librag: documents, searches, answers, generations, vectors, tuning, evaluation, errors,
threads, asyncio, Ctrl-C.

    python_test.py LIBRAG RAG_PROGRAM
"""

import asyncio
import copy
import dataclasses
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "e2e"), str(ROOT / "bindings" / "python")]
import own_python  # noqa: E402: after the folder that has it

if os.environ.get("RAG_SANITIZE") == "thread":
    print("SKIPPED python_test.py: a Python that begins with the thread sanitizer's runtime crashes by itself")
    sys.exit(77)
own_python.need("numpy")

import numpy as np  # noqa: E402: after the look for it
from ragd_harness import default_encoder, environment, shared_data  # noqa: E402

LIBRARY, PROGRAM = sys.argv[1:3] if len(sys.argv) > 2 else (None, None)
if LIBRARY:
    os.environ["RAG_LIBRARY"] = LIBRARY
import rag  # noqa: E402: after the library's name

DECODER = shared_data("models/stories260K/stories260K.gguf")
TEXTS = {"sky": "The sky is blue because air scatters short wavelengths of light.",
         "key": "Rotate the signing key every ninety days. Keep the old one for a week.",
         "seoul": "서울은 대한민국의 수도이다."}


STORY = [{"role": "user", "content": "Once upon a time"}]
SMALL_ENCODER = ROOT / "tests/golden/encoders/bert"

# A picture of one pixel.
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


def small_model(folder, golden, name):
    """A small model of tests/golden with the tokenizer that all of them share."""
    to = pathlib.Path(folder) / name
    shutil.copytree(ROOT / "tests" / "golden" / golden, to)
    shutil.copy(ROOT / "tests/golden/encoder_families/tokenizers/word_piece.json", to / "tokenizer.json")
    return to


def golden(name):
    return json.loads((ROOT / "tests" / "golden" / name).read_text(encoding="utf-8"))


def many(folder, count):
    """A file of so many short documents."""
    file = pathlib.Path(folder) / "many.jsonl"
    file.write_text("".join(json.dumps({"id": f"n{i}", "text": f"Item {i} of shelf {i % 37}"}) + "\n"
                            for i in range(count)), encoding="utf-8")
    return file


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def command(self, *arguments, stdin=""):
        """What the command prints as JSON."""
        done = subprocess.run([PROGRAM, "--db", self.folder / "db", *map(str, arguments), "--json"], check=True,
                              capture_output=True, input=stdin, text=True, env=environment(self.folder))
        return json.loads(done.stdout)

    def open(self, **options):
        engine = rag.Engine(self.folder / "db", **{"encoder": "none", "threads": 2, **options})
        self.addCleanup(engine.close)
        return engine

    def notes(self, **options):
        engine = self.open(**options)
        for number, (key, text) in enumerate(TEXTS.items()):
            engine.add("notes", key, text, title=key.title(), metadata={"number": number})
        return engine


class Documents(Case):
    def test_are_read_beside_their_writer(self):
        writer = self.notes()
        writer.check_writes()
        with self.assertRaises(rag.UnavailableError):
            self.open()
        reader = self.open(read_only=True)
        writer.add("notes", "later", "A signing key for later.")
        self.assertEqual([hit.document for hit in reader.search("notes", "signing key")], ["key"])
        self.assertEqual(len(self.open(read_only=True).search("notes", "signing key")), 2)
        self.assertIs(reader.refresh(), True)
        self.assertIs(reader.refresh(), False)
        self.assertIs(writer.refresh(), False)
        self.assertEqual({hit.document for hit in reader.search("notes", "signing key")}, {"key", "later"})
        for write in (reader.check_writes, lambda: reader.add("notes", "x", "y"), lambda: reader.remove("notes", "key"),
                      lambda: reader.drop_collection("notes")):
            with self.assertRaisesRegex(rag.FailedPreconditionError, "read-only"):
                write()
        # The command reads beside it too.
        self.assertEqual(self.command("--encoder", "none", "stats", "-c", "notes")["documents"], len(TEXTS) + 1)

    def test_a_filter_that_can_match_nothing_warns(self):
        engine = self.notes()
        with self.assertWarnsRegex(UserWarning, r"no passage has a field 'nubmer' \(they have .*number") as warned:
            self.assertEqual(engine.search("notes", "light key", filter="nubmer < 1"), [])
        self.assertEqual(warned.filename, __file__)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertEqual(engine.search("notes", "light key", filter="number > 99"), [])

    def test_are_added_found_read_and_removed(self):
        engine = self.notes()
        self.assertEqual(list(engine.keys("notes")), sorted(TEXTS))
        hits = engine.search("notes", "signing key")
        self.assertEqual([(hit.rank, hit.document, hit.title) for hit in hits], [(1, "key", "Key")])
        self.assertEqual(TEXTS["key"].encode()[hits[0].start:hits[0].end].decode(), hits[0].text)
        self.assertEqual([h.document for h in engine.search("notes", "light key", filter="number < 1")], ["sky"])
        self.assertEqual(dataclasses.replace(hits[0], rank=0, score=0.0), engine.chunk("notes", hits[0].chunk_id))
        with self.assertRaises(rag.NotFoundError):
            engine.chunk("notes", 1000)
        stored = engine.get("notes", "seoul")
        self.assertEqual((stored.text, stored.metadata), (TEXTS["seoul"], {"number": 2}))
        again = engine.add("notes", "sky", TEXTS["sky"], title="Sky", metadata={"number": 0})
        self.assertTrue(again.unchanged)
        self.assertTrue(engine.add("notes", "sky", "Clouds.").replaced)
        engine.remove("notes", "key")
        self.assertEqual(engine.search("notes", "signing key"), [])
        self.assertTrue(engine.verify("notes")["ok"])
        self.assertEqual(engine.collection("notes")["documents"], 2)
        with self.assertRaises(rag.NotFoundError):
            engine.get("notes", "key")
        engine.drop_collection("notes")
        self.assertEqual(engine.collections(), [])

    def test_keys_are_read_page_by_page(self):
        engine = self.open()
        names = [f"{i:05}" for i in range(1001)]
        for name in names:
            engine.add("many", name, f"word {name}")
        self.assertEqual(list(engine.keys("many")), names)

    def test_keys_that_are_no_text_end_the_reading_with_an_error(self):
        files = os.fsencode(self.folder / "files")
        os.mkdir(files)
        for i in range(2100):
            with open(files + b"/\xff%04d.txt" % i, "w", encoding="utf-8") as file:
                file.write(f"word {i}")
        engine = self.open()
        engine.index("files", files)
        with self.assertRaisesRegex(rag.FailedPreconditionError, "not UTF-8"):
            list(engine.keys("files"))

    def test_progress_is_told_and_close_refused_in_a_callback(self):
        from rag import _library

        engine = self.notes()
        told = threading.Event()

        def progress(done, total):
            with self.assertRaisesRegex(rag.FailedPreconditionError, "callback"):
                engine.close()
            told.set()

        self.assertEqual(_library.run(lambda call: told.wait(60), progress), True)
        self.assertEqual(len(engine.search("notes", "signing key")), 1)

    def test_what_progress_raises_stops_the_call(self):
        from rag import _library

        engine = self.notes()
        ended = []

        def work(call):
            try:
                while True:
                    _library.call("rag_vacuum", engine._handle, call, None)
            except rag.CancelledError as error:
                ended.append(error)
                raise

        with self.assertRaises(ZeroDivisionError):
            _library.run(work, lambda done, total: 1 // 0)
        self.assertEqual(len(ended), 1)

    def test_files_are_indexed_and_bad_ones_reported(self):
        files = self.folder / "files"
        files.mkdir()
        (files / "a note.md").write_text("# Keys\n\nRotate the signing key.\n", encoding="utf-8")
        (files / "bad.pdf").write_bytes(b"%PDF-1.4 and no more")
        engine = self.open()
        seen = []
        report = engine.index("files", files, metadata={"lang": "en"}, progress=lambda *of: seen.append(of))
        self.assertEqual((report.files, report.indexed, [pathlib.Path(f.path).name for f in report.failed]),
                         (2, 1, ["bad.pdf"]))
        self.assertTrue(all(done <= total for done, total in seen))
        hit, = engine.search("files", "signing", filter='lang = "en"')
        self.assertEqual((pathlib.Path(hit.document).name, hit.heading), ("a note.md", "Keys"))
        self.assertEqual(engine.index("files", files, metadata={"lang": "en"}).unchanged, 1)
        (files / "a note.md").unlink()
        self.assertEqual(engine.index("files", files, prune=True).removed, 1)

    def test_a_collection_has_the_settings_that_it_is_made_with(self):
        engine = self.open()
        engine.create_collection("notes", index="flat", chunk_tokens=64, chunk_overlap=0, chunk_strategy="sentence")
        chunk = engine.collection("notes")["properties"]["chunk"]
        self.assertEqual((chunk["strategy"], chunk["chunk_tokens"], chunk["overlap_tokens"]), ("sentence", 64, 0))
        with self.assertRaises(rag.AlreadyExistsError):
            engine.create_collection("notes")

    def files_hold(self, words):
        return any(words in file.read_bytes() for file in (self.folder / "db").rglob("*") if file.is_file())

    def test_a_backup_is_restored(self):
        engine = self.notes()
        report = engine.backup(self.folder / "backup")
        self.assertGreater(report["files"], 0)
        engine.remove("notes", "key")
        self.assertTrue(self.files_hold(b"Rotate the signing key"))
        engine.vacuum()
        self.assertFalse(self.files_hold(b"Rotate the signing key"))
        rag.restore(self.folder / "backup", self.folder / "other")
        with rag.Engine(self.folder / "other", encoder="none") as other:
            self.assertEqual(list(other.keys("notes")), sorted(TEXTS))


class Answers(Case):
    def test_are_extracted_and_each_citation_is_in_the_stored_bytes(self):
        engine = self.notes()
        answer = engine.ask("notes", "How often is the signing key rotated?")
        self.assertEqual(answer.mode, "extractive")
        self.assertIn("ninety days", str(answer))
        for citation in answer.citations:
            self.assertTrue(citation.verified)
            stored = engine.get("notes", citation.document).text.encode()
            self.assertEqual(stored[citation.start:citation.end].decode(), citation.quote)
        self.assertIn("key", [source.document for source in answer.sources])

    @unittest.skipUnless(DECODER, "stories260K is absent")
    def test_are_generated_in_pieces(self):
        engine = self.open(llm=DECODER)
        pieces = []
        story = [{"role": "user", "content": "Once upon a time"}]
        whole = engine.chat(story, max_tokens=24, on_text=pieces.append)
        self.assertEqual("".join(pieces), whole.text)
        self.assertEqual(whole.usage["completion_tokens"], 24)
        self.assertEqual(engine.chat([("user", "Once upon a time")], max_tokens=24).text, whole.text)
        stopped = engine.chat(story, max_tokens=24, on_text=lambda text: False)
        self.assertEqual(stopped.finish_reason, "cancelled")
        sampled = {engine.chat(story, max_tokens=24, temperature=1.5, seed=seed).text for seed in (1, 2, 1)}
        self.assertEqual(len(sampled), 2)
        self.assertIn(engine.chat(story, choices=["yes", "no"]).text, ("yes", "no"))
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        self.assertIsInstance(json.loads(engine.chat(story, json_schema=schema, max_tokens=60).text)["n"], int)
        self.assertRegex(engine.chat(story, regex="[ab]{3}").text, "^[ab]{3}$")
        self.assertEqual(engine.models()["llm"]["architecture"], "llama")
        with self.assertRaises(ZeroDivisionError):
            engine.chat(story, on_text=lambda text: 1 // 0)
        with self.assertRaises(rag.InvalidArgumentError):
            engine.chat(story, regex="a", choices=["b"])
        with self.assertRaises(TypeError):
            engine.chat(story, temprature=1)

    @unittest.skipUnless(DECODER, "stories260K is absent")
    def test_have_log_probabilities(self):
        engine = self.notes(llm=DECODER, mapped_weights=True)
        self.assertEqual(engine.chat(STORY, max_tokens=4).logprobs, [])
        told = engine.chat(STORY, max_tokens=12, logprobs=True, top_logprobs=20)
        self.assertEqual(len(told.logprobs), 12)
        self.assertTrue(b"".join(token.bytes for token in told.logprobs).endswith(told.text.encode()))
        for token in told.logprobs:
            self.assertEqual(token.token.encode(), token.bytes)
            self.assertEqual(dataclasses.astuple(token)[:4], dataclasses.astuple(token.top_logprobs[0]))
            of = [other.logprob for other in token.top_logprobs]
            self.assertEqual(of, sorted(of, reverse=True))
            self.assertLessEqual(sum(map(math.exp, of)), 1 + 1e-6)

        # Drawn often enough, each token comes as often as it is likely.
        first, draws = told.logprobs[0], 600
        drawn = [token for seed in range(draws) for token in engine.chat(
            STORY, max_tokens=1, temperature=1, seed=seed, logprobs=True).logprobs]  # of one that ends there: none
        for token in first.top_logprobs[:5]:
            likely = math.exp(token.logprob)
            count = sum(other.id == token.id for other in drawn)
            self.assertLess(abs(count - draws * likely), 5 * math.sqrt(draws * likely * (1 - likely)) + 1)

        # A bias changes what is drawn, and not what the model says of it.
        second = first.top_logprobs[1]
        biased = engine.chat(STORY, max_tokens=1, logit_bias={second.id: 100}, logprobs=True).logprobs
        self.assertEqual([(token.id, token.logprob) for token in biased], [(second.id, second.logprob)])
        for error, words, options in (
                (rag.InvalidArgumentError, "top_logprobs", {"top_logprobs": 2}),
                (rag.InvalidArgumentError, "top_logprobs 21", {"logprobs": True, "top_logprobs": 21}),
                (rag.InvalidArgumentError, "logit_bias", {"logit_bias": {2**31: 1}}),
                (rag.InvalidArgumentError, "between -1000 and 1000", {"logit_bias": {5: 2000}})):
            with self.assertRaisesRegex(error, words):
                engine.chat(STORY, **options)
        with self.assertRaisesRegex(rag.NotFoundError, "no passage of the collection 'notes'"):
            engine.ask("notes", "zebra", choices=["yes", "no"])
        with self.assertRaisesRegex(rag.UnsupportedError, "logprobs"):
            engine.ask("notes", "key", logprobs=True)

    @unittest.skipUnless(DECODER, "stories260K is absent")
    def test_every_way_of_sampling_reaches_the_decoder(self):
        engine = self.open(llm=DECODER)
        for name in ("typical_p", "top_n_sigma", "xtc_probability", "xtc_threshold", "mirostat_tau", "mirostat_eta",
                     "dry_multiplier", "dry_base"):
            with self.assertRaisesRegex(rag.InvalidArgumentError, name):
                engine.chat(STORY, max_tokens=1, **{name: 1e6})
        with self.assertRaisesRegex(rag.InvalidArgumentError, "typical_p must be above 0"):
            engine.chat(STORY, typical_p=0)
        plain = engine.chat(STORY, max_tokens=150).text
        self.assertNotEqual(engine.chat(STORY, max_tokens=150, dry_multiplier=5).text, plain)
        self.assertEqual(engine.chat(STORY, max_tokens=150, dry_multiplier=5, dry_allowed_length=1000).text, plain)

    @unittest.skipUnless(DECODER, "stories260K is absent")
    def test_keep_their_cache(self):
        file = self.folder / "kept.kv"
        with self.open(llm=DECODER, kv_cache=file) as engine:
            engine.chat(STORY, max_tokens=4)
            self.assertFalse(file.exists())
            self.assertGreater(engine.save_cache()["tokens"], 4)
            shutil.copy(file, self.folder / "copy.kv")
        with self.open(llm=DECODER, kv_cache=self.folder / "copy.kv") as engine:
            self.assertGreater(engine.chat(STORY, max_tokens=4).usage["cached_tokens"], 0)
        with self.open(llm=DECODER) as engine:
            self.assertRaisesRegex(rag.FailedPreconditionError, "cache", engine.save_cache)

    @unittest.skipUnless(DECODER, "stories260K is absent")
    def test_are_guessed_by_a_draft_model(self):
        plain = self.open(llm=DECODER).chat(STORY, max_tokens=24).text
        for least in (0, 0.5):
            with rag.Engine(self.folder / f"db-{least}", encoder="none", llm=DECODER, draft_model=DECODER,
                            draft_min_probability=least) as engine:
                self.assertEqual(engine.chat(STORY, max_tokens=24).text, plain)
        with rag.Engine(self.folder / "db2", encoder="none", llm=DECODER, draft_model=DECODER,
                        draft_min_probability=1.5) as engine:
            with self.assertRaisesRegex(rag.InvalidArgumentError, "draft_min_probability"):
                engine.chat(STORY)

    def test_take_adapters_at_a_scale(self):
        model = self.folder / "tiny"
        shutil.copytree(ROOT / "tests/golden/decoders/llama3", model)
        shutil.copy(ROOT / "tests/golden/decoders/tokenizer.json", model / "tokenizer.json")
        adapter = ROOT / "tests/golden/lora/llama_all"
        expected = self.command("chat", "--no-retrieval", "--llm", model, "--max-tokens", "16", "--system", "x",
                                "--lora", f"style={adapter}:0.5", stdin="Hi\n")["answer"]
        engine = self.open(llm=model, lora={"style": adapter})
        turns = [("system", "x"), ("user", "Hi")]
        self.assertEqual(engine.chat(turns, max_tokens=16, adapters={"style": 0.5}).text, expected)
        whole = engine.chat(turns, max_tokens=16, adapters="style").text
        self.assertEqual(engine.chat(turns, max_tokens=16, adapters={"style": None}).text, whole)
        self.assertNotEqual(whole, expected)
        with self.assertRaisesRegex(rag.InvalidArgumentError, "'style' must not be 0"):
            engine.chat(turns, adapters={"style": 0})

    @unittest.skipUnless(DECODER, "stories260K is absent")
    def test_are_generated_from_passages(self):
        engine = self.notes(llm=DECODER)
        template = self.folder / "short.jinja"
        template.write_text("{% for source in sources %}[{{ source.n }}] {{ source.text }}\n{% endfor %}"
                            "{{ question }}", encoding="utf-8")
        pieces = []
        answer = engine.ask("notes", "sky", k=1, max_tokens=8, system="Answer.", template=template,
                            on_text=pieces.append)
        self.assertEqual((answer.mode, "".join(pieces)), ("generative", answer.text))
        with self.assertRaisesRegex(rag.OutOfRangeError, "context"):
            engine.ask("notes", "sky", max_tokens=8, history=[("user", "Hi"), ("assistant", "Hello")])


@unittest.skipUnless(default_encoder(), "the default encoder is absent: ./dev setup")
class Vectors(Case):
    def test_are_those_of_the_command(self):
        engine = self.open(encoder=default_encoder())
        vectors = engine.embed(list(TEXTS.values()))
        self.assertEqual((vectors.shape, vectors.dtype), ((3, 384), np.float32))
        np.testing.assert_array_equal(engine.embed(TEXTS["sky"]), vectors[0])
        printed = subprocess.run([PROGRAM, "embed", "--json", *TEXTS.values()], check=True, capture_output=True,
                                 env=environment(self.folder)).stdout
        of_command = json.loads(printed)["vectors"]
        np.testing.assert_allclose(vectors, np.array(of_command, dtype=np.float32), atol=1e-6)
        self.assertEqual(engine.embed([]).shape, (0, 384))
        for words, texts in (("texts[1] is empty", ["a", ""]), ("texts[0] is not UTF-8 at byte 1", [b"a\xff"])):
            with self.assertRaisesRegex(rag.InvalidArgumentError, re.escape(words)):
                engine.embed(texts)

    def test_find_what_words_do_not(self):
        engine = self.notes(encoder=default_encoder())
        self.assertEqual(engine.search("notes", "heaven's colour", mode="dense", k=1)[0].document, "sky")
        self.assertEqual(engine.models()["encoder"]["dim"], 384)


class Tuning(Case):
    def test_chooses_as_the_command_does(self):
        engine = self.open(encoder=SMALL_ENCODER, threads=1)
        engine.index("many", many(self.folder, 1200))
        before = engine.collection("many")["index"]
        seen = []
        report = engine.tune("many", recall=0.9, k=5, apply=False, progress=lambda *of: seen.append(of))
        self.assertTrue(all(done <= total for done, total in seen))
        self.assertEqual(engine.collection("many")["index"], before)
        engine.close()
        printed = self.command("--encoder", SMALL_ENCODER, "tune", "-c", "many", "--recall", "0.9", "-k", "5",
                               "--threads", "1", "--dry-run")
        self.assertEqual(set(printed), {field.name for field in dataclasses.fields(report)})
        self.assertEqual(set(printed["picked"]), {field.name for field in dataclasses.fields(report.picked)})
        for name in ("goal", "rows", "sample_rows", "queries"):
            self.assertEqual(getattr(report, name), printed[name])

        def unmeasured(trial):
            """All but what depends on times: which of the widths that are enough is the fastest, too."""
            kind = re.sub(r"[:,](ef_search|probes|rerank)=\d+", "", trial["index"])
            return (kind, *(trial[name] for name in ("measured", "memory_bytes", "disk_bytes", "fits", "finds_enough")))

        self.assertEqual([unmeasured(dataclasses.asdict(trial)) for trial in report.trials],
                         [unmeasured(trial) for trial in printed["trials"]])
        self.assertIn(report.picked, report.trials)
        self.assertGreaterEqual(report.picked.recall, 0.9)
        self.assertEqual(report.trials[0].recall, 1)  # the exact one

    def test_puts_what_it_chose_in_place(self):
        engine = self.open(encoder=SMALL_ENCODER)
        engine.add("few", "k", "A zebra.")
        with self.assertRaises(rag.FailedPreconditionError):
            engine.tune("few")
        engine.index("many", many(self.folder, 1200))
        report = engine.tune("many", recall=0.97)
        index = engine.collection("many")["index"]
        self.assertEqual((index["kind"], index["goal"]), (report.picked.index.split(":")[0], report.goal))
        found = engine.measure_recall("many", sample=50, k=10)
        self.assertEqual((found.queries, found.k), (50, 10))
        self.assertGreaterEqual(engine.measure_recall("many").recall, 0.9)
        self.assertEqual(engine.measure_recall("many", sample=5000).queries, 1200)
        for error, words, goal in ((rag.FailedPreconditionError, "MB", {"memory_bytes": 10_000}),
                                   (rag.InvalidArgumentError, "recall", {"recall": 2}),
                                   (rag.InvalidArgumentError, "recall must be above 0", {"recall": 0}),
                                   (rag.InvalidArgumentError, "k must be above 0", {"k": 0}),
                                   (rag.InvalidArgumentError, "memory_bytes is -1", {"memory_bytes": -1})):
            with self.assertRaisesRegex(error, words):
                engine.tune("many", **goal)
        with self.assertRaisesRegex(rag.InvalidArgumentError, "sample is 0"):
            engine.measure_recall("many", sample=0)

    def test_of_an_automatic_index_is_reported(self):
        engine = self.open(encoder=SMALL_ENCODER)
        engine.create_collection("many", index="auto:recall=0.9")
        engine.create_collection("large", index="auto:recall=0.9,memory=10kb")
        file = many(self.folder, 1100)
        report = engine.index("many", file)
        self.assertEqual((report.tuned.goal, report.tuned.rows), ("auto:recall=0.900,k=10", 1100))
        self.assertTrue(report.tuned.picked.finds_enough)
        self.assertIsNone(report.tune_error)
        report = engine.index("large", file)
        self.assertIsNone(report.tuned)
        self.assertIn("MB", report.tune_error)


class Evaluation(Case):
    def data(self):
        folder = self.folder / "data"
        (folder / "qrels").mkdir(parents=True)
        (folder / "corpus.jsonl").write_text(
            '{"_id": "dog", "title": "Dogs", "text": "A dog guards the house and barks."}\n'
            '{"_id": "cat", "title": "Cats", "text": "The cat barks at the dog that barks at dogs."}\n'
            '{"_id": "bee", "text": "Bees make honey from the nectar of flowers.", "year": 2020}\n', encoding="utf-8")
        (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "barks"}\n{"_id": "q2", "text": "honey"}\n',
                                              encoding="utf-8")
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tdog\t1\nq2\tbee\t1\n",
                                                   encoding="utf-8")
        return folder

    def compare(self, report, printed):
        """With what the command prints: the same metrics, and no member that is left out."""
        counts = {field.name for field in dataclasses.fields(report)} - {"metrics"}
        self.assertEqual(set(printed), counts | set(report.metrics))
        self.assertEqual(report.metrics, {name: printed[name] for name in report.metrics})
        self.assertEqual((report.queries, report.documents), (printed["queries"], printed["documents"]))

    def test_measures_as_the_command_does(self):
        folder = self.data()
        with self.open(encoder=SMALL_ENCODER) as engine:
            words = engine.evaluate(folder, "words", mode="lexical")
            self.assertEqual((words.queries, words.documents), (2, 3))
            self.assertAlmostEqual(words.metrics["mrr@10"], 0.75)
            self.assertEqual(words.metrics["recall@100"], 1)
            flags = {"rrf_k": 10, "dense_weight": 2.0, "lexical_weight": 0.5}
            fused = engine.evaluate(folder, cutoffs=[1, 2], **flags)
            self.assertEqual(engine.collection("eval")["documents"], 3)
            self.assertEqual(engine.evaluate(folder, cutoffs=[1], mode="lexical", filter="year = 2020",
                                             collection="words").metrics["recall@1"], 0.5)
            engine.add("notes", "k", "A zebra.")
            for error, words_of, call in (
                    (rag.FailedPreconditionError, "holds documents", lambda: engine.evaluate(folder, "notes")),
                    (rag.NotFoundError, "qrels", lambda: engine.evaluate(self.folder, "others")),
                    (rag.InvalidArgumentError, "cutoff 0", lambda: engine.evaluate(folder, "others", cutoffs=[0])),
                    (rag.InvalidArgumentError, "empty", lambda: engine.evaluate(folder, "others", cutoffs=[])),
                    (rag.InvalidArgumentError, "at least 0", lambda: engine.evaluate(folder, sparse_weight=-1)),
                    (rag.InvalidArgumentError, "rrf_k is 0", lambda: engine.evaluate(folder, rrf_k=0)),
                    (TypeError, "k", lambda: engine.evaluate(folder, k=5))):
                with self.assertRaisesRegex(error, words_of):
                    call()
            self.assertNotIn("others", [each["name"] for each in engine.collections()])
        self.compare(words, self.command("eval", folder, "-c", "words", "--mode", "lexical", "--encoder",
                                         SMALL_ENCODER))
        self.compare(fused, self.command("eval", folder, "-k", "1,2", "--encoder", SMALL_ENCODER, "--rrf-k", "10",
                                         "--dense-weight", "2", "--lexical-weight", "0.5"))

    @unittest.skipUnless(shared_data("ir-cranfield"), "ir-cranfield is absent")
    def test_measures_a_real_corpus_as_the_command_does(self):
        folder = shared_data("ir-cranfield")
        with self.open() as engine:
            report = engine.evaluate(folder, "cranfield", mode="lexical")
        self.assertGreater(report.metrics["ndcg@10"], 0.3)
        self.compare(report, self.command("--encoder", "none", "eval", folder, "-c", "other", "--mode", "lexical"))

    def test_weights_are_the_callers(self):
        engine = self.notes(encoder=SMALL_ENCODER)
        # Every passage has a vector: the dense ranking alone counts weight / (rrf_k + rank) for each.
        for weight, rrf_k in ((1, 60), (4, 9)):
            hits = engine.search("notes", "signing key", lexical_weight=0, dense_weight=weight, rrf_k=rrf_k)
            self.assertEqual([hit.score for hit in hits], [weight / (rrf_k + hit.rank) for hit in hits])
            self.assertGreater(len(hits), 2)
        source, = engine.ask("notes", "signing key", k=1, dense_weight=0, rrf_k=1).sources
        self.assertEqual((source.document, source.score), ("key", 1 / 2))


class Models(Case):
    def test_rerank_as_the_reference_does(self):
        engine = self.open(reranker=small_model(self.folder, "rerankers/bert", "reranker"))
        pairs = golden("rerankers/pairs.json")
        expected = np.fromfile(ROOT / "tests/golden/rerankers/bert/scores.f32", dtype=np.float32)
        expected = expected.reshape(len(pairs["queries"]), len(pairs["passages"]))
        for query, scores in zip(pairs["queries"], expected):
            given = engine.rerank(query, pairs["passages"])
            self.assertEqual(given.dtype, np.float32)
            np.testing.assert_allclose(given, scores, atol=1e-4)
        self.assertEqual(engine.rerank("a query", []).shape, (0,))

    def test_classify_as_the_reference_does(self):
        engine = self.open(classifier=small_model(self.folder, "heads/sequence-bert", "classifier"))
        expected = golden("heads/sequence-bert/expected.json")
        names = golden("heads/sequence-bert/config.json")["id2label"]
        found = engine.classify(expected["texts"])
        self.assertEqual(len(found), len(expected["scores"]))
        for labels, scores in zip(found, expected["scores"]):
            of = {label.label: label.probability for label in labels}
            self.assertEqual(set(of), set(names.values()))
            for number, score in enumerate(scores):
                self.assertAlmostEqual(of[names[str(number)]], score, places=4)
            self.assertEqual(labels, sorted(labels, key=lambda label: -label.probability))

    def test_label_tokens_as_the_reference_does(self):
        engine = self.open(classifier=small_model(self.folder, "heads/token-bert", "tokens"))
        expected = golden("heads/token-bert/expected.json")
        found = engine.label_spans(expected["texts"])
        self.assertEqual(len(found), len(expected["found"]))
        for text, spans, wanted in zip(expected["texts"], found, expected["found"]):
            self.assertEqual([([span.start, span.end], span.label) for span in spans],
                             [(each["range"], each["label"]) for each in wanted])
            for span, each in zip(spans, wanted):
                self.assertAlmostEqual(span.score, each["score"], places=4)
                self.assertEqual(text.encode()[span.start:span.end].decode(), span.text)

    def test_of_pictures_are_asked_for_by_name(self):
        engine = self.open()
        with self.assertRaisesRegex(rag.FailedPreconditionError, "without an encoder"):
            engine.classify_images([PIXEL], ["a cat"])
        with self.assertRaisesRegex(rag.InvalidArgumentError, r"images\[0\]"):
            engine.classify_images([b"GIF89a"], ["a cat"])


class Errors(Case):
    def test_have_types_and_say_what_is_wrong(self):
        engine = self.notes()
        nested = []
        for _ in range(100):
            nested = [nested]
        for error, words, call in (
                (rag.NotFoundError, "absent", lambda: engine.search("absent", "x")),
                (rag.InvalidArgumentError, "sideways", lambda: engine.search("notes", "x", mode="sideways")),
                (rag.InvalidArgumentError, "k is 0", lambda: engine.search("notes", "x", k=0)),
                (rag.InvalidArgumentError, "ef_search is -1", lambda: engine.search("notes", "x", ef_search=-1)),
                (rag.InvalidArgumentError, "max_tokens is -1", lambda: engine.ask("notes", "x", max_tokens=-1)),
                (ValueError, "filter at byte 6", lambda: engine.search("notes", "x", filter="year >")),
                (rag.InvalidArgumentError, "zero character", lambda: engine.search("notes", "a\0b")),
                (TypeError, "query", lambda: engine.search("notes", 3)),
                (TypeError, "sequence", lambda: engine.embed(b"bytes")),
                (TypeError, "messages must be a sequence", lambda: engine.chat("hi")),
                (TypeError, "messages[1]", lambda: engine.chat([("user", "x"), {"role": "user"}])),
                (TypeError, "image must be bytes", lambda: engine.search("notes", image=5)),
                (rag.InvalidArgumentError, "image is empty", lambda: engine.add("notes", "k", "caption", image=b"")),
                (TypeError, "metadata", lambda: engine.add("notes", "k", "text", metadata=[1])),
                (rag.InvalidArgumentError, "metadata['x']['y'][1] is nan",
                 lambda: engine.add("notes", "k", "text", metadata={"x": {"y": [1, float("nan")]}})),
                (rag.InvalidArgumentError, "metadata['x'] is inf",
                 lambda: engine.index("notes", self.folder, metadata={"x": np.float32("inf")})),
                (rag.InvalidArgumentError, "metadata['x'] has a lone surrogate at 1",
                 lambda: engine.add("notes", "k", "text", metadata={"x": "a\ud800"})),
                (rag.InvalidArgumentError, "nested more than 64 deep",
                 lambda: engine.add("notes", "k", "text", metadata={"x": nested})),
                (rag.InvalidArgumentError, "metadata has the key '1' twice",
                 lambda: engine.add("notes", "k", "text", metadata={1: 2, "1": 3})),
                (TypeError, "metadata['x'] must be a number, str, bool, None, list or dict, not ndarray",
                 lambda: engine.add("notes", "k", "text", metadata={"x": np.zeros(2)})),
                (TypeError, "metadata has the key ('a',), which must be a str",
                 lambda: engine.add("notes", "k", "text", metadata={("a",): 1})),
                (TypeError, "texts[1] must be a str or bytes, not NoneType", lambda: engine.embed(["a", None])),
                (TypeError, "texts must be a sequence of strings or bytes, not NoneType", lambda: engine.embed(None)),
                (TypeError, "labels[1] must not be None", lambda: engine.classify(["a"], ["b", None])),
                (TypeError, "paths[1] must be a path, not int", lambda: engine.index("notes", self.folder, 5)),
                (TypeError, "text must be a str, not None", lambda: engine.add("notes", "k", None)),
                (TypeError, "query must be a str, not None", lambda: engine.search("notes", None)),
                (TypeError, "question must be a str, not None", lambda: engine.ask("notes", None)),
                (TypeError, "collection must be a str, not None", lambda: engine.get(None, "k")),
                (TypeError, "messages must be a sequence of messages, not NoneType", lambda: engine.chat(None)),
                (TypeError, "ask() got an unexpected keyword argument 'max_token'; did you mean 'max_tokens'?",
                 lambda: engine.ask("notes", "x", max_token=5)),
                (TypeError, "chat() got an unexpected keyword argument 'flavour'",
                 lambda: engine.chat([("user", "x")], flavour=1)),
                (TypeError, "evaluate() got an unexpected keyword argument 'k'", lambda: engine.evaluate("x", k=3)),
                (TypeError, "temperature must be a number, not str", lambda: engine.ask("notes", "x", temperature="hot")),
                (TypeError, "max_tokens must be an integer, not float", lambda: engine.ask("notes", "x", max_tokens=1.5)),
                (TypeError, "db must be a path, not int", lambda: rag.Engine(5)),
                (rag.FailedPreconditionError, "encoder", lambda: engine.embed(["x"])),
                (rag.FailedPreconditionError, "decoder", lambda: engine.chat([("user", "x")])),
                (rag.FailedPreconditionError, "reranker", lambda: engine.rerank("x", ["y"])),
                (rag.InvalidArgumentError, "top_p", lambda: engine.ask("notes", "x", top_p=0)),
                (rag.NotFoundError, "absent", lambda: rag.Engine(self.folder / "db2", encoder="absent").embed(["x"])),
                (rag.RagError, "", lambda: rag.restore(self.folder / "none", self.folder / "to"))):
            with self.assertRaises(error) as raised:
                call()
            self.assertIn(words, str(raised.exception))
        self.assertEqual(rag.NotFoundError.code, "not_found")

    def test_an_argument_of_a_wrong_type_is_named(self):
        engine = self.notes()
        one = [("user", "x")]

        def ask(**more):
            return lambda: engine.ask("notes", "x", **more)

        def opened(**more):
            return lambda: rag.Engine(self.folder / "db2", encoder="none", **more)

        for words, call in (
                ("messages must be a sequence of messages, not int", lambda: engine.chat(5)),
                ("messages must be a sequence of messages, not one dict", lambda: engine.chat({"role": "user"})),
                ("messages[0] is neither {'role': ..., 'content': ...} nor (role, content)", lambda: engine.chat(["hi"])),
                ("messages[1] is neither", lambda: engine.chat(one + [5])),
                ("messages[0] is neither", lambda: engine.chat([("user", "x", "y")])),
                ("messages[0].content must be a str, not None", lambda: engine.chat([{"role": "user", "content": None}])),
                ("history must be a sequence of messages, not NoneType", ask(history=None)),
                ("history must be a sequence of messages, not int", ask(history=5)),
                ("choices must be a sequence of strings, not int", ask(choices=5)),
                ("choices must be a sequence of strings, not NoneType", ask(choices=None)),
                ("choices must be a sequence of strings, not one str", ask(choices="yes")),
                ("choices[1] must be a str, not int", ask(choices=["yes", 5])),
                ("json_schema is not JSON: ", ask(json_schema={"type": object()})),
                ("logit_bias must be a dict, not list", ask(logit_bias=[])),
                ("logit_bias must be a dict, not int", ask(logit_bias=5)),
                ("a key of logit_bias must be an integer, not str", ask(logit_bias={"5": 1})),
                ("logit_bias[5] must be a number, not str", ask(logit_bias={5: "1"})),
                ("on_text must be a function, not str", ask(on_text="print")),
                ("on_text must be a function, not bool", ask(on_text=False)),
                ("progress must be a function, not int", lambda: engine.index("notes", self.folder, progress=5)),
                ("progress must be a function, not str", lambda: engine.vacuum("print")),
                ("progress must be a function, not int", lambda: rag.restore(self.folder, self.folder / "to", progress=5)),
                ("cutoffs must be a sequence of integers, not int", lambda: engine.evaluate("x", cutoffs=10)),
                ("cutoffs must be a sequence of integers, not NoneType", lambda: engine.evaluate("x", cutoffs=None)),
                ("cutoffs[1] must be an integer, not str", lambda: engine.evaluate("x", cutoffs=[10, "100"])),
                ("lora must be a dict, not str", opened(lora="adapter.gguf")),
                ("lora must be a dict, not list", opened(lora=[])),
                ("lora['a'] must be a path or (path, scale), not a tuple of 3", opened(lora={"a": ("x", 1, 2)})),
                ("lora['a'] must be a path, not list", opened(lora={"a": ["x", 1]})),
                ("the scale of lora['a'] must be a number, not str", opened(lora={"a": ("x", "1")})),
                ("a key of lora must be a str, not int", opened(lora={5: "x"})),
                ("a key of lora must be a str, not None", opened(lora={None: "x"})),
                ("kind must be a str, not None", lambda: rag.VectorIndex(4, kind=None)),
                ("metric must be a str, not None", lambda: rag.VectorIndex(4, metric=None)),
                ("metric must be a str, not None", lambda: rag.VectorIndex.load("x", 4, metric=None))):
            with self.subTest(words), self.assertRaises(TypeError) as raised:
                call()
            self.assertIn(words, str(raised.exception))
        # Of the right type, and yet too large.
        for call in (ask(temperature=10**400), ask(dense_weight=10**400), ask(logit_bias={5: -10**5000})):
            with self.assertRaisesRegex(rag.InvalidArgumentError, "is beyond the largest number"):
                call()
        self.assertEqual(engine.ask("notes", "signing key", choices=(), logit_bias=None, on_text=None).mode, "extractive")

    def test_one_process_has_a_database_open(self):
        self.open()
        with self.assertRaises(rag.RagError):
            rag.Engine(self.folder / "db", encoder="none")

    def test_metadata_of_numpy(self):
        engine = self.notes()
        engine.add("notes", "numbers", "some numbers", metadata={
            "half": np.float16(0.5), "small": np.float32(1.5), "whole": np.int64(2**40), "yes": np.bool_(True),
            "list": [np.uint8(7), None, "x"], "deep": {"x": np.float64(2.25)}, 3: "three"})
        self.assertEqual(engine.get("notes", "numbers").metadata, {
            "half": 0.5, "small": 1.5, "whole": 2**40, "yes": True, "list": [7, None, "x"], "deep": {"x": 2.25},
            "3": "three"})
        self.assertEqual(engine.search("notes", "numbers", filter="small > 1.25 AND deep.x = 2.25")[0].document, "numbers")

    def test_text_that_is_no_text_is_refused(self):
        engine = self.open()
        for call in (lambda: engine.add("n", "k\udc80", "text"), lambda: engine.add("n", "k", "a \ud800 word")):
            with self.assertRaisesRegex(rag.InvalidArgumentError, "lone surrogate"):
                call()
        with self.assertRaisesRegex(rag.InvalidArgumentError, "threads is 4294967296"):
            rag.Engine(self.folder / "db2", encoder="none", threads=2**32)

    def test_what_holds_a_handle_is_not_copied_nor_used_after_a_fork(self):
        engine, index = self.notes(), rag.VectorIndex(4, kind="flat", threads=2)
        index.add(np.eye(4))
        for each in (engine, index):
            with self.assertRaises(TypeError):
                copy.copy(each)
        child = os.fork()
        if child == 0:
            refused = 0
            for call in (lambda: engine.search("notes", "x"), lambda: index.search(np.eye(4))):
                try:
                    call()
                except rag.FailedPreconditionError:
                    refused += 1
            del index
            engine.close()
            os._exit(0 if refused == 2 else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual(len(engine.search("notes", "signing key")), 1)

    def test_a_closed_engine_says_so(self):
        with self.notes() as engine:
            pass
        engine.close()
        with self.assertRaisesRegex(ValueError, "closed"):
            engine.search("notes", "x")


class Threads(Case):
    def test_search_and_add_at_once(self):
        engine = self.notes()
        problems = []

        def work(number):
            try:
                for i in range(20):
                    engine.add("notes", f"{number}-{i}", f"thread {number} document {i}")
                    if not engine.search("notes", f"thread {number}", k=3):
                        problems.append(f"thread {number} found nothing")
            except Exception as error:  # told by the main thread
                problems.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.assertEqual(engine.collection("notes")["documents"], len(TEXTS) + 120)

    def test_ctrl_c_stops_and_keeps_what_was_acknowledged(self):
        files = self.folder / "files"
        files.mkdir()
        for i in range(3000):
            (files / f"{i:04}.txt").write_text(f"document {i} " + "of some words " * 200, encoding="utf-8")
        script = ("import sys, rag\n"
                  "engine = rag.Engine(sys.argv[1], encoder='none')\n"
                  "engine.index('files', sys.argv[2], progress=lambda done, total: done and print('begun', flush=True))\n"
                  "print('ended')\n")
        variables = environment(self.folder, RAG_LIBRARY=os.environ["RAG_LIBRARY"],
                                PYTHONPATH=str(ROOT / "bindings" / "python"))
        child = subprocess.Popen([sys.executable, "-c", script, self.folder / "db", files], env=variables,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertIn(child.stdout.readline(), ("begun\n", "ended\n"))
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
        if "ended" not in out:
            self.assertIn("KeyboardInterrupt", err)
        engine = self.open()
        self.assertTrue(engine.verify("files")["ok"])
        report = engine.index("files", files)
        self.assertEqual(report.indexed + report.unchanged, 3000)


    def test_a_call_has_its_handle_until_it_ends_however_often_it_is_interrupted(self):
        from rag import _library

        ended, freed = [], []

        class Watched:
            def __getattr__(self, name):
                return getattr(real, name)

            def rag_call_free(self, handle):
                freed.append(bool(ended))
                real.rag_call_free(handle)

        real, _library.lib = _library.lib, Watched()
        self.addCleanup(setattr, _library, "lib", real)

        def work(_):
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
            ended.append(True)

        with self.assertRaises(KeyboardInterrupt):
            _library.run(work)
        self.assertEqual(freed, [True])

    def test_ids_of_several_threads_are_all_different(self):
        index = rag.VectorIndex(4, kind="flat", threads=1)
        threads = [threading.Thread(target=lambda: [index.add(np.eye(4)) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(index), 800)


@unittest.skipUnless(DECODER, "stories260K is absent")
class Asyncio(Case):
    def test_several_calls_run_at_once(self):
        engine = self.open(llm=DECODER)
        options = {"max_tokens": 16, "temperature": 1.2}
        together = threading.Barrier(4)  # passed only when all of them are in their calls

        def answer(seed):
            pieces = []

            def on_text(text):
                if not pieces:
                    together.wait(60)
                pieces.append(text)

            return engine.chat(STORY, seed=seed, on_text=on_text, **options).text

        async def main():
            return await asyncio.gather(*(asyncio.to_thread(answer, seed) for seed in range(4)))

        alone = [engine.chat(STORY, seed=seed, **options).text for seed in range(4)]
        self.assertEqual(asyncio.run(main()), alone)
        self.assertEqual(len(set(alone)), 4)

    def test_a_task_that_is_cancelled_stops_waiting(self):
        engine = self.notes(llm=DECODER)
        begun, release = threading.Event(), threading.Event()
        ended = []

        def on_text(text):
            begun.set()
            release.wait(60)
            return False

        def call():
            ended.append(engine.chat(STORY, on_text=on_text).finish_reason)

        async def main():
            task = asyncio.create_task(asyncio.to_thread(call))
            await asyncio.to_thread(begun.wait, 60)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            before = list(ended)
            # Others are served, and the call ends when its callback says so.
            hits = await asyncio.to_thread(engine.search, "notes", "signing key")
            release.set()
            return before, [hit.document for hit in hits]

        self.assertEqual(asyncio.run(main()), ([], ["key"]))
        self.assertEqual(ended, ["cancelled"])


class Index(Case):
    def test_equals_exact_search(self):
        random = np.random.default_rng(7)
        rows = random.standard_normal((2000, 24)).astype(np.float32)
        queries = random.standard_normal((20, 24)).astype(np.float32)
        for metric, kind in (("l2", "flat"), ("ip", "flat"), ("cosine", "flat"), ("l2", "hnsw"), ("cosine", "hnsw:sq8")):
            index = rag.VectorIndex(24, metric, kind, threads=1)
            index.add(rows[:1000])
            index.add(rows[1000:])
            ids, scores = index.search(queries, k=10, width=0 if kind == "flat" else 400)
            if metric == "l2":
                truth = -((queries[:, None, :] - rows[None]) ** 2).sum(2)
            elif metric == "ip":
                truth = queries @ rows.T
            else:
                truth = (queries / np.linalg.norm(queries, axis=1)[:, None]) @ \
                    (rows / np.linalg.norm(rows, axis=1)[:, None]).T
            best = np.argsort(-truth, axis=1)[:, :10]
            found = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids, best)])
            self.assertGreaterEqual(found, 1 if kind == "flat" else 0.97, (metric, kind))
            np.testing.assert_allclose(scores, np.take_along_axis(truth, ids, 1), rtol=1e-4, atol=1e-4)

    def test_ids_are_the_callers(self):
        rows = np.eye(4, dtype=np.float64)
        index = rag.VectorIndex(4, "ip", "hnsw")
        index.add(rows[:3], ids=[30, 10, 2**62])
        ids, scores = index.search(rows[2], k=5)
        self.assertEqual((ids[0, 0], list(ids[0, 3:])), (2**62, [-1, -1]))
        self.assertTrue(np.isneginf(scores[0, 3:]).all())
        index.add(rows[3], ids=[10])
        self.assertEqual(len(index), 3)
        self.assertEqual(index.search(rows[3], k=1)[0][0, 0], 10)
        self.assertEqual((index.remove([10, 11]), len(index)), (1, 2))
        self.assertGreater(index.memory_bytes, 0)
        index.save(self.folder / "index")
        loaded = rag.VectorIndex.load(self.folder / "index", 4, "ip", "hnsw")
        self.assertEqual(loaded.search(rows[0], k=1)[0][0, 0], 30)
        for words, call in (("shape", lambda: index.add(np.zeros((2, 3)))),
                            ("shape", lambda: index.add(rows, ids=[1])),
                            ("integers", lambda: index.add(rows[:1], ids=[1.5])),
                            ("numbers", lambda: index.add([["1", "2", "3", "4"]], ids=[1])),
                            ("from 0", lambda: index.add(rows[:1], ids=[-1])),
                            ("ids must be given, as add(vectors, ids=range(", lambda: index.add(rows[:1])),
                            ("ids must be given, as add(vectors, ids=range(", lambda: loaded.add(rows[:1])),
                            ("k is 0", lambda: index.search(rows[0], k=0)),
                            ("width is -1", lambda: index.search(rows[0], width=-1)),
                            ("dim is -4", lambda: rag.VectorIndex(-4)),
                            ("metric", lambda: rag.VectorIndex(4, "near")),
                            ("tree", lambda: rag.VectorIndex(4, kind="tree"))):
            with self.assertRaises(rag.InvalidArgumentError) as raised:
                call()
            self.assertIn(words, str(raised.exception))
        loaded.add(rows[:2], ids=range(100, 102))
        self.assertEqual(len(loaded), 4)
        with self.assertRaisesRegex(rag.FailedPreconditionError, "was saved with kind hnsw, not flat"):
            rag.VectorIndex.load(self.folder / "index", 4, "ip", "flat")

    def test_a_closed_index_says_so(self):
        with rag.VectorIndex(4, kind="flat", threads=1) as index:
            index.add(np.eye(4))
            index.save(self.folder / "index")
        self.assertIn("closed", repr(index))
        index.close()
        for call in (lambda: index.search(np.eye(4)), lambda: index.add(np.eye(4)), lambda: len(index),
                     lambda: index.save(self.folder / "index"), lambda: index.remove([1])):
            with self.assertRaisesRegex(ValueError, "the index is closed"):
                call()
        with rag.VectorIndex.load(self.folder / "index", 4, kind="flat", threads=1) as loaded:
            self.assertEqual(len(loaded), 4)

    def test_closing_waits_for_the_calls_of_other_threads(self):
        index = rag.VectorIndex(64, kind="flat", threads=1)
        index.add(np.random.default_rng(1).standard_normal((2000, 64)))
        outcomes = []

        def search():
            try:
                while True:
                    outcomes.append(index.search(np.ones((20, 64)), k=3)[0].shape)
            except ValueError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(outcomes) < 8:
            time.sleep(0.001)
        index.close()
        for thread in threads:
            thread.join()
        self.assertEqual(outcomes.count("the index is closed"), 4)
        self.assertEqual(set(outcomes), {"the index is closed", (20, 3)})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
