#!/usr/bin/env python3
"""Indexing a corpus with rag beside encoding the same chunks with sentence-transformers, in turn on the same cores.

    benchmarks/ingest/run.py CORPUS_JSONL [--runs 3] [--threads 2] [--python PYTHON_WITH_SENTENCE_TRANSFORMERS]

rag's time is everything: reading, chunking, loading the encoder, encoding, postings, graph, synced writes. The peer's is
model.encode() alone, the model loaded and warmed before. Prints each pair, then medians and the ratio.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

PEER = r"""
import json, sys, time
import torch
from sentence_transformers import SentenceTransformer
chunks, model, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
texts = [json.loads(line)["text"] for line in open(chunks, encoding="utf-8")]
encoder = SentenceTransformer(model, device="cpu")
encoder.encode(texts[:64], batch_size=32)
print(json.dumps({"ready": len(texts)}), flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    encoder.encode(texts, batch_size=32, normalize_embeddings=True)
    print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
"""


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--build", default=str(ROOT / "build"))
    arguments = parser.parse_args()
    model = pathlib.Path(os.environ.get("RAG_MODELS") or
                         pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "rag/models")
    program = [str(pathlib.Path(arguments.build) / "bench_ingest"), arguments.corpus, "--threads",
               str(arguments.threads)]
    with tempfile.TemporaryDirectory() as folder:
        chunks = str(pathlib.Path(folder) / "chunks.jsonl")
        warm = json.loads(subprocess.run([*program, "--chunks", chunks], check=True, capture_output=True,
                                         text=True).stdout)
        peer = subprocess.Popen([arguments.python, "-c", PEER, chunks, str(model / "all-MiniLM-L6-v2"),
                                 str(arguments.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        texts = json.loads(peer.stdout.readline())["ready"]
        print(f"processor: {processor()}; threads: {arguments.threads}; documents: {warm['documents']}; "
              f"chunks: {warm['chunks']}; texts of the peer: {texts}")
        pairs = []
        for run in range(arguments.runs):
            ours = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)["seconds"]
            peer.stdin.write("go\n")
            peer.stdin.flush()
            theirs = json.loads(peer.stdout.readline())["seconds"]
            pairs.append((ours, theirs))
            print(f"run {run}: rag index {ours:.1f} s, sentence-transformers encode {theirs:.1f} s, "
                  f"ratio {theirs / ours:.2f}", flush=True)
        peer.stdin.close()
        peer.wait()
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    print(f"median: rag index {statistics.median(p[0] for p in pairs):.1f} s, sentence-transformers encode "
          f"{statistics.median(p[1] for p in pairs):.1f} s; ratio {statistics.median(ratios):.2f} "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
