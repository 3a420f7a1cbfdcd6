#!/usr/bin/env python3
"""Makes expected.json: what sentence-transformers gives for ../encoder_families/dense with other settings of its modules.

    make_variants.py

Made with sentence-transformers 6.3.0, transformers 5.24.0, torch 2.13.0 (CPU). A variant has for each file the members that are set in it,
or null, where the file is taken away, and the vectors of each text in f32.
"""

import json
import pathlib
import shutil
import sys
import tempfile

from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
FAMILIES = HERE.parent / "encoder_families"
sys.path.insert(0, str(FAMILIES))
from make_families import SPECIALS, TEXTS, as_hub_tokenizer  # noqa: E402

CHOSEN = [text for text in TEXTS if 30 < len(text) < 90][::12][:3]
TORCH = "torch.nn.modules.activation."
VARIANTS = [
    *({"2_Dense/config.json": {"activation_function": name}}
      for name in [*(TORCH + kind for kind in ("ELU", "GELU", "LeakyReLU", "Mish", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh")),
                   "torch.nn.modules.linear.Identity", "torch.nn.Identity", "torch.nn.ReLU", "torch.nn.Mish"]),
    {"modules.json": None, "1_Pooling/config.json": {"pooling_mode": "cls"}},
    {"sentence_bert_config.json": {"processing_kwargs": {"chat_template": {"add_generation_prompt": True}, "text": {}}}},
]


def make(files):
    tokenizer = Tokenizer.from_file(str(FAMILIES / "tokenizers" / "word_piece.json"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "model"
        shutil.copytree(FAMILIES / "dense", folder)
        as_hub_tokenizer(tokenizer, SPECIALS["word_piece"], 200).save_pretrained(folder)
        for name, members in files.items():
            path = folder / name
            if members is None:
                path.unlink()
                continue
            path.write_text(json.dumps({**json.loads(path.read_text()), **members}))
        vectors = SentenceTransformer(str(folder), device="cpu").encode(CHOSEN, batch_size=1)
    print(files, vectors[0][:3])
    return {"files": files, "vectors": [[float(f"{x:.6g}") for x in vector] for vector in vectors]}


def main():
    made = {"texts": CHOSEN, "variants": [make(files) for files in VARIANTS]}
    (HERE / "expected.json").write_text(json.dumps(made, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
