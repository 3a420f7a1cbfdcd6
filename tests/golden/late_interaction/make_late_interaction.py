#!/usr/bin/env python3
"""Makes this folder: small late interaction models with random weights, and what PyLate scores 20 x 16 pairs.

    make_late_interaction.py [NAME…]

NAME: the folders to make; all without one.
Made with pylate 1.6.0, sentence-transformers 5.3.0, transformers 5.3.0, torch 2.11.0 (CPU). The tokenizers are ../encoder_families/tokenizers with the prefixes added, the pairs those
of ../rerankers/pairs.json. Each folder holds scores.f32, little-endian floats [20 queries][16 passages], and vectors.f16,
the token vectors [tokens, dim] of the first query and of the first 4 passages, one after another.

stanford has the files that Stanford's ColBERT writes; pylate and modernbert are PyLate's, modernbert with two dense layers,
queries that are longer, seen expansions and a skip list of its own; plain fills no query up and has no prefix.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import torch
import transformers as t
from pylate import models, scores
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
TOKENIZERS = HERE.parent / "encoder_families" / "tokenizers"
PAIRS = json.loads((HERE.parent / "rerankers" / "pairs.json").read_text())
NAMES = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
DIM = 16


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            centre, scale = (1.0, 0.2) if name.endswith("weight") else (0.0, 0.2)
        else:
            centre, scale = 0.0, (1.0 if "embed" in name else 1.6 / parameter.shape[-1] ** 0.5)
        with torch.no_grad():
            parameter.copy_((centre + scale * torch.randn(parameter.shape, generator=generator)).half().float())
    return model.eval()


def bert():
    return t.BertModel(t.BertConfig(vocab_size=602, max_position_embeddings=200, **SHAPE), add_pooling_layer=False)


def modernbert():
    return t.ModernBertModel(t.ModernBertConfig(
        vocab_size=602, max_position_embeddings=300, local_attention=128, pad_token_id=0, bos_token_id=2, eos_token_id=3,
        cls_token_id=2, sep_token_id=3, **SHAPE))


def hub_folder(folder, network, tokenizer_name, prefixes):
    network.save_pretrained(folder)
    path = folder / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    tokenizer = Tokenizer.from_file(str(TOKENIZERS / f"{tokenizer_name}.json"))
    tokenizer.add_tokens(prefixes)
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    t.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=200, model_input_names=inputs,
                              **NAMES).save_pretrained(folder)


def make(name, network, tokenizer_name, dims, seed, **settings):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    prefixes = [settings.get("query_prefix", "[Q] "), settings.get("document_prefix", "[D] ")]
    with tempfile.TemporaryDirectory() as temporary:
        hub = pathlib.Path(temporary) / "hub"
        hub_folder(hub, randomize(network, seed), tokenizer_name, [p for p in prefixes if p])
        made = models.ColBERT(str(hub), embedding_size=dims[0], device="cpu", **settings)
        for dim in dims[1:]:
            made.append(models.Dense(in_features=made[-1].out_features, out_features=dim, bias=True,
                                     activation_function=torch.nn.Tanh()))
        for i in range(1, len(made)):
            randomize(made[i], seed + i)
        made.save_pretrained(str(folder), create_model_card=False)
        for path in folder.rglob("*.safetensors"):
            save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    finish(folder)


def make_stanford(seed):
    folder = HERE / "stanford"
    shutil.rmtree(folder, ignore_errors=True)
    hub_folder(folder, randomize(bert(), seed), "word_piece", ["[unused0]", "[unused1]"])
    path = folder / "model.safetensors"
    tensors = {f"bert.{k}": v for k, v in load_file(path).items()}
    linear = randomize(torch.nn.Linear(24, DIM, bias=False), seed + 1)
    save_file({**tensors, "linear.weight": linear.weight.half()}, path, metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["HF_ColBERT"]}, indent=2) + "\n")
    (folder / "artifact.metadata").write_text(json.dumps({
        "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 24, "doc_maxlen": 120, "dim": DIM,
        "similarity": "cosine", "mask_punctuation": True, "attend_to_mask_tokens": False}) + "\n")
    finish(folder)


def finish(folder):
    reference = models.ColBERT(str(folder), device="cpu").float()
    queries = reference.encode(PAIRS["queries"], is_query=True, batch_size=1, show_progress_bar=False)
    passages = reference.encode(PAIRS["passages"], is_query=False, batch_size=1, show_progress_bar=False)
    table = np.array([[float(scores.colbert_scores(torch.tensor(q)[None], torch.tensor(p)[None])) for p in passages]
                      for q in queries], dtype="<f4")
    table.tofile(folder / "scores.f32")
    np.concatenate([queries[0], *passages[:4]]).astype("<f2").tofile(folder / "vectors.f16")
    for path in list(folder.glob("special_tokens*")) + list(folder.glob("*.md")):
        path.unlink()
    print(folder.name, table.shape, table.min(), table.max(), [len(q) for q in queries[:3]], [len(p) for p in passages])


def main(wanted):
    makers = {
        "pylate": lambda: make("pylate", bert(), "word_piece", [DIM], 300, query_length=24, document_length=100),
        "modernbert": lambda: make("modernbert", modernbert(), "byte_level", [20, DIM], 310, query_length=40,
                                   document_length=150, attend_to_expansion_tokens=True, skiplist_words=[",", ".", "e"]),
        "plain": lambda: make("plain", bert(), "word_piece", [DIM], 320, query_length=20, document_length=60, query_prefix="",
                              document_prefix="", do_query_expansion=False),
        "stanford": lambda: make_stanford(330),
    }
    for name, maker in makers.items():
        if not wanted or name in wanted:
            maker()


if __name__ == "__main__":
    main(sys.argv[1:])
