#!/usr/bin/env python3
"""Makes this folder: small CLIP and SigLIP models with random weights, and what the reference gives for texts and pictures.

    make_image_encoders.py [NAME…]

NAME: the folders to make; all without one. Made with transformers 5.23.0, torch 2.15.0 (CPU), torchvision 0.29.2, Pillow 12.0.0.

Each folder is a Hugging Face folder without its tokenizer.json (tokenizer.txt names one of this folder), and holds
texts.f16 and images.f16, little-endian half-precision floats [texts, dim] and [images, dim] of unit length: get_text_features
of the first texts of ../embeddings/texts.jsonl, one at a time, cut to the model's longest, and get_image_features of
pictures.json's pictures. pixels.f16: what the processors of transformers make of the pictures 1, 3, 5 and 7. logits.json:
logits_per_image of the pictures and the first five texts.
"""

import base64
import collections
import json
import pathlib
import sys

import numpy as np
import torch
import transformers as t
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
TEXTS = [json.loads(line)["text"] for line in open(HERE.parent / "embeddings" / "texts.jsonl", encoding="utf-8")]
TEXTS = [text for i, text in enumerate(TEXTS) if i % 7 < 4]
# What the Unigram trainer sees: a small vocabulary has no room for every script.
COMMON = {c for c, _ in collections.Counter("".join(TEXTS).lower()).most_common(400)}
TRAINING = ["".join(c for c in text.lower() if c in COMMON) for text in TEXTS]
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_PATTERN = (r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


# --- tokenizers, with the parts that the published models' have ---


def clip_tokenizer():
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(CLIP_PATTERN), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=alphabet, end_of_word_suffix="</w>", special_tokens=[], show_progress=False))
    # Every byte also at the end of a word, as in the published vocabulary.
    state = json.loads(tokenizer.to_str())
    vocab = state["model"]["vocab"]
    for symbol in alphabet:
        vocab.setdefault(symbol + "</w>", len(vocab))
    for token in (START, END):
        vocab[token] = len(vocab)
    state["model"]["unk_token"] = END
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([START, END])
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, vocab[END]), (START, vocab[START]), trim_offsets=False, add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def siglip_tokenizer():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Lowercase(), normalizers.Replace(Regex(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(TRAINING, trainers.UnigramTrainer(
        vocab_size=900, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


TOKENIZERS = {"clip": clip_tokenizer, "siglip": siglip_tokenizer}


def load_tokenizer(name):
    path = HERE / f"{name}_tokenizer.json"
    if not path.exists():  # training is not reproducible to the byte
        TOKENIZERS[name]().save(str(path), pretty=False)
    return Tokenizer.from_file(str(path))


# --- pictures ---


def make_pictures():
    """Of many shapes: smooth ones, noise and edges."""
    random = np.random.default_rng(5)
    rows = []
    shapes = [(28, 28), (40, 28), (28, 51), (17, 13), (9, 33), (64, 64), (70, 31), (31, 70), (100, 12), (1, 1), (2, 90), (57, 56)]
    for i, (width, height) in enumerate(shapes):
        y, x = np.mgrid[0:height, 0:width]
        waves = np.stack([np.sin(x / (3 + c + i) + y / (5 + i)) for c in range(3)], -1) * 110 + 128
        noise = random.integers(0, 256, (height, width, 3))
        picture = np.where((x[..., None] + y[..., None] + i) % 11 < 7, waves, noise)
        pixels = np.clip(picture, 0, 255).astype(np.uint8)
        rows.append({"width": width, "height": height, "rgb": base64.b64encode(pixels.tobytes()).decode()})
    return rows


def load_pictures():
    path = HERE / "pictures.json"
    if not path.exists():
        path.write_text("[\n" + ",\n".join(map(json.dumps, make_pictures())) + "\n]\n", encoding="utf-8")
    return [Image.frombytes("RGB", (row["width"], row["height"]), base64.b64decode(row["rgb"]))
            for row in json.loads(path.read_text(encoding="utf-8"))]


# --- models ---


def randomize(model, seed, gain=1.6):
    """Weights large enough that every part of the network shows in its output, as f16 holds them."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name in ("logit_scale", "logit_bias"):
            with torch.no_grad():
                parameter.copy_(parameter.half().float())
            continue
        if parameter.dim() == 1:
            centre, scale = (1.0, 0.2) if name.endswith("weight") else (0.0, 0.2)
        else:
            width = parameter[0].numel()
            centre, scale = 0.0, (0.7 if "position" in name or "token_embedding" in name or "probe" in name
                                  else gain / width ** 0.5)
        with torch.no_grad():
            parameter.copy_((centre + scale * torch.randn(parameter.shape, generator=generator)).half().float())
    return model.eval()


TEXT = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}
VISION = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}


def clip(vocabulary, activation, image_size, patch_size, positions):
    ids = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
    return t.CLIPConfig(
        text_config=dict(vocab_size=vocabulary, max_position_embeddings=positions, hidden_act=activation, **ids, **TEXT),
        vision_config=dict(image_size=image_size, patch_size=patch_size, hidden_act=activation, **VISION), projection_dim=20)


def models_to_make():
    """name -> (model, tokenizer, longest text, image processor)"""
    clip_size = load_tokenizer("clip").get_vocab_size()
    siglip_size = load_tokenizer("siglip").get_vocab_size()
    half = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.3, 0.25, 0.2]}
    return {
        "clip": (t.CLIPModel(clip(clip_size, "quick_gelu", 28, 7, 77)), "clip", 77,
                 t.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})),
        # OpenCLIP's: gelu, patches that leave pixels over, another filter.
        "open-clip": (t.CLIPModel(clip(clip_size, "gelu", 30, 8, 40)), "clip", 40,
                      t.CLIPImageProcessorPil(size={"shortest_edge": 33}, crop_size={"height": 30, "width": 30}, resample=2, **half)),
        "siglip": (t.SiglipModel(t.SiglipConfig(
            text_config=dict(vocab_size=siglip_size, max_position_embeddings=64, projection_size=32, **TEXT),
            vision_config=dict(image_size=28, patch_size=7, **VISION))), "siglip", 64,
            t.SiglipImageProcessorPil(size={"height": 28, "width": 28})),
    }


def unit(rows):
    rows = torch.cat(rows)
    return (rows / rows.norm(dim=-1, keepdim=True)).numpy()


def features(output):
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def make(name, model, tokenizer_name, longest, processor, pictures):
    folder = HERE / name
    model = randomize(model, 7)
    model.save_pretrained(folder)
    path = folder / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    processor.save_pretrained(folder)
    (folder / "tokenizer.txt").write_text(f"{tokenizer_name}\n", encoding="utf-8")
    tokenizer = load_tokenizer(tokenizer_name)
    tokenizer.enable_truncation(longest)
    if tokenizer_name == "siglip":
        tokenizer.enable_padding(pad_id=1, pad_token="</s>", length=longest)

    with torch.no_grad():
        ids = [torch.tensor([tokenizer.encode(text).ids]) for text in TEXTS[:320]]
        texts = unit([features(model.get_text_features(input_ids=i)) for i in ids])
        pixels = [processor(picture, return_tensors="pt")["pixel_values"] for picture in pictures]
        images = unit([features(model.get_image_features(pixel_values=p)) for p in pixels])
        logits = np.stack([
            torch.cat([model(input_ids=i, pixel_values=p).logits_per_image for i in ids[:5]], -1)[0].numpy() for p in pixels])
    texts.astype("<f2").tofile(folder / "texts.f16")
    images.astype("<f2").tofile(folder / "images.f16")
    json.dump([[round(float(v), 5) for v in row] for row in logits], open(folder / "logits.json", "w", encoding="utf-8"))
    np.concatenate([p.flatten() for p in pixels[1:9:2]]).astype("<f2").tofile(folder / "pixels.f16")


if __name__ == "__main__":
    torch.set_num_threads(1)
    loaded = load_pictures()
    for model_name, parts in models_to_make().items():
        if len(sys.argv) == 1 or model_name in sys.argv[1:]:
            make(model_name, *parts, loaded)
