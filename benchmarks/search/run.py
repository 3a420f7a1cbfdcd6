#!/usr/bin/env python3
"""Vector search beside the peers: `./dev bench search ARGUMENTS` is `rag-bench search ARGUMENTS`.

Without arguments: synthetic clusters, flat and HNSW beside the linked peers, and those in Python where
RAG_PEERS_PYTHON names an interpreter that has them (benchmarks/peers/search_peers.py says how).
`./dev bench search --help` lists what can be asked for.
"""

import os
import pathlib
import sys

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build" / "rag-bench"
DEFAULT = ["--data", "synthetic:20000x128", "--index", "flat,hnsw", "--peers"]


def main():
    if not PROGRAM.is_file():
        sys.exit(f"{PROGRAM} is missing: ./dev build")
    os.execv(PROGRAM, ["rag-bench", "search", *(sys.argv[1:] or DEFAULT)])


if __name__ == "__main__":
    main()
