#!/usr/bin/env python3
"""The reference encoder's own retrieval score on data in BEIR's layout, for rag eval --mode dense to be compared with.

    eval_sentence_transformers.py DATA_FOLDER [--model FOLDER] [--cache FILE.npy] [--cut-corpus FOLDER]

Each document is one vector of "title text", cut by the encoder at its max_seq_length, as BEIR's published figures
have it; search is exact, by cosine. nDCG, recall and reciprocal rank follow trec_eval: gain is the grade, ties by the
larger document id. --cache keeps the corpus vectors. --cut-corpus writes the same data with every document cut to what
the encoder read of it, so that rag indexes one chunk a document: the difference to the uncut corpus is the chunking's.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import shutil
import time

import numpy
import sentence_transformers
import torch

CUTOFFS = (10, 100)


def processor():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def read_lines(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def read_qrels(folder):
    path = folder / "qrels" / "test.tsv"
    path = path if path.exists() else folder / "qrels.tsv"
    judged = {}
    for number, line in enumerate(open(path, encoding="utf-8")):
        query, document, grade = line.rstrip("\n").split("\t")
        if number or query != "query-id":
            judged.setdefault(query, {})[document] = int(grade)
    return judged


def measure(ranked, judgements, cutoff):
    gains = [max(judgements.get(document, 0), 0) for document in ranked[:cutoff]]
    relevant = sum(grade > 0 for grade in judgements.values())
    discounted = lambda values: sum(gain / math.log2(rank + 2) for rank, gain in enumerate(values))
    ideal = discounted(sorted((max(g, 0) for g in judgements.values()), reverse=True)[:cutoff])
    first = next((rank + 1 for rank, gain in enumerate(gains) if gain > 0), None)
    return {
        f"ndcg@{cutoff}": discounted(gains) / ideal if ideal else 0.0,
        f"recall@{cutoff}": sum(gain > 0 for gain in gains) / relevant if relevant else 0.0,
        f"mrr@{cutoff}": 1 / first if first else 0.0,
    }


def joined(document):
    return (document.get("title", "") + " " + document["text"]).strip()


def cut_corpus(source, target, corpus, encoder):
    """Titles stay; texts end where the encoder's window does."""
    target.mkdir(parents=True, exist_ok=True)
    room = encoder.max_seq_length - 2
    cut = 0
    with open(target / "corpus.jsonl", "w", encoding="utf-8") as out:
        for document in corpus:
            whole = joined(document)
            offsets = encoder.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True,
                                        truncation=False, verbose=False)["offset_mapping"]
            text = document["text"]
            if len(offsets) > room:
                cut += 1
                lead = len(whole) - len(text.rstrip())
                text = whole[lead:offsets[room - 1][1]]
            out.write(json.dumps({**document, "text": text}, ensure_ascii=False) + "\n")
    for name in ("queries.jsonl", "qrels.tsv"):
        if (source / name).exists():
            shutil.copy(source / name, target / name)
    if (source / "qrels").exists():
        shutil.copytree(source / "qrels", target / "qrels", dirs_exist_ok=True)
    return cut


def main():
    models = pathlib.Path(os.environ.get("RAG_MODELS") or
                          pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "rag/models")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--model", default=str(models / "all-MiniLM-L6-v2"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=pathlib.Path)
    parser.add_argument("--cut-corpus", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    encoder = sentence_transformers.SentenceTransformer(arguments.model, device="cpu")
    corpus = read_lines(arguments.folder / "corpus.jsonl")
    judged = read_qrels(arguments.folder)
    queries = [query for query in read_lines(arguments.folder / "queries.jsonl") if query["_id"] in judged]
    if arguments.cut_corpus:
        count = cut_corpus(arguments.folder, arguments.cut_corpus, corpus, encoder)
        print(json.dumps({"documents": len(corpus), "cut": count}))
        return

    start = time.process_time()
    if arguments.cache and arguments.cache.exists():
        vectors = numpy.load(arguments.cache)
    else:
        vectors = encoder.encode([joined(document) for document in corpus], batch_size=32, normalize_embeddings=True)
        if arguments.cache:
            numpy.save(arguments.cache, vectors)
    encoding = time.process_time() - start
    keys = [document["_id"] for document in corpus]
    scores = encoder.encode([query["text"] for query in queries], normalize_embeddings=True) @ vectors.T
    sums = {}
    for query, row in zip(queries, scores):
        nearest = sorted(range(len(keys)), key=lambda i: (row[i], keys[i]), reverse=True)[:max(CUTOFFS)]
        for cutoff in CUTOFFS:
            for name, value in measure([keys[i] for i in nearest], judged[query["_id"]], cutoff).items():
                sums[name] = sums.get(name, 0.0) + value
    print(json.dumps({
        "processor": processor(),
        "command": f"eval_sentence_transformers.py {arguments.folder.name} --threads {arguments.threads}",
        "versions": {"sentence_transformers": sentence_transformers.__version__, "torch": torch.__version__},
        "model": pathlib.Path(arguments.model).name,
        "max_seq_length": encoder.max_seq_length,
        "queries": len(queries),
        "documents": len(corpus),
        **{name: value / len(queries) for name, value in sorted(sums.items())},
        "encode_cpu_seconds": round(encoding, 1),
    }, indent=1))


if __name__ == "__main__":
    main()
