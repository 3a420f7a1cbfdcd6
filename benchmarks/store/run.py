#!/usr/bin/env python3
"""A store of vectors, texts and metadata beside Chroma, LanceDB, Milvus Lite and Qdrant's local mode: loading, search, filters, opening,
memory, deletes and kill -9, each system in processes of its own, in turns, on the same rows.

    python3 -m venv peers && peers/bin/pip install numpy chromadb lancedb "pymilvus[milvus-lite]" qdrant-client
    peers/bin/python benchmarks/store/make_sentences.py sentences/ scifact/corpus.jsonl cranfield/corpus.jsonl
    peers/bin/python benchmarks/store/run.py --data sentences/ --json store.json --markdown store.md

Each round loads all rows in batches into an empty store, searches, searches with filters, opens the store in a fresh process, removes
half of the rows and compacts; then every system is killed while it loads (--kills). How each system is used, and at which of its defaults, is in
benchmarks/peers/store_peers.py and benchmarks/store/bench_store.cc; where a default finds less than --recall, the first of its settings that
finds enough is measured too. Queries come one after another from one thread, each hit with its text. A removed row's text is looked for in
the bytes of the store's files and, where the package zstandard is there, in what their Zstandard frames hold; a system of whose texts none are
found that way before anything is removed compresses them otherwise, and nothing is said of it. Loading is measured to the first search's result.

Ctrl-C (or SIGTERM) keeps what is finished; --resume goes on from there. Needs numpy; strace, where it is there, counts the syncs of a batch.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import statistics
import string
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

try:
    import zstandard
except ImportError:
    zstandard = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ["chroma", "lancedb", "milvus-lite", "qdrant-local"]
OURS = {"rag": [], "rag-lexical": ["--lexical"]}
SEED = 7
# Name, and the share of the rows that it matches.
SHARES = {"half": 0.5, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}
MARKER_LENGTH = 16
ZSTANDARD_MAGIC = b"\x28\xb5\x2f\xfd"
MOST_FRAME_BYTES = 1 << 24
SYNCED_BATCHES = 5
# A hit is right when it is as near as the k-th best, but for rounding.
ROUNDING = 1e-5


def say(text):
    print(text, file=sys.stderr, flush=True)


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


class Failed(Exception):
    """A system's answer was an error, or none."""


class Rows:
    """The rows and queries, what filters match, and what exact search finds."""

    def __init__(self, source, most_rows, folder):
        rng = np.random.default_rng(SEED)
        synthetic = re.fullmatch(r"synthetic:(\d+)x(\d+)", source)
        if synthetic:
            rows, dim = map(int, synthetic.groups())
            centres = rng.normal(size=(max(1, rows // 50), dim))
            drawn = centres[rng.integers(len(centres), size=rows + 200)] + 0.5 * rng.normal(size=(rows + 200, dim))
            base, queries = drawn[:rows], drawn[rows:]
            texts = [f"row {row}" for row in range(rows)]
        else:
            data = pathlib.Path(source)
            base, queries = np.load(data / "base.npy"), np.load(data / "queries.npy")
            texts = (data / "texts.txt").read_text(encoding="utf-8").splitlines()
        base = base[:most_rows].astype("<f4")
        self.base = base / np.linalg.norm(base, axis=1, keepdims=True)
        queries = queries.astype("<f4")
        self.queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        self.count, self.dim = self.base.shape
        self.numbers = rng.permutation(self.count)
        shuffled = rng.permutation(self.count)
        self.tags = np.full(self.count, "rest", dtype=object)
        begin = 0
        for name, share in SHARES.items():
            size = int(share * self.count)
            self.tags[shuffled[begin:begin + size]] = name
            begin += size
        letters = random.Random(SEED)
        self.markers = ["".join(letters.choices(string.ascii_letters + string.digits, k=MARKER_LENGTH))
                        for _ in range(self.count)]
        self.removed = rng.random(self.count) < 0.5
        self.folder = folder
        self.base.tofile(folder / "base.f32")
        self.queries.tofile(folder / "queries.f32")
        with open(folder / "rows.jsonl", "w", encoding="utf-8") as file:
            for row in range(self.count):
                file.write(json.dumps({"text": f"{texts[row]} {self.markers[row]}", "number": int(self.numbers[row]),
                                       "tag": self.tags[row]}) + "\n")
        self.kth = {}

    def filters(self):
        for name, share in SHARES.items():
            yield f"number {share:.1%}", {"below": int(share * self.count)}
        for name, share in SHARES.items():
            yield f"tag {share:.1%}", {"tag": name}

    def allowed(self, wanted, without_removed):
        allowed = np.ones(self.count, dtype=bool)
        if wanted and "below" in wanted:
            allowed = self.numbers < wanted["below"]
        elif wanted:
            allowed = self.tags == wanted["tag"]
        return allowed & ~self.removed if without_removed else allowed

    def judge(self, found, wanted, k, without_removed=False):
        """found [queries, k], -1 for none -> recall, hits a query, and hits that should not be there."""
        allowed = self.allowed(wanted, without_removed)
        matches = min(k, int(allowed.sum()))
        key = (json.dumps(wanted), k, without_removed)
        if key not in self.kth:
            kept = self.base[allowed]
            parts = [np.partition(self.queries[i:i + 100] @ kept.T, -matches, axis=1)[:, -matches]
                     for i in range(0, len(self.queries), 100)]
            self.kth[key] = np.concatenate(parts)
        right = hits = wrong = 0
        for query, rows in enumerate(found):
            rows = np.unique(rows[(rows >= 0) & (rows < self.count)])
            hits += len(rows)
            wrong += int((~allowed[rows]).sum())
            rows = rows[allowed[rows]]
            right += int((self.base[rows] @ self.queries[query] >= self.kth[key][query] - ROUNDING).sum())
        return {"recall": right / (matches * len(found)), "hits": hits / len(found), "wrong_hits": wrong}

    def texts_in(self, folder):
        """How many rows' markers lie in the folder's files: of those to be removed, and of the others."""
        rows = {marker.encode(): row for row, marker in enumerate(self.markers)}
        seen = set()
        for path in folder.rglob("*"):
            if not path.is_file():
                continue
            for data in plain_and_compressed(path.read_bytes()):
                for run in re.finditer(rb"[A-Za-z0-9]{%d,}" % MARKER_LENGTH, data):
                    for i in range(len(run[0]) - MARKER_LENGTH + 1):
                        row = rows.get(run[0][i:i + MARKER_LENGTH])
                        if row is not None:
                            seen.add(row)
        removed = sum(bool(self.removed[row]) for row in seen)
        return {"removed": removed, "kept": len(seen) - removed}


def plain_and_compressed(data):
    """The bytes, then what each Zstandard frame among them holds."""
    yield data
    if zstandard is None:
        return
    begin = data.find(ZSTANDARD_MAGIC)
    while begin >= 0:
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(data[begin:begin + MOST_FRAME_BYTES])
        except zstandard.ZstdError:
            pass  # four bytes by chance
        begin = data.find(ZSTANDARD_MAGIC, begin + 1)


def disk_bytes(folder):
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


class Worker:
    """A system in a process of its own, open on a store."""

    def __init__(self, command, arguments, rows, store, log):
        self.rows, self.store, self.limit = rows, store, arguments.request_limit
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.about = self.read()
        self.resident_before = self.memory()["VmRSS"]

    def read(self):
        expired = threading.Timer(self.limit, self.process.kill)
        expired.start()
        try:
            line = self.process.stdout.readline()
        finally:
            expired.cancel()
        if not line:
            raise Failed(f"the process ended (or took over {self.limit} s)")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def ask(self, do, **request):
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Failed("the process ended") from error
        return self.read()

    def open(self):
        return self.ask("open", data=str(self.rows.folder), store=str(self.store), dim=self.rows.dim)["seconds"]

    def search(self, count, k, setting=0, wanted=None, most_seconds=30.0, without_removed=False):
        out = str(self.store) + ".found"
        answer = self.ask("search", first=0, count=count, k=k, setting=setting, filter=wanted, out=out,
                          most_seconds=most_seconds)
        found = np.fromfile(out + ".rows", dtype="<i4").reshape(answer["searched"], k)
        seconds = np.fromfile(out + ".seconds", dtype="<f8")
        return {"queries": len(seconds), **self.rows.judge(found, wanted, k, without_removed),
                "queries_per_second": len(seconds) / float(seconds.sum()), "p50_ms": float(np.percentile(seconds, 50)) * 1e3,
                "p99_ms": float(np.percentile(seconds, 99)) * 1e3, "first_seconds": float(seconds[0])}

    def memory(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return {key: int(re.search(rf"{key}:\s+(\d+) kB", text)[1]) * 1024 for key in ("VmRSS", "VmHWM")}

    def close(self):
        self.ask("close")
        self.end()

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Bench:
    def __init__(self, arguments, rows, scratch, report):
        self.arguments, self.rows, self.scratch, self.report = arguments, rows, scratch, report
        self.log = open(arguments.log or os.devnull, "a", encoding="utf-8")  # pylint: disable=consider-using-with
        self.workers = []

    def command(self, name):
        if name in OURS:
            return [str(pathlib.Path(self.arguments.build) / "bench_store"), *OURS[name]]
        return [self.arguments.python or sys.executable, str(ROOT / "benchmarks" / "peers" / "store_peers.py"), name]

    def worker(self, name, store, before=()):
        worker = Worker([*before, *self.command(name)], self.arguments, self.rows, store, self.log)
        self.workers.append(worker)
        return worker

    def empty_store(self, name):
        store = self.scratch / name
        shutil.rmtree(store, ignore_errors=True)
        store.mkdir()
        return store

    def batches(self):
        size = self.arguments.batch
        return [(first, min(size, self.rows.count - first)) for first in range(0, self.rows.count, size)]

    def settings(self, name):
        """Those to measure: the defaults, and what was found to be enough where they are not."""
        enough = self.report["systems"][name].get("enough")
        return [0] if enough in (None, 0) else [0, enough]

    def find_enough(self, name, worker):
        """The first setting that finds enough, looked for once."""
        system = self.report["systems"][name]
        if "enough" in system:
            return
        for setting in range(len(worker.about["settings"])):
            measured = worker.search(200, self.arguments.k, setting)
            say(f"  {name}: {worker.about['settings'][setting]} finds {measured['recall']:.3f}")
            if measured["recall"] >= self.arguments.recall:
                system["enough"] = setting
                return
        system["enough"] = None

    def cycle(self, name):
        arguments, rows, k = self.arguments, self.rows, self.arguments.k
        store = self.empty_store(name)
        run = {}
        worker = self.worker(name, store)
        worker.open()
        inserts = [worker.ask("insert", first=first, count=count)["seconds"] for first, count in self.batches()]
        finish = worker.ask("finish")["seconds"]
        first_search = worker.search(1, k)["first_seconds"]
        seconds = sum(inserts) + finish + first_search
        run["ingest"] = {"seconds": seconds, "rows_per_second": rows.count / seconds, "insert_seconds": sum(inserts),
                         "finish_seconds": finish, "first_search_seconds": first_search,
                         "batch_p50_seconds": statistics.median(inserts), "batch_most_seconds": max(inserts),
                         "peak_bytes": worker.memory()["VmHWM"], "resident_before_bytes": worker.resident_before}
        say(f"  {name}: {run['ingest']['rows_per_second']:.0f} rows/s")
        self.find_enough(name, worker)
        run["searches"] = {}
        for setting in self.settings(name):
            worker.search(50, k, setting)
            measured = {"all": worker.search(arguments.queries, k, setting)}
            for label, wanted in rows.filters():
                worker.search(1, k, setting, wanted)  # what a filter's first use costs is in its own figure
                measured[label] = worker.search(arguments.filter_queries, k, setting, wanted, most_seconds=5)
            run["searches"][str(setting)] = measured
            say(f"  {name}: {worker.about['settings'][setting]} recall {measured['all']['recall']:.4f}, "
                f"{measured['all']['queries_per_second']:.0f} queries/s")
        worker.close()
        run["disk_bytes"] = disk_bytes(store)
        run["texts_in_files"] = rows.texts_in(store)

        worker = self.worker(name, store)
        opened = worker.open()
        first = worker.search(1, k)
        run["open"] = {"process_seconds": time.perf_counter() - worker.started, "open_seconds": opened,
                       "first_result_seconds": opened + first["first_seconds"]}
        worker.search(arguments.queries, k)
        run["resident_bytes"] = worker.memory()["VmRSS"]
        run["resident_before_bytes"] = worker.resident_before

        removed = np.flatnonzero(rows.removed).tolist()
        removing = sum(worker.ask("remove", rows=removed[i:i + arguments.batch])["seconds"]
                       for i in range(0, len(removed), arguments.batch))
        run["remove"] = {"rows": len(removed), "seconds": removing, "left": worker.ask("count")["rows"],
                         "searches": {str(setting): worker.search(arguments.queries, k, setting, without_removed=True,
                                                                  most_seconds=15)
                                      for setting in self.settings(name)},
                         "disk_bytes": disk_bytes(store), "texts_in_files": rows.texts_in(store),
                         "in_older_versions": worker.ask("recover", rows=removed)["rows"]}
        compacted = worker.ask("compact")
        compacted["searches"] = {str(setting): worker.search(arguments.queries, k, setting, without_removed=True,
                                                             most_seconds=15) for setting in self.settings(name)}
        compacted["left"] = worker.ask("count")["rows"]
        compacted["in_older_versions"] = worker.ask("recover", rows=removed)["rows"]
        worker.close()
        compacted["disk_bytes"] = disk_bytes(store)
        compacted["texts_in_files"] = rows.texts_in(store)
        run["compact"] = compacted
        say(f"  {name}: opened in {run['open']['first_result_seconds']:.2f} s; of {len(removed)} removed texts "
            f"{compacted['texts_in_files']['removed']} left in its files")
        shutil.rmtree(store)
        return run

    def kill(self, name, number):
        """Kills the system while it loads, and looks at what a fresh process finds."""
        runs = self.report["systems"][name]["runs"]
        # Some time after a batch was sent: by the time from the beginning, a fast system would hardly have begun.
        draw = random.Random(f"{SEED} {number}")
        batches = self.batches()
        fatal = int(draw.uniform(0.2, 0.8) * len(batches))
        after = draw.uniform(0, 2) * (statistics.median(run["ingest"]["batch_p50_seconds"] for run in runs) if runs else 0.1)
        store = self.empty_store(name)
        worker = self.worker(name, store)
        worker.open()
        timer = threading.Timer(after, worker.process.kill)
        acknowledged = 0
        try:
            for batch, (first, count) in enumerate(batches):
                if batch == fatal:
                    timer.start()
                worker.ask("insert", first=first, count=count)
                acknowledged = first + count
        except Failed:
            pass
        finally:
            timer.cancel()
        worker.kill()
        result = {"batch": fatal, "after_seconds": after, "acknowledged": acknowledged, "opened": False}
        try:
            worker = self.worker(name, store)
            opened = worker.open()
            result["first_result_seconds"] = opened + worker.search(1, self.arguments.k)["first_seconds"]
            result["opened"] = True
            result["rows"] = worker.ask("count")["rows"]
            result["lost"] = acknowledged - sum(
                worker.ask("present", first=first, count=min(self.arguments.batch, acknowledged - first))["rows"]
                for first in range(0, acknowledged, self.arguments.batch))
            own = random.Random(SEED).sample(range(acknowledged), min(200, acknowledged))
            result["looked_for"] = len(own)
            result["not_found_by_search"] = len(own) - (worker.ask("own", rows=own)["found"] if own else 0)
            # Of the batch that was under way: all, none, or a part.
            under_way = min(self.arguments.batch, self.rows.count - acknowledged)
            result["of_batch_under_way"] = worker.ask("present", first=acknowledged, count=under_way)["rows"] if under_way else 0
            worker.end()
        except Failed as error:
            result["error"] = str(error)
            worker.kill()
        say(f"  {name}: killed after {acknowledged} rows: {result}")
        shutil.rmtree(store)
        return result

    def syncs(self, name):
        """Calls that sync files while some batches are acknowledged, in the process as strace sees it."""
        store = self.empty_store(name)
        trace = self.scratch / "syncs.txt"
        worker = self.worker(name, store, ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,msync,sync_file_range,syncfs",
                                           "-e", "signal=none", "-o", str(trace)])
        worker.open()
        counts = []
        for first, count in self.batches()[:SYNCED_BATCHES + 1]:
            worker.ask("insert", first=first, count=count)
            counts.append(sum("sync" in line and "resumed" not in line for line in open(trace, encoding="utf-8")))
        worker.end()
        shutil.rmtree(store)
        # The first batch makes files, which is no part of the promise.
        return (counts[-1] - counts[0]) / max(1, len(counts) - 1)

    def about(self, name):
        systems = self.report["systems"]
        if name not in systems:
            worker = self.worker(name, self.empty_store(name))
            systems[name] = {**worker.about, "runs": [], "kills": []}
            worker.end()
        return systems[name]

    def work(self):
        """What is to be done, in order: (name, the list or dictionary it goes to, what to call)."""
        for name in self.arguments.systems:
            if self.arguments.syncs and shutil.which("strace"):
                yield name, "syncs_a_batch", lambda name=name: self.syncs(name)
        for number in range(self.arguments.rounds):
            for name in self.arguments.systems:
                yield name, ("runs", number), lambda name=name: self.cycle(name)
        for number in range(self.arguments.kills):
            for name in self.arguments.systems:
                yield name, ("kills", number), lambda name=name, number=number: self.kill(name, number)

    def run(self, save):
        for name in list(self.arguments.systems):
            try:
                self.about(name)
            except (Failed, OSError) as error:
                say(f"{name} is left out: {error}")
                self.report["missing"][name] = str(error)
                self.arguments.systems.remove(name)
        for name, place, action in self.work():
            system = self.report["systems"][name]
            done = place in system if isinstance(place, str) else len(system[place[0]]) > place[1]
            if done or "failed" in system:
                continue
            say(f"{name}: {place if isinstance(place, str) else f'{place[0]} {place[1] + 1}'}")
            try:
                result = action()
            except Failed as error:
                say(f"  {name} failed: {error}")
                system["failed"] = str(error)
                continue
            if isinstance(place, str):
                system[place] = result
            else:
                system[place[0]].append(result)
            save()

    def end(self):
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        self.log.close()


def spread(values, form="{:.0f}"):
    values = sorted(values)
    middle = form.format(statistics.median(values))
    low, high = form.format(values[0]), form.format(values[-1])
    return middle if low == high else f"{middle} ({low} to {high})"


def over(runs, *path):
    values = []
    for run in runs:
        for key in path:
            run = run[key]
        values.append(run)
    return values


def megabytes(values):
    return spread([value / 1e6 for value in values])


def table(head, lines):
    return ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1),
            *("| " + " | ".join(map(str, line)) + " |" for line in lines), ""]


def markdown(report):
    out = [f"{report['data']}: {report['rows']} x {report['dim']}, cosine, batches of {report['batch']}, k = {report['k']}; "
           f"{report['processor']}, {report['processors']} processors. `{report['command']}`",
           "Median of the rounds, in brackets the least and the most.", ""]
    systems = {name: system for name, system in report["systems"].items() if system["runs"]}
    labels = {}
    for name, system in systems.items():
        for setting in system["runs"][0]["searches"]:
            extra = " ".join(f"{key}={value}" for key, value in system["settings"][int(setting)].items())
            labels[name, setting] = f"{name} {system['version']}" + (f", {extra}" if extra else "")
    out += ["**Systems**", ""] + table(
        ["system", "index", "syncs a batch", "rounds"],
        [(f"{name} {s['version']}", s["index"], s.get("syncs_a_batch", "-"), len(s["runs"])) for name, s in systems.items()])
    out += ["**Loading, opening, size**", ""] + table(
        ["system", "rows/s", "longest batch s", "first result of a fresh process s", "with its start s", "peak MB loading",
         "resident MB searching", "of it before opening", "disk MB"],
        [(f"{name} {s['version']}", spread(over(s["runs"], "ingest", "rows_per_second")),
          spread(over(s["runs"], "ingest", "batch_most_seconds"), "{:.2f}"),
          spread(over(s["runs"], "open", "first_result_seconds"), "{:.3f}"),
          spread(over(s["runs"], "open", "process_seconds"), "{:.2f}"), megabytes(over(s["runs"], "ingest", "peak_bytes")),
          megabytes(over(s["runs"], "resident_bytes")), megabytes(over(s["runs"], "resident_before_bytes")),
          megabytes(over(s["runs"], "disk_bytes"))) for name, s in systems.items()])
    out += ["**Search**", ""] + table(
        ["system", "recall@k", "queries/s", "p50 ms", "p99 ms"],
        [(label, spread(over(runs, "recall"), "{:.4f}"), spread(over(runs, "queries_per_second")),
          spread(over(runs, "p50_ms"), "{:.2f}"), spread(over(runs, "p99_ms"), "{:.2f}"))
         for (name, setting), label in labels.items()
         for runs in [over(systems[name]["runs"], "searches", setting, "all")]])
    filters = [key for key in next(iter(systems.values()))["runs"][0]["searches"]["0"] if key != "all"] if systems else []
    out += ["**Filtered search** (recall; hits of k where they are fewer; median p50 ms)", ""] + table(
        ["system", *filters],
        [(label, *(filtered(over(systems[name]["runs"], "searches", setting, key), report["k"]) for key in filters))
         for (name, setting), label in labels.items()])
    out += [f"**Half of the rows removed** ({report['removed_rows']}; then compacted, where the system can)", ""] + table(
        ["system", "removed rows/s", "recall@k", "p50 ms", "removed rows returned", "disk MB", "removed texts in files",
         "compacted in s", "recall@k", "p50 ms", "disk MB", "removed texts in files"],
        [(label, spread([r["rows"] / r["seconds"] for r in over(runs, "remove")]),
          *after(runs, "remove", setting),
          spread(over(runs, "compact", "seconds"), "{:.1f}") if runs[0]["compact"]["how"] else "cannot",
          *(value for i, value in enumerate(after(runs, "compact", setting)) if i != 2))
         for (name, setting), label in labels.items() for runs in [systems[name]["runs"]]])
    out += ["**Killed while loading** (SIGKILL)", ""] + table(
        ["system", "kills", "opened again", "acknowledged rows lost", "acknowledged rows looked for, not found by search",
         "batches kept in part", "first result s"],
        [(f"{name} {s['version']}", len(s["kills"]), sum(k["opened"] for k in s["kills"]),
          sum(k.get("lost", k["acknowledged"]) for k in s["kills"]), sum(k.get("not_found_by_search", 0) for k in s["kills"]),
          sum(0 < k.get("of_batch_under_way", 0) < report["batch"] for k in s["kills"]),
          spread([k["first_result_seconds"] for k in s["kills"] if "first_result_seconds" in k] or [0], "{:.2f}"))
         for name, s in systems.items() if s["kills"]])
    for name, system in report["systems"].items():
        if "failed" in system:
            out.append(f"{name} failed: {system['failed']}")
    out += [f"{name} was left out: {why}" for name, why in report["missing"].items()]
    if not report["complete"]:
        out.append("Stopped early.")
    return "\n".join(out).rstrip() + "\n"


def filtered(runs, k):
    hits = statistics.median(over(runs, "hits"))
    wrong = sum(over(runs, "wrong_hits"))
    text = f"{statistics.median(over(runs, 'recall')):.3f}"
    if hits < k - 0.005:
        text += f", {hits:.2f} hits"
    if wrong:
        text += f", {wrong} wrong"
    return text + f", {statistics.median(over(runs, 'p50_ms')):.2f}"


def after(runs, stage, setting):
    searches = over(runs, stage, "searches", setting)
    left = over(runs, stage, "texts_in_files")
    # Of no text that was looked for before, none can be missed after.
    texts = spread([texts["removed"] for texts in left]) if runs[0]["texts_in_files"]["removed"] else "compressed"
    older = [rows or 0 for rows in over(runs, stage, "in_older_versions")]
    return (spread(over(searches, "recall"), "{:.4f}"), spread(over(searches, "p50_ms"), "{:.2f}"),
            sum(over(searches, "wrong_hits")), megabytes(over(runs, stage, "disk_bytes")),
            texts + (f", {spread(older)} in older versions" if any(older) else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of base.npy, queries.npy and texts.txt, or synthetic:ROWSxDIM")
    parser.add_argument("--rows", type=int, default=None, help="of the data, at most")
    parser.add_argument("--systems", default=",".join(["rag", *PEERS]), help=f"of {', '.join([*OURS, *PEERS])}")
    parser.add_argument("--python", help="interpreter that has the peers (default: this one)")
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--filter-queries", type=int, default=200)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--request-limit", type=float, default=600, help="seconds a system may take for one answer")
    parser.add_argument("--no-syncs", dest="syncs", action="store_false", help="do not count syncs with strace")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument("--resume", action="store_true", help="go on with what --json holds")
    parser.add_argument("--scratch", type=pathlib.Path, help="folder for the stores (default: the system's temporary files)")
    parser.add_argument("--log", help="file for what the systems print")
    arguments = parser.parse_args()
    arguments.systems = arguments.systems.split(",")
    for name in arguments.systems:
        if name not in OURS and name not in PEERS:
            parser.error(f"no system {name}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    with tempfile.TemporaryDirectory(prefix="rag-store-", dir=arguments.scratch) as scratch:
        data = pathlib.Path(scratch) / "data"
        data.mkdir()
        rows = Rows(arguments.data, arguments.rows, data)
        arguments.queries = min(arguments.queries, len(rows.queries))
        arguments.filter_queries = min(arguments.filter_queries, len(rows.queries))
        report = {"command": "benchmarks/store/run.py " + " ".join(pathlib.Path(word).name if "/" in word else word
                                                                   for word in sys.argv[1:]),
                  "processor": processor(), "processors": os.cpu_count(),
                  "data": pathlib.Path(arguments.data).name, "rows": rows.count, "dim": rows.dim, "batch": arguments.batch,
                  "k": arguments.k, "removed_rows": int(rows.removed.sum()), "complete": False, "missing": {}, "systems": {}}
        if arguments.resume and arguments.json and arguments.json.exists():
            earlier = json.loads(arguments.json.read_text(encoding="utf-8"))
            for key in ("rows", "dim", "batch", "k"):
                if earlier[key] != report[key]:
                    sys.exit(f"{arguments.json} has {key} {earlier[key]}, not {report[key]}")
            report["systems"] = earlier["systems"]

        def save():
            if arguments.json:
                arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            if arguments.markdown:
                arguments.markdown.write_text(markdown(report), encoding="utf-8")

        bench = Bench(arguments, rows, pathlib.Path(scratch), report)
        stopped = False
        try:
            bench.run(save)
            report["complete"] = not any("failed" in system for system in report["systems"].values())
        except KeyboardInterrupt:
            # `timeout` sends its signal twice, to the process and to its group: ending the systems is not stopped halfway.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            say("Stopped; what is finished is kept.")
            stopped = True
        finally:
            bench.end()
        save()
        print(markdown(report), end="")
        sys.exit(1 if stopped else 0)


if __name__ == "__main__":
    main()
