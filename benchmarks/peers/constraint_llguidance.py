#!/usr/bin/env python3
"""Masks of constrained output in llguidance, over the outputs that benchmarks/micro/bench_constraint drew.

    pip install llguidance tokenizers numpy
    benchmarks/peers/constraint_llguidance.py --write-tokenizer VOCABULARY.tiktoken TOKENIZER.json
    build/bench_constraint TOKENIZER.json benchmarks/micro/constraint_cases.json OUTPUTS.jsonl
    benchmarks/peers/constraint_llguidance.py TOKENIZER.json benchmarks/micro/constraint_cases.json OUTPUTS.jsonl

Each output's masks are asked for twice, the first time with a fresh matcher; prints one JSON object a case. A token that
llguidance does not allow ends its output, and is counted. --write-tokenizer makes a tokenizer.json without merges of a
tiktoken file: masks know bytes alone.
"""

import argparse
import base64
import collections
import json
import statistics
import time


def write_tokenizer(source, target):
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    letters = {byte: chr(byte) if byte in printable else chr(next(rest)) for byte in range(256)}
    vocab = {}
    with open(source, "rb") as lines:
        for line in lines:
            token, rank = line.split()
            vocab["".join(letters[byte] for byte in base64.b64decode(token))] = int(rank)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    end = {"id": len(vocab), "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
             "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": []}
    with open(target, "w", encoding="utf-8") as out:
        json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [end], "normalizer": None,
                   "pre_tokenizer": level, "post_processor": None, "decoder": level, "model": model}, out)


def grammar(case):
    import llguidance
    if case["kind"] == "json_schema":
        return llguidance.LLMatcher.grammar_from_json_schema(json.dumps(case["schema"]))
    if case["kind"] == "regex":
        return llguidance.LLMatcher.grammar_from_regex(case["text"])
    return llguidance.grammar_from("lark", llguidance.gbnf_to_lark.any_to_lark(case["text"]))


def summary(times):
    if not times:
        return None
    times = sorted(times)
    return {"count": len(times), "mean_us": statistics.fmean(times), "median_us": times[len(times) // 2],
            "p99_us": times[len(times) * 99 // 100], "max_us": times[-1]}


def measure(case, outputs, tokenizer):
    import llguidance
    import llguidance.numpy
    text = grammar(case)
    compile_us = []
    for _ in range(5):
        start = time.perf_counter()
        llguidance.LLMatcher(tokenizer, text)
        compile_us.append((time.perf_counter() - start) * 1e6)
    bitmask = llguidance.numpy.allocate_token_bitmask(1, tokenizer.vocab_size)
    rounds = []
    for _ in range(2):
        times, refused = [], 0
        for ids in outputs:
            matcher = llguidance.LLMatcher(tokenizer, text)
            if matcher.is_error():
                return {"who": "llguidance", "case": case["name"], "error": matcher.get_error()}
            for token in ids:
                start = time.perf_counter()
                llguidance.numpy.fill_next_token_bitmask(matcher, bitmask, 0)
                taken = matcher.consume_token(token)
                times.append((time.perf_counter() - start) * 1e6)
                if not taken:
                    refused += 1
                    break
        rounds.append(summary(times))
    return {"who": "llguidance " + llguidance.__version__, "case": case["name"], "compile": summary(compile_us),
            "fresh": rounds[0], "repeated": rounds[1], "outputs": len(outputs), "refused": refused}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-tokenizer", action="store_true")
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    if arguments.write_tokenizer:
        write_tokenizer(*arguments.files)
        return
    import llguidance
    tokenizer_path, cases_path, outputs_path = arguments.files
    with open(tokenizer_path, encoding="utf-8") as file:
        text = file.read()
    end = next(token["id"] for token in json.loads(text)["added_tokens"])
    tokenizer = llguidance.LLTokenizer(text, eos_token=end)
    outputs = collections.defaultdict(list)
    with open(outputs_path, encoding="utf-8") as lines:
        for line in lines:
            output = json.loads(line)
            outputs[output["case"]].append(output["ids"])
    with open(cases_path, encoding="utf-8") as file:
        cases = json.load(file)
    for case in cases:
        print(json.dumps(measure(case, outputs[case["name"]], tokenizer)), flush=True)


if __name__ == "__main__":
    main()
