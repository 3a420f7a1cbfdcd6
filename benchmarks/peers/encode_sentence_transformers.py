#!/usr/bin/env python3
"""bench_encode's work done by sentence-transformers: same arguments, same JSON lines.

    encode_sentence_transformers.py MODEL_FOLDER TEXTS.jsonl [--threads N] [--limit N] [--batch N]
                                    [--repetitions N] [--wait] [--vectors FILE]
"""

import argparse
import json
import resource
import sys
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("texts")
parser.add_argument("--threads", type=int, default=0)
parser.add_argument("--limit", type=int, default=0)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--repetitions", type=int, default=3)
parser.add_argument("--wait", action="store_true")
parser.add_argument("--vectors")
arguments = parser.parse_args()
if arguments.threads:
    torch.set_num_threads(arguments.threads)

import sentence_transformers  # noqa: E402  (after the number of threads is set)

texts = []
with open(arguments.texts, encoding="utf-8") as file:
    for line in file:
        if arguments.limit and len(texts) == arguments.limit:
            break
        entry = json.loads(line)
        texts.append(f"{entry['title']} {entry['text']}" if entry.get("title") else entry["text"])

begin = time.perf_counter()
model = sentence_transformers.SentenceTransformer(arguments.model, device="cpu")
print(json.dumps({"load_seconds": time.perf_counter() - begin, "threads": torch.get_num_threads(),
                  "sentence_transformers": sentence_transformers.__version__, "torch": torch.__version__,
                  "texts": len(texts)}), flush=True)
tokens = sum(map(len, model.tokenizer(texts, truncation=True, max_length=model.max_seq_length)["input_ids"]))
for repetition in range(arguments.repetitions):
    if arguments.wait and not sys.stdin.readline():
        break
    begin, processor_begin = time.perf_counter(), time.process_time()
    vectors = model.encode(texts, batch_size=arguments.batch, convert_to_numpy=True, show_progress_bar=False)
    seconds = time.perf_counter() - begin
    processor_seconds = time.process_time() - processor_begin
    if repetition == 0 and arguments.vectors:
        vectors.astype("<f4").tofile(arguments.vectors)
    print(json.dumps({"seconds": seconds, "processor_seconds": processor_seconds,
                      "texts_per_second": len(texts) / seconds,
                      "tokens_per_second": tokens / seconds, "tokens": tokens,
                      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}), flush=True)
