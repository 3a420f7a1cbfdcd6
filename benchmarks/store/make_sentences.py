#!/usr/bin/env python3
"""Real vectors for benchmarks/store/run.py: the sentences of corpora in BEIR's layout, embedded by `rag embed`.

    benchmarks/store/make_sentences.py FOLDER scifact/corpus.jsonl cranfield/corpus.jsonl [--rows 50000] [--queries 1000]
        [--encoder all-MiniLM-L6-v2] [--precision int8] [--threads 2]

Needs numpy. Every title and sentence of 25 to 400 characters counts once; they are shuffled by a fixed seed, the queries held out. Writes
FOLDER/base.npy and queries.npy (f32, unit rows) and texts.txt, a line for each row of base.npy.
"""

import argparse
import json
import pathlib
import random
import re
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEAST_LENGTH, MOST_LENGTH = 25, 400
SEED = 1
LINES = 2000  # of one call of `rag embed`


def sentences(paths):
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                document = json.loads(line)
                for text in [document.get("title", ""), *re.split(r"(?<=[.!?])\s+", document["text"])]:
                    text = " ".join(text.split())
                    if LEAST_LENGTH <= len(text) <= MOST_LENGTH:
                        found.setdefault(text)
    return list(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("corpus", nargs="+", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", default=str(ROOT / "build"))
    arguments = parser.parse_args()
    texts = sentences(arguments.corpus)
    wanted = arguments.rows + arguments.queries
    if len(texts) < wanted:
        sys.exit(f"the corpora have {len(texts)} sentences, {wanted} are wanted")
    random.Random(SEED).shuffle(texts)
    texts = texts[:wanted]
    command = [str(pathlib.Path(arguments.build) / "rag"), "--encoder", arguments.encoder, "--precision",
               arguments.precision, "--threads", str(arguments.threads), "--json", "embed", "-"]
    parts = []
    for start in range(0, wanted, LINES):
        done = subprocess.run(command, input="\n".join(texts[start:start + LINES]) + "\n", stdout=subprocess.PIPE,
                              text=True, check=True)
        parts.append(np.asarray(json.loads(done.stdout)["vectors"], dtype=np.float32))
        print(f"{min(start + LINES, wanted)} of {wanted} sentences", file=sys.stderr)
    vectors = np.concatenate(parts)
    assert len(vectors) == wanted
    arguments.folder.mkdir(parents=True, exist_ok=True)
    np.save(arguments.folder / "base.npy", vectors[:arguments.rows])
    np.save(arguments.folder / "queries.npy", vectors[arguments.rows:])
    (arguments.folder / "texts.txt").write_text("\n".join(texts[:arguments.rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
