#!/usr/bin/env python3
"""Makes this folder: small cross-encoders with random weights, and what the reference scores 320 pairs.

    make_rerankers.py [NAME…]

NAME: the folders to make; all without one.
Made with transformers 5.23.0, sentence-transformers 6.2.0, torch 2.13.0 (CPU), tokenizers 0.23.3; the tokenizers are
../encoder_families/tokenizers. Each folder is a sequence classification model of one label and holds scores.f32:
little-endian floats [20 queries][16 passages]. pairs.json has the queries and the passages, all of which are scored for
every query; they are texts of ../embeddings/texts.jsonl, the long ones among them longer than the models read.

decoder and decoder-tied are asked through a chat template (made with transformers 5.24.0, sentence-transformers 6.3.0): the score is
the logit of one token less another's, or of one token alone.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import torch
import transformers as t
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "encoder_families"))
from make_families import SPECIALS, TEXTS, as_hub_tokenizer, jina_bert, jina_states, jina_tensors, randomize  # noqa: E402

QUERIES = [text for text in TEXTS if 0 < len(text) < 120][::7][:20]
PASSAGES = sorted(TEXTS, key=len)[10::20][:15] + [max(TEXTS, key=len)]
SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "num_labels": 1}
SIGMOID = "torch.nn.modules.activation.Sigmoid"
IDENTITY = "torch.nn.modules.linear.Identity"


def models():
    """name -> (config, tokenizer, longest pair, what config.json says of the scores)"""
    return {
        "bert": (t.BertConfig(vocab_size=600, max_position_embeddings=200, **SHAPE), "word_piece", 200, {}),
        "xlm-roberta": (t.XLMRobertaConfig(vocab_size=1100, max_position_embeddings=202, type_vocab_size=1, pad_token_id=1,
                                           layer_norm_eps=1e-5, **SHAPE), "unigram", 200,
                        {"sbert_ce_default_activation_function": IDENTITY}),
        "modernbert": (t.ModernBertConfig(vocab_size=600, max_position_embeddings=300, local_attention=32, pad_token_id=0,
                                          bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3,
                                          classifier_pooling="mean", classifier_bias=True,
                                          **{**SHAPE, "num_hidden_layers": 4}), "byte_level", 300,
                       {"sentence_transformers": {"activation_fn": SIGMOID, "version": "4.1.0"}}),
        "electra": (t.ElectraConfig(vocab_size=600, embedding_size=16, max_position_embeddings=200, **SHAPE), "word_piece",
                    180, {"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.1.0"}}),
        "distilbert": (t.DistilBertConfig(vocab_size=600, max_position_embeddings=200, dim=24, n_layers=2, n_heads=4,
                                          hidden_dim=40, num_labels=1), "word_piece", 200, {}),
        "albert": (t.AlbertConfig(vocab_size=1100, embedding_size=16, max_position_embeddings=200, **SHAPE), "unigram", 200,
                   {"sbert_ce_default_activation_function": IDENTITY}),
        "mobilebert": (t.MobileBertConfig(vocab_size=600, embedding_size=8, max_position_embeddings=200, intra_bottleneck_size=16,
                                          num_feedforward_networks=3, **{**SHAPE, "intermediate_size": 32}), "word_piece", 200,
                       {"sbert_ce_default_activation_function": IDENTITY}),
        "gte": (t.GteConfig(vocab_size=1100, max_position_embeddings=300, **SHAPE), "unigram", 300,
                {"sbert_ce_default_activation_function": IDENTITY}),
        "mpnet": (t.MPNetConfig(vocab_size=1100, max_position_embeddings=202, pad_token_id=1, **SHAPE), "unigram", 200,
                  {"sbert_ce_default_activation_function": IDENTITY}),
        "mobilebert-plain": (t.MobileBertConfig(
            vocab_size=600, embedding_size=8, max_position_embeddings=200, intra_bottleneck_size=16, num_feedforward_networks=2,
            classifier_activation=False, **{**SHAPE, "intermediate_size": 32}), "word_piece", 200,
                             {"sbert_ce_default_activation_function": IDENTITY}),
    }


# Qwen3-Reranker's, with the control tokens of our tokenizer.
CHAT = (
    "{%- set asked = messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first -%}"
    "[CLS]Judge whether the document answers the query.[SEP]\n[CLS]<Instruct>: "
    "{{ asked if asked else 'Given a web search query, retrieve passages that answer it' }}\n"
    "<Query>: {{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}\n"
    "<Document>: {{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}[SEP]\n[MASK]it is:\n"
)


def decoders():
    """name -> (config, longest pair, answers, prompts, activation)"""
    shape = {**SHAPE, "vocab_size": 600, "max_position_embeddings": 300, "num_key_value_heads": 2}
    return {
        "decoder": (t.Qwen3Config(head_dim=10, tie_word_embeddings=False, **shape), 300, {"true_token_id": 300, "false_token_id": 301},
                    {"prompts": {"web": "find what answers"}, "default_prompt_name": "web"}, None),
        "decoder-tied": (t.LlamaConfig(tie_word_embeddings=True, **shape), 280, {"true_token_id": 250}, {}, torch.nn.Identity()),
    }


def make_decoder(name, config, max_length, answers, prompts, activation, seed):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        hub = pathlib.Path(temporary) / "hub"
        save_with_head(randomize(t.AutoModelForCausalLM.from_config(config), seed), hub)
        tokenizer = as_hub_tokenizer(Tokenizer.from_file(str(HERE.parent / "encoder_families" / "tokenizers" / "byte_level_end.json")),
                                     SPECIALS["byte_level_end"], max_length)
        tokenizer.chat_template = CHAT
        tokenizer.save_pretrained(hub)
        network = Transformer(str(hub), transformer_task="text-generation", max_seq_length=max_length)
        reference = CrossEncoder(modules=[network, LogitScore(**answers)], device="cpu", activation_fn=activation, **prompts).float()
        pairs = [(query, passage) for query in QUERIES for passage in PASSAGES]
        scores = reference.predict(pairs, batch_size=1, show_progress_bar=False)
        reference.save_pretrained(str(folder), create_model_card=False)
        shutil.copy(hub / "model.safetensors", folder / "model.safetensors")
    for path in list(folder.glob("tokenizer*")) + list(folder.glob("special_tokens*")) + list(folder.glob("*.md")):
        path.unlink()
    finish(folder, "byte_level_end", max_length, scores)


def save_with_head(model, folder):
    model.save_pretrained(folder)
    path = folder / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items() if "position_ids" not in k}, path, metadata={"format": "pt"})


def main(wanted):
    (HERE / "pairs.json").write_text(json.dumps({"queries": QUERIES, "passages": PASSAGES}, ensure_ascii=False, indent=0))
    for seed, (name, (config, tokenizer_name, max_length, settings)) in enumerate(models().items()):
        if wanted and name not in wanted:
            continue
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as temporary:
            hub = pathlib.Path(temporary) / "hub"
            # MobileBERT's norms hold nothing back.
            gain = 0.4 if name.startswith("mobilebert") else 1.6
            model = randomize(t.AutoModelForSequenceClassification.from_config(config), 200 + seed, gain)
            save_with_head(model, hub)
            path = hub / "config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **settings}, indent=2) + "\n")
            tokenizer = Tokenizer.from_file(str(HERE.parent / "encoder_families" / "tokenizers" / f"{tokenizer_name}.json"))
            as_hub_tokenizer(tokenizer, SPECIALS[tokenizer_name], max_length).save_pretrained(hub)
            reference = CrossEncoder(str(hub), device="cpu")
            reference.model.float()
            pairs = [(query, passage) for query in QUERIES for passage in PASSAGES]
            scores = reference.predict(pairs, batch_size=1, show_progress_bar=False)
            folder.mkdir()
            for file in ("config.json", "model.safetensors"):
                shutil.copy(hub / file, folder / file)
        finish(folder, tokenizer_name, max_length, scores)
    for seed, (name, arguments) in enumerate(decoders().items()):
        if not wanted or name in wanted:
            make_decoder(name, *arguments, 300 + seed)
    if not wanted or "jina-bert" in wanted:
        make_jina(300, 250)


def finish(folder, tokenizer_name, max_length, scores):
    (folder / "tokenizer.txt").write_text(tokenizer_name + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": max_length}) + "\n")
    scores.astype("<f4").tofile(folder / "scores.f32")
    print(folder.name, scores.shape, scores.min(), scores.max(), "distinct", len(np.unique(scores.round(4))))


def make_jina(max_length, seed):
    """BERT's head (tanh(pooler) and one output) on the reference of encoder_families."""
    folder = HERE / "jina-bert"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tokenizer = Tokenizer.from_file(str(HERE.parent / "encoder_families" / "tokenizers" / "word_piece.json"))
    hub = as_hub_tokenizer(tokenizer, SPECIALS["word_piece"], max_length)
    model, config = jina_bert(max_length, 4, seed, num_labels=1)
    pooler, classifier = torch.nn.Linear(24, 24), torch.nn.Linear(24, 1)
    randomize(pooler, seed + 1)
    randomize(classifier, seed + 2)
    heads = {"bert.pooler.dense": pooler, "classifier": classifier}
    tensors = {f"bert.{k}": v for k, v in jina_tensors(model).items()}
    tensors.update({f"{name}.{k}": v.half() for name, head in heads.items() for k, v in head.state_dict().items()})
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    written = {**config, "architectures": ["JinaBertForSequenceClassification"],
               "sbert_ce_default_activation_function": IDENTITY}
    (folder / "config.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
    scores = []
    for query in QUERIES:
        for passage in PASSAGES:
            inputs = hub(query, passage, truncation=True, return_tensors="pt")
            with torch.no_grad():
                first = jina_states(model, inputs)[0]
                scores.append(classifier(torch.tanh(pooler(first))).item())
    finish(folder, "word_piece", max_length, np.array(scores))


if __name__ == "__main__":
    main(sys.argv[1:])
