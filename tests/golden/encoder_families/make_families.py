#!/usr/bin/env python3
"""Makes this folder: a small encoder of each family with random weights, and what the reference gives for 320 texts.

    make_families.py [NAME…]

NAME: the folders to make; all without one. Made with transformers 5.23.0 (scaled positions: 5.24.0), sentence-transformers 6.2.0, torch 2.13.0
(CPU), tokenizers 0.23.3.

The texts are 4 of 7 of those of ../embeddings/texts.jsonl: real ones of 180 languages, from one character to 2,000 words, each cut
to the model's longest. Each folder is a sentence-transformers model without its tokenizer.json, which is one of
tokenizers/ (tokenizer.txt says which), and holds vectors.f16: little-endian half-precision floats [texts, dim], computed
one text at a time in f32 from the weights as stored.

jina-bert has no implementation in transformers: the reference is BertModel without positions, with transformers' ALiBi
of MPT (made symmetric) in the attention mask, and torch's own operations for its gated feed-forward network.
"""

import collections
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

HERE = pathlib.Path(__file__).parent
TEXTS = [json.loads(line)["text"] for line in open(HERE.parent / "embeddings" / "texts.jsonl", encoding="utf-8")]
TEXTS = [text for i, text in enumerate(TEXTS) if i % 7 < 4]
# What the trainers see: a small vocabulary has no room for every script.
COMMON = {c for c, _ in collections.Counter("".join(TEXTS)).most_common(400)}
TRAINING = ["".join(c for c in text if c in COMMON) for text in TEXTS]
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


# --- tokenizers ---


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TRAINING, trainers.WordPieceTrainer(
        vocab_size=600, limit_alphabet=300, special_tokens=BERT_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(TRAINING, trainers.UnigramTrainer(
        vocab_size=1100, special_tokens=ROBERTA_SPECIAL, unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(TRAINING, trainers.BpeTrainer(
        vocab_size=600, special_tokens=BERT_SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def byte_level_end():
    """That of byte_level with an end behind each text alone, as Qwen3-Embedding has it."""
    tokenizer = Tokenizer.from_file(str(HERE / "tokenizers" / "byte_level.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A:0 [SEP]:0", pair="$A:0 $B:1 [SEP]:1",
                                                             special_tokens=[("[SEP]", 3)])
    return tokenizer


TOKENIZERS = {"word_piece": word_piece, "unigram": unigram, "byte_level": byte_level, "byte_level_end": byte_level_end}


def make_tokenizers():
    """name -> (tokenizers.Tokenizer, special tokens)"""
    made = {}
    (HERE / "tokenizers").mkdir(exist_ok=True)
    for name, make in TOKENIZERS.items():
        path = HERE / "tokenizers" / f"{name}.json"
        if path.exists():  # training is not reproducible to the byte
            tokenizer = Tokenizer.from_file(str(path))
        else:
            tokenizer = make()
            tokenizer.save(str(path), pretty=False)
        made[name] = (tokenizer, SPECIALS[name])
    return made


BERT_NAMES = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
SPECIALS = {
    "word_piece": BERT_NAMES, "byte_level": BERT_NAMES, "byte_level_end": BERT_NAMES,
    "unigram": {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>",
                "sep_token": "</s>", "mask_token": "<mask>"},
}


# --- models ---


def randomize(model, seed, gain=1.6):
    """Weights large enough that every part of the network shows in its output, as f16 holds them."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            centre, scale = (1.0, 0.2) if name.endswith("weight") else (0.0, 0.2)
        else:
            centre, scale = 0.0, (1.0 if "embed" in name or "relative" in name else gain / parameter.shape[-1] ** 0.5)
        if name.endswith("SelfAttention.q.weight"):  # of T5, whose scores are not divided
            scale *= model.config.d_kv ** -0.5
        with torch.no_grad():
            parameter.copy_((centre + scale * torch.randn(parameter.shape, generator=generator)).half().float())
    return model.eval()


def save_small(model, folder):
    """The folder as transformers writes it, in f16 and without what an encoder has no use for."""
    model.save_pretrained(folder)
    path = folder / "model.safetensors"
    tensors = {k: v.half() for k, v in load_file(path).items() if not any(p in k for p in ("pooler", "position_ids", "decoder."))}
    save_file(tensors, path, metadata={"format": "pt"})


SHAPE = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}


def families():
    """name -> (config, tokenizer, longest text, pooling, further modules, prompts and settings)"""
    t = transformers
    dense = st.Dense(24, 16, bias=True, activation_function=torch.nn.Tanh())
    # EmbeddingGemma's, which widen and narrow again.
    wide = st.Dense(24, 48, bias=False, activation_function=torch.nn.Identity())
    narrow = st.Dense(48, 24, bias=False, activation_function=torch.nn.Identity())
    t5 = {"d_model": 24, "d_kv": 10, "d_ff": 40, "num_layers": 3, "num_heads": 4}
    return {
        "xlm-roberta": (t.XLMRobertaConfig(vocab_size=1100, max_position_embeddings=258, type_vocab_size=1, pad_token_id=1,
                                           layer_norm_eps=1e-5, **SHAPE), "unigram", 256, "mean", ["normalize"]),
        "mpnet": (t.MPNetConfig(vocab_size=1100, max_position_embeddings=386, pad_token_id=1, **SHAPE), "unigram", 384,
                  "mean", ["normalize"]),
        "albert": (t.AlbertConfig(vocab_size=1100, embedding_size=16, max_position_embeddings=256, num_hidden_groups=2,
                                  inner_group_num=2, **{**SHAPE, "num_hidden_layers": 5}), "unigram", 256, "mean", []),
        "electra": (t.ElectraConfig(vocab_size=600, embedding_size=16, max_position_embeddings=200, **SHAPE), "word_piece",
                    180, "cls", []),
        "mobilebert": (t.MobileBertConfig(vocab_size=600, embedding_size=8, max_position_embeddings=256,
                                          intra_bottleneck_size=16, num_feedforward_networks=3,
                                          **{**SHAPE, "intermediate_size": 32}), "word_piece", 256, "mean", []),
        "modernbert": (t.ModernBertConfig(vocab_size=600, max_position_embeddings=700, local_attention=32, pad_token_id=0,
                                          bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3,
                                          **{**SHAPE, "num_hidden_layers": 5}), "byte_level", 700, "cls", ["normalize"]),
        "nomic": (t.NomicBertConfig(vocab_size=600, max_position_embeddings=700, **SHAPE), "word_piece", 640, "mean",
                  ["normalize"]),
        "gte": (t.GteConfig(vocab_size=1100, max_position_embeddings=512, **SHAPE), "unigram", 512, "cls", ["normalize"]),
        "poolings": (t.BertConfig(vocab_size=600, max_position_embeddings=200, **SHAPE), "word_piece", 200,
                     ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"], []),
        "dense": (t.BertConfig(vocab_size=600, max_position_embeddings=200, **SHAPE), "word_piece", 200, "lasttoken",
                  [dense, "normalize"]),
        "gte-ntk": (t.GteConfig(vocab_size=1100, max_position_embeddings=512, rope_parameters={
            "rope_theta": 20_000.0, "rope_type": "default"}, **SHAPE), "unigram", 512, "cls", ["normalize"]),
        "qwen3": (t.Qwen3Config(vocab_size=600, max_position_embeddings=512, num_key_value_heads=2, head_dim=10,
                                rope_parameters={"rope_theta": 1e6, "rope_type": "default"}, **SHAPE), "byte_level_end", 512,
                  "lasttoken", ["normalize"]),
        "qwen2": (t.Qwen2Config(vocab_size=600, max_position_embeddings=400, num_key_value_heads=4, **SHAPE), "byte_level_end",
                  400, "mean", []),
        # Texts are cut where the window ends.
        "mistral": (t.MistralConfig(vocab_size=1100, max_position_embeddings=512, num_key_value_heads=1, sliding_window=256,
                                    **SHAPE), "unigram", 256, "lasttoken", ["normalize"]),
        # Longer texts than the models were trained on at first.
        "qwen3-yarn": (t.Qwen3Config(vocab_size=600, max_position_embeddings=512, num_key_value_heads=2, head_dim=16,
                                     rope_parameters={"rope_theta": 1e4, "rope_type": "yarn", "factor": 8.0,
                                                      "original_max_position_embeddings": 64}, **SHAPE), "byte_level_end",
                       512, "lasttoken", ["normalize"]),
        "llama3": (t.LlamaConfig(vocab_size=600, max_position_embeddings=512, num_key_value_heads=2, head_dim=16,
                                 rope_parameters={"rope_theta": 1e4, "rope_type": "llama3", "factor": 8.0,
                                                  "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                  "original_max_position_embeddings": 64}, **SHAPE), "byte_level_end", 512,
                   "mean", ["normalize"]),
        "mistral-linear": (t.MistralConfig(vocab_size=600, max_position_embeddings=512, num_key_value_heads=2,
                                           sliding_window=None, rope_parameters={
                                               "rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}, **SHAPE),
                           "byte_level_end", 512, "mean", ["normalize"]),
        "qwen2-dynamic": (t.Qwen2Config(vocab_size=600, max_position_embeddings=400, num_key_value_heads=4, rope_parameters={
            "rope_theta": 1e4, "rope_type": "dynamic", "factor": 4.0}, **SHAPE), "byte_level_end", 400, "mean", []),
        "gemma3": (t.Gemma3TextConfig(vocab_size=1100, max_position_embeddings=512, num_key_value_heads=1, head_dim=16,
                                      query_pre_attn_scalar=20, sliding_window=64, sliding_window_pattern=3,
                                      use_bidirectional_attention=True, **{**SHAPE, "num_hidden_layers": 4}), "unigram", 512,
                   "mean", [wide, narrow, "normalize"]),
        "t5": (t.T5Config(vocab_size=1100, relative_attention_num_buckets=16, relative_attention_max_distance=100, **t5),
               "unigram", 300, "mean", [dense, "normalize"]),
        "t5-gated": (t.T5Config(vocab_size=1100, feed_forward_proj="gated-gelu", **t5), "unigram", 300, "mean",
                     ["normalize"]),
    }


def scale_rotation(reference, folder, factor):
    """GTE's NTK scaling, which transformers leaves out: the frequencies as vLLM's NTKScalingRotaryEmbedding has them, and
    the key of GTE's own config.json."""
    rotary = reference[0].auto_model.rotary_emb
    dim = 2 * len(rotary.inv_freq)
    base = rotary.config.rope_parameters["rope_theta"] * factor
    rotary.inv_freq.copy_(1.0 / base ** (torch.arange(0, dim, 2).float() / dim) / factor ** (2 / dim))
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["rope_scaling"] = {"type": "ntk", "factor": factor}
    path.write_text(json.dumps({**config, "model_type": "new"}, indent=2) + "\n")


def as_hub_tokenizer(tokenizer, special, max_length):
    # As BERT's own tokenizer does; a tokenizer without a second type gives zeros.
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if "bos_token" not in special else ["input_ids",
                                                                                                  "attention_mask"]
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length,
                                                model_input_names=inputs, **special)


def make(name, config, tokenizer_name, tokenizers, max_length, pooling, further, seed):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        hub = pathlib.Path(temporary) / "hub"
        hub.mkdir()
        # MobileBERT's norms hold nothing back.
        gain = 0.4 if config.model_type == "mobilebert" else 1.6
        model = randomize(transformers.AutoModel.from_config(config), seed, gain)
        save_small(model, hub)
        tokenizer, special = tokenizers[tokenizer_name]
        as_hub_tokenizer(tokenizer, special, max_length).save_pretrained(hub)
        network = st.Transformer(str(hub), max_seq_length=max_length)
        # Not what transformers makes of the files for some model types, Qwen 2's pattern among them.
        network.processor = as_hub_tokenizer(tokenizer, special, max_length)
        modules = [network, st.Pooling(config.hidden_size, pooling_mode=pooling)]
        for module in further:
            if module != "normalize":
                randomize(module, seed + 1)
            modules.append(st.Normalize() if module == "normalize" else module)
        reference = SentenceTransformer(modules=modules, device="cpu").float()
        reference.save_pretrained(str(folder), create_model_card=False)
        if name == "gte-ntk":
            scale_rotation(reference, folder, 8.0)
        vectors = reference.encode(TEXTS, batch_size=1, convert_to_numpy=True, show_progress_bar=False)
        shutil.copy(hub / "model.safetensors", folder / "model.safetensors")
    finish(folder, tokenizer_name, max_length, vectors)


def finish(folder, tokenizer_name, max_length, vectors):
    for path in list(folder.glob("tokenizer*")) + list(folder.glob("special_tokens*")) + list(folder.glob("*.md")):
        path.unlink()
    (folder / "tokenizer.txt").write_text(tokenizer_name + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": max_length}) + "\n")
    assert np.isfinite(vectors.astype("<f2")).all()
    vectors.astype("<f2").tofile(folder / "vectors.f16")
    print(folder.name, vectors.shape, "distinct", len(np.unique(vectors.round(3), axis=0)), "smallest spread",
          float(vectors.std(0).min()))


# --- JinaBERT ---


class JinaFeedForward(torch.nn.Module):
    def __init__(self, hidden, intermediate):
        super().__init__()
        self.gated_layers = torch.nn.Linear(hidden, 2 * intermediate, bias=False)
        self.wo = torch.nn.Linear(intermediate, hidden)
        self.layernorm = torch.nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, x):
        activated, other = self.gated_layers(x).chunk(2, dim=-1)
        return self.layernorm(x + self.wo(torch.nn.functional.gelu(activated) * other))


def jina_bert(max_length, heads, seed, **settings):
    """The model, and what its config.json says."""
    shape = {**SHAPE, "num_attention_heads": heads}
    config = transformers.BertConfig(vocab_size=600, max_position_embeddings=max_length, attn_implementation="sdpa", **shape,
                                     **settings)
    model = transformers.BertModel(config, add_pooling_layer=False)
    for layer in model.encoder.layer:
        layer.mlp = JinaFeedForward(config.hidden_size, config.intermediate_size)
        layer.feed_forward_chunk = layer.mlp.forward
    randomize(model, seed)
    with torch.no_grad():
        model.embeddings.position_embeddings.weight.zero_()
    return model, {**config.to_dict(), "architectures": ["JinaBertModel"], "position_embedding_type": "alibi",
                   "feed_forward_type": "geglu", "emb_pooler": "mean"}


def jina_tensors(model):
    return {k: v.half() for k, v in model.state_dict().items()
            if "position" not in k and "intermediate.dense" not in k and ".output.dense" not in k.replace("attention.output", "")
            and "output.LayerNorm" not in k.replace("attention.output.LayerNorm", "")}


def jina_states(model, inputs):
    """The last hidden states [length, hidden] of one sequence."""
    heads, length = model.config.num_attention_heads, inputs["input_ids"].shape[1]
    # One row of biases over the keys, 0 at the last: MPT's are causal.
    causal = build_mpt_alibi_tensor(heads, length)[:, 0]
    distance = (torch.arange(length)[:, None] - torch.arange(length)[None, :]).abs()
    bias = causal[:, length - 1 - distance]
    with torch.no_grad():
        return model(input_ids=inputs["input_ids"], token_type_ids=inputs["token_type_ids"],
                     attention_mask=bias[None]).last_hidden_state[0]


def make_jina(tokenizers, max_length, heads, seed):
    folder = HERE / "jina-bert"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    model, config = jina_bert(max_length, heads, seed)
    save_file(jina_tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    tokenizer = as_hub_tokenizer(*tokenizers["word_piece"], max_length)
    vectors = [jina_states(model, tokenizer(text, truncation=True, return_tensors="pt")).mean(0).numpy() for text in TEXTS]
    finish(folder, "word_piece", max_length, np.stack(vectors))


def main(wanted):
    tokenizers = make_tokenizers()
    for seed, (name, arguments) in enumerate(families().items()):
        if wanted and name not in wanted:
            continue
        config, tokenizer_name, max_length, pooling, further = arguments
        make(name, config, tokenizer_name, tokenizers, max_length, pooling, further, 100 + seed)
    if not wanted or "jina-bert" in wanted:
        make_jina(tokenizers, 600, 6, 50)


if __name__ == "__main__":
    main(sys.argv[1:])
