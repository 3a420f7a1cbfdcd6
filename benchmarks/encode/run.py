#!/usr/bin/env python3
"""Encoding beside the peers: `./dev bench encode ARGUMENTS` is `rag-bench encode ARGUMENTS`.

Without arguments: the default model in all precisions on one thread, and the peers in Python where RAG_PEERS_PYTHON
names an interpreter that has them (benchmarks/peers/encode_peers.py says how).
`./dev bench encode --help` lists what can be asked for. benchmarks/peers/make_bert_base.py makes a model of
BERT-base's shape.
"""

import os
import pathlib
import sys

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build" / "rag-bench"
DEFAULT = ["--precision", "f32,bf16,int8", "--limit", "32"]


def main():
    if not PROGRAM.is_file():
        sys.exit(f"{PROGRAM} is missing: ./dev build")
    default = DEFAULT + (["--peers"] if os.environ.get("RAG_PEERS_PYTHON") else [])
    os.execv(PROGRAM, ["rag-bench", "encode", *(sys.argv[1:] or default)])


if __name__ == "__main__":
    main()
