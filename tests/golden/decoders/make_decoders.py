"""Tiny random decoders of every family, with transformers' logits and greedy tokens.

Each folder holds config.json and model.safetensors as transformers saves them (half precision), and model.gguf as
llama.cpp's converter writes it, where the converter keeps everything that the model does. golden.json has, for each, the
ids of a prompt and of the greedy continuation, and logits after some positions, all computed in f32 from the halves.

Packages: torch (CPU), transformers 4.57, gguf; a llama.cpp source tree for its conversion scripts.
Run: python3 make_decoders.py --llama-cpp LLAMA_CPP [NAME...]
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import no_init_weights

HERE = pathlib.Path(__file__).resolve().parent
VOCABULARY, PROMPT, NEW = 96, 24, 12
LOGIT_ROWS = [5, PROMPT - 1, PROMPT + NEW - 2]
# Greedy choices must not hang on rounding: the least distance between the two largest logits.
MARGIN = 0.01

SMALL = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=64, bos_token_id=None, eos_token_id=95, pad_token_id=None)
GROUPED = dict(SMALL, num_key_value_heads=2)

FAMILIES = {
    "llama3": dict(GROUPED, model_type="llama", rope_theta=10000.0, rope_scaling=dict(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)),
    "smollm": dict(GROUPED, model_type="llama", tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "mistral": dict(GROUPED, model_type="mistral", sliding_window=8, head_dim=16),
    "mixtral": dict(GROUPED, model_type="mixtral", num_local_experts=4, num_experts_per_tok=2, intermediate_size=16,
                    sliding_window=None),
    "qwen2": dict(GROUPED, model_type="qwen2", tie_word_embeddings=True, use_sliding_window=False, rope_scaling=dict(
        rope_type="yarn", factor=4.0, original_max_position_embeddings=16)),
    "qwen3": dict(GROUPED, model_type="qwen3", head_dim=16),
    "gemma": dict(GROUPED, model_type="gemma", head_dim=16, hidden_activation="gelu_pytorch_tanh"),
    "gemma2": dict(GROUPED, model_type="gemma2", head_dim=16, sliding_window=8, query_pre_attn_scalar=16,
                   attn_logit_softcapping=2.0, final_logit_softcapping=6.0),
    "gemma3": dict(GROUPED, model_type="gemma3_text", hidden_size=16, intermediate_size=16, num_hidden_layers=6,
                   num_attention_heads=2, num_key_value_heads=1, head_dim=8, sliding_window=8,
                   query_pre_attn_scalar=8, rope_scaling=dict(rope_type="linear", factor=8.0)),
    "phi2": dict(SMALL, model_type="phi", intermediate_size=128, partial_rotary_factor=0.5),
    "phi3": dict(GROUPED, model_type="phi3", sliding_window=None, original_max_position_embeddings=16, rope_scaling=dict(
        type="longrope", short_factor=[1.0, 1.1, 1.2, 1.3], long_factor=[1.0, 1.7, 2.5, 4.0])),
    "phi3_window": dict(SMALL, model_type="phi3", num_key_value_heads=4, sliding_window=8,
                        original_max_position_embeddings=64, tie_word_embeddings=True),
    "gpt2": dict(model_type="gpt2", vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_ctx=64,
                 bos_token_id=95, eos_token_id=95),
    "gptneox": dict(SMALL, model_type="gpt_neox", rotary_pct=0.25, use_parallel_residual=True),
    "gptneox_serial": dict(SMALL, model_type="gpt_neox", rotary_pct=0.5, use_parallel_residual=False),
    "bloom": dict(model_type="bloom", vocab_size=VOCABULARY, hidden_size=24, n_layer=2, n_head=6, bos_token_id=95,
                  eos_token_id=95, seq_length=64),
    "mpt": dict(model_type="mpt", vocab_size=VOCABULARY, d_model=24, n_layers=2, n_heads=6, max_seq_len=64,
                expansion_ratio=4, eos_token_id=95, attn_config=dict(clip_qkv=0.8)),
    "smollm3": dict(GROUPED, model_type="smollm3", num_hidden_layers=4, intermediate_size=16, tie_word_embeddings=True),
    "olmo2": dict(GROUPED, model_type="olmo2"),
    "stablelm": dict(GROUPED, model_type="stablelm", use_qkv_bias=True, partial_rotary_factor=0.5),
    "stablelm_parallel": dict(GROUPED, model_type="stablelm", use_parallel_residual=True, qk_layernorm=True),
}
# The converter leaves Mistral's window out of the file, and loses the norms of StableLM 2 12B's heads.
NO_GGUF = {"mistral", "stablelm_parallel"}


def randomize(model, generator):
    """Weights large enough that every part of the model moves the logits."""
    state = model.state_dict()
    for name, tensor in state.items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() >= 2 and "norm" not in name:
            # Tied embeddings say the same token again and again where the layers add little.
            tied = model.config.tie_word_embeddings
            if any(x in name for x in ("embed", "wte", "wpe")):
                noise *= 0.1 if model.config.model_type.startswith("gemma") else 0.3 if tied else 1.0
            else:
                noise *= (4.0 if tied else 1.5) / tensor.shape[-1] ** 0.5
        elif name.endswith("bias"):
            noise *= 0.2
        elif model.config.model_type.startswith("gemma"):
            # Norms as their distance from 1, which the converter adds in half precision: exact for these.
            noise = (0.2 * noise * 512).round() / 512
        else:
            noise = 0.2 * noise + 1.0
        tensor.copy_(noise.half().float())


def compute(model, seed):
    ids = torch.randint(0, VOCABULARY - 1, (1, PROMPT), generator=torch.Generator().manual_seed(seed))
    prompt = ids[0].tolist()
    margin = float("inf")
    for _ in range(NEW):
        logits = model(ids, use_cache=False).logits[0]
        top = logits[-1].topk(2).values
        margin = min(margin, (top[0] - top[1]).item())
        ids = torch.cat([ids, logits[-1].argmax().reshape(1, 1)], dim=1)
    rows = [[float(f"{x:.6g}") for x in logits[row].tolist()] for row in LOGIT_ROWS]
    return margin, {"prompt": prompt, "greedy": ids[0, PROMPT:].tolist(), "rows": LOGIT_ROWS, "logits": rows}


def dump(golden):
    return "{\n" + ",\n".join(f'"{name}": {json.dumps(golden[name])}' for name in sorted(golden)) + "\n}\n"


def write_tokenizer(folder):
    pieces = ["\u0120"] + [chr(c) for c in range(ord("!"), ord("~"))] + ["th"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    vocabulary["<|endoftext|>"] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, [("t", "h")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>", "model_max_length": 64}))


def convert(llama_cpp, folder, out):
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    import gguf
    from conversion import ModelBase, get_model_class
    hparams = ModelBase.load_hparams(folder, False)
    # The converter knows MPT by the name that its authors gave it.
    architecture = hparams["architectures"][0].replace("Mpt", "MPT")
    base = get_model_class(architecture)
    # The vocabulary is ours, not one of those that the converter knows.
    chosen = type(base.__name__, (base,), {
        "model_arch": base.model_arch,
        "set_vocab": lambda self: self._set_vocab_gpt2(),
        "get_vocab_base_pre": lambda self, tokenizer: "gpt-2",
    })
    chosen(folder, gguf.LlamaFileType.MOSTLY_F16, out, hparams=hparams).write()


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True)
    parser.add_argument("names", nargs="*", default=list(FAMILIES))
    arguments = parser.parse_args()
    path = HERE / "golden.json"
    golden = json.loads(path.read_text()) if path.exists() else {}
    write_tokenizer(HERE)
    for name in arguments.names:
        settings = dict(FAMILIES[name])
        model_type = settings.pop("model_type")
        config = AutoConfig.for_model(model_type, **settings)
        config._attn_implementation = "eager"
        for seed in range(1, 100):
            with no_init_weights():  # which fails for norms without bias
                model = AutoModelForCausalLM.from_config(config).eval().float()
            randomize(model, torch.Generator().manual_seed(seed))
            model.tie_weights()
            margin, golden[name] = compute(model, seed)
            varied = len(set(golden[name]["greedy"])) > NEW // 3
            if margin > MARGIN and varied:
                break
        else:
            raise SystemExit(f"{name}: no seed gives a margin of {MARGIN}")
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model.half().save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        golden[name]["gguf"] = name not in NO_GGUF
        if golden[name]["gguf"]:
            with tempfile.TemporaryDirectory() as temporary:
                temporary = pathlib.Path(temporary)
                shutil.copytree(folder, temporary, dirs_exist_ok=True)
                write_tokenizer(temporary)
                convert(arguments.llama_cpp.resolve(), temporary, folder / "model.gguf")
        path.write_text(dump(golden))
        print(name, "seed", seed, "margin", round(margin, 3), [f.stat().st_size for f in folder.iterdir()])


if __name__ == "__main__":
    main()
