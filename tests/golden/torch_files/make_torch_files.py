"""Makes the golden files of tests/lib/model/torch_file_test.cc and tests/embed/torch_weights_test.cc: what torch.save
writes of weights, and the same weights as safetensors.

python make_torch_files.py     (torch 2.13, safetensors 0.8)

tensors.safetensors    every type, a scalar, an empty tensor, rows in other orders and tied ones, each lying row by row
tensors.bin            the same as torch.save writes them: views, a Parameter, tensors that share a storage
tensors_legacy.bin     the same in the form before PyTorch 1.6
checkpoint.bin         a training checkpoint: epoch, name, "state_dict" with "module." before the names, an optimizer's state
module.safetensors     what checkpoint.bin's state_dict holds
expanded.bin, complex.bin, float8.bin, protocol4.bin, script.bin, object.bin
                       what is not read: a storage shown several times, types that are not known, another protocol of
                       pickle, a TorchScript program, a class
dense/, open_clip/, decoder/, adapter/
                       the weights of ../encoder_families/dense (with 2_Dense; also in two parts), of
                       ../image_encoders/open-clip-own, ../decoders/gpt2 and ../lora/qwen
"""

import collections
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent


def tensors():
    torch.manual_seed(7)
    wide = torch.randn(6, 8)
    table = torch.randn(5, 4)
    out = {
        "f32": torch.randn(3, 4),
        "f16": torch.randn(2, 5).half(),
        "bf16": torch.randn(7).bfloat16(),
        "f64": torch.randn(2, 2, dtype=torch.float64),
        "i64": torch.arange(16).expand((1, -1)),
        "i32": torch.tensor([-5, 6], dtype=torch.int32),
        "i16": torch.tensor([-7], dtype=torch.int16),
        "i8": torch.tensor([-8, 8], dtype=torch.int8),
        "u8": torch.tensor([11, 250], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(3.25),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "frozen": torch.nn.Parameter(torch.randn(2, 2), requires_grad=False),
        "transposed": wide.t(),
        "strided": wide[1::2, 2::3],
        "rows": wide[2:4],
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "permuted": torch.randn(2, 3, 4).bfloat16().permute(2, 0, 1),
        "embeddings.weight": table,
        "lm_head.weight": table,
        "이름": torch.randn(2),
    }
    # One number too large for four bytes, in a tensor that has no elements.
    out["wide_stride"] = torch.as_strided(torch.zeros(1), (0, 2), (1 << 33, 1))
    return out


def contiguous(values):
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in values.items()}


def checkpoint():
    torch.manual_seed(8)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
    for _ in range(2):
        model(torch.randn(5, 4)).square().mean().backward()
        optimizer.step()
    state = collections.OrderedDict(("module." + name, value) for name, value in model.state_dict().items())
    save_file(contiguous(model.state_dict()), HERE / "module.safetensors")
    torch.save({"epoch": 3, "name": "small", "best": None, "loss": 0.5, "seen": 1 << 40, "state_dict": state,
                "optimizer": optimizer.state_dict()}, HERE / "checkpoint.bin")


def refused():
    torch.save({"a": torch.ones(1).expand(4, 4)}, HERE / "expanded.bin")
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, HERE / "complex.bin")
    torch.save({"a": torch.ones(2).to(torch.float8_e4m3fn)}, HERE / "float8.bin")
    torch.save({"a": torch.ones(2)}, HERE / "protocol4.bin", pickle_protocol=4)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), HERE / "script.bin")
    torch.save(torch.nn.Linear(2, 2), HERE / "object.bin")


def convert(source, target, **options):
    target.parent.mkdir(parents=True, exist_ok=True)
    values = load_file(source)
    torch.save(collections.OrderedDict(values), target, **options)
    return values


def parts(values, folder):
    folder.mkdir(exist_ok=True)
    names = sorted(values)
    weight_map = {}
    for i, chosen in enumerate([names[::2], names[1::2]]):
        file = f"pytorch_model-{i + 1:05}-of-00002.bin"
        torch.save({name: values[name] for name in chosen}, folder / file)
        weight_map |= {name: file for name in chosen}
    index = {"metadata": {"total_size": sum(v.nbytes for v in values.values())}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


def main():
    values = tensors()
    save_file(contiguous(values), HERE / "tensors.safetensors")
    torch.save(values, HERE / "tensors.bin")
    torch.save(values, HERE / "tensors_legacy.bin", _use_new_zipfile_serialization=False)
    checkpoint()
    refused()
    golden = HERE.parent
    dense = convert(golden / "encoder_families/dense/model.safetensors", HERE / "dense/pytorch_model.bin")
    convert(golden / "encoder_families/dense/2_Dense/model.safetensors", HERE / "dense/2_Dense/pytorch_model.bin",
            _use_new_zipfile_serialization=False)
    parts(dense, HERE / "dense/parts")
    convert(golden / "image_encoders/open-clip-own/open_clip_model.safetensors",
            HERE / "open_clip/open_clip_pytorch_model.bin")
    convert(golden / "decoders/gpt2/model.safetensors", HERE / "decoder/pytorch_model.bin")
    convert(golden / "lora/qwen/adapter_model.safetensors", HERE / "adapter/adapter_model.bin")


main()
