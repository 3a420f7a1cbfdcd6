#!/usr/bin/env python3
"""Makes this folder: small models with heads and random weights, and what the reference gives for some texts.

    make_heads.py [NAME…]

NAME: the folders to make; all without one. Made with transformers 5.23.0, torch 2.13.0 (CPU), tokenizers 0.23.3; the tokenizers
are ../encoder_families/tokenizers, the texts those of ../embeddings/texts.jsonl.

Each folder holds expected.json. sequence-*: probabilities of each text's labels by transformers' pipeline; of nli also those of
ZERO_SHOT_LABELS, one of them right and each by itself. token-*: the pipeline's ranges ("simple"), in bytes. answer-*: the best
spans of (question, passage) over all windows that the tokenizer cuts with a stride, every pair of a start and an end looked at,
and the lowest score of no answer.
"""

import json
import pathlib
import shutil
import sys

import torch
import transformers as t
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "encoder_families"))
from make_families import SPECIALS, TEXTS, as_hub_tokenizer, randomize  # noqa: E402

SHORT = [text for text in TEXTS if 0 < len(text.encode()) < 150][::4][:24]  # none is cut
QUESTIONS = [text for text in TEXTS if 0 < len(text) < 60][::9][:6]
PASSAGES = sorted(TEXTS, key=len)[120::40][:4] + [max(TEXTS, key=len)]
ZERO_SHOT_LABELS = ["politics", "sport", "the weather"]
SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
BERT = {"vocab_size": 600, "max_position_embeddings": 200, **SHAPE}
ROBERTA = {"vocab_size": 1100, "max_position_embeddings": 202, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5, **SHAPE}
MODERN = {"vocab_size": 600, "max_position_embeddings": 200, "local_attention": 32, "pad_token_id": 0, "bos_token_id": 2,
          "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3, "classifier_bias": True, **SHAPE}
TOPICS = ["world", "sport", "business", "science"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
OVERLAP, TOP, ANSWER_TOKENS = 32, 5, 12


def named(labels):
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def models():
    """name -> (class, config, tokenizer)"""
    sequence, token, answer = (t.AutoModelForSequenceClassification, t.AutoModelForTokenClassification,
                               t.AutoModelForQuestionAnswering)
    nli = ["contradiction", "neutral", "entailment"]
    return {
        "sequence-bert": (sequence, t.BertConfig(**BERT, **named(TOPICS)), "word_piece"),
        "sequence-several": (sequence, t.DistilBertConfig(
            vocab_size=600, max_position_embeddings=200, dim=24, n_layers=2, n_heads=4, hidden_dim=40,
            problem_type="multi_label_classification", **named(TOPICS)), "word_piece"),
        "sequence-nli": (sequence, t.XLMRobertaConfig(**ROBERTA, **named(nli)), "unigram"),
        "token-bert": (token, t.BertConfig(**BERT, **named(TAGS)), "word_piece"),
        "token-modernbert": (token, t.ModernBertConfig(**MODERN, **named(TAGS)), "byte_level"),
        "answer-bert": (answer, t.BertConfig(**BERT), "word_piece"),
        "answer-xlm-roberta": (answer, t.XLMRobertaConfig(**ROBERTA), "unigram"),
        "answer-modernbert": (answer, t.ModernBertConfig(**MODERN), "byte_level"),
    }


def byte_range(text, start, end):
    return [len(text[:start].encode()), len(text[:end].encode())]


def classify(name, model, tokenizer):
    pipe = t.pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    ids = model.config.label2id
    rows = []
    for text in TEXTS[:40]:
        scores = {entry["label"]: entry["score"] for entry in pipe([text], truncation=True)[0]}
        rows.append([scores[label] for label in sorted(scores, key=ids.get)])
    result = {"texts": TEXTS[:40], "scores": rows}
    if name == "sequence-nli":
        zero = t.pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
        for key, several in (("zero_shot", False), ("zero_shot_several", True)):
            result[key] = []
            for text in SHORT:
                found = zero(text, ZERO_SHOT_LABELS, multi_label=several)
                result[key].append([found["scores"][found["labels"].index(label)] for label in ZERO_SHOT_LABELS])
        result.update(short=SHORT, labels=ZERO_SHOT_LABELS)
    return result


def label_tokens(_, model, tokenizer):
    pipe = t.pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple", device="cpu")
    found = [[{"range": byte_range(text, e["start"], e["end"]), "label": e["entity_group"], "score": float(e["score"])}
              for e in pipe(text)] for text in SHORT]
    return {"texts": SHORT, "found": found}


def extract(_, model, tokenizer):
    cases = []
    for q, question in enumerate(QUESTIONS):
        for p, passage in enumerate(PASSAGES):
            windows = tokenizer(question, passage, truncation="only_second", stride=OVERLAP, return_overflowing_tokens=True,
                                return_offsets_mapping=True)
            best, no_answer = {}, float("inf")
            for i in range(len(windows["input_ids"])):
                inputs = {k: torch.tensor([windows[k][i]]) for k in ("input_ids", "attention_mask", "token_type_ids")
                          if k in windows}
                with torch.no_grad():
                    out = model(**inputs)
                start, end = out.start_logits[0], out.end_logits[0]
                no_answer = min(no_answer, float(start[0] + end[0]))
                rows = [j for j, s in enumerate(windows.sequence_ids(i)) if s == 1]
                for a in rows:
                    for b in range(a, min(rows[-1] + 1, a + ANSWER_TOKENS)):
                        offsets = windows["offset_mapping"][i]
                        place = (offsets[a][0], offsets[b][1])
                        best[place] = max(best.get(place, -1e9), float(start[a] + end[b]))
            top = sorted(best.items(), key=lambda item: -item[1])[:TOP]
            cases.append({"question": q, "passage": p, "windows": len(windows["input_ids"]), "no_answer": no_answer,
                          "spans": [{"range": byte_range(passage, *place), "score": score} for place, score in top]})
    return {"questions": QUESTIONS, "passages": PASSAGES, "cases": cases}


def main(wanted):
    makers = {"sequence": classify, "token": label_tokens, "answer": extract}
    for seed, (name, (kind, config, tokenizer_name)) in enumerate(models().items()):
        if wanted and name not in wanted:
            continue
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model = randomize(kind.from_config(config), 400 + seed)
        model.save_pretrained(folder)
        path = folder / "model.safetensors"
        save_file({k: v.half() for k, v in load_file(path).items() if "position_ids" not in k}, path, metadata={"format": "pt"})
        tokenizer = Tokenizer.from_file(str(HERE.parent / "encoder_families" / "tokenizers" / f"{tokenizer_name}.json"))
        hub = as_hub_tokenizer(tokenizer, SPECIALS[tokenizer_name], 200)
        expected = makers[name.split("-")[0]](name, model, hub)
        (folder / "tokenizer.txt").write_text(tokenizer_name + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 200}) + "\n")
        (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False) + "\n")
        print(name, path.stat().st_size, (folder / "expected.json").stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
