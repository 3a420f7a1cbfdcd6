#!/usr/bin/env python3
"""The rag command as its users and their scripts run it: shapes, exit codes, ingestion that is
incremental and survives kill -9, bad files of every format, standard input, Korean.

Usage: cli_test.py PATH_OF_RAG [TEST…]
"""
import base64
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RAG = ""
ENCODER = "all-MiniLM-L6-v2"


def models_folder():
    if os.environ.get("RAG_MODELS"):
        return pathlib.Path(os.environ["RAG_MODELS"])
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", ""), ".cache")
    return pathlib.Path(cache) / "rag" / "models"


def has_encoder():
    return (models_folder() / ENCODER / "model.safetensors").exists()


class CliTest(unittest.TestCase):
    encoder = "none"

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rag-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.docs = self.folder / "docs"
        self.docs.mkdir()
        self.db = self.folder / "db"
        # The machine's own settings must not reach in.
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith("RAG_") or k == "RAG_MODELS"}
        self.env["XDG_CONFIG_HOME"] = str(self.folder / "config")
        self.env["XDG_DATA_HOME"] = str(self.folder / "data")

    def run_rag(self, *arguments, stdin="", code=0, db=True):
        command = [RAG, "--encoder", self.encoder]
        if db:
            command += ["--db", str(self.db)]
        done = subprocess.run(command + [str(a) for a in arguments], input=stdin, text=True,
                              capture_output=True, env=self.env, timeout=600)
        self.assertEqual(done.returncode, code,
                         f"rag {arguments}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done

    def rag_json(self, *arguments, **options):
        done = self.run_rag(*arguments, "--json", **options)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 1, done.stdout)
        return json.loads(lines[0])

    def put(self, name, content):
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")
        return path

    def put_three(self):
        self.put("keys.md", "# Keys\n\n## Rotation\n\nThe signing key is rotated every ninety days.\n")
        self.put("cats.txt", "A cat sleeps for most of the day.\n")
        self.put("facts.jsonl", '{"id": "seoul", "title": "서울", "text": "서울은 대한민국의 수도이다.",'
                                ' "year": 2021, "lang": "ko"}\n'
                                '{"id": "bees", "text": "Bees make honey.", "year": 2019}\n')


class Usage(CliTest):
    def test_exit_codes(self):
        commands = ["index", "search", "ask", "chat", "embed", "get", "rm", "collections", "stats",
                    "models", "verify", "backup", "restore", "vacuum", "tune", "bench", "eval",
                    "classify", "probe", "completion"]
        for command in commands:
            text = self.run_rag(command, "--help", db=False).stdout
            self.assertIn("Examples:", text, command)
        self.assertRegex(self.run_rag("--version", db=False).stdout, r"^rag \d+\.\d+\.\d+\n$")
        self.assertIn("index", self.run_rag("--help", db=False).stdout)
        for wrong in (["fly"], [], ["search"], ["search", "x", "--mode", "magic"],
                      ["search", "x", "-k", "0"], ["index"], ["search", "x", "--no-such-flag"],
                      ["index", "x", "--chunk-tokens", "many"], ["embed"], ["classify", "a.png"],
                      ["search", "x", "--image", "a.png"]):
            done = self.run_rag(*wrong, code=2)
            self.assertNotEqual(done.stderr, "", wrong)
            self.assertEqual(done.stdout, "", wrong)
        self.assertIn("error", json.loads(self.run_rag("fly", "--json", code=2).stdout))

    def test_usage_errors_name_what_is_wrong(self):
        for wrong, message in ((["serch", "x"], "there is no command 'serch'; did you mean 'search'?"),
                               (["models", "lst"], "there is no command 'lst'; did you mean 'list'?"),
                               (["collections"], "there is list, create, drop"),
                               (["search", "x", "--colection", "notes"],
                                "there is no option '--colection'; did you mean '--collection'?"),
                               (["ask", "x", "--wholly-unknown=1"], "there is no option '--wholly-unknown'\n"),
                               (["search", "x", "--filtr=year > 2020"],
                                "there is no option '--filtr'; did you mean '--filter'?"),
                               (["--llm", "x", "ask", "q"], "'--llm' is an option of 'rag ask' and goes after it\n"),
                               (["-k", "3", "ask", "q"], "'-k' is an option of 'rag ask' and goes after it\n"),
                               (["-k3", "ask", "q"], "'-k3' is an option of 'rag ask' and goes after it\n"),
                               (["--index=flat", "index", "x"], "'--index' is an option of 'rag index' and goes after it\n"),
                               (["models", "--type", "Q4_0", "quantize", "x", "y"],
                                "'--type' is an option of 'rag models quantize' and goes after it\n"),
                               (["--llm", "x"], "'--llm' goes after a command that has it, such as 'rag ask'\n"),
                               (["ask", "q", "--prune"], "there is no option '--prune'\n"),
                               (["search", "two", "words"], "what has spaces in it wants quotes"),
                               (["search", "-Xmx option", "-c", "notes"],
                                "there is no option '-Xmx option'; a text that begins with '-' goes last, after '--'"),
                               (["search", "--", "-Xmx option", "-c", "notes"],
                                "what follows '--' is text, also what looks like an option"),
                               (["search", "x", "--ef-search", "-1"], "--ef-search: Value -1 is negative"),
                               (["index", "x", "--max-file-bytes", "-1"], "--max-file-bytes: Value -1")):
            self.assertIn(message, self.run_rag(*wrong, code=2).stderr, wrong)

    def test_settings_that_a_collection_does_not_take_are_told(self):
        self.put_three()
        self.encoder = str(ROOT / "tests" / "golden" / "word_vectors" / "words.vec")
        self.assertNotIn("note", self.rag_json("index", self.docs, "--chunk-tokens", "64", "--index", "ivf:pq4,probes=3"))
        for same in ([], ["--chunk-tokens", "64"], ["--index", "ivf:pq4"], ["--index", "ivf:probes=3,codes=pq4"],
                     ["--chunk-overlap", "8"], ["--chunker", "structure"]):
            done = self.run_rag("index", self.docs, *same)
            self.assertEqual(done.stderr, "", same)
        for flags, kept in ((["--chunk-tokens", "16"], "chunk-tokens 64 (not --chunk-tokens 16)"),
                            (["--chunk-tokens", "64", "--chunk-overlap", "9"], "chunk-overlap 8 (not --chunk-overlap 9)"),
                            (["--chunker", "fixed"], "chunker structure (not --chunker fixed)"),
                            (["--index", "flat"], "index ivf:codes=pq4,probes=3 (not --index flat)"),
                            (["--index", "ivf:pq4,probes=4"], "index ivf:codes=pq4,probes=3 (not --index ivf:pq4,probes=4)"),
                            (["--index", "auto"], "index ivf:codes=pq4,probes=3 (not --index auto)"),
                            (["--sparse", "splade"], "no sparse vectors (made without --sparse splade)"),
                            (["--rerank", "colbert", "--token-vectors"],
                             "no token vectors (made without --token-vectors)")):
            done = self.run_rag("index", self.docs, *flags, "--json")
            note = json.loads(done.stdout)["note"]
            self.assertTrue(note.startswith(f"collection 'default' keeps what it was made with: {kept}; another is had by"), note)
            self.assertEqual("rag tune" in note, "--index" in flags)
            self.assertEqual(done.stderr, f"rag: {note}\n")
        # What the environment says is not meant for this one collection.
        self.env["RAG_CHUNK_TOKENS"] = "16"
        self.assertEqual(self.run_rag("index", self.docs).stderr, "")
        del self.env["RAG_CHUNK_TOKENS"]
        self.assertEqual(self.run_rag("index", self.docs, "-c", "other", "--index", "auto").stderr, "")
        self.assertEqual(self.run_rag("index", self.docs, "-c", "other", "--index", "auto:k=10").stderr, "")
        self.assertIn("index auto:recall=0.950,k=10 (not --index hnsw)",
                      self.run_rag("index", self.docs, "-c", "other", "--index", "hnsw").stderr)

    def test_a_collection_without_vectors_says_so_and_nothing_of_an_index(self):
        self.put_three()
        words = str(ROOT / "tests" / "golden" / "word_vectors" / "words.vec")
        for index in ("ivf:pq4", "flat"):
            self.assertEqual(self.run_rag("index", self.docs, "--index", index).stderr, "")
        self.assertIn("no sparse vectors", self.rag_json("search", "honey", "--sparse", "splade")["note"])
        self.assertIsNone(self.rag_json("search", "honey")["note"])
        self.encoder = words
        for flags in ([], ["--index", "flat"]):
            note = self.rag_json("index", self.docs, *flags)["note"]
            self.assertIn(f"made with: no vectors (made with --encoder none, not --encoder {words}); another", note)
            self.assertNotIn("rag tune", note)
        for command in ("search", "ask"):
            self.assertIn("no vectors (made with --encoder none", self.rag_json(command, "honey")["note"])
        self.assertIsNone(self.rag_json("search", "honey", "--mode", "lexical")["note"])
        # An encoder of the environment is not meant for this one collection, an index of the command line is.
        command = [RAG, "--db", str(self.db), "index", str(self.docs)]
        env = self.env | {"RAG_ENCODER": words}
        for flags, told in ([], False), (["--index", "flat"], True):
            done = subprocess.run(command + flags, check=True, capture_output=True, text=True, env=env, timeout=600)
            self.assertEqual("no vectors (made" in done.stderr, told, done.stderr)

    def test_errors_are_json_when_asked(self):
        error = self.rag_json("search", "x", code=1)["error"]
        self.assertEqual(error["code"], "not_found")
        self.assertIn(str(self.db), error["message"])
        self.assertFalse(self.db.exists())  # looking makes nothing
        self.put_three()
        self.run_rag("index", self.docs)
        error = self.rag_json("search", "x", "--collection", "absent", code=1)["error"]
        self.assertEqual(error["code"], "not_found")
        self.assertIn("absent", error["message"])
        error = self.rag_json("search", "x", "--filter", "year >=", code=1)["error"]
        self.assertEqual(error["code"], "invalid_argument")
        done = self.run_rag("get", "nothing", code=1)
        self.assertIn("nothing", done.stderr)
        self.assertEqual(done.stdout, "")

    def test_a_question_that_is_not_utf_8_is_refused(self):
        self.put_three()
        self.run_rag("index", self.docs)
        for command, what in (("search", "query"), ("ask", "question")):
            for argument, stdin in (("-", b"pod\xff\n"), (b"pod\xff", b"")):
                done = subprocess.run([RAG, "--encoder", "none", "--db", self.db, command, argument, "--json"],
                                      input=stdin, capture_output=True, env=self.env, timeout=600)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(json.loads(done.stdout)["error"],
                                 {"code": "invalid_argument", "message": f"the {what} is not UTF-8 at byte 3"})

    def test_output_that_is_lost_is_a_failure(self):
        self.put_three()
        self.run_rag("index", self.docs)
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([RAG, "--encoder", "none", "--db", self.db, "search", "cat", "--json"],
                                  stdout=full, stderr=subprocess.PIPE, text=True, env=self.env, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write to standard output", done.stderr)

    def test_settings_are_layered(self):
        self.put_three()
        self.env["RAG_COLLECTION"] = "from-variable"
        self.run_rag("index", self.docs)
        self.run_rag("index", self.docs, "--collection", "from-flag")
        names = [c["name"] for c in self.rag_json("collections", "list")["collections"]]
        self.assertEqual(names, ["from-flag", "from-variable"])
        config = self.folder / "rag.toml"
        config.write_text("[search]\nk = 1\n")
        hits = self.rag_json("search", "the", "--config", config)["hits"]
        self.assertLessEqual(len(hits), 1)
        config.write_text("[search]\nwrong = 1\n")
        self.assertIn("wrong", self.run_rag("search", "x", "--config", config, code=1).stderr)

    def test_completion(self):
        for shell in ("bash", "zsh", "fish"):
            script = self.run_rag("completion", shell, db=False).stdout
            self.assertIn("collections", script)
            self.assertIn("chunk-tokens", script)
            if shutil.which(shell):
                path = self.folder / f"completion.{shell}"
                path.write_text(script)
                subprocess.run([shell, "-n", str(path)], check=True)
        bash = self.run_rag("completion", "bash", db=False).stdout
        probe = bash + ('COMP_WORDS=(rag collections cr); COMP_CWORD=2; _rag; echo "${COMPREPLY[@]}"\n'
                        'COMP_WORDS=(rag index --pru); COMP_CWORD=2; _rag; echo "${COMPREPLY[@]}"\n')
        done = subprocess.run(["bash"], input=probe, text=True, capture_output=True, check=True)
        self.assertEqual(done.stdout, "create\n--prune\n")


class Documents(CliTest):
    def test_contract_shapes(self):
        self.put_three()
        report = self.rag_json("index", self.docs, "--collection", "c", "--chunk-tokens", "64")
        for name in ("files", "indexed", "unchanged", "removed", "failed", "chunks", "seconds"):
            self.assertIn(name, report)
        self.assertEqual((report["files"], report["indexed"], report["failed"]), (3, 3, []))
        self.assertEqual(report["chunks"], 4)

        modes = ["lexical", "hybrid"] + (["dense"] if self.encoder != "none" else [])
        for mode in modes:
            found = self.rag_json("search", "signing key rotated", "-k", "10", "--collection", "c",
                                  "--mode", mode)
            self.assertIn("took_ms", found)
            hit = found["hits"][0]
            for name in ("rank", "score", "document", "chunk_id", "start", "end", "heading", "page",
                         "text", "metadata"):
                self.assertIn(name, hit)
            self.assertEqual(hit["document"], str(self.docs / "keys.md"))
            self.assertEqual(hit["rank"], 1)
            self.assertIn("Rotation", hit["heading"])
            self.assertIsNone(hit["page"])
            content = (self.docs / "keys.md").read_bytes()
            self.assertEqual(content[hit["start"]:hit["end"]].decode(), hit["text"])

        found = self.rag_json("search", "수도", "--collection", "c", "--mode", modes[-1],
                              "--filter", 'year >= 2020 AND lang = "ko"')
        self.assertEqual([h["document"] for h in found["hits"]], ["seoul"])
        self.assertEqual(found["hits"][0]["metadata"], {"year": 2021, "lang": "ko"})

        answer = self.rag_json("ask", "How often is the signing key rotated?", "--collection", "c",
                               "-k", "6", "--max-tokens", "256")
        for name in ("answer", "citations", "mode", "usage", "timings_ms"):
            self.assertIn(name, answer)
        self.assertEqual(answer["mode"], "extractive")
        citation = answer["citations"][0]
        for name in ("n", "document", "chunk_id", "start", "end", "quote", "verified"):
            self.assertIn(name, citation)
        self.assertEqual(citation["document"], str(self.docs / "keys.md"))
        self.assertIs(citation["verified"], True)
        self.assertIn("ninety days", citation["quote"])
        self.assertEqual(content[citation["start"]:citation["end"]].decode(), citation["quote"])

        human = self.run_rag("ask", "How often is the signing key rotated?", "-c", "c").stdout
        self.assertIn("[1]", human)
        self.assertIn("keys.md", human)
        human = self.run_rag("search", "honey", "-c", "c").stdout
        self.assertIn("bees", human)
        self.assertNotIn("\x1b", human)  # no colours into a pipe

    def test_incremental_and_prune(self):
        self.put_three()
        self.rag_json("index", self.docs)
        again = self.rag_json("index", self.docs)
        self.assertEqual((again["unchanged"], again["indexed"], again["chunks"]), (3, 0, 0))
        os.utime(self.docs / "cats.txt", (1, 1))
        self.assertEqual(self.rag_json("index", self.docs)["unchanged"], 3)
        self.put("cats.txt", "A cat hunts at dusk.\n")
        self.put("facts.jsonl", '{"id": "bees", "text": "Bees make honey.", "year": 2019}\n')
        changed = self.rag_json("index", self.docs)
        self.assertEqual((changed["indexed"], changed["unchanged"], changed["removed"]), (1, 1, 1))
        self.assertEqual(self.rag_json("search", "sleeps", "--mode", "lexical")["hits"], [])
        (self.docs / "keys.md").unlink()
        self.assertEqual(self.rag_json("index", self.docs)["removed"], 0)
        self.assertEqual(self.rag_json("index", self.docs, "--prune")["removed"], 1)
        self.assertEqual(self.rag_json("get")["documents"], [str(self.docs / "cats.txt"), "bees"])

    def test_what_only_reads_runs_beside_a_writer_and_beside_others(self):
        self.put_three()
        self.run_rag("index", self.docs)
        search = [RAG, "--encoder", "none", "--db", str(self.db), "search", "honey", "--json"]
        with open(self.db / "rag.lock", "r+") as writer:
            fcntl.flock(writer, fcntl.LOCK_EX)
            several = [subprocess.Popen(search, stdout=subprocess.PIPE, env=self.env, text=True) for _ in range(8)]
            for one in several:
                output = one.communicate(timeout=600)[0]
                self.assertEqual([hit["document"] for hit in json.loads(output)["hits"]], ["bees"])
            self.assertEqual(self.rag_json("stats")["documents"], 4)
            self.assertEqual(len(self.rag_json("get")["documents"]), 4)
            self.assertTrue(self.rag_json("ask", "What do bees make?")["citations"])
            for command in (["index", self.docs], ["rm", "bees"], ["vacuum"]):
                error = self.rag_json(*command, code=1)["error"]
                self.assertEqual(error["code"], "unavailable")
                self.assertIn("in use by pid", error["message"])
        self.rag_json("rm", "bees")

    def test_a_filter_that_can_match_nothing_says_why(self):
        self.put_three()
        self.run_rag("index", self.docs)
        note = "no passage has a field 'yaer' (they have"
        found = self.rag_json("search", "honey", "--filter", "yaer = 2019")
        self.assertEqual(found["hits"], [])
        self.assertTrue(found["note"].startswith(note), found)
        self.assertIn("year", found["note"])
        self.assertIn(note, self.run_rag("search", "honey", "--filter", "yaer = 2019").stdout)
        self.assertIn(note, self.rag_json("ask", "What do bees make?", "--filter", "yaer = 2019")["note"])
        self.assertIn("of type int", self.rag_json("search", "honey", "--filter", 'year = "2019"')["note"])
        for other in ("year = 1999", "year = 2019"):
            self.assertIsNone(self.rag_json("search", "honey", "--filter", other)["note"])

    def test_a_folder_that_may_not_be_written_is_read(self):
        self.put_three()
        self.run_rag("index", self.docs)
        before = sorted((file.name, file.stat().st_mtime_ns) for file in self.db.rglob("*"))
        someone = {}
        if os.geteuid() == 0:
            someone = {"user": 65534, "group": 65534, "extra_groups": []}
            self.folder.chmod(0o755)
        else:
            for path in (*self.db.rglob("*"), self.db):
                path.chmod(path.stat().st_mode & ~0o222)
                self.addCleanup(path.chmod, path.stat().st_mode | 0o200)
        search = [RAG, "--encoder", "none", "--db", str(self.db), "search", "honey", "--json"]
        try:
            done = subprocess.run(search, capture_output=True, env=self.env, text=True, timeout=600, **someone)
        except PermissionError as error:
            self.skipTest(f"another user may not run the program: {error}")
        self.assertEqual([hit["document"] for hit in json.loads(done.stdout)["hits"]], ["bees"], done)
        self.assertEqual(before, sorted((file.name, file.stat().st_mtime_ns) for file in self.db.rglob("*")))

    def test_backup_restore_and_vacuum(self):
        self.put_three()
        self.run_rag("index", self.docs)
        backup = self.folder / "backup"
        made = self.rag_json("backup", backup)
        self.assertGreater(made["files"], 0)
        self.assertEqual(self.rag_json("backup", backup, code=1)["error"]["code"], "already_exists")
        self.rag_json("rm", self.docs / "keys.md")
        self.assertTrue(any(b"signing" in file.read_bytes() for file in self.db.rglob("*") if file.is_file()))
        gained = self.rag_json("vacuum")
        self.assertEqual(gained["bytes_gained"], max(0, gained["bytes_before"] - gained["bytes_after"]))
        for file in self.db.rglob("*"):
            if file.is_file():
                self.assertNotIn(b"signing", file.read_bytes(), file)
        self.assertEqual(self.rag_json("verify")["problems"], [])

        self.assertEqual(self.rag_json("restore", backup, code=1)["error"]["code"], "already_exists")
        self.db = self.folder / "restored"
        restored = self.rag_json("restore", backup)
        self.assertEqual((restored["files"], restored["bytes"]), (made["files"], made["bytes"]))
        self.assertIn("signing", self.rag_json("get", self.docs / "keys.md")["text"])
        self.assertEqual(self.rag_json("verify")["problems"], [])
        self.assertIn("before", self.run_rag("vacuum").stdout)
        self.assertIn("saved", self.run_rag("backup", self.folder / "second").stdout)
        self.db = self.folder / "third"
        damaged = next(file for file in backup.rglob("*.sst"))
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        error = self.rag_json("restore", backup, code=1)["error"]
        self.assertEqual(error["code"], "data_loss")
        self.assertIn(damaged.name, error["message"])
        self.assertFalse(self.db.exists())

    def test_store_commands(self):
        self.put_three()
        self.run_rag("index", self.docs, "--metadata", "team=ops", "--metadata", "level=3")
        document = self.rag_json("get", self.docs / "keys.md")
        self.assertEqual(document["text"], (self.docs / "keys.md").read_text())
        self.assertEqual(document["metadata"]["team"], "ops")
        self.assertEqual(document["metadata"]["level"], 3)
        chunk = self.rag_json("get", "--chunk", document["chunk_ids"][0])
        self.assertIn(chunk["text"], document["text"])
        self.assertEqual(self.rag_json("stats")["documents"], 4)
        self.assertEqual(self.rag_json("verify")["problems"], [])
        self.assertIn("sound", self.run_rag("verify").stdout)
        self.assertEqual(self.rag_json("rm", "bees", "seoul")["removed"], 2)
        self.assertEqual(self.rag_json("rm", "bees", code=1)["error"]["code"], "not_found")
        self.assertEqual(self.rag_json("stats")["documents"], 2)
        # A document of a file goes by its path too, and a wrong name among several removes none.
        path = os.path.relpath(self.docs / "keys.md")
        self.assertEqual(self.rag_json("get", path)["document"], str(self.docs / "keys.md"))
        self.assertIn("rag get lists", self.rag_json("rm", path, "absent", code=1)["error"]["message"])
        self.assertEqual(self.rag_json("stats")["documents"], 2)
        self.assertEqual(self.rag_json("rm", path, self.docs / "keys.md")["removed"], 1)
        self.assertNotIn("lists", self.rag_json("rm", path, "-c", "no", code=1)["error"]["message"])
        self.assertEqual(self.rag_json("stats")["documents"], 1)
        self.rag_json("collections", "create", "small", "--index", "flat", "--chunk-tokens", "32")
        error = self.rag_json("collections", "create", "small", code=1)["error"]
        self.assertEqual(error["code"], "already_exists")
        names = [c["name"] for c in self.rag_json("collections", "list")["collections"]]
        self.assertEqual(names, ["default", "small"])
        self.rag_json("collections", "drop", "small")
        self.assertEqual(len(self.rag_json("collections", "list")["collections"]), 1)

    def test_standard_input(self):
        self.rag_json("index", "-", stdin="Owls hunt at night.\n")
        report = self.rag_json("index", "-", "--stdin-name", "page.html",
                               stdin="<h1>Foxes</h1><p>Foxes dig dens.</p>")
        self.assertEqual(report["indexed"], 1)
        self.assertEqual(self.rag_json("get")["documents"], ["page.html", "stdin.txt"])
        hit = self.rag_json("search", "-", stdin="dens\n")["hits"][0]
        self.assertEqual(hit["document"], "page.html")
        self.assertEqual(self.rag_json("index", "-", stdin="Owls hunt at night.\n")["unchanged"], 1)
        # Other runs do not prune what came from no file.
        self.put("a.txt", "Apples.")
        self.assertEqual(self.rag_json("index", self.docs, "--prune")["removed"], 0)

    def test_korean_paths_and_text(self):
        path = self.put("문서/서울 안내.md", "# 교통\n\n서울의 지하철은 아홉 개 노선이 있다.\n")
        self.assertEqual(self.rag_json("index", self.docs)["indexed"], 1)
        hit = self.rag_json("search", "지하철은")["hits"][0]
        self.assertEqual(hit["document"], str(path))
        self.assertEqual(hit["heading"], "교통")
        self.assertIn("서울 안내.md", self.run_rag("search", "지하철은").stdout)

    def test_terminal_is_not_driven_by_documents(self):
        self.put("evil.txt", "Plain words \x1b]0;owned\x07 and \u009b31m more words.\n")
        self.run_rag("index", self.docs)
        for arguments in (("search", "words"), ("ask", "Which words?"),
                          ("get", self.docs / "evil.txt")):
            text = self.run_rag(*arguments).stdout
            self.assertNotIn("\x1b", text)
            self.assertNotIn("\u009b", text)

    def test_chat_reads_lines(self):
        self.put_three()
        self.run_rag("index", self.docs)
        done = self.run_rag("chat", "--json",
                            stdin="How often is the signing key rotated?\n\nWhat do bees make?\n")
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(answers), 2)
        self.assertIn("ninety", answers[0]["answer"])
        self.assertIn("honey", answers[1]["answer"])

    def test_chat_goes_on_after_a_line_that_is_refused(self):
        self.put_three()
        self.run_rag("index", self.docs)
        command = [RAG, "--encoder", self.encoder, "--db", self.db, "chat"]
        lines = b"What do b\xffees make?\n\nWhat do bees make?\n"
        done = subprocess.run(command + ["--json"], input=lines, capture_output=True, env=self.env, timeout=600, check=False)
        error, answer = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(error["error"], {"code": "invalid_argument",
                                          "message": "line 1 of standard input: the question is not UTF-8 at byte 9"})
        self.assertIn("honey", answer["answer"])
        self.assertEqual(done.returncode, 1)
        done = subprocess.run(command, input=lines, capture_output=True, env=self.env, timeout=600, check=False)
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1))
        self.assertIn(b"honey", done.stdout)

    def test_chat_ends_when_no_line_can_be_answered(self):
        done = self.run_rag("chat", "--no-retrieval", "--json", stdin="One?\nTwo?\n", code=1)
        self.assertEqual([json.loads(line)["error"]["code"] for line in done.stdout.splitlines()], ["failed_precondition"])


class BadFiles(CliTest):
    def docx(self, text):
        path = self.folder / "made.docx"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", "<Types xmlns='http://schemas.openxmlformats.org/"
                             "package/2006/content-types'/>")
            archive.writestr("word/document.xml",
                             "<w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/"
                             f"2006/main'><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body>"
                             "</w:document>")
        return path.read_bytes()

    def test_every_format(self):
        good = self.docx("A word document about otters.")
        self.put("good.docx", good)
        self.put("good.txt", "Plain text.")
        bad = set()

        def put_bad(name, content):
            bad.add(str(self.put(name, content)))

        for extension in ("txt", "md", "html", "pdf", "docx", "pptx", "xlsx", "odt", "epub", "csv", "jsonl",
                          "py"):
            put_bad(f"empty.{extension}", b"")
            with open(self.put(f"large.{extension}", b"x"), "r+b") as large:
                large.truncate(100 << 20)
            bad.add(str(self.docs / f"large.{extension}"))
        put_bad("truncated.docx", good[: len(good) // 2])
        put_bad("truncated.pdf", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R")
        put_bad("truncated.jsonl", '{"id": "t", "text": "cut o')
        put_bad("wrong.pdf", "this is no PDF")
        put_bad("wrong.docx", "this is no DOCX")
        put_bad("wrong.jsonl", "these are no JSON objects\n")
        put_bad("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(64))
        put_bad("binary.txt", bytes(range(256)) * 16)
        report = self.rag_json("index", self.docs)
        told = {failure["path"].split(".jsonl:")[0] + (".jsonl" if ".jsonl:" in failure["path"] else "")
                for failure in report["failed"]}
        self.assertEqual(told, bad)
        for failure in report["failed"]:
            self.assertTrue(failure["error"])
        told = [line for line in self.run_rag("index", self.docs).stderr.splitlines()
                if line.startswith("failed: ")]
        self.assertEqual(len(told), len(report["failed"]))
        for line in told:
            self.assertEqual(line.count(str(self.docs)), 1, line)
        self.assertEqual(report["indexed"], 2)
        self.assertEqual(self.rag_json("search", "otters")["hits"][0]["document"],
                         str(self.docs / "good.docx"))
        # The run did its work; --strict and a run of which nothing came say otherwise.
        self.run_rag("index", self.docs, "--strict", code=1)
        self.run_rag("index", self.docs / "wrong.pdf", code=1)
        self.run_rag("index", self.docs / "absent.txt", code=1)

    def test_office_files_and_books(self):
        golden = ROOT / "tests" / "golden" / "documents"
        for extension in ("pptx", "xlsx", "epub", "odt", "ods", "odp"):
            shutil.copy(golden / f"made.{extension}", self.docs)
        report = self.rag_json("index", self.docs)
        self.assertEqual(report["indexed"], 6, report["failed"])
        hit = self.rag_json("search", "purple ones", "--mode", "lexical")["hits"][0]
        self.assertEqual(pathlib.Path(hit["document"]).name, "made.pptx")
        self.assertEqual((hit["page"], hit["heading"]), (3, "What they eat"))
        hit = self.rag_json("search", "rope", "--mode", "lexical")["hits"][0]
        self.assertEqual(pathlib.Path(hit["document"]).name, "made.xlsx")
        self.assertIn("item: rope, 10 m; price: 12.5; bought: 2024-03-05", hit["text"])

    def test_verify_names_what_cannot_be_read(self):
        for i in range(50):
            words = " ".join(f"word{(i * 7919 + j * 104729) % 99991}" for j in range(400))
            self.put(f"{i:02}.txt", words)
        self.run_rag("index", self.docs)
        self.run_rag("vacuum")
        whole = self.db
        named = []
        for file in whole.glob("*.sst"):
            if file.stat().st_size < 10_000:
                continue
            self.db = self.folder / f"damaged-{file.name}"
            shutil.copytree(whole, self.db)
            content = bytearray(file.read_bytes())
            content[2_000] ^= 1
            (self.db / file.name).write_bytes(content)
            report = self.rag_json("verify", code=1)
            # What cannot be read in order, a list of keys, ends it.
            self.assertTrue(report.get("problems") or report["error"]["code"] == "data_loss", report)
            named += [problem for problem in report.get("problems", [])
                      if problem.startswith(f"document '{self.docs}")]
        self.assertTrue(named)


class Pictures(CliTest):
    """With a small CLIP model of random weights."""

    def setUp(self):
        super().setUp()
        golden = ROOT / "tests" / "golden"
        model = self.folder / "small-clip"
        shutil.copytree(golden / "image_encoders" / "clip", model)
        shutil.copy(golden / "image_encoders" / "clip_tokenizer.json", model / "tokenizer.json")
        self.encoder = str(model)
        for row in json.loads((golden / "images" / "decode.json").read_text(encoding="utf-8")):
            if row["name"] in ("jpeg", "png-1-bit", "webp-lossy", "gif-grey"):
                self.put(f"{row['name']}.bin", base64.b64decode(row["file"]))

    def test_pictures_are_found_by_pictures_and_words(self):
        self.assertEqual(self.rag_json("index", self.docs)["indexed"], 4)
        picture = str(self.docs / "webp-lossy.bin")
        hits = self.rag_json("search", "--image", picture)["hits"]
        self.assertEqual((len(hits), hits[0]["document"], hits[0]["text"]), (4, picture, "webp-lossy.bin"))
        self.assertAlmostEqual(hits[0]["score"], 1, places=4)
        self.assertEqual(len(self.rag_json("search", "a barn", "--mode", "dense")["hits"]), 4)
        self.assertIn("webp-lossy.bin", self.run_rag("search", "--image", picture).stdout)
        # A setting for texts is passed over, a flag is not.
        self.env = dict(self.env, RAG_SEARCH_MODE="lexical")
        self.assertEqual(self.rag_json("search", "--image", picture)["hits"], hits)
        error = self.rag_json("search", "--image", picture, "--mode", "lexical", code=1)["error"]
        self.assertIn("no words", error["message"])
        error = self.rag_json("search", "--image", self.put("a.txt", "text"), code=1)["error"]
        self.assertEqual(error["code"], "invalid_argument")

    def test_vectors_of_pictures(self):
        paths = sorted(self.docs.iterdir())
        made = self.rag_json("embed", *[part for path in paths for part in ("--image", path)])
        self.assertEqual((made["dim"], len(made["vectors"])), (20, 4))
        for vector in made["vectors"]:
            self.assertAlmostEqual(sum(v * v for v in vector), 1, places=4)

    def test_a_probe_is_trained_and_asked(self):
        for number, path in enumerate(sorted(self.docs.iterdir())):
            label = self.docs / ("one" if number < 2 else "two")
            label.mkdir(exist_ok=True)
            path.rename(label / path.name)
        damaged = self.put("one/damaged.jpg", b"\xff\xd8\xff\xe0")
        probe = self.folder / "probe.json"
        report = self.rag_json("probe", "train", self.docs, "--output", probe, "--c", "1e7")
        self.assertEqual((report["images"], report["labels"], report["training_accuracy"]), (4, 2, 1))
        self.assertEqual([failure["path"] for failure in report["failed"]], [str(damaged)])
        damaged.unlink()
        pictures = sorted(self.docs.glob("*/*"))
        results = self.rag_json("probe", "predict", probe, *pictures)["results"]
        self.assertEqual([result["labels"][0]["label"] for result in results], [path.parent.name for path in pictures])
        report = self.rag_json("probe", "predict", probe, pictures[0], damaged)
        self.assertEqual((len(report["results"]), report["failed"][0]["path"]), (1, str(damaged)))
        self.assertIn("one", self.run_rag("probe", "predict", probe, pictures[0]).stdout)
        error = self.rag_json("probe", "train", self.folder / "absent", "--output", probe, code=1)["error"]
        self.assertIn("absent", error["message"])

    def test_labels(self):
        paths = sorted(str(path) for path in self.docs.iterdir())
        results = self.rag_json("classify", *paths, "--labels", "cat,dog,barn", "--template", "a {}", "--template",
                                "one {}")["results"]
        self.assertEqual([result["image"] for result in results], paths)
        for result in results:
            self.assertEqual({label["label"] for label in result["labels"]}, {"cat", "dog", "barn"})
            self.assertAlmostEqual(sum(label["probability"] for label in result["labels"]), 1, places=6)
        text = self.run_rag("classify", paths[0], "--label", "a cat, asleep", "--label", "dog").stdout
        self.assertIn("a cat, asleep", text)
        # What cannot be read is told, and the rest is labelled.
        absent = str(self.docs / "absent.png")
        report = self.rag_json("classify", absent, paths[0], "--labels", "a")
        self.assertEqual([result["image"] for result in report["results"]], [paths[0]])
        self.assertEqual([(failure["path"], failure["code"]) for failure in report["failed"]], [(absent, "not_found")])
        done = self.run_rag("classify", absent, paths[0], "--labels", "a")
        self.assertIn(f"failed: cannot open '{absent}'", done.stderr)
        self.assertIn(paths[0], done.stdout)
        self.assertEqual(self.rag_json("classify", absent, "--labels", "a", code=1)["results"], [])


class Interrupted(CliTest):
    documents = 20_000

    def put_ledger(self):
        with open(self.docs / "ledger.jsonl", "w", encoding="utf-8") as ledger:
            for i in range(self.documents):
                text = f"Entry {i} of the ledger says that item {i * 7919 % 10007} was counted. " * 4
                ledger.write(json.dumps({"id": f"{i:06}", "text": text}) + "\n")
        self.put("z.txt", "The last file.")

    def start(self):
        return subprocess.Popen([RAG, "--encoder", self.encoder, "--db", str(self.db), "index",
                                 str(self.docs), "--json"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=self.env)

    def wait_for_documents(self, process):
        """Until some of them are in the store, which its size tells."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            size = sum(p.stat().st_size for p in self.db.rglob("*.log") if p.exists()) \
                if self.db.exists() else 0
            if size > 200_000:
                return
            time.sleep(0.005)

    def finish_and_check(self):
        self.assertEqual(self.rag_json("verify")["problems"], [])
        before = self.rag_json("stats")["documents"]
        report = self.rag_json("index", self.docs)
        self.assertEqual(report["failed"], [])
        # What was there is not written again.
        self.assertEqual(report["documents"], self.documents + 1 - before)
        self.assertEqual(self.rag_json("stats")["documents"], self.documents + 1)
        self.assertEqual(self.rag_json("verify")["problems"], [])
        self.assertEqual(self.rag_json("index", self.docs)["unchanged"], 2)
        return before

    def test_kill(self):
        self.put_ledger()
        process = self.start()
        self.wait_for_documents(process)
        process.kill()
        process.communicate()
        self.assertEqual(process.returncode, -signal.SIGKILL, "it ended before it was killed")
        before = self.finish_and_check()
        self.assertGreater(before, 0)
        self.assertLess(before, self.documents)

    def test_control_c(self):
        self.put_ledger()
        process = self.start()
        self.wait_for_documents(process)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, err)
        report = json.loads(out)
        self.assertIs(report["cancelled"], True)
        self.assertLess(time.monotonic() - started, 30)
        self.assertEqual(self.finish_and_check(), report["documents"])

    def test_in_use(self):
        self.put_ledger()
        process = self.start()
        self.wait_for_documents(process)
        error = self.rag_json("rm", "x", code=1)["error"]
        self.assertGreater(self.rag_json("stats")["documents"], 0)  # it only reads
        process.kill()
        process.communicate()
        self.assertEqual(error["code"], "unavailable")
        self.assertIn(str(process.pid), error["message"])


class Evaluation(CliTest):
    def test_eval(self):
        data = self.folder / "beir"
        (data / "qrels").mkdir(parents=True)
        (data / "corpus.jsonl").write_text(
            '{"_id": "1", "title": "Cats", "text": "The cat sleeps."}\n'
            '{"_id": "2", "title": "Dogs", "text": "The dog barks at strangers."}\n')
        (data / "queries.jsonl").write_text('{"_id": "q", "text": "who barks at strangers"}\n')
        (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t2\t1\n")
        report = self.rag_json("eval", data, "-k", "10,100", "--mode", "lexical", db=False)
        for name in ("ndcg@10", "recall@10", "recall@100", "mrr@10", "queries", "seconds"):
            self.assertIn(name, report)
        self.assertEqual(report["ndcg@10"], 1)
        self.assertEqual(report["queries"], 1)
        self.assertFalse((self.folder / "data").exists())  # the user's data are not touched
        self.rag_json("eval", data, "-k", "5", "--mode", "lexical")  # with --db it stays
        self.assertEqual(self.rag_json("stats", "-c", "eval-lexical")["documents"], 2)
        self.assertIn("ndcg@10", self.run_rag("eval", data, "--mode", "lexical").stdout)
        self.assertEqual(self.rag_json("eval", self.folder, code=1)["error"]["code"], "not_found")
        flags = ("--rrf-k", "10", "--dense-weight", "2", "--lexical-weight", "0.5", "--ef-search", "50", "--exact")
        self.assertEqual(self.rag_json("eval", data, "--mode", "lexical", *flags)["ndcg@10"], 1)
        reranker = self.folder / "reranker"
        golden = ROOT / "tests" / "golden"
        shutil.copytree(golden / "rerankers" / "bert", reranker)
        shutil.copy(golden / "encoder_families" / "tokenizers" / "word_piece.json", reranker / "tokenizer.json")
        flags = ("--rerank", reranker, "--rerank-top", "2")
        self.assertIn("ndcg@10", self.rag_json("eval", data, "--mode", "lexical", *flags))
        found = self.rag_json("search", "dog", "-c", "eval-lexical", "--mode", "lexical", *flags)
        self.assertGreater(found["rerank_ms"], 0)
        self.assertTrue(0 < found["hits"][0]["score"] < 1)
        error = self.rag_json("search", "dog", "-c", "eval-lexical", "--rerank", "absent", code=1)["error"]
        self.assertIn("absent", error["message"])
        error = self.rag_json("eval", data, "--mode", "lexical", "--lexical-weight", "-1", code=1)["error"]
        self.assertIn("lexical_weight -1", error["message"])


class SmallModels(CliTest):
    """With models of random weights, whose reference outputs are in tests/golden."""

    def copy_model(self, golden, tokenizer="word_piece"):
        folder = self.folder / golden.replace("/", "-")
        shutil.copytree(ROOT / "tests" / "golden" / golden, folder)
        tokenizers = ROOT / "tests" / "golden" / "encoder_families" / "tokenizers"
        shutil.copy(tokenizers / f"{tokenizer}.json", folder / "tokenizer.json")
        return folder, json.loads((folder / "expected.json").read_text(encoding="utf-8"))

    def test_sparse_vectors(self):
        model, _ = self.copy_model("sparse/bert")
        self.put_three()
        self.rag_json("index", self.docs, "--sparse", model)
        stats = self.rag_json("stats")
        self.assertEqual((stats["sparse"]["dim"], stats["index"]), (600, None))
        line = self.run_rag("stats").stdout.splitlines()[0]
        self.assertRegex(line, r"sparse vectors of 600 dimensions, [\d.]+ \w+ of their lists in memory$")
        self.assertNotIn("lexical only", line)
        hits = self.rag_json("search", "the signing key is rotated", "--sparse", model, "--mode", "sparse")["hits"]
        self.assertTrue(hits and all(h["score"] > 0 for h in hits))
        self.assertEqual([h["score"] for h in hits], sorted((h["score"] for h in hits), reverse=True))
        fused = self.rag_json("search", "signing key", "--sparse", model, "--sparse-weight", "0.5")["hits"]
        self.assertLess(fused[0]["score"], 1)  # ranks, not products
        self.env = dict(self.env, RAG_SPARSE=str(model))
        self.assertEqual(self.rag_json("search", "the signing key is rotated", "--mode", "sparse")["hits"], hits)
        self.assertEqual(self.rag_json("verify")["problems"], [])
        self.run_rag("rm", self.docs / "keys.md")
        left = self.rag_json("search", "the signing key is rotated", "--mode", "sparse")["hits"]
        self.assertEqual([h for h in hits if not h["document"].endswith("keys.md")],
                         [h | {"rank": n} for h, n in zip(left, [h["rank"] for h in hits
                                                                 if not h["document"].endswith("keys.md")])])
        del self.env["RAG_SPARSE"]
        self.put("more.txt", "More words.")
        error = self.rag_json("index", self.docs, code=1)["error"]
        self.assertEqual(error["code"], "failed_precondition")
        self.assertIn("sparse encoder", error["message"])
        error = self.rag_json("search", "key", "--mode", "sparse", code=1)["error"]
        self.assertIn("without a sparse encoder", error["message"])
        self.assertTrue(self.rag_json("search", "cat")["hits"])

    def test_token_vectors(self):
        model = ROOT / "tests" / "golden" / "late_interaction" / "pylate"
        self.put_three()
        self.rag_json("index", self.docs, "--rerank", model, "--token-vectors")
        self.rag_json("index", self.docs, "-c", "without")
        self.assertEqual([self.rag_json("stats", "-c", name)["token_vectors"] for name in ("default", "without")],
                         [True, False])
        kept, read = ({hit["document"]: hit["score"] for hit in
                       self.rag_json("search", "the signing key of a cat", "-c", name, "--rerank", model)["hits"]}
                      for name in ("default", "without"))
        self.assertEqual(kept.keys(), read.keys())
        self.assertGreater(len(kept), 1)
        self.assertNotEqual(kept, read)
        for document, score in kept.items():
            self.assertAlmostEqual(score, read[document], delta=0.2)
        self.assertEqual(self.rag_json("verify")["problems"], [])
        self.put("more.txt", "More words.")
        error = self.rag_json("index", self.docs, code=1)["error"]
        self.assertIn("reranker", error["message"])

    def test_labels_of_texts(self):
        model, expected = self.copy_model("heads/sequence-bert")
        texts = expected["texts"][:3]
        flags = [part for text in texts for part in ("--text", text)]
        results = self.rag_json("classify", *flags, "--classifier", model, db=False)["results"]
        self.assertEqual([result["text"] for result in results], texts)
        for result, scores in zip(results, expected["scores"]):
            wanted = dict(zip(("world", "sport", "business", "science"), scores))
            for label in result["labels"]:
                self.assertAlmostEqual(label["probability"], wanted[label["label"]], delta=2e-5)
        lines = self.rag_json("classify", "--text", "-", "--classifier", model, stdin="one line\n\nanother\n")["results"]
        self.assertEqual([result["text"] for result in lines], ["one line", "another"])
        self.assertIn("business", self.run_rag("classify", "--text", "x", "--classifier", model).stdout)
        error = self.rag_json("classify", "--text", "x", "--labels", "a,b", "--classifier", model, code=1)["error"]
        self.assertEqual(error["code"], "failed_precondition")
        error = self.rag_json("classify", "--text", "x", "--labels", "a,b", code=1)["error"]
        self.assertIn("no classifier is configured", error["message"])
        for wrong in (["classify"], ["classify", "a.png", "--text", "x"], ["classify", "--text", "x", "--template", "{}"],
                      ["classify", "--text", "x", "--tokens", "--labels", "a"], ["classify", "a.png", "--several"]):
            self.run_rag(*wrong, code=2)

    def test_labels_by_entailment(self):
        model, expected = self.copy_model("heads/sequence-nli", "unigram")
        for several, key in (((), "zero_shot"), (("--several",), "zero_shot_several")):
            found = self.rag_json("classify", "--text", expected["short"][0], "--labels", ",".join(expected["labels"]),
                                  "--classifier", model, *several)["results"][0]["labels"]
            for label, score in zip(expected["labels"], expected[key][0]):
                self.assertAlmostEqual({f["label"]: f["probability"] for f in found}[label], score, delta=2e-5)
        other = self.rag_json("classify", "--text", expected["short"][0], "--label", expected["labels"][0], "--label",
                              "b", "--hypothesis", "It is about {}.", "--classifier", model)["results"][0]["labels"]
        self.assertAlmostEqual(sum(label["probability"] for label in other), 1, places=5)

    def test_labels_of_tokens(self):
        model, expected = self.copy_model("heads/token-bert")
        number = next(i for i, found in enumerate(expected["found"]) if found)
        text = expected["texts"][number]
        result = self.rag_json("classify", "--text", text, "--tokens", "--classifier", model)["results"][0]
        self.assertEqual([([r["start"], r["end"]], r["label"]) for r in result["ranges"]],
                         [(want["range"], want["label"]) for want in expected["found"][number]])
        for place in result["ranges"]:
            self.assertEqual(place["text"].encode(), text.encode()[place["start"]:place["end"]])
        self.assertIn(result["ranges"][0]["label"],
                      self.run_rag("classify", "--text", text, "--tokens", "--classifier", model).stdout)

    def test_a_reader_answers(self):
        model, _ = self.copy_model("heads/answer-bert")
        self.put_three()
        self.run_rag("index", self.docs)
        answer = self.rag_json("ask", "How often is the signing key rotated?", "--reader", model)
        self.assertEqual(answer["mode"], "extractive")
        self.assertIn("reader", answer["note"])
        for citation in answer["citations"]:
            self.assertTrue(citation["verified"])
            self.assertIn(answer["answer"].rsplit(" [", 1)[0], " ".join(citation["quote"].split()))
        error = self.rag_json("ask", "key?", "--reader", "absent", code=1)["error"]
        self.assertEqual(error["code"], "not_found")


class Models(CliTest):
    def test_models_folder(self):
        self.env["RAG_MODELS"] = str(self.folder / "models")
        self.assertEqual(self.rag_json("models", "list")["models"], [])
        error = self.rag_json("models", "show", "absent", code=1)["error"]
        self.assertEqual(error["code"], "not_found")
        self.assertIn("rag models add", error["message"])
        self.put("fake.gguf", "no GGUF")
        self.rag_json("models", "add", self.docs / "fake.gguf", code=1)
        self.assertEqual(self.rag_json("embed", "x", code=1)["error"]["code"], "failed_precondition")

    def test_decoder_folders_are_quantized_and_answer_in_json(self):
        model = self.folder / "tiny"
        golden = ROOT / "tests" / "golden" / "decoders"
        shutil.copytree(golden / "qwen3", model)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(golden / name, model / name)
        shown = self.rag_json("models", "show", model)
        self.assertEqual((shown["kind"], shown["metadata"]["general.architecture"]), ("decoder", "qwen3"))
        written = self.rag_json("models", "quantize", model, self.folder / "tiny.gguf", "--type", "Q8_0")
        self.assertLess(written["bytes"], written["bytes_before"])
        again = self.rag_json("models", "quantize", model, self.folder / "again.gguf", "--type", "q8_0")
        self.assertEqual((again["type"], again["bytes"]), ("Q8_0", written["bytes"]))
        self.rag_json("models", "quantize", model, self.folder / "no.gguf", "--type", "Q9", code=1)
        schema = self.put("schema.json", '{"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3}')
        for llm in (model, self.folder / "tiny.gguf"):
            answer = self.rag_json("chat", "--no-retrieval", "--llm", llm, "--json-schema", schema, "--max-tokens", "40",
                                   "--temperature", "1", "--system", "x", stdin="Hi\n")
            self.assertTrue(all(isinstance(item, bool) for item in json.loads(answer["answer"])))
        wrong = self.put("wrong.gbnf", 'root ::= root "a" | "b"')
        error = self.rag_json("chat", "--no-retrieval", "--llm", model, "--grammar", wrong, stdin="Hi\n", code=1)["error"]
        self.assertIn("left recursion", error["message"])
        # As for a question, which is not searched for then; this model's vocabulary has no "é".
        self.put_three()
        self.run_rag("index", self.docs)
        answer = self.rag_json("ask", "signing key", "--mode", "lexical", "--llm", model, "--regex", "[a-c]{1,9}",
                               "--max-tokens", "9", "--system", "x")
        self.assertRegex(answer["answer"], r"\A[a-c]{1,9}\Z")
        for flags, message in ((("--grammar", wrong), "left recursion"), (("--regex", "é"), "nothing can be written")):
            error = self.rag_json("ask", "zebra", "--mode", "lexical", "--llm", model, *flags, code=1)["error"]
            self.assertEqual(error["code"], "invalid_argument")
            self.assertIn(message, error["message"])

    def test_decoders_are_quantized_by_what_matters(self):
        golden = ROOT / "tests" / "golden"
        text = golden / "importance" / "text.txt"
        model, matrix = golden / "decoders" / "llama3" / "model.gguf", self.folder / "imatrix.gguf"
        collected = self.rag_json("models", "imatrix", model, text, "-o", matrix, "--chunk-tokens", "32", "--chunks", "3")
        self.assertEqual((collected["chunks"], collected["chunk_tokens"]), (3, 32))
        self.assertGreater(collected["tensors"], 4)
        written = self.rag_json("models", "quantize", model, self.folder / "small.gguf", "--type", "Q4_K_M", "--imatrix",
                                matrix)
        self.assertEqual(written["type"], "Q4_K_M")
        metadata = self.rag_json("models", "show", self.folder / "small.gguf")["metadata"]
        self.assertEqual(metadata["quantize.imatrix.chunks_count"], 3)
        self.rag_json("models", "quantize", model, self.folder / "no.gguf", "--imatrix", text, code=1)
        self.assertFalse((self.folder / "no.gguf").exists())

    def test_adapters_and_a_draft_model(self):
        model = self.folder / "tiny"
        golden = ROOT / "tests" / "golden"
        shutil.copytree(golden / "decoders" / "llama3", model)
        shutil.copy(golden / "decoders" / "tokenizer.json", model / "tokenizer.json")
        first, second = golden / "lora" / "llama_all", golden / "lora" / "llama_attention" / "adapter.gguf"

        def answer(*flags, llm=model):
            return self.rag_json("chat", "--no-retrieval", "--llm", llm, "--max-tokens", "16", "--system", "x", *flags,
                                 stdin="Hi\n")["answer"]
        plain = answer()
        self.assertEqual(answer("--draft-model", model, "--draft-min-probability", "0"), plain)
        adapted = answer("--lora", f"style={first}:0.5", "--lora", second)
        self.assertNotEqual(adapted, plain)
        self.assertEqual(answer("--lora", f"a={second}", "--lora", f"b={first}:0.5"), adapted)
        self.env["RAG_LORA"] = f"style={first}:0.5,{second}"
        self.assertEqual(answer(), adapted)
        del self.env["RAG_LORA"]

        # Tied weights are stored once, and this model's are not tied.
        merged = self.folder / "merged.gguf"
        self.rag_json("models", "quantize", model, merged, "--type", "F32", "--lora", f"{first}:0.5", "--lora", second)
        self.assertEqual(answer(llm=merged), adapted)

        error = self.rag_json("chat", "--no-retrieval", "--llm", model, "--lora", golden / "lora" / "gpt2", stdin="Hi\n",
                              code=1)["error"]
        self.assertEqual(error["code"], "invalid_argument")
        self.assertIn("architecture 'llama'", error["message"])
        error = self.rag_json("chat", "--no-retrieval", "--llm", model, "--lora", "x=", stdin="Hi\n", code=1)["error"]
        self.assertIn("NAME=PATH", error["message"])

    def test_a_cache_of_keys_and_values_is_kept(self):
        model = ROOT / "tests" / "golden" / "decoders" / "llama3" / "model.gguf"
        kept = self.folder / "kept.kv"

        def chat(*flags, code=0):
            done = self.run_rag("chat", "--json", "--no-retrieval", "--llm", model, "--kv-cache", kept, "--max-tokens",
                                "8", "--context-tokens", "2048", "--system", "x " * 20, *flags, stdin="Hi\n", code=code)
            return json.loads(done.stdout.splitlines()[0]), done.stderr
        first, _ = chat()
        self.assertEqual(first["usage"]["cached_tokens"], 0)
        self.assertEqual(kept.stat().st_mode & 0o777, 0o600)
        written = kept.read_bytes()
        again, _ = chat()
        self.assertEqual(again["answer"], first["answer"])
        self.assertEqual(again["usage"]["cached_tokens"], first["usage"]["prompt_tokens"] - 1)
        for damaged in (written[:-1], written[:100], written[:200] + b"?" + written[201:]):
            kept.write_bytes(damaged)
            fresh, said = chat()
            self.assertEqual((fresh["answer"], fresh["usage"]["cached_tokens"]), (first["answer"], 0))
            self.assertIn("is damaged", said)
        self.assertGreater(chat()[0]["usage"]["cached_tokens"], 0)
        fresh, said = chat("--kv-type", "f16")
        self.assertEqual(fresh["usage"]["cached_tokens"], 0)
        self.assertIn("another model", said)

        kept.write_text("Dear reader,")
        error, _ = chat(code=1)
        self.assertEqual(error["error"]["code"], "invalid_argument")
        self.assertIn(str(kept), error["error"]["message"])
        self.assertEqual(kept.read_text(), "Dear reader,")

        # An answer from documents begins with what the one before began with.
        kept.unlink()
        self.put_three()
        self.run_rag("index", self.docs)
        for cached in (False, True):
            answer = self.rag_json("ask", "Why do cats sleep?", "--llm", model, "--kv-cache", kept, "--max-tokens", "8",
                                   "--mode", "lexical", "--context-tokens", "2048")
            self.assertEqual(answer["usage"]["cached_tokens"] > 0, cached, answer)

    def test_encoders_are_quantized(self):
        model, small = ROOT / "tests" / "golden" / "encoders" / "bert", self.folder / "small"
        written = self.rag_json("models", "quantize", model, small)
        self.assertEqual(written["type"], "int8")
        self.assertLess(written["bytes"], written["bytes_before"])
        self.assertEqual(self.rag_json("models", "quantize", model, self.folder / "half", "--type", "BF16")["type"], "bf16")

        def embed(encoder, *flags):
            self.encoder = str(encoder)
            return self.rag_json("embed", "the cat", *flags, db=False)["vectors"]

        self.assertEqual(embed(small), embed(model, "--precision", "int8"))
        self.assertNotEqual(embed(small), embed(model))
        exact, rounded = embed(model)[0], embed(model, "--precision", "bf16x3")[0]
        self.assertGreater(sum(a * b for a, b in zip(exact, rounded)), 0.999999)
        error = self.rag_json("models", "quantize", model, small, code=1)["error"]
        self.assertEqual(error["code"], "already_exists")
        self.rag_json("models", "quantize", model, self.folder / "q4", "--type", "Q4_K", code=1)
        self.rag_json("models", "quantize", model, self.folder / "q4", "--imatrix", "x", code=1)

    def test_prompts_of_the_model(self):
        model = self.folder / "model"
        shutil.copytree(ROOT / "tests" / "golden" / "encoders" / "bert", model)
        (model / "config_sentence_transformers.json").write_text('{"prompts": {"query": "the cat "}}')
        self.encoder = str(model)
        embed = lambda *arguments: self.rag_json("embed", *arguments, db=False)["vectors"][0]
        self.assertEqual(embed("sat", "--role", "query"), embed("the cat sat"))
        self.assertEqual(embed("sat", "--role", "document"), embed("sat"))
        self.assertNotEqual(embed("sat", "--role", "query"), embed("sat"))

    def test_word_vectors(self):
        golden = ROOT / "tests" / "golden" / "word_vectors"
        self.encoder = str(golden / "words.vec")
        wanted = json.loads((golden / "expected.json").read_text())["analogies"][0]
        out = self.rag_json("embed", "--analogy", wanted["expression"], "-k", "5", db=False)
        self.assertEqual([word["word"] for word in out["words"]], [word for word, _ in wanted["words"]])
        lines = self.run_rag("embed", "--analogy", wanted["expression"], db=False).stdout.splitlines()
        self.assertEqual(len(lines), 10)
        self.assertEqual(len(self.rag_json("embed", "king", db=False)["vectors"][0]), 12)
        error = self.rag_json("embed", "king", "-", stdin="queen\n\n", code=1, db=False)["error"]
        self.assertEqual((error["code"], error["message"]), ("invalid_argument", "line 2 of standard input is empty"))
        self.assertEqual(self.rag_json("embed", "-", stdin="queen\n \t\n", code=1, db=False)["error"]["message"],
                         "line 2 of standard input holds nothing but white space")
        self.assertIn("dragon", self.rag_json("embed", "--analogy", "dragon", code=1, db=False)["error"]["message"])
        self.run_rag("embed", code=2, db=False)
        self.run_rag("embed", "king", "--analogy", "king", code=2, db=False)
        self.run_rag("embed", "--analogy", "", code=2, db=False)

    def test_default_encoder(self):
        if not has_encoder():
            self.skipTest("the default encoder is not set up")
        listed = self.rag_json("models", "list")["models"]
        self.assertIn((ENCODER, "encoder"), [(m["name"], m["kind"]) for m in listed])
        self.assertEqual(self.rag_json("models", "show", ENCODER)["config"]["hidden_size"], 384)
        self.encoder = ENCODER
        out = self.rag_json("embed", "-", "one more", stdin="first\nsecond\n", db=False)
        self.assertEqual((out["dim"], len(out["vectors"])), (384, 3))
        self.assertAlmostEqual(sum(x * x for x in out["vectors"][0]), 1, places=4)
        long = self.rag_json("embed", "word " * 2000, db=False)
        self.assertGreater(long["truncated"][0], 1000)


class WithEncoder(Documents):
    """The document tests again, with vectors."""
    encoder = ENCODER

    def setUp(self):
        if not has_encoder():
            self.skipTest("the default encoder is not set up")
        super().setUp()

    def test_an_index_is_chosen_by_measuring(self):
        self.put_three()
        self.run_rag("index", self.docs, "--index", "auto:recall=0.9,memory=64mb")
        # Too few to measure yet.
        index = self.rag_json("stats")["index"]
        self.assertEqual((index["kind"], index["goal"]), ("hnsw", "auto:recall=0.900,k=10,memory=67108864"))
        self.assertEqual(self.rag_json("tune", code=1)["error"]["code"], "failed_precondition")
        self.put("many.jsonl", "".join(json.dumps({"id": f"n{i}", "text": f"Item {i} of shelf {i % 37}"}) + "\n"
                                       for i in range(1_100)))
        report = self.rag_json("index", self.docs)
        picked = report["tuned"]["picked"]
        self.assertTrue(picked["fits"] and picked["finds_enough"], report)
        self.assertGreaterEqual(picked["recall"], 0.9)
        self.assertIn(picked["index"], [trial["index"] for trial in report["tuned"]["trials"]])
        self.assertNotIn("tuned", self.rag_json("index", self.docs))  # nothing has grown
        self.assertEqual(self.rag_json("verify")["problems"], [])
        before = self.rag_json("stats")["index"]
        self.assertIn("picked", self.run_rag("tune", "--recall", "0.8", "--dry-run").stdout)
        self.assertEqual(self.rag_json("stats")["index"], before)
        error = self.rag_json("tune", "--recall", "0.9", "--memory", "10kb", code=1)["error"]
        self.assertEqual(error["code"], "failed_precondition")
        self.assertIn("MB", error["message"])
        self.assertEqual(self.rag_json("tune", "--memory", "much", code=1)["error"]["code"], "invalid_argument")
        self.assertEqual(self.rag_json("search", "shelf 12", "-k", 3)["hits"][0]["rank"], 1)

    def test_an_index_out_of_reach_is_said_once(self):
        self.put("many.jsonl", "".join(json.dumps({"id": f"n{i}", "text": f"Item {i} of shelf {i % 37}"}) + "\n"
                                       for i in range(1_010)))
        report = self.rag_json("index", self.docs, "--index", "auto:recall=0.9,memory=10kb")
        self.assertEqual((report["documents"], report["tune_error"]["error"]["code"]), (1_010, "failed_precondition"))
        self.assertIn("MB", report["tune_error"]["error"]["message"])
        self.assertNotIn("tune_error", self.rag_json("index", self.docs))
        self.assertEqual(self.rag_json("stats")["chunks"], 1_010)

    def test_bench(self):
        self.put_three()
        self.run_rag("index", self.docs)
        out = self.rag_json("bench", "--seconds", "0.2")
        self.assertGreater(out["encode"]["texts_per_second"], 0)
        self.assertGreater(out["search"]["queries_per_second"], 0)
        self.assertEqual(out["search"]["recall@10"], 1)

    def test_recall(self):
        self.put_three()
        self.run_rag("index", self.docs)
        report = self.rag_json("verify", "--recall", "2")
        self.assertEqual((report["ok"], report["recall"]["queries"], report["recall"]["k"]), (True, 2, 10))
        self.assertEqual(report["recall"]["recall"], 1)
        self.assertEqual(self.rag_json("verify", "--recall")["recall"]["queries"], 4)
        self.assertIn("recall@10 1.0000 over 4", self.run_rag("verify", "--recall").stdout)

    def test_another_encoder_is_refused(self):
        self.put_three()
        self.run_rag("index", self.docs)
        self.encoder = "none"
        error = self.rag_json("index", self.docs, code=1)["error"]
        self.assertEqual(error["code"], "failed_precondition")
        self.assertIn(ENCODER, error["message"])


if __name__ == "__main__":
    RAG = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
