#!/usr/bin/env python3
"""Makes this folder: what transformers' processors make of pictures where the settings of ../image_encoders' folders are others.

    make_variants.py

Made with transformers 5.24.0 (its PIL backend), Pillow 12.0.0. expected.json has the variants: the folder, and the members that are set in its
preprocessor_config.json (null: taken out). pixels.f16: of each variant in turn the pictures 1 and 3 of ../image_encoders/pictures.json.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import transformers as t

HERE = pathlib.Path(__file__).parent
ENCODERS = HERE.parent / "image_encoders"
sys.path.insert(0, str(ENCODERS))
from make_image_encoders import load_pictures  # noqa: E402

SQUARE = {"height": 28, "width": 28}
CROPPED = {"do_center_crop": True, "crop_size": SQUARE}
VARIANTS = [
    ("clip", {"image_mean": 0.25}), ("clip", {"image_std": 0.5}), ("siglip", {"image_mean": 0.25, "image_std": 2}),
    ("clip", {"do_resize": False, **CROPPED}), ("siglip", {"do_resize": False, **CROPPED}),
    ("clip", {"size": {"shortest_edge": 28, "longest_edge": 28}}), ("clip", {"size": {"shortest_edge": 28, "longest_edge": 37}}),
    ("siglip", {"size": {"shortest_edge": 90, "longest_edge": 95}, **CROPPED}),
    ("clip", {"image_processor_type": None}),
    ("siglip", {"image_processor_type": None, "image_mean": None, "image_std": None, "do_center_crop": None, "resample": None}),
]


def main():
    pictures = load_pictures()
    arrays = []
    for name, members in VARIANTS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            for file in ("config.json", "preprocessor_config.json"):
                shutil.copy(ENCODERS / name / file, folder / file)
            path = folder / "preprocessor_config.json"
            settings = {**json.loads(path.read_text()), **members}
            path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
            processor = t.AutoImageProcessor.from_pretrained(folder, backend="pil")
            for picture in (pictures[1], pictures[3]):
                arrays.append(processor(picture, return_tensors="np")["pixel_values"][0].flatten())
        print(type(processor).__name__, members, arrays[-1][:3], arrays[-1].shape)
    np.concatenate(arrays).astype("<f2").tofile(HERE / "pixels.f16")
    rows = [{"folder": name, "members": members} for name, members in VARIANTS]
    (HERE / "expected.json").write_text(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
