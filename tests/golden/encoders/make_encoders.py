#!/usr/bin/env python3
"""Makes the small encoders of this folder: random weights, real shapes, and what transformers computes with them.

    make_encoders.py

Made with transformers 5.23.0, torch 2.13.0 (CPU), tokenizers 0.23.3, safetensors 0.8.0.

Each folder is a Hugging Face model: bert (f32), bert-mlm (f16, names with "bert."), distilbert (f32), roberta (bf16,
names with "roberta."), and holds expected.f32: little-endian floats [3 poolings: mean, cls, max][texts of texts.json][32],
not normalized, computed in f32 from the weights as stored.
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BertConfig, BertForMaskedLM, BertModel, DistilBertConfig, DistilBertModel, RobertaConfig,
                          RobertaForMaskedLM)

HERE = pathlib.Path(__file__).parent
MAX_TOKENS = 40
TEXTS = [
    "", "a", "The cat sat on the mat.", "the CAT, on a mat!", "human rights are universal", "0123456789",
    "a much longer sentence that goes on and on, so that it is cut: the cat sat on the mat and the mat sat on the cat "
    "and everyone is entitled to all the rights and freedoms set forth in this declaration",
    "freedom", "everyone has the right to life, liberty and security of person",
]
CORPUS = TEXTS + [
    "all human beings are born free and equal in dignity and rights",
    "they are endowed with reason and conscience and should act towards one another in a spirit of brotherhood",
]


def word_piece(folder):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=180, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def byte_level(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=340, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def randomize(model):
    """Weights large enough that every part of the network shows in its output."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        centre = 1.0 if "LayerNorm.weight" in name or "layer_norm.weight" in name else 0.0
        with torch.no_grad():
            parameter.copy_(centre + 0.3 * torch.randn(parameter.shape, generator=generator))


def make(name, model, body, dtype, make_tokenizer):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    tokenizer = make_tokenizer(folder)
    randomize(model)
    model.config.vocab_size = tokenizer.get_vocab_size()
    model.eval()
    model.to(dtype).save_pretrained(folder)
    # Tensors that an encoder has no use for (the head, the pooler) stay out, to keep the file small.
    path = folder / "model.safetensors"
    tensors = {k: v for k, v in load_file(path).items() if "cls." not in k and "lm_head" not in k and "pooler" not in k}
    save_file(tensors, path, metadata={"format": "pt"})
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": MAX_TOKENS, "do_lower_case": False}))

    body = body(model.float())
    tokenizer.enable_truncation(MAX_TOKENS)
    expected = np.zeros((3, len(TEXTS), 32), dtype="<f4")
    for i, text in enumerate(TEXTS):
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            hidden = body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        expected[0, i], expected[1, i], expected[2, i] = hidden.mean(0), hidden[0], hidden.max(0).values
    expected.tofile(folder / "expected.f32")


def main():
    torch.manual_seed(1)
    (HERE / "texts.json").write_text(json.dumps(TEXTS, indent=1) + "\n")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    bert = BertConfig(vocab_size=180, max_position_embeddings=64, type_vocab_size=2, **shape)
    make("bert", BertModel(bert, add_pooling_layer=False), lambda m: m, torch.float32, word_piece)
    tanh = BertConfig(vocab_size=180, max_position_embeddings=50, type_vocab_size=2, hidden_act="gelu_new",
                      layer_norm_eps=1e-5, **shape)
    make("bert-mlm", BertForMaskedLM(tanh), lambda m: m.bert, torch.float16, word_piece)
    distil = DistilBertConfig(vocab_size=180, max_position_embeddings=64, dim=32, n_layers=2, n_heads=2, hidden_dim=48)
    make("distilbert", DistilBertModel(distil), lambda m: m, torch.float32, word_piece)
    roberta = RobertaConfig(vocab_size=340, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1,
                            layer_norm_eps=1e-5, **shape)
    make("roberta", RobertaForMaskedLM(roberta), lambda m: m.roberta, torch.bfloat16, byte_level)


main()
