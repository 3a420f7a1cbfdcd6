#!/usr/bin/env python3
"""Makes this folder: small learned sparse encoders (SPLADE) with random weights, and what the reference gives for 16 texts.

Made with transformers 5.23.0, sentence-transformers 6.2.0, torch 2.13.0 (CPU); the tokenizers are
../encoder_families/tokenizers, the texts the first of ../embeddings/texts.jsonl that ../encoder_families takes. expected.json has for
each text its tokens and their weights.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import transformers as t
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
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


def main():
    for seed, (name, (config, tokenizer_name, pooling, activation)) in enumerate(MODELS.items()):
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as temporary:
            hub = pathlib.Path(temporary) / "hub"
            model = randomize(t.AutoModelForMaskedLM.from_config(config), 500 + seed)
            bias = model.get_output_embeddings().bias
            bias.data = (bias.data + SHIFTS[name]).half().float()
            model.save_pretrained(hub)
            path = hub / "model.safetensors"
            save_file({k: v.half() for k, v in load_file(path).items() if "position_ids" not in k}, path,
                      metadata={"format": "pt"})
            tokenizer = Tokenizer.from_file(str(HERE.parent / "encoder_families" / "tokenizers" / f"{tokenizer_name}.json"))
            as_hub_tokenizer(tokenizer, SPECIALS[tokenizer_name], 100).save_pretrained(hub)
            network = MLMTransformer(str(hub), max_seq_length=100)
            reference = SparseEncoder(modules=[network, SpladePooling(pooling, activation)], device="cpu").float()
            reference.save_pretrained(str(folder), create_model_card=False)
            dense = reference.encode(TEXTS[:COUNT], batch_size=1, convert_to_sparse_tensor=False, show_progress_bar=False).numpy()
            shutil.copy(path, folder / "model.safetensors")
        for path in list(folder.glob("tokenizer*")) + list(folder.glob("special_tokens*")) + list(folder.glob("*.md")):
            path.unlink()
        (folder / "tokenizer.txt").write_text(tokenizer_name + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 100}) + "\n")
        vectors = [[[int(i), round(float(row[i]), 6)] for i in row.nonzero()[0]] for row in dense]
        (folder / "expected.json").write_text(json.dumps(vectors) + "\n")
        print(name, [len(v) for v in vectors[:10]], (folder / "expected.json").stat().st_size)


if __name__ == "__main__":
    main()
