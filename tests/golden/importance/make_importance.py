"""Importance matrices of the golden decoders as transformers' own layers see them, and the types of llama.cpp's mixes.

Run: python3 make_importance.py     (transformers 5.24, torch 2.13, gguf 0.19, numpy; llama_cpp of llama-cpp-python 0.3.16)

Writes NAME.gguf for some of ../decoders over text.txt in chunks of 32 tokens, in the form of llama.cpp's imatrix tool
(tools/imatrix/imatrix.cpp), llama3.dat in its older form, and mixes.json: of models of zeros with some numbers of
layers, heads and experts, the type that llama_model_quantize gives each layer's matrices.
"""
import ctypes
import json
import pathlib
import shutil
import struct
import tempfile

import gguf
import llama_cpp
import numpy as np
import torch
import transformers
from safetensors import safe_open

HERE = pathlib.Path(__file__).resolve().parent
CHUNK_TOKENS = 32
MODELS = ["llama3", "mixtral", "phi3"]
# Of a layer's modules in transformers: the tensor's name in GGUF.
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
# Ours -> llama.cpp's llama_ftype.
MIXES = {"Q2_K_M": 10, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_M": 17}
WIDTH = 256


def write_model(path, architecture, layers, queries_a_key, experts):
    writer = gguf.GGUFWriter(str(path), architecture)
    heads = 8
    writer.add_vocab_size(32)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads // queries_a_key)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // heads)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)

    def add(name, *shape):
        writer.add_tensor(name, np.zeros(shape, np.float32))

    kv = WIDTH // queries_a_key
    add("token_embd.weight", 32, WIDTH)
    add("output_norm.weight", WIDTH)
    add("output.weight", 32, WIDTH)
    for i in range(layers):
        prefix = f"blk.{i}."
        add(prefix + "attn_norm.weight", WIDTH)
        add(prefix + "ffn_norm.weight", WIDTH)
        if architecture == "phi3":
            add(prefix + "attn_qkv.weight", WIDTH + 2 * kv, WIDTH)
            add(prefix + "ffn_up.weight", 2 * WIDTH, WIDTH)
        else:
            add(prefix + "attn_q.weight", WIDTH, WIDTH)
            add(prefix + "attn_k.weight", kv, WIDTH)
            add(prefix + "attn_v.weight", kv, WIDTH)
        add(prefix + "attn_output.weight", WIDTH, WIDTH)
        if experts:
            add(prefix + "ffn_gate_inp.weight", experts, WIDTH)
            for kind in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
                add(prefix + kind + ".weight", experts, WIDTH, WIDTH)
        else:
            if architecture != "phi3":
                add(prefix + "ffn_gate.weight", WIDTH, WIDTH)
                add(prefix + "ffn_up.weight", WIDTH, WIDTH)
            add(prefix + "ffn_down.weight", WIDTH, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def types_of(path):
    found = {}
    for tensor in gguf.GGUFReader(str(path)).tensors:
        if tensor.name.startswith("blk.") and len(tensor.shape) > 1 and "ffn_gate_inp" not in tensor.name:
            found[tensor.name] = tensor.tensor_type.name
    return found


class Sums:
    """By the tensor's name: sums of squares [matrices, columns] and counts [matrices]."""

    def __init__(self):
        self.entries = {}

    def add(self, name, rows, matrix=0, matrices=1):
        rows = rows.detach().double().reshape(-1, rows.shape[-1]).numpy()
        sums, counts = self.entries.setdefault(name, (np.zeros((matrices, rows.shape[1])), np.zeros(matrices)))
        sums[matrix] += (rows ** 2).sum(axis=0)
        counts[matrix] += len(rows)


def collect(name, text):
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "model"
        shutil.copytree(HERE.parent / "decoders" / name, folder)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(HERE.parent / "decoders" / file, folder / file)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        sums = Sums()
        with safe_open(folder / "model.safetensors", "pt") as weights:
            weights = {key: weights.get_tensor(key).float() for key in weights.keys()}

        def watch(tensor):
            return lambda module, inputs: sums.add(tensor, inputs[0])

        def watch_experts(layer, block):
            """The inputs of each expert's matrices, from the router's choice and the weights themselves."""
            prefix = f"model.layers.{layer}.block_sparse_moe."
            experts, used = model.config.num_local_experts, model.config.num_experts_per_tok

            def hook(module, inputs):
                x = inputs[0].reshape(-1, inputs[0].shape[-1])
                sums.add(f"blk.{layer}.ffn_gate_inp.weight", x)
                chosen = (x @ weights[prefix + "gate.weight"].T).topk(used).indices
                for expert in range(experts):
                    rows = x[(chosen == expert).any(dim=1)]
                    own = prefix + f"experts.{expert}."
                    hidden = torch.nn.functional.silu(rows @ weights[own + "w1.weight"].T)
                    hidden = hidden * (rows @ weights[own + "w3.weight"].T)
                    for kind, values in (("gate", rows), ("up", rows), ("down", hidden)):
                        sums.add(f"blk.{layer}.ffn_{kind}_exps.weight", values, expert, experts)
            block.register_forward_pre_hook(hook)

        for i, layer in enumerate(model.model.layers):
            for path, tensor in NAMES.items():
                try:
                    module = layer.get_submodule(path)
                except AttributeError:
                    continue
                module.register_forward_pre_hook(watch(f"blk.{i}.{tensor}.weight"))
            if name == "mixtral":
                watch_experts(i, layer.mlp if hasattr(layer, "mlp") else layer.block_sparse_moe)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        special = tokenizer("")["input_ids"]
        begins = bool(special) and special[0] == tokenizer.bos_token_id
        if begins:
            ids = [special[0], *ids]
        chunks = len(ids) // CHUNK_TOKENS
        with torch.no_grad():
            for i in range(chunks):
                part = ids[i * CHUNK_TOKENS:(i + 1) * CHUNK_TOKENS]
                if begins:
                    part[0] = special[0]
                model(torch.tensor([part]))
        return sums.entries, chunks


def write_gguf(path, entries, chunks):
    writer = gguf.GGUFWriter(str(path), "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["text.txt"])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", CHUNK_TOKENS)
    for name, (sums, counts) in sorted(entries.items()):
        writer.add_tensor(name + ".in_sum2", sums.astype(np.float32))
        writer.add_tensor(name + ".counts", counts.reshape(-1, 1).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_old(path, entries, chunks):
    """Means times the count of calls, as save_imatrix_legacy has it."""
    with open(path, "wb") as file:
        file.write(struct.pack("<i", len(entries)))
        for name, (sums, counts) in sorted(entries.items()):
            calls = int(counts.max() + CHUNK_TOKENS - 1) // CHUNK_TOKENS
            values = (sums / counts[:, None] * calls).astype("<f4").reshape(-1)
            file.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(values)))
            file.write(values.tobytes())
        file.write(struct.pack("<i", chunks))
        file.write(struct.pack("<i", len("text.txt")) + b"text.txt")


def main():
    text = (HERE / "text.txt").read_text(encoding="utf-8")
    for name in MODELS:
        entries, chunks = collect(name, text)
        write_gguf(HERE / f"{name}.gguf", entries, chunks)
        if name == "llama3":
            write_old(HERE / "llama3.dat", entries, chunks)
    mixes = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for architecture, layers, queries_a_key, experts in (("llama", 22, 4, 0), ("llama", 33, 1, 0),
                                                             ("phi3", 16, 2, 0), ("llama", 9, 4, 8)):
            model, out = scratch / "model.gguf", scratch / "out.gguf"
            write_model(model, architecture, layers, queries_a_key, experts)
            for mix, file_type in MIXES.items():
                parameters = llama_cpp.llama_model_quantize_default_params()
                parameters.ftype = file_type
                parameters.nthread = 1
                status = llama_cpp.llama_model_quantize(str(model).encode(), str(out).encode(), ctypes.byref(parameters))
                assert status == 0, (architecture, mix)
                mixes.append({"mix": mix, "layers": layers, "queries_a_key": queries_a_key, "experts": experts,
                              "types": types_of(out)})
    (HERE / "mixes.json").write_text(json.dumps(mixes, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
