"""What sentence-transformers makes of the folders that `rag models quantize --type bf16|f16` writes of encoders/bert.

Run: python3 make_quantized.py RAG     (sentence-transformers 6.2, torch 2.13; RAG is the program)

Writes bert-bf16.f32 and bert-f16.f32: rows of little-endian f32, one for each text of encoders/texts.json.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import sentence_transformers

HERE = pathlib.Path(__file__).resolve().parent


def main():
    texts = json.loads((HERE.parent / "encoders" / "texts.json").read_text(encoding="utf-8"))
    for kind in ("bf16", "f16"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch) / "model"
            subprocess.run([sys.argv[1], "models", "quantize", HERE.parent / "encoders" / "bert", folder,
                            "--type", kind], check=True)
            model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
            # Without modules.json it makes modules of its own, which do not read the folder's limit.
            model.max_seq_length = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
            rows = model.encode(texts, convert_to_numpy=True).astype("<f4")
            assert np.isfinite(rows).all()
            rows.tofile(HERE / f"bert-{kind}.f32")


if __name__ == "__main__":
    main()
