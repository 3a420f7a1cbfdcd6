#!/usr/bin/env python3
"""Makes open-clip-own: a small model of OpenCLIP with random weights in OpenCLIP's own files, and what open_clip gives.

    make_open_clip.py

Made with open_clip_torch 3.3.0, torch 2.13.0 (CPU), torchvision 0.28.0, Pillow 12.0.0, transformers 5.24.0.

As make_image_encoders.py's folders (texts.f16, images.f16, pixels.f16, logits.json), with open_clip_config.json and
open_clip_model.safetensors instead of Hugging Face's, by open_clip's own networks and transforms. squashed.f16: the
same pictures with resize_mode squash and interpolation bilinear; fitted.f16: with longest and bilinear.
"""

import json

import numpy as np
import open_clip
import torch
from make_image_encoders import HERE, TEXTS, load_pictures, load_tokenizer, randomize, unit
from open_clip.transform import image_transform
from safetensors.torch import save_file

CONFIG = {
    "model_cfg": {
        "embed_dim": 20,
        "vision_cfg": {"image_size": 30, "layers": 3, "width": 32, "head_width": 8, "patch_size": 8, "mlp_ratio": 1.5},
        "text_cfg": {"context_length": 40, "vocab_size": 1027, "width": 24, "heads": 4, "layers": 3},
    },
    "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.3, 0.25, 0.2], "interpolation": "bicubic", "resize_mode": "shortest"},
}


def main():
    folder = HERE / "open-clip-own"
    folder.mkdir(exist_ok=True)
    cfg = CONFIG["model_cfg"]
    model = randomize(open_clip.CLIP(cfg["embed_dim"], dict(cfg["vision_cfg"]), dict(cfg["text_cfg"])), 11)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors",
              metadata={"format": "pt"})
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    (folder / "tokenizer.txt").write_text("clip\n", encoding="utf-8")
    tokenizer = load_tokenizer("clip")
    longest = cfg["text_cfg"]["context_length"]
    tokenizer.enable_truncation(longest)
    tokenizer.enable_padding(pad_id=0, length=longest)
    size = cfg["vision_cfg"]["image_size"]
    colors = {key: CONFIG["preprocess_cfg"][key] for key in ("mean", "std")}
    pictures = load_pictures()
    transforms = {"pixels": image_transform(size, is_train=False, resize_mode="shortest", interpolation="bicubic", **colors),
                  "squashed": image_transform(size, is_train=False, resize_mode="squash", interpolation="bilinear", **colors),
                  "fitted": image_transform(size, is_train=False, resize_mode="longest", interpolation="bilinear", **colors)}
    pixels = {name: [transform(picture)[None] for picture in pictures] for name, transform in transforms.items()}
    with torch.no_grad():
        ids = [torch.tensor([tokenizer.encode(text).ids]) for text in TEXTS[:320]]
        texts = unit([model.encode_text(i) for i in ids])
        images = unit([model.encode_image(p) for p in pixels["pixels"]])
        logits = np.exp(model.logit_scale.item()) * images @ texts[:5].T
    texts.astype("<f2").tofile(folder / "texts.f16")
    images.astype("<f2").tofile(folder / "images.f16")
    json.dump([[round(float(v), 5) for v in row] for row in logits], open(folder / "logits.json", "w", encoding="utf-8"))
    for name, rows in pixels.items():
        np.concatenate([p.numpy().flatten() for p in rows[1:9:2]]).astype("<f2").tofile(folder / f"{name}.f16")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
