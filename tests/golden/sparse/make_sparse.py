#!/usr/bin/env python3
"""Makes this folder: small learned sparse encoders (SPLADE) with random weights, and what the reference gives for 16 texts.

Made with transformers 5.23.0 (router: 5.24.0), sentence-transformers 6.2.0, torch 2.13.0 (CPU); the tokenizers are
../encoder_families/tokenizers, the texts the first of ../embeddings/texts.jsonl that ../encoder_families takes. expected.json has for
each text its tokens and their weights. router: queries take a weight for each token (expected_queries.json) instead of the network,
as OpenSearch's and SPLADE's doc models do.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import transformers as t
from safetensors.torch import load_file, save_file
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules.router import Router
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SparseStaticEmbedding, SpladePooling
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "encoder_families"))
from make_families import SPECIALS, TEXTS, as_hub_tokenizer, randomize  # noqa: E402

SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
MODELS = {
    "bert": (t.BertConfig(vocab_size=600, max_position_embeddings=100, **SHAPE), "word_piece", "max", "relu"),
    "distilbert": (t.DistilBertConfig(vocab_size=600, max_position_embeddings=100, dim=24, n_layers=2, n_heads=4, hidden_dim=40),
                   "word_piece", "max", "log1p_relu"),
    "xlm-roberta": (t.XLMRobertaConfig(vocab_size=1100, max_position_embeddings=102, type_vocab_size=1, pad_token_id=1,
                                       layer_norm_eps=1e-5, **SHAPE), "unigram", "sum", "relu"),
}
# So that most logits are below 0, as a trained model's are.
SHIFTS = {"bert": -10.0, "distilbert": -10.0, "xlm-roberta": -3.0}
COUNT = 16


def make_hub(temporary, config, seed, shift, tokenizer_name):
    hub = pathlib.Path(temporary) / "hub"
    model = randomize(t.AutoModelForMaskedLM.from_config(config), seed)
    bias = model.get_output_embeddings().bias
    bias.data = (bias.data + shift).half().float()
    model.save_pretrained(hub)
    path = hub / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items() if "position_ids" not in k}, path, metadata={"format": "pt"})
    tokenizer = Tokenizer.from_file(str(HERE.parent / "encoder_families" / "tokenizers" / f"{tokenizer_name}.json"))
    as_hub_tokenizer(tokenizer, SPECIALS[tokenizer_name], 100).save_pretrained(hub)
    return hub


def write_vectors(path, rows):
    vectors = [[[int(i), round(float(row[i]), 6)] for i in row.nonzero()[0]] for row in rows]
    path.write_text(json.dumps(vectors) + "\n")
    print(path, [len(v) for v in vectors[:10]], path.stat().st_size)


def make_router():
    folder = HERE / "router"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        hub = make_hub(temporary, MODELS["bert"][0], 600, SHIFTS["bert"], "word_piece")
        documents = [MLMTransformer(str(hub), max_seq_length=100), SpladePooling("max", "log1p_relu")]
        # As an IDF has it, with tokens that weigh nothing.
        weights = (4 * torch.rand(600, generator=torch.Generator().manual_seed(3)) - 0.5).clamp(min=0).half().float()
        queries = [SparseStaticEmbedding(documents[0].tokenizer, weights, frozen=True)]
        router = Router.for_query_document(query_modules=queries, document_modules=documents)
        reference = SparseEncoder(modules=[router], device="cpu").float()
        reference.save_pretrained(str(folder), create_model_card=False)
        options = {"batch_size": 1, "convert_to_sparse_tensor": False, "show_progress_bar": False}
        write_vectors(folder / "expected.json", reference.encode_document(TEXTS[:COUNT], **options).numpy())
        write_vectors(folder / "expected_queries.json", reference.encode_query(TEXTS[:COUNT], **options).numpy())
        shutil.copy(hub / "model.safetensors", folder / "document_0_MLMTransformer" / "model.safetensors")
    for path in folder.glob("*/tokenizer*"):
        path.unlink()
    (folder / "tokenizer.txt").write_text("word_piece\n")
    for part in ("document_0_MLMTransformer", "query_0_SparseStaticEmbedding"):
        (folder / part / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 100}) + "\n")


def main():
    make_router()
    for seed, (name, (config, tokenizer_name, pooling, activation)) in enumerate(MODELS.items()):
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as temporary:
            hub = make_hub(temporary, config, 500 + seed, SHIFTS[name], tokenizer_name)
            network = MLMTransformer(str(hub), max_seq_length=100)
            reference = SparseEncoder(modules=[network, SpladePooling(pooling, activation)], device="cpu").float()
            reference.save_pretrained(str(folder), create_model_card=False)
            dense = reference.encode(TEXTS[:COUNT], batch_size=1, convert_to_sparse_tensor=False, show_progress_bar=False).numpy()
            shutil.copy(hub / "model.safetensors", folder / "model.safetensors")
        for path in list(folder.glob("tokenizer*")) + list(folder.glob("special_tokens*")) + list(folder.glob("*.md")):
            path.unlink()
        (folder / "tokenizer.txt").write_text(tokenizer_name + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 100}) + "\n")
        write_vectors(folder / "expected.json", dense)


if __name__ == "__main__":
    main()
