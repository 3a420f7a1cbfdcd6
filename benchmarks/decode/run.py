#!/usr/bin/env python3
"""Decoding beside the peers: `./dev bench decode ARGUMENTS` is `rag-bench decode ARGUMENTS`; without any it is its help.

make_model.py writes models of random weights, whose speed is that of trained ones of the same shape.
"""

import os
import pathlib
import sys

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "build" / "rag-bench"


def main():
    if not PROGRAM.is_file():
        sys.exit(f"{PROGRAM} is missing: ./dev build")
    os.execv(PROGRAM, ["rag-bench", "decode", *(sys.argv[1:] or ["--help"])])


if __name__ == "__main__":
    main()
