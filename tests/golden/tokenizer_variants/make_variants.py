#!/usr/bin/env python3
"""Makes expected.json: the ids that the reference gives for tokenizers whose settings differ from what was written.

    make_variants.py

Made with transformers 5.24.0, tokenizers 0.23.3, sentencepiece 0.2.3. A variant is a folder with a tokenizer of
../encoder_families/tokenizers, whose special tokens are renamed by `names`: as tokenizer.json, where `json` is true, else as vocab.txt
(of WordPiece) or vocab.json and merges.txt. `files` are the files beside it. ids has those of each text, then those of each pair.

sentencepiece.model, of the ASCII texts of ../embeddings, stands alone in the folders of `models`.
"""

import json
import pathlib
import tempfile

import sentencepiece
import transformers as t

HERE = pathlib.Path(__file__).parent
TOKENIZERS = HERE.parent / "encoder_families" / "tokenizers"
LINES = (HERE.parent / "embeddings" / "texts.jsonl").read_text(encoding="utf-8").splitlines()
TEXTS = ["Hello, World! It's 3.14 \u2014 na\u00efve caf\u00e9", "worldly na\u00efve NA\u00cfVE world", "\u6771\u4eac\u90fd a", " two  spaces", ""]
PAIRS = [["What is it?", "It is a world."]]
CONFIG, TOKENS, SPECIAL, ADDED = "config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
SENTENCE = {"[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>", "[PAD]": "<pad>"}
ROBERTA = {**SENTENCE, "[UNK]": "<unk>"}
GPT2 = {"[CLS]": "<|endoftext|>"}
END = 600  # the vocabularies' size


def token(content, **changed):
    return {"content": content, "lstrip": False, "rstrip": False, "single_word": False, "normalized": True, "special": False,
            **changed}


def settings(tokenizer_class=None, **more):
    return {**({"tokenizer_class": tokenizer_class} if tokenizer_class else {}), **more}


def both(source, names, model_type, *files):
    """The same files beside the vocabulary alone and beside tokenizer.json."""
    return [{"source": source, "names": names, "json": form, "files": {CONFIG: {"model_type": model_type}, **each}}
            for form in (False, True) for each in files]


VARIANTS = [
    *both("word_piece", {}, "bert",
          {}, {TOKENS: settings(do_lower_case=False)},
          {TOKENS: settings("BertTokenizerFast", cls_token="[MASK]", sep_token="[PAD]", unk_token="[MASK]")},
          {SPECIAL: {"cls_token": token("[MASK]"), "unk_token": "[PAD]"}, TOKENS: settings("BertTokenizer", cls_token="[SEP]")},
          {SPECIAL: {"cls_token": "[MASK]"}, TOKENS: settings(added_tokens_decoder={"600": token("world")})},
          {TOKENS: settings("BertTokenizer", added_tokens_decoder={"601": token("na\u00efve"), "600": token("world")})},
          {TOKENS: settings("BertTokenizer", added_tokens_decoder={"600": token("World", normalized=False, single_word=True)})},
          {ADDED: {"world": END}}, {ADDED: {"World": END + 1, "na\u00efve": END}},
          {ADDED: {"world": END}, TOKENS: settings(added_tokens_decoder={"2": token("[CLS]", special=True)})}),
    *both("word_piece", {}, "distilbert", {TOKENS: settings("DistilBertTokenizer", strip_accents=False)}),
    *both("word_piece", {}, "electra", {TOKENS: settings("ElectraTokenizerFast", tokenize_chinese_chars=False)}),
    *both("word_piece", {}, "mobilebert", {TOKENS: settings(cls_token="[MASK]")}),
    *both("word_piece", SENTENCE, "mpnet",
          {}, {TOKENS: settings("MPNetTokenizer", do_lower_case=False)}, {TOKENS: settings("MPNetTokenizerFast", strip_accents=False)},
          {TOKENS: settings(sep_token="<mask>", added_tokens_decoder={"600": token("world")})}),
    *both("byte_level", ROBERTA, "roberta",
          {}, {TOKENS: settings("RobertaTokenizer", add_prefix_space=True)}, {TOKENS: settings(add_prefix_space=True)},
          {TOKENS: settings("RobertaTokenizerFast", cls_token="<mask>", sep_token="<pad>")},
          {SPECIAL: {"sep_token": token("<mask>")}, TOKENS: settings("RobertaTokenizer", sep_token="</s>")},
          {ADDED: {"world": END}}, {TOKENS: settings(added_tokens_decoder={"600": token(" world", lstrip=True)})}),
    *both("byte_level", GPT2, "gpt2",
          {}, {TOKENS: settings("GPT2Tokenizer", add_prefix_space=True)}, {TOKENS: settings("GPT2TokenizerFast", add_bos_token=True)},
          {TOKENS: settings(add_eos_token=True, add_bos_token=True, bos_token="[MASK]")}),
]
MODELS = [{TOKENS: settings("PreTrainedTokenizerFast", add_bos_token=True)},
          {CONFIG: {"model_type": "llama"}, TOKENS: settings(add_bos_token=True, add_eos_token=True)}]


def write_tokenizer(variant, folder):
    text = (TOKENIZERS / f"{variant['source']}.json").read_text(encoding="utf-8")
    tokenizer = json.loads(text)
    model, names = tokenizer["model"], variant["names"]
    model["vocab"] = {names.get(piece, piece): number for piece, number in model["vocab"].items()}
    for added in tokenizer["added_tokens"]:
        added["content"] = names.get(added["content"], added["content"])
    if names:
        tokenizer["post_processor"] = None
    if variant["json"]:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    elif variant["source"] == "word_piece":
        pieces = sorted(model["vocab"], key=model["vocab"].get)
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    else:
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")


def make(variant, write):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write(folder)
        for name, members in variant["files"].items():
            (folder / name).write_text(json.dumps(members))
        tokenizer = t.AutoTokenizer.from_pretrained(folder)
    ids = [tokenizer(text)["input_ids"] for text in TEXTS] + [tokenizer(*pair)["input_ids"] for pair in PAIRS]
    print(type(tokenizer).__name__, variant, ids[0][:4], ids[-1][-3:])
    return {**variant, "ids": ids}


def main():
    model = HERE / "sentencepiece.model"
    lines = [text for text in (json.loads(line)["text"] for line in LINES) if text.isascii()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(model.with_suffix("")), vocab_size=450, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2)
    model.with_suffix(".vocab").unlink()
    made = {
        "texts": TEXTS, "pairs": PAIRS,
        "variants": [make(variant, lambda folder, v=variant: write_tokenizer(v, folder)) for variant in VARIANTS],
        "models": [make({"files": files}, lambda folder: (folder / "tokenizer.model").write_bytes(model.read_bytes()))
                   for files in MODELS],
    }
    (HERE / "expected.json").write_text(json.dumps(made, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
