#!/usr/bin/env python3
"""How long a collection takes to open and to answer its first search, by its number of vectors and kind of index.

    benchmarks/open/run.py --folder DIR [--rows 200000,1000000] [--dim 384] [--index hnsw:pca8 --index …] [--runs 5]

Makes each store below DIR once (a million vectors take minutes and gigabytes), reads its files so that they are in the
system's cache, then opens it --runs times in a process of its own each. Prints a table of medians, and with --json all of it.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def run(program, *words):
    done = subprocess.run([program, *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def warm(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                while file.read(1 << 24):
                    pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--rows", default="200000")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--index", action="append", help="default: hnsw:pca8, and the same with rows=disk")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--build", default=str(ROOT / "build"))
    arguments = parser.parse_args()
    program = str(pathlib.Path(arguments.build) / "bench_open")
    results = []
    for rows in arguments.rows.split(","):
        for index in arguments.index or ["hnsw:pca8", "hnsw:pca8,rows=disk"]:
            folder = arguments.folder / f"{rows}x{arguments.dim}-{re.sub('[^a-z0-9]+', '-', index)}"
            if not folder.exists():
                run(program, "make", str(folder), "--rows", rows, "--dim", str(arguments.dim), "--index", index,
                    "--threads", str(arguments.threads))
            warm(folder)
            load = os.getloadavg()[0]
            runs = [run(program, "open", str(folder), "--threads", str(arguments.threads))
                    for _ in range(arguments.runs)]
            result = {"index": index, "load": load, "runs": runs,
                      "median": {key: statistics.median(one[key] for one in runs) for key in runs[0]}}
            results.append(result)
            median = result["median"]
            print(f"{index}: {median['chunks']:.0f} vectors open in {median['open_seconds']:.3f} s "
                  f"(the store {median['store_seconds']:.3f} s), first search {median['first_search_seconds'] * 1e3:.1f} ms, "
                  f"then {median['median_search_seconds'] * 1e3:.2f} ms; resident {median['resident_bytes_opened'] / 2**20:.0f} MiB "
                  f"opened, {median['resident_bytes_searched'] / 2**20:.0f} MiB after 1,001 searches "
                  f"(load {load:.1f})", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"processor": processor(), "threads": arguments.threads,
                                              "dim": arguments.dim, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
