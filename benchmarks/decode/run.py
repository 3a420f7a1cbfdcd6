#!/usr/bin/env python3
"""Decoding speed of this project against llama.cpp, in one run: the two take turns on the same GGUF files.

    benchmarks/decode/run.py MODEL.gguf... --peer LLAMA_BENCH [--build build] [--threads 1,2] [--prompt 128]
                             [--tokens 32] [--depth 512] [--turns 5] [--out FILE.json]

Each turn starts both programs anew; each warms up once and then measures once: prefill of the prompt, decoding from an
empty context, and decoding after `depth` tokens. Printed and written: each one's median and range in tokens a second,
and the median and range of the ratio within each turn (above 1: this project is faster), beside the machine's load before and after: figures of a
loaded machine are worth little. make_model.py writes models of
random weights, whose speed is that of trained ones of the same shape.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def run(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def ours(options, model, threads):
    command = [str(ROOT / options.build / "bench_decode"), model, "--threads", threads, "--prompt", str(options.prompt),
               "--tokens", str(options.tokens), "--depth", f"0,{options.depth}", "--batch", "1", "--runs", "1"]
    rates = {}
    for line in run(command).splitlines():
        entry = json.loads(line)
        if entry["kind"] not in ("prefill", "decode"):
            continue
        name = "prefill" if entry["kind"] == "prefill" else f"decode at {entry['context']}"
        rates[name] = entry["median"]
    return rates


def peer(options, model, threads):
    common = [options.peer, "-m", model, "-t", threads, "-r", "1", "-o", "json"]
    rates = {}
    for extra, name in [(["-p", str(options.prompt), "-n", "0"], "prefill"),
                        (["-p", "0", "-n", str(options.tokens)], "decode at 0"),
                        (["-p", "0", "-n", str(options.tokens), "-d", str(options.depth)], f"decode at {options.depth}")]:
        rates[name] = json.loads(run(common + extra))[0]["avg_ts"]
    return rates


def summary(values):
    return {"median": statistics.median(values), "smallest": min(values), "largest": max(values), "values": values}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--peer", required=True)
    parser.add_argument("--build", default="build")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    out = {"date": datetime.date.today().isoformat(), "processor": processor(),
           "command": "benchmarks/decode/run.py " + " ".join(pathlib.Path(m).name for m in options.models)
                      + f" --threads {options.threads} --prompt {options.prompt} --tokens {options.tokens}"
                      + f" --depth {options.depth} --turns {options.turns}",
           "unit": "tokens/s", "load_average_before": os.getloadavg()[0], "results": []}
    for model in options.models:
        for threads in options.threads.split(","):
            turns = [(ours(options, model, threads), peer(options, model, threads)) for _ in range(options.turns)]
            for name in turns[0][0]:
                entry = {"model": pathlib.Path(model).name, "threads": int(threads), "what": name,
                         "rag": summary([mine[name] for mine, _ in turns]),
                         "llama.cpp": summary([other[name] for _, other in turns]),
                         "ratio": summary([mine[name] / other[name] for mine, other in turns])}
                out["results"].append(entry)
                print(f"{entry['model']} threads {threads} {name}: rag {entry['rag']['median']:.1f}, llama.cpp "
                      f"{entry['llama.cpp']['median']:.1f} tokens/s, ratio {entry['ratio']['median']:.2f} "
                      f"({entry['ratio']['smallest']:.2f} to {entry['ratio']['largest']:.2f})", flush=True)
    out["load_average_after"] = os.getloadavg()[0]
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
