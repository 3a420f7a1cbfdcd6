"""Random LoRA adapters of small decoders, with peft's logits and greedy tokens.

Each folder holds an adapter as peft saves it, and adapter.gguf as llama.cpp's convert_lora_to_gguf.py writes it where
that says the same (it knows neither use_rslora nor alpha_pattern nor fan_in_fan_out's matrices). The models are those of
tests/golden/decoders. golden.json has, for each case, the model, its adapters with their scales, the ids of a prompt and of
the greedy continuation, and logits after some positions, computed in f32.

Packages: torch (CPU), transformers, peft, and for the gguf files a llama.cpp source tree with convert_lora_to_gguf.py and
what that imports (gguf, mistral-common, pillow).
Run: python3 make_lora.py --llama-cpp LLAMA_CPP
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
DECODERS = HERE.parent / "decoders"
NEW = 12
# Greedy choices must not hang on rounding, and the adapter must move the logits by more than that.
MARGIN = 0.01
MOVED = 0.3

# Name -> model, LoraConfig, whether the converter's file says the same.
ADAPTERS = {
    "llama_all": ("llama3", dict(r=4, lora_alpha=6, rank_pattern={"q_proj": 3},
                                 alpha_pattern={"model.layers.1.mlp.down_proj": 10},
                                 target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                                                 "down_proj", "lm_head"]), False),
    "llama_attention": ("llama3", dict(r=2, lora_alpha=5, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]), True),
    "smollm": ("smollm", dict(r=3, lora_alpha=4, target_modules="all-linear"), True),
    "qwen": ("qwen2", dict(r=8, lora_alpha=4, use_rslora=True, target_modules="all-linear"), False),
    "gpt2": ("gpt2", dict(r=3, lora_alpha=3, fan_in_fan_out=True, target_modules=["c_attn", "c_proj", "c_fc"]), False),
    "gptneox": ("gptneox", dict(r=4, lora_alpha=8, target_modules=["query_key_value", "dense_h_to_4h"]), False),
    "phi3": ("phi3", dict(r=4, lora_alpha=8, target_modules=["qkv_proj", "gate_up_proj", "down_proj"]), True),
}
# Cases beyond one adapter at its full scale.
MIXED = {
    "llama_half": ("llama3", [["llama_all", 0.5]]),
    "llama_both": ("llama3", [["llama_all", 1.0], ["llama_attention", -0.75]]),
}


def base(name):
    return AutoModelForCausalLM.from_pretrained(DECODERS / name, dtype=torch.float32,
                                                attn_implementation="eager").eval()


def prompt_of(name):
    return json.loads((DECODERS / "golden.json").read_text())[name]["prompt"]


def compute(model, prompt):
    ids = torch.tensor([prompt])
    margin = float("inf")
    for _ in range(NEW):
        logits = model(input_ids=ids, use_cache=False).logits[0]
        top = logits[-1].topk(2).values
        margin = min(margin, (top[0] - top[1]).item())
        ids = torch.cat([ids, logits[-1].argmax().reshape(1, 1)], dim=1)
    rows = [5, len(prompt) - 1, len(prompt) + NEW - 2]
    return margin, {"prompt": prompt, "greedy": ids[0, len(prompt):].tolist(), "rows": rows,
                    "logits": [[float(f"{x:.6g}") for x in logits[row].tolist()] for row in rows]}


def moved(model, prompt, golden):
    logits = model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, len(prompt) - 1]
    return (logits - torch.tensor(golden["logits"][1])).abs().max().item()


def convert(llama_cpp, model, adapter, out):
    # The converter wants files that say the same to every version of transformers.
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary, "base")
        shutil.copytree(DECODERS / model, folder)
        paths = [str(llama_cpp / "gguf-py"), os.environ.get("PYTHONPATH", "")]
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
        subprocess.run([sys.executable, llama_cpp / "convert_lora_to_gguf.py", "--base", folder, "--outtype", "f32",
                        "--outfile", out, adapter], env=environment, check=True)


def load(model_name, adapters):
    """The model with a sum of scaled adapters."""
    model = base(model_name)
    for name, _ in adapters:
        folder = HERE / name
        if isinstance(model, PeftModel):
            model.load_adapter(folder, adapter_name=name)
        else:
            model = PeftModel.from_pretrained(model, folder, adapter_name=name)
    model.base_model.set_adapter([name for name, _ in adapters])
    for module in model.modules():
        for name, scale in adapters:
            if isinstance(module, LoraLayer) and name in module.scaling:
                module.scaling[name] *= scale
    return model.eval()


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    golden = {}
    for name, (model_name, settings, same) in ADAPTERS.items():
        prompt = prompt_of(model_name)
        folder = HERE / name
        for seed in range(1, 100):
            model = get_peft_model(base(model_name), LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
            generator = torch.Generator().manual_seed(seed)
            for parameter_name, parameter in sorted(model.named_parameters()):
                if ".lora_" in parameter_name:
                    noise = torch.randn(parameter.shape, generator=generator) * 0.3
                    parameter.copy_(noise.half().float())
            margin, golden[name] = compute(model, prompt)
            far = moved(base(model_name), prompt, golden[name])
            if margin > MARGIN and far > MOVED:
                break
        else:
            raise SystemExit(f"{name}: no seed gives a margin of {MARGIN}")
        golden[name] |= {"model": model_name, "adapters": [[name, 1.0]], "gguf": same}
        shutil.rmtree(folder, ignore_errors=True)
        model.half().save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        (folder / "adapter_model.safetensors").chmod(0o644)
        config = json.loads((folder / "adapter_config.json").read_text())
        config |= {"base_model_name_or_path": model_name, "target_modules": settings["target_modules"]}
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
        if same:
            convert(arguments.llama_cpp.resolve(), model_name, folder, folder / "adapter.gguf")
        print(name, "seed", seed, "margin", round(margin, 3), "moved", round(far, 2),
              [f.stat().st_size for f in folder.iterdir()])
    for name, (model_name, adapters) in MIXED.items():
        model = load(model_name, adapters)
        margin, golden[name] = compute(model, prompt_of(model_name))
        golden[name] |= {"model": model_name, "adapters": adapters, "gguf": False}
        print(name, "margin", round(margin, 3))
    (HERE / "golden.json").write_text(
        "{\n" + ",\n".join(f'"{name}": {json.dumps(golden[name])}' for name in sorted(golden)) + "\n}\n")


if __name__ == "__main__":
    main()
