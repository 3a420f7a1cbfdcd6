"""llama.cpp's perplexity of a real text: of stories260K, and of a decoder of random weights for each GGUF weight type.

The random weights are not stored: tests/generate/random_model.h makes the same bytes from the same counter-based numbers.
The text is the beginning of botchan.txt (Natsume Soseki, in English; public domain), cut into stretches of CONTEXT tokens;
the second half of each is scored, as llama.cpp's own tool has it (tools/perplexity).

Packages: llama-cpp-python 0.3.16, gguf 0.19, numpy 2.x.
Run: python3 make_perplexity.py SHARED_DATA > perplexity.json
"""
import ctypes
import json
import pathlib
import sys
import tempfile

import gguf
import llama_cpp.llama_cpp as llama
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from make_llama_logits import HALVES, TYPES, counters, mix, uniform  # noqa: E402

WIDTH, HEADS, KV_HEADS, HEAD_DIM, FEED_FORWARD, LAYERS, CONTEXT = 512, 8, 2, 64, 768, 4, 128
TEXT_BYTES = 10000


def raw_weights(name, tensor, rows, cols):
    """The bytes [rows, bytes of a row] that random_model.h makes."""
    kind = getattr(gguf.GGMLQuantizationType, name)
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    count = rows * cols
    if block_size == 1:
        return gguf.quantize(uniform(tensor, count).astype(np.float32), kind).view(np.uint8).reshape(rows, -1)
    blocks = count // block_size
    data = (mix(counters(tensor, blocks * block_bytes)) >> np.uint64(56)).astype(np.uint8).reshape(blocks, block_bytes)
    for i, (at, exponent) in enumerate(HALVES[name]):
        mantissa = (mix(counters(tensor, 2 * blocks, lane=1)) >> np.uint64(54)).astype(np.uint16)[i::2]
        half = (np.uint16(exponent << 10) | mantissa).astype("<u2")
        if i == 1 and name in ("Q4_1", "Q5_1"):
            half |= np.uint16(0x8000)
        data[:, at:at + 2] = half.view(np.uint8).reshape(blocks, 2)
    if name == "MXFP4":
        data[:, 0] = 120 + data[:, 0] % 3
    return data.reshape(rows, -1)


def write_model(path, name, vocabulary):
    kind = getattr(gguf.GGMLQuantizationType, name)
    writer = gguf.GGUFWriter(str(path), "llama")
    for key, value in dict(block_count=LAYERS, context_length=CONTEXT, embedding_length=WIDTH,
                           feed_forward_length=FEED_FORWARD).items():
        writer.add_uint32(f"llama.{key}", value)
    for key, value in dict(head_count=HEADS, head_count_kv=KV_HEADS, key_length=HEAD_DIM, value_length=HEAD_DIM).items():
        writer.add_uint32(f"llama.attention.{key}", value)
    writer.add_uint32("llama.rope.dimension_count", HEAD_DIM)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    tokens = vocabulary.get_field("tokenizer.ggml.tokens").contents()
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(vocabulary.get_field("tokenizer.ggml.scores").contents())
    writer.add_token_types(vocabulary.get_field("tokenizer.ggml.token_type").contents())
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    def matrix(tensor_name, tensor, rows, cols):
        data = raw_weights(name, tensor, rows, cols)
        dtype = {"F32": np.float32, "F16": np.float16}.get(name)
        if dtype is not None:
            writer.add_tensor(tensor_name, data.view(dtype))
        else:
            writer.add_tensor(tensor_name, data, raw_dtype=kind)

    def norm(tensor_name, tensor):
        writer.add_tensor(tensor_name, (1 + uniform(tensor, WIDTH)).astype(np.float32))

    matrix("token_embd.weight", 0, len(tokens), WIDTH)
    matrix("output.weight", 1, len(tokens), WIDTH)
    norm("output_norm.weight", 2)
    for i in range(LAYERS):
        base = 16 * (i + 1)
        norm(f"blk.{i}.attn_norm.weight", base)
        matrix(f"blk.{i}.attn_q.weight", base + 1, HEADS * HEAD_DIM, WIDTH)
        matrix(f"blk.{i}.attn_k.weight", base + 2, KV_HEADS * HEAD_DIM, WIDTH)
        matrix(f"blk.{i}.attn_v.weight", base + 3, KV_HEADS * HEAD_DIM, WIDTH)
        matrix(f"blk.{i}.attn_output.weight", base + 4, WIDTH, HEADS * HEAD_DIM)
        norm(f"blk.{i}.ffn_norm.weight", base + 5)
        matrix(f"blk.{i}.ffn_gate.weight", base + 6, FEED_FORWARD, WIDTH)
        matrix(f"blk.{i}.ffn_up.weight", base + 7, FEED_FORWARD, WIDTH)
        matrix(f"blk.{i}.ffn_down.weight", base + 8, WIDTH, FEED_FORWARD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def perplexity(path, text):
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    settings = llama.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = CONTEXT
    settings.n_threads = settings.n_threads_batch = 1
    context = llama.llama_init_from_model(model, settings)
    vocabulary = llama.llama_model_get_vocab(model)
    size = llama.llama_vocab_n_tokens(vocabulary)
    ids = (llama.llama_token * (len(text) + 2))()
    count = llama.llama_tokenize(vocabulary, text, len(text), ids, len(ids), True, False)
    ids = list(ids[:count])
    chunks, first = len(ids) // CONTEXT, CONTEXT // 2
    total = 0.0
    batch = llama.llama_batch_init(CONTEXT, 0, 1)
    for chunk in range(chunks):
        tokens = [llama.llama_vocab_bos(vocabulary)] + ids[chunk * CONTEXT + 1:(chunk + 1) * CONTEXT]
        batch.n_tokens = CONTEXT
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, True
            batch.seq_id[i][0] = 0
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        assert llama.llama_decode(context, batch) == 0
        logits = np.ctypeslib.as_array(llama.llama_get_logits(context), shape=(CONTEXT, size)).astype(np.float64)
        largest = logits.max(axis=-1, keepdims=True)
        logs = logits - largest - np.log(np.exp(logits - largest).sum(axis=-1, keepdims=True))
        total -= sum(logs[i, tokens[i + 1]] for i in range(first, CONTEXT - 1))
    llama.llama_free(context)
    llama.llama_model_free(model)
    return {"perplexity": float(np.exp(total / (chunks * (CONTEXT - first - 1)))), "tokens": count, "chunks": chunks}


def main():
    shared = pathlib.Path(sys.argv[1])
    llama.llama_backend_init()
    quiet = llama.llama_log_callback(lambda level, message, data: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    stories = shared / "models" / "stories260K" / "stories260K.gguf"
    vocabulary = gguf.GGUFReader(str(stories))
    out = {"context": CONTEXT, "text_bytes": TEXT_BYTES, "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        text = (shared / "tok-sentencepiece" / "botchan.txt").read_bytes()[:TEXT_BYTES]
        out["models"]["stories260K"] = perplexity(stories, text)
        for name in TYPES:
            model = folder / "model.gguf"
            write_model(model, name, vocabulary)
            out["models"][name] = perplexity(model, text)
            print(name, out["models"][name], file=sys.stderr)
    print(json.dumps(out, indent=0))


if __name__ == "__main__":
    main()
