#!/usr/bin/env python3
"""Makes vectors.f16: what sentence-transformers computes with prompts.

    make_prompts.py DEFAULT_MODEL_FOLDER

Made with sentence-transformers 6.2.0, transformers 5.23.0, torch 2.13.0 (CPU). The default model, with
config_sentence_transformers.json of this folder in its place. Little-endian halves: [2: prompts pooled, prompts not
pooled (include_prompt false)][3: encode without a name (the default prompt), "query", "passage"][texts of
texts.json][384].
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import sentence_transformers

HERE = pathlib.Path(__file__).parent
TEXTS = ["", "Bees make honey.", "how often is the signing key rotated?", "서울은 대한민국의 수도이다. 🐝",
         " ".join(f"Sentence {i} of a text that is longer than what the encoder reads." for i in range(30))]


def main():
    (HERE / "texts.json").write_text(json.dumps(TEXTS, indent=1) + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "model"
        shutil.copytree(sys.argv[1], folder)
        shutil.copy(HERE / "config_sentence_transformers.json", folder)
        pooling = folder / "1_Pooling" / "config.json"
        vectors = []
        for include_prompt in (True, False):
            pooling.write_text(json.dumps({**json.loads(pooling.read_text()), "include_prompt": include_prompt}))
            encoder = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
            vectors.append([encoder.encode(TEXTS, prompt_name=name) for name in (None, "query", "passage")])
    np.asarray(vectors, dtype="<f2").tofile(HERE / "vectors.f16")


main()
