"""Tokens per second of the tokenizers package (Rust), one thread: the peer of bench_tokenizer.

python tokenize_hf.py TOKENIZER_JSON TEXT_FILE [REPEATS]

`encode` is one call a line; `encode_batch` spares the crossing into Rust for every line.
"""

import json
import os
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers  # noqa: E402


def measure(repeats, work):
    times = []
    tokens = work()
    for _ in range(repeats):
        start = time.perf_counter()
        tokens = work()
        times.append(time.perf_counter() - start)
    return tokens, sorted(times)


def main():
    repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 7
    start = time.perf_counter()
    tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
    load_s = time.perf_counter() - start
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with open(sys.argv[2], encoding="utf-8", newline="\n") as file:
        lines = [line for line in file.read().split("\n") if line]
    ways = {
        "encode": lambda: sum(len(tokenizer.encode(line)) for line in lines),
        "encode_batch": lambda: sum(len(e) for e in tokenizer.encode_batch(lines)),
    }
    for way, work in ways.items():
        tokens, times = measure(repeats, work)
        median = times[len(times) // 2]
        row = {
            "who": f"tokenizers {tokenizers.__version__} {way}",
            "tokenizer": sys.argv[1],
            "lines": len(lines),
            "tokens": tokens,
            "load_s": round(load_s, 3),
            "median_s": round(median, 5),
            "min_s": round(times[0], 5),
            "max_s": round(times[-1], 5),
            "tokens_per_s": round(tokens / median),
        }
        print(json.dumps(row))


main()
