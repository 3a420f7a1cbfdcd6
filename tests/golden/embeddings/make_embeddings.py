#!/usr/bin/env python3
"""Makes texts.jsonl and vectors.f16: what sentence-transformers gives for real texts with all-MiniLM-L6-v2.

    make_embeddings.py MODEL_FOLDER DATA_FOLDER

DATA_FOLDER holds the sets docs-udhr, ir-scifact, ko-chatbot-qa, cls-banking77 and docs-k8s-en-ko; SOURCES.md
says where they come from. Made with sentence-transformers 6.2.0, transformers 5.23.0, torch 2.13.0 (CPU).

texts.jsonl: {"text", "tokens": with special tokens and without truncation}, one a line.
vectors.f16: little-endian half-precision floats [texts, 384], unit rows.
"""

import csv
import json
import pathlib
import re
import sys
import zipfile

import numpy as np
from sentence_transformers import SentenceTransformer

HERE = pathlib.Path(__file__).parent

EMOJI = [
    "I love pizza 🍕 and sushi 🍣!", "👍", "👍🏽", "🤷🏻‍♀️ who knows", "👨‍👩‍👧‍👦 family day at the zoo 🦁🐘", "🇰🇷 vs 🇯🇵, 3:2",
    "Great job!!! 🎉🎉🎉", "😂😂😂😂😂", "❤️ vs ❤", "The rocket 🚀 launches at 9️⃣ o'clock", "☕️ + 🐱 = 😌",
    "오늘 날씨 좋다 ☀️😎", "배고파 ㅠㅠ 🍜", "감사합니다 🙏", "ㅋㅋㅋㅋ 그건 좀 😅", "résumé 📄 café ☕ naïve 🤓",
    "flag: 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🧑🏿‍🚀🧑🏻‍🔬", "math 𝒜𝓑𝒞 𝔸𝔹ℂ ①②③", "¯\\_(ツ)_/¯", "(╯°□°)╯︵ ┻━┻", "Tom 🐈 & Jerry 🐁: who wins? 🤔",
    "🎼🎹🎻 Beethoven's 9th", "Breaking 🔴 LIVE: markets 📉 fall 4.2%", "中文😀混合 text ✨", "привет 👋 мир 🌍", "مرحبا 😊",
    "שלום ✌️", "นี่คืออาหารไทย 🍛", "ありがとう🙇‍♂️", "100% 💯", "🏳️‍🌈", "a😀b😀c", "😀 ", " 😀", "🫠🫡🫥 new emoji",
]
EDGES = [
    "", " ", "\n\t ", "a", ".", "!!!???...", "0", "3.14159 2,000,000 1e-9", "x" * 250, "supercalifragilisticexpialidocious",
    "e\u0301tude vs \u00e9tude", "ﬁne ﬂuﬀy ligatures", "ＦＵＬＬ　ＷＩＤＴＨ", "zero\u200bwidth\u200djoiner", "tab\tand\nnewline\r\nand\u00a0nbsp",
    "soft\u00adhyphen", "control \u0001\u0002 characters", "C++ && C#, or F# || SQL; <b>html</b> &amp; [link](http://example.org/?q=1&r=2)",
    "(CLS) no marker, {SEP} nor this <MASK> or [PADDING]", "user@example.com https://www.example.org/a/b?c=d#e",
    "ALL CAPS SHOUTING", "MiXeD cAsE", "don't can't won't it's o'clock", "naïve façade jalapeño Ångström Dvořák Łódź",
    "İstanbul ıssız STRASSE straße", "你好，世界！", "吾輩は猫である。名前はまだ無い。", "안녕하세요. 반갑습니다!", "가", "ᄒ\u1161ᆫ글 자모", "π ≈ 3.14 ∑ ∞ ≠ √2",
    "मानव अधिकार", "\u202eright to left override\u202c", "ZWNJ: می\u200cخواهم",
]


def every(items, count):
    """`count` of the items, evenly spread."""
    return [items[i * len(items) // count] for i in range(count)]


def main():
    model_folder, data = sys.argv[1], pathlib.Path(sys.argv[2])
    texts = []
    with zipfile.ZipFile(data / "docs-udhr" / "udhr2.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".txt"))
        declarations = [archive.read(n).decode("utf-8-sig") for n in names]
        korean = archive.read("udhr2/kor.txt").decode("utf-8-sig")
    for declaration in every(declarations, 180):
        paragraphs = [p.strip() for p in declaration.splitlines() if len(p.strip()) > 60]
        if paragraphs:
            texts.append(paragraphs[len(paragraphs) // 3][:600])
    texts += [p.strip() for p in korean.splitlines() if len(p.strip()) > 10][:40]
    abstracts = [json.loads(line) for line in open(data / "ir-scifact" / "corpus.jsonl", encoding="utf-8")]
    texts += [f"{d['title']} {d['text']}" for d in every(abstracts, 90)]
    queries = [json.loads(line)["text"] for line in open(data / "ir-scifact" / "queries.jsonl", encoding="utf-8")]
    texts += every(queries, 50)
    with open(data / "ko-chatbot-qa" / "ChatbotData.csv", encoding="utf-8") as file:
        texts += every([row["Q"] for row in csv.DictReader(file)], 60)
    with open(data / "cls-banking77" / "test.csv", encoding="utf-8") as file:
        texts += every([row["text"].strip() for row in csv.DictReader(file)], 60)
    texts += EMOJI + EDGES
    for language in ("en", "ko"):
        pages = sorted((data / "docs-k8s-en-ko" / language).rglob("*.md"))
        long_pages = [p.read_text(encoding="utf-8") for p in pages]
        for page in every([p for p in long_pages if len(p.split()) >= 2000], 5):
            texts.append(re.sub(r"[ \t]+", " ", " ".join(page.split(" ")[:2000])))

    model = SentenceTransformer(model_folder, device="cpu")
    # One text a batch: no padding in the reference either.
    vectors = model.encode(texts, batch_size=1, convert_to_numpy=True, show_progress_bar=False)
    tokenizer = model.tokenizer
    with open(HERE / "texts.jsonl", "w", encoding="utf-8") as file:
        for text in texts:
            tokens = len(tokenizer(text, truncation=False)["input_ids"])
            file.write(json.dumps({"text": text, "tokens": tokens}, ensure_ascii=False) + "\n")
    vectors.astype("<f2").tofile(HERE / "vectors.f16")
    half = vectors.astype("<f2").astype(np.float64)
    cosine = (half * vectors).sum(1) / np.linalg.norm(half, axis=1) / np.linalg.norm(vectors, axis=1)
    print(f"{len(texts)} texts, lowest cosine of the stored vectors with themselves {cosine.min():.9f}")


main()
