#!/usr/bin/env python3
"""Encoding speed of this project against sentence-transformers, in one run: the two take turns on the same texts.

    benchmarks/encode/run.py --texts corpus.jsonl [--model FOLDER] [--threads N] [--limit N] [--repetitions N]
                             [--precisions f32,bf16,int8] [--python PYTHON_WITH_SENTENCE_TRANSFORMERS]
                             [--build build] [--out FILE.json]

All processes, one of ours for each precision, load, encode once to warm up, then take turns. Printed and written: each
one's median and range; of every other beside ours of the first precision, the median and range of the ratio of times
within each turn (by the clock, and of processor time, which a busy machine disturbs less), and the cosine between the
two's vectors. Without sentence-transformers only this project is measured, and that is said.
"""

import argparse
import array
import datetime
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def portable(words):
    """A command line with the names of files in place of their paths."""
    return [pathlib.Path(word).name if os.sep in word else word for word in words]


class Contender:
    """A process that encodes once for each line it is sent."""

    def __init__(self, name, command, vectors):
        self.name = name
        self.command = command + ["--wait", "--vectors", str(vectors)]
        self.vectors = vectors
        self.turns = []
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loaded = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended early with {self.process.wait()}")
        return json.loads(line)

    def turn(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()

    def finish(self):
        self.process.stdin.close()
        self.process.wait()

    def summary(self):
        rates = [turn["texts_per_second"] for turn in self.turns]
        return {"load": self.loaded, "command": portable(self.command), "turns": self.turns,
                "texts_per_second": {"median": statistics.median(rates), "low": min(rates), "high": max(rates)},
                "tokens_per_second_median": statistics.median(t["tokens_per_second"] for t in self.turns),
                "peak_mb": self.turns[-1]["peak_mb"]}


def cosines(first, second, rows):
    """The lowest and the mean cosine of two files of f32 rows."""
    a, b = array.array("f"), array.array("f")
    a.frombytes(first.read_bytes())
    b.frombytes(second.read_bytes())
    if len(a) != len(b) or len(a) % rows:
        sys.exit(f"the vectors differ in size: {len(a)} and {len(b)} numbers for {rows} texts")
    dim = len(a) // rows
    found = []
    for i in range(0, len(a), dim):
        x, y = a[i:i + dim], b[i:i + dim]
        found.append(sum(map(float.__mul__, x, y)) / math.sqrt(sum(v * v for v in x) * sum(v * v for v in y)))
    return min(found), statistics.fmean(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    models = pathlib.Path(os.environ.get("RAG_MODELS", cache / "rag" / "models"))
    parser.add_argument("--model", default=str(models / "all-MiniLM-L6-v2"))
    parser.add_argument("--texts", required=True)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--precisions", default="f32")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--out")
    arguments = parser.parse_args()

    work = [arguments.model, arguments.texts, "--threads", str(arguments.threads), "--limit", str(arguments.limit),
            "--repetitions", str(arguments.repetitions + 1)]
    has_peer = subprocess.run([arguments.python, "-c", "import sentence_transformers"], capture_output=True,
                              check=False).returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        program = str(pathlib.Path(arguments.build) / "bench_encode")
        contenders = [Contender(f"rag {p}", [program, *work, "--precision", p], folder / p)
                      for p in arguments.precisions.split(",")]
        if has_peer:
            script = str(ROOT / "benchmarks" / "peers" / "encode_sentence_transformers.py")
            contenders.append(
                Contender("sentence-transformers", [arguments.python, script, *work], folder / "peer"))
        else:
            print(f"{arguments.python} has no sentence_transformers: measuring this project alone", file=sys.stderr)
        for repetition in range(arguments.repetitions + 1):
            for contender in contenders:
                turn = contender.turn()
                if repetition > 0:
                    contender.turns.append(turn)
        for contender in contenders:
            contender.finish()

        result = {"benchmark": "encode", "date": datetime.date.today().isoformat(), "processor": processor(),
                  "threads": arguments.threads, "command": portable(sys.argv), "load_average": os.getloadavg(),
                  "contenders": {c.name: c.summary() for c in contenders}}
        for contender in contenders:
            rate = result["contenders"][contender.name]["texts_per_second"]
            print(f"{contender.name}: {rate['median']:.1f} texts/s ({rate['low']:.1f} to {rate['high']:.1f}), "
                  f"loaded in {contender.loaded['load_seconds']:.2f} s, peak {contender.turns[-1]['peak_mb']:.0f} MB")
        first = contenders[0]
        result["beside"] = first.name
        for other in contenders[1:]:
            low, mean = cosines(first.vectors, other.vectors, first.loaded["texts"])
            compared = result["contenders"][other.name]["compared"] = {"cosine": {"lowest": low, "mean": mean}}
            print(f"cosine of {other.name} and {first.name}: lowest {low:.6f}, mean {mean:.6f}")
            for field in ("seconds", "processor_seconds"):
                ratios = [theirs[field] / ours[field] for ours, theirs in zip(first.turns, other.turns)]
                ratio = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
                compared[f"{field}_ratio"] = ratio
                print(f"{field} of {other.name} over {first.name}'s: {ratio['median']:.2f} "
                      f"({ratio['low']:.2f} to {ratio['high']:.2f})")
    if arguments.out:
        pathlib.Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


main()
