#!/usr/bin/env python3
"""A model of BERT-base's shape with random weights, for speed: make_bert_base.py FOLDER [TOKENIZER_FOLDER]

Needs torch and transformers. The tokenizer (a BERT vocabulary of 30,522 pieces) is copied from TOKENIZER_FOLDER, by
default the default model's in the cache. Weights are drawn with a fixed seed, a twentieth wide, so that activations
have the size of a trained model's.
"""

import argparse
import json
import os
import pathlib
import shutil


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("tokenizer_folder", type=pathlib.Path, nargs="?")
    arguments = parser.parse_args()
    import torch
    import transformers
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    models = pathlib.Path(os.environ.get("RAG_MODELS", cache / "rag" / "models"))
    source = arguments.tokenizer_folder or models / "all-MiniLM-L6-v2"
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(11)
    config = transformers.BertConfig(initializer_range=0.05)
    network = transformers.BertModel(config, add_pooling_layer=False)
    network.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (source / name).exists():
            shutil.copy(source / name, folder / name)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
               {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
               {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]
    pooling = {"word_embedding_dimension": config.hidden_size, "pooling_mode_mean_tokens": True}
    for name, value in (("modules.json", modules), ("1_Pooling/config.json", pooling),
                        ("sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})):
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
