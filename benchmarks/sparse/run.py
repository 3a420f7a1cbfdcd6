#!/usr/bin/env python3
"""Search by learned sparse vectors in a store, with and without lists that it keeps in memory, beside a scan, inverted lists in memory and BM25, on data in BEIR's layout.

    benchmarks/sparse/run.py --model splade-tiny/ --data scifact/ [--texts more/corpus.jsonl …] [--copies 1,20] [--json FILE]

The queries are --data's, the texts its corpus and --texts'. Prints a table of medians, and with --json all of it.
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SYSTEMS = ("scan", "lists_in_memory", "store_sparse", "store_sparse_read", "store_bm25")


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--texts", action="append", default=[])
    parser.add_argument("--copies", default="1")
    parser.add_argument("--k", default="10")
    parser.add_argument("--rounds", default="3")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--build", default=str(ROOT / "build"))
    arguments = parser.parse_args()
    results = []
    for copies in arguments.copies.split(","):
        command = [str(pathlib.Path(arguments.build) / "bench_sparse"), "--model", arguments.model, "--queries",
                   str(arguments.data / "queries.jsonl"), "--copies", copies, "--k", arguments.k, "--rounds",
                   arguments.rounds, "--threads", arguments.threads]
        for texts in [str(arguments.data / "corpus.jsonl"), *arguments.texts]:
            command += ["--texts", texts]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout))
    print("| texts | weights a text | a query | " + " | ".join(f"{name} ms" for name in SYSTEMS) + " |")
    print("| ---: " * (len(SYSTEMS) + 3) + "|")
    for result in results:
        print(f"| {result['texts']} | {result['weights_per_text']:.0f} | {result['weights_per_query']:.0f} | "
              + " | ".join(f"{result[name]['median_ms']:.3f}" for name in SYSTEMS) + " |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"processor": processor(), "k": int(arguments.k), "results": results},
                                             indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
