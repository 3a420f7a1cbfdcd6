"""Makes sentencepiece.json with the sentencepiece package (0.2.x).

python make_sentencepiece.py SHARED_DATA
"""

import json
import pathlib
import sys

import sentencepiece

HERE = pathlib.Path(__file__).parent
MODELS = ["test_model.model", "test_ja_model.model", "en.wiki.bpe.vs100000.model"]


def main():
    data = pathlib.Path(sys.argv[1]) / "tok-sentencepiece"
    texts = json.loads((HERE / "cases.json").read_text())["texts"]
    texts += (data / "botchan.txt").read_text().splitlines()[200:240]
    texts += (data / "wagahaiwa_nekodearu.txt").read_text().splitlines()[30:40]
    out = {}
    for name in MODELS:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(data / name))
        # A NUL ends the text in some versions of the library, and versions break ties of equal
        # scores ("--" and "-" in "---") in different ways.
        rows = [text for text in texts if "\0" not in text and "---" not in text]
        ids = [processor.encode(text) for text in rows]
        out[name] = [
            {"text": text, "ids": row, "decoded": processor.decode(row)} for text, row in zip(rows, ids)
        ]
    (HERE / "sentencepiece.json").write_text(json.dumps(out, ensure_ascii=False, indent=0))


main()
