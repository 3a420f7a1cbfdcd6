"""Makes the golden files of tests/lib/tokenizer with the tokenizers package.

python make.py SHARED_DATA DEFAULT_ENCODER     (tokenizers 0.23, gguf 0.19)

trained/*.json   small tokenizers, each with other components, trained on a public-domain text
cases.json       ids, byte ranges and decoded text of TEXTS by those and by the tokenizers of
                 SHARED_DATA; special tokens in the text are parsed or not ("parse")
udhr.txt         for the default encoder, KoELECTRA, GPT-2, RoBERTa, CLIP and T5 and each language of the
                 Universal Declaration of Human Rights: how many ids, a hash of ids and ranges, one of ids
"""

import json
import pathlib
import sys
import tempfile
import zipfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers as pre
from tokenizers import processors, trainers
from tokenizers.implementations import BertWordPieceTokenizer, ByteLevelBPETokenizer

HERE = pathlib.Path(__file__).parent
TEXTS = [
    "Hello, world! It's 2024-06-01, isn't it?",
    "  leading and   inner spaces, trailing  ",
    "tabs\tand\nnew\r\nlines\n\n\n  end \n",
    "ALL CAPS and MixedCase; I'M, You'LL, we'Ve, they'D 'S",
    "numbers 1 12 123 1234 12345 3.14159 1,000,000 ½ ² Ⅷ ٣٤٥",
    "naïve café façade Ångström São Paulo ŻÓŁĆ",
    "cafe\u0301 A\u030angstro\u0308m e\u0323\u0302 \u1100\u1161\u11a8",
    "ﬁnancial ﬂow ① ㎏ ｆｕｌｌ　ｗｉｄｔｈ ㈜ …",
    "İstanbul ISPARTA ı ß ẞ Σίσυφος ΣΑΣ",
    "한국어 문장입니다. 띄어쓰기와 조사, 그리고 숫자 123개!",
    "日本語の文章。カタカナ、ひらがな、漢字が混ざる。",
    "生活的真谛是美好的，不是吗？𠀀𪚥",
    "Привет, мир! Ёлка й ї",
    "שלום עולם \u200fמימין",
    "مرحبا بالعالم، كيف الحال؟ \u0651\u064e",
    "नमस्ते दुनिया क्षत्रिय",
    "ภาษาไทยไม่มีช่องว่าง",
    "Tiếng Việt có dấu",
    "emoji 😀 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇰🇷 ❤️ 1️⃣",
    "unassigned \u0378 \U000e0fff \ufdd0 private \ue000",
    "control \x00\x01\x1f\x7f\x80\x9f zero\u200bwidth\ufeff soft\u00adhyphen",
    "nbsp\u00a0em\u2003ideo\u3000ls\u2028ps\u2029nel\u0085ogham\u1680end",
    "punct: «guillemets» “quotes” ‘single’ — – ‐ ‑ ¿¡ § ¶ † ‰ ′",
    "math ∑∫√≤≥≠ ± × ÷ ∞ currency $ € £ ¥ ₩ ₹",
    "code: for (int i = 0; i < n; ++i) { x[i] += f(a->b, *c); } // x",
    "a_b __init__ snake_case kebab-case path/to/file.txt user@example.com",
    "<s>special</s> [CLS] [SEP] <|endoftext|> <pad> [MASK] <mask>",
    "x<extra>y <extra> wordextra word  <strip>  z TOKEN token Token tokenize",
    "don't stop; they're we've I'd you'll it's 'tis ''quoted'' o'clock",
    "supercalifragilisticexpialidocious antidisestablishmentarianism " + "z" * 120,
    "a",
    " ",
    "\n",
    "",
    "▁already ▁marked ▁▁ text",
    "mixed한글and日本語and123العربية",
    "\U0001d4d0\U0001d4d1 \U00010348 \U0001f9d1\u200d\U0001f91d\u200d\U0001f9d1",
    "combining \u0301\u0302 alone, a\u0301\u0327 reorder a\u0327\u0301",
    "long run " + "ha" * 60,
    "....---...!!!???,,,;;;:::",
    "(parenthesized) {braced} [bracketed] \"quoted\" `ticked` ~tilde~ ^caret^ |pipe|",
    "ǅ ǈ ŉ ǰ ΐ և ẖ ﬀ Ω K Å",
]

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
SPLIT = pre.Split


def trained(corpus):
    """Name and tokenizer of every combination."""
    byte_alphabet = pre.ByteLevel.alphabet()

    def make(model, trainer, normalizer=None, pre_tokenizer=None, decoder=None, specials=()):
        tokenizer = Tokenizer(model)
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        if pre_tokenizer is not None:
            tokenizer.pre_tokenizer = pre_tokenizer
        if decoder is not None:
            tokenizer.decoder = decoder
        tokenizer.train_from_iterator(corpus, trainer)
        return tokenizer

    bert_specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t = make(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(vocab_size=350, special_tokens=bert_specials, show_progress=False),
        normalizers.BertNormalizer(lowercase=False, strip_accents=False),
        pre.BertPreTokenizer(),
        decoders.WordPiece(),
    )
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    yield "word_piece_cased", t

    t = make(
        models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20),
        trainers.WordPieceTrainer(vocab_size=300, special_tokens=bert_specials, show_progress=False),
        normalizers.Sequence(
            [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]
        ),
        pre.Sequence([pre.WhitespaceSplit(), pre.Digits(individual_digits=True), pre.Punctuation()]),
        decoders.WordPiece(cleanup=False),
    )
    t.add_special_tokens(bert_specials)
    yield "word_piece_sequence", t

    specials = ["<unk>", "<s>", "</s>"]
    t = make(
        models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=specials + [f"<0x{i:02X}>" for i in range(256)],
            show_progress=False,
        ),
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        None,
        decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        ),
    )
    # As in Llama's file: the byte pieces are ordinary entries of the vocabulary.
    data = json.loads(t.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < 3]
    t = Tokenizer.from_str(json.dumps(data))
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    yield "bpe_byte_fallback", t

    def byte_level(name, pre_tokenizer, normalizer=None, ignore_merges=False):
        tokenizer = make(
            models.BPE(ignore_merges=ignore_merges),
            trainers.BpeTrainer(
                vocab_size=450,
                initial_alphabet=byte_alphabet,
                special_tokens=["<|endoftext|>"],
                show_progress=False,
            ),
            normalizer,
            pre_tokenizer,
            decoders.ByteLevel(),
        )
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=name == "bpe_gpt2")
        return tokenizer

    t = byte_level("bpe_gpt2", pre.ByteLevel(add_prefix_space=True))
    t.add_tokens(
        [
            AddedToken("<extra>", normalized=False),
            AddedToken("<strip>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("token", single_word=True, normalized=True),
        ]
    )
    yield "bpe_gpt2", t
    t = byte_level(
        "bpe_llama3",
        pre.Sequence([SPLIT(Regex(LLAMA3), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]),
        None,
        True,
    )
    t.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single="<|endoftext|> $A", pair="<|endoftext|> $A $B:1", special_tokens=[("<|endoftext|>", 0)]
            ),
        ]
    )
    yield "bpe_llama3", t
    t = byte_level(
        "bpe_qwen2",
        pre.Sequence([SPLIT(Regex(QWEN2), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]),
        normalizers.NFC(),
    )
    yield "bpe_qwen2", t
    t = byte_level(
        "bpe_deepseek",
        pre.Sequence(
            [
                SPLIT(Regex(r"[\r\n]"), "isolated"),
                SPLIT(Regex(r"\s?\p{L}+"), "isolated"),
                SPLIT(Regex(r"\s?\p{P}+"), "isolated"),
                SPLIT(Regex("[一-龥ࠀ-一가-퟿]+"), "isolated"),
                pre.Digits(individual_digits=True),
                pre.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    )
    yield "bpe_deepseek", t
    t = byte_level(
        "bpe_falcon",
        pre.Sequence(
            [
                pre.Punctuation("contiguous"),
                pre.ByteLevel(add_prefix_space=False),
                pre.Digits(individual_digits=False),
                SPLIT(Regex("[0-9][0-9][0-9]"), "isolated"),
            ]
        ),
    )
    yield "bpe_falcon", t

    t = make(
        models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=True),
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=specials, end_of_word_suffix="</w>", show_progress=False
        ),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        pre.WhitespaceSplit(),
        decoders.BPEDecoder(),
    )
    yield "bpe_suffix", t
    t = make(
        models.BPE(unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=350, special_tokens=specials, show_progress=False),
        normalizers.Replace(Regex(r"\s+"), " "),
        pre.Sequence(
            [
                SPLIT(" ", "merged_with_next"),
                SPLIT("-", "merged_with_previous"),
                SPLIT(",", "isolated"),
                SPLIT(".", "contiguous"),
                SPLIT(Regex(r"\d+"), "removed", invert=False),
            ]
        ),
        decoders.Fuse(),
    )
    yield "bpe_splits", t

    def unigram(**options):
        return trainers.UnigramTrainer(
            vocab_size=350, special_tokens=specials, unk_token="<unk>", show_progress=False, **options
        )

    t = make(
        models.Unigram(),
        unigram(),
        normalizers.NFKC(),
        pre.Metaspace(prepend_scheme="first"),
        decoders.Metaspace(prepend_scheme="first"),
    )
    yield "unigram_first", t
    t = make(
        models.Unigram(),
        unigram(),
        normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " "), normalizers.NFD()]),
        pre.Sequence([pre.WhitespaceSplit(), pre.Metaspace(prepend_scheme="always")]),
        decoders.Metaspace(),
    )
    data = json.loads(t.to_str())
    data["model"]["vocab"] += [[f"<0x{i:02X}>", 0.0] for i in range(256)]
    data["model"]["byte_fallback"] = True
    t = Tokenizer.from_str(json.dumps(data))
    t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    yield "unigram_byte_fallback", t


def byte_offsets(text, offsets):
    starts = [0]
    for c in text:
        starts.append(starts[-1] + len(c.encode()))
    return [[starts[a], starts[b]] for a, b in offsets]


def encode(tokenizer, text, parse, special=True):
    tokenizer.encode_special_tokens = not parse
    encoding = tokenizer.encode(text, add_special_tokens=special)
    return encoding.ids, byte_offsets(text, encoding.offsets)


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def shared_tokenizers(shared, encoder):
    load = Tokenizer.from_file
    yield "default", load(str(encoder / "tokenizer.json"))
    koelectra = BertWordPieceTokenizer(
        str(shared / "tok-korean/koelectra-vocab.txt"), lowercase=False, strip_accents=False
    )
    yield "koelectra", koelectra._tokenizer
    merges = tempfile.NamedTemporaryFile("w", suffix=".txt")
    merges.write((shared / "tok-gpt2/vocab.bpe").read_text())
    merges.flush()
    gpt2 = ByteLevelBPETokenizer(str(shared / "tok-gpt2/encoder.json"), merges.name)._tokenizer
    gpt2.add_special_tokens(["<|endoftext|>"])
    yield "gpt2", gpt2
    yield "roberta", load(str(shared / "tok-sentencepiece/roberta-base-tokenizer.json"))
    yield "clip", load(str(shared / "tok-clip/tokenizer.json"))
    yield "t5", load(str(shared / "tok-sentencepiece/t5-small-tokenizer.json"))


def main():
    shared, encoder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    corpus = (shared / "tok-sentencepiece/botchan.txt").read_text().splitlines()[:2500]
    corpus += (shared / "tok-sentencepiece/wagahaiwa_nekodearu.txt").read_text().splitlines()[:20]
    (HERE / "trained").mkdir(exist_ok=True)
    tokenizers = []
    for name, tokenizer in trained(corpus):
        (HERE / "trained" / f"{name}.json").write_text(tokenizer.to_str(), encoding="utf-8")
        tokenizers.append((name, tokenizer))
    others = list(shared_tokenizers(shared, encoder))
    for _, tokenizer in others:
        tokenizer.no_truncation()
        tokenizer.no_padding()
    cases = {}
    for name, tokenizer in tokenizers + others:
        cases[name] = []
        for i, text in enumerate(TEXTS):
            row = {"text": i}
            for key, parse in (("plain", False), ("parsed", True)):
                ids, offsets = encode(tokenizer, text, parse)
                row[key] = {"ids": ids, "offsets": [x for pair in offsets for x in pair]}
            if row["plain"] == row["parsed"]:
                del row["parsed"]
            row["decoded"] = tokenizer.decode(row["plain"]["ids"], skip_special_tokens=True)
            cases[name].append(row)
    with open(HERE / "cases.json", "w", encoding="utf-8") as out:
        out.write('{"texts": ' + json.dumps(TEXTS) + ',\n"tokenizers": {\n')
        blocks = []
        for name, rows in cases.items():
            lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
            blocks.append(json.dumps(name) + ": [\n" + lines + "\n]")
        out.write(",\n".join(blocks) + "\n}}\n")
    with open(HERE / "udhr.txt", "w") as out, zipfile.ZipFile(shared / "docs-udhr/udhr2.zip") as texts:
        names = sorted(n for n in texts.namelist() if n.endswith(".txt"))[::4]
        names.append("udhr2/kor.txt")
        for name in dict.fromkeys(names):
            text = texts.read(name).decode("utf-8")
            row = [name]
            for _, tokenizer in others:
                ids, offsets = encode(tokenizer, text, False)
                ranges = "".join(f"{i},{a},{b};" for i, (a, b) in zip(ids, offsets))
                row += [str(len(ids)), fnv(ranges), fnv("".join(f"{i};" for i in ids))]
            out.write(" ".join(row) + "\n")


main()
