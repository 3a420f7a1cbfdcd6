#!/usr/bin/env python3
"""Makes this folder: what the reference gives for folders of ../encoder_families whose settings differ from what was written.

    make_variants.py

Made with transformers 5.24.0, torch 2.13.0 (CPU), tokenizers 0.23.3. expected.json has texts and variants: the folder whose weights
are taken, for each file the members that are set in it (null: taken out), the tokenizer of ../encoder_families/tokenizers, and the mean of the
last hidden states of each text, cut to 60 tokens, in f32. Where `files` has a tokenizer_config.json, AutoTokenizer reads the folder.

mobilebert-square/ is a MobileBERT whose layers are as wide inside as outside, distilbert/ a DistilBERT for that tokenizer.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import torch
import transformers as t
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).parent
FAMILIES = HERE.parent / "encoder_families"
sys.path.insert(0, str(FAMILIES))
from make_families import SPECIALS, TEXTS, as_hub_tokenizer, randomize, save_small  # noqa: E402

CHOSEN = [text for text in TEXTS if 30 < len(text) < 90][::12][:5] + ["Größe: NAÏVE World, 東京都 café world"]
MAX_LENGTH = 60
CONFIG, TOKENS = "config.json", "tokenizer_config.json"
BERT = {"tokenizer_class": "BertTokenizer", "model_max_length": MAX_LENGTH, **SPECIALS["word_piece"]}
ADDED = {"content": "an", "lstrip": False, "rstrip": False, "single_word": False, "normalized": True, "special": False}
GENERIC = {**BERT, "tokenizer_class": "PreTrainedTokenizerFast"}
WINDOW = {"use_sliding_window": True, "sliding_window": 5}
YARN = {"type": "yarn", "factor": 4.0}

# (folder, tokenizer, files)
VARIANTS = [
    ("poolings", "word_piece", {CONFIG: {"is_decoder": True}}),
    ("xlm-roberta", "unigram", {CONFIG: {"is_decoder": True}}),
    ("electra", "word_piece", {CONFIG: {"is_decoder": True}}),
    ("poolings", "word_piece", {CONFIG: {"hidden_act": "gelu_python"}}),
    ("poolings", "word_piece", {CONFIG: {"hidden_act": "gelu_python_tanh"}}),
    ("poolings", "word_piece", {CONFIG: {"hidden_act": "gelu_accurate"}}),
    ("poolings", "word_piece", {CONFIG: {"hidden_act": "linear"}}),
    # Not the padding id of the tokenizer, and tokens of the texts.
    ("xlm-roberta", "unigram", {CONFIG: {"pad_token_id": 0}}),
    ("xlm-roberta", "unigram", {CONFIG: {"pad_token_id": 5}}),
    ("nomic", "word_piece", {CONFIG: {"rope_parameters": None, "rope_theta": 500.0}}),
    ("qwen2", "byte_level_end", {CONFIG: {"rope_scaling": {"type": "linear", "factor": 3.0}}}),
    ("qwen2", "byte_level_end", {CONFIG: {"rope_parameters": None, "rope_scaling": YARN,
                                          "original_max_position_embeddings": 50}}),
    ("mobilebert-square", "word_piece", {CONFIG: {}}),
    ("poolings", "word_piece", {TOKENS: {**BERT, "do_lower_case": False}}),
    ("poolings", "word_piece", {TOKENS: {**BERT, "do_lower_case": True, "strip_accents": False}}),
    ("poolings", "word_piece", {TOKENS: {**BERT, "do_lower_case": False, "strip_accents": True}}),
    ("poolings", "word_piece", {TOKENS: {**BERT, "tokenize_chinese_chars": False}}),
    ("poolings", "word_piece", {TOKENS: {**BERT, "model_max_length": 12, "truncation_side": "left"}}),
    ("poolings", "word_piece", {TOKENS: {**GENERIC, "do_lower_case": False}}),
    # A piece, whose id it has, now taken out of words too.
    ("poolings", "word_piece", {TOKENS: {**GENERIC, "added_tokens_decoder": {"ID": ADDED}}}),
    # Windows of layers; those of 'layer_types' are none.
    ("qwen2", "byte_level_end", {CONFIG: WINDOW}),
    ("qwen2", "byte_level_end", {CONFIG: {**WINDOW, "layer_types": None, "max_window_layers": 1}}),
    ("qwen3", "byte_level_end", {CONFIG: {**WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}}),
    ("qwen3", "byte_level_end", {CONFIG: {**WINDOW, "layer_types": None, "max_window_layers": 0, "is_causal": False}}),
    ("mistral", "unigram", {CONFIG: {"sliding_window": 4, "use_sliding_window": False}}),
    ("mistral", "unigram", {CONFIG: {"sliding_window": 1, "layer_types": ["full_attention", "sliding_attention", "full_attention"]}}),
    ("llama3", "byte_level_end", {CONFIG: {**WINDOW, "max_window_layers": 0}}),
    ("modernbert", "word_piece", {CONFIG: {"sliding_window": 2}}),
    # Gemma's old spelling, a layout of its own, and looking back alone.
    ("gemma3", "unigram", {CONFIG: {"rope_parameters": None, "rope_theta": 500.0, "rope_local_base_freq": 70.0}}),
    ("gemma3", "unigram", {CONFIG: {"layer_types": None, "sliding_window_pattern": 2, "sliding_window": 6}}),
    ("gemma3", "unigram", {CONFIG: {"use_bidirectional_attention": False, "sliding_window": 6}}),
    # What T5's newer files say apart comes before what they say together.
    ("t5", "unigram", {CONFIG: {"dense_act_fn": "silu", "feed_forward_proj": "gated-gelu"}}),
    ("t5-gated", "unigram", {CONFIG: {"dense_act_fn": None, "is_gated_act": None, "feed_forward_proj": "gated-silu"}}),
    # BERT's names for DistilBERT's sizes, which has three layers and four heads of its own.
    ("distilbert", "word_piece", {CONFIG: {"num_hidden_layers": 2}}),
    ("distilbert", "word_piece", {CONFIG: {"num_attention_heads": 2, "n_heads": None, "hidden_size": 16, "dim": None}}),
]


def make_square():
    config = t.MobileBertConfig(vocab_size=600, hidden_size=16, embedding_size=4, intra_bottleneck_size=16, num_hidden_layers=2,
                                num_attention_heads=2, intermediate_size=16, num_feedforward_networks=2,
                                max_position_embeddings=64)
    folder = HERE / "mobilebert-square"
    shutil.rmtree(folder, ignore_errors=True)
    save_small(randomize(t.AutoModel.from_config(config), 77, 0.4), folder)


def make_distilbert():
    config = t.DistilBertConfig(vocab_size=600, dim=16, n_layers=3, n_heads=4, hidden_dim=16, max_position_embeddings=64)
    folder = HERE / "distilbert"
    shutil.rmtree(folder, ignore_errors=True)
    save_small(randomize(t.AutoModel.from_config(config), 78, 1.6), folder)


def fill(files, tokenizer):
    """`added_tokens_decoder` with the id of a piece of the vocabulary."""
    text = json.dumps(files)
    return json.loads(text.replace('"ID"', f'"{tokenizer.token_to_id(ADDED["content"])}"')) if '"ID"' in text else files


def make(folder_name, tokenizer_name, files):
    tokenizer = Tokenizer.from_file(str(FAMILIES / "tokenizers" / f"{tokenizer_name}.json"))
    files = fill(files, tokenizer)
    source = HERE / folder_name if (HERE / folder_name).exists() else FAMILIES / folder_name
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name in (CONFIG, "model.safetensors"):
            shutil.copy(source / name, folder / name)
        tokenizer.save(str(folder / "tokenizer.json"))
        for name, members in files.items():
            path = folder / name
            settings = json.loads(path.read_text()) if path.exists() else {}
            settings.update(members)
            path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
        load = t.T5EncoderModel if folder_name.startswith("t5") else t.AutoModel
        model = load.from_pretrained(folder, dtype=torch.float32).eval()
        hub = (t.AutoTokenizer.from_pretrained(folder) if TOKENS in files
               else as_hub_tokenizer(tokenizer, SPECIALS[tokenizer_name], MAX_LENGTH))
        vectors = []
        for text in CHOSEN:
            with torch.no_grad():
                states = model(**hub(text, truncation=True, return_tensors="pt")).last_hidden_state[0]
            vectors.append([float(f"{x:.5g}") for x in states.mean(0)])
    print(folder_name, files, vectors[0][:3])
    return {"folder": folder_name, "tokenizer": tokenizer_name, "files": files, "vectors": vectors}


def main():
    make_square()
    make_distilbert()
    made = {"texts": CHOSEN, "max_length": MAX_LENGTH, "variants": [make(*variant) for variant in VARIANTS]}
    (HERE / "expected.json").write_text(json.dumps(made, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
