#!/usr/bin/env python3
"""Encoding by other programs, driven by `rag-bench encode --peers-python PYTHON`.

The interpreter needs numpy, tokenizers and whichever peers are to be measured:

    python3 -m venv peers
    peers/bin/pip install torch sentence-transformers        # sentence-transformers, and the exports of the others
    peers/bin/pip install onnx onnxscript onnxruntime        # ONNX Runtime
    peers/bin/pip install ctranslate2                        # CTranslate2
    peers/bin/pip install gguf llama-cpp-python              # llama.cpp, built there for the processor (GGML_NATIVE)

Reads one JSON object a line from standard input and answers each with one on standard output. A first process is
asked to prepare, which writes the model in the peers' own formats; then each system has a process of its own, so that
its memory is its own:

    {"do": "prepare", "model": FOLDER, "folder": EXPORTS, "only": [NAME]}
        -> {"systems": [{"name", "version", "parameters"}], "missing": [TEXT]}
    {"do": "open", "system": NAME, "model", "folder", "threads": N, "processors": [N], "max_tokens": N,
     "pooling": "mean"|"cls", "normalize": BOOL}
        -> {"load_seconds", "first_seconds", "base_bytes"}; first_seconds: until the first vector, after the imports
    {"do": "encode", "texts": FILE, "batch": N, "vectors": FILE or ""}
        -> {"texts", "seconds", "processor_seconds", "peak_bytes"}
    {"do": "quit"}

texts is a file of JSON strings, one a line; batch the texts in a call, 0 for all; vectors gets f32 rows. A failure is
answered with {"error": TEXT}. Of the texts in a call each system sorts by length and computes INNER at a time, llama.cpp one.
"""

import importlib
import json
import os
import pathlib
import resource
import sys
import time

INNER = 32
FIRST_TEXT = "A sentence to begin with."


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def version_of(package):
    """Of an installed package; of one that is only on the path, what the module says."""
    from importlib.metadata import PackageNotFoundError, version
    try:
        return version(package)
    except PackageNotFoundError:
        return importlib.import_module(package.removesuffix("-python").replace("-", "_")).__version__


class Peer:
    """A system. prepare() writes what open() reads; encode(texts) gives f32 rows [texts, dim]."""

    name = ""
    package = ""
    parameters = {}

    @staticmethod
    def prepare(model, folder):
        """Nothing to write."""

    def __init__(self, setup):
        self.model = setup["model"]
        self.folder = pathlib.Path(setup["folder"])
        self.threads = setup["threads"]
        self.max_tokens = setup["max_tokens"]
        self.pooling = setup["pooling"]
        self.normalize = setup["normalize"]


class SentenceTransformers(Peer):
    name = "sentence-transformers"
    package = "sentence-transformers"
    parameters = {"precision": "f32", "batch": INNER}

    def load(self):
        import sentence_transformers
        import torch
        torch.set_num_threads(self.threads)
        self.library = sentence_transformers

    def open(self):
        self.network = self.library.SentenceTransformer(self.model, device="cpu")
        self.network.max_seq_length = self.max_tokens

    def encode(self, texts):
        return self.network.encode(texts, batch_size=INNER, convert_to_numpy=True, show_progress_bar=False)


class Tokenized(Peer):
    """A peer that takes ids: tokenized by the tokenizers package, pooled and normalized by numpy."""

    def load_tokenizer(self):
        import tokenizers
        self.tokenizer = tokenizers.Tokenizer.from_file(str(pathlib.Path(self.model, "tokenizer.json")))
        self.tokenizer.enable_truncation(self.max_tokens)
        self.tokenizer.no_padding()

    def encode(self, texts):
        import numpy as np
        encodings = self.tokenizer.encode_batch(texts)
        ids = [encoding.ids for encoding in encodings]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        rows = None
        for begin in range(0, len(order), INNER):
            part = order[begin:begin + INNER]
            states, lengths = self.states([ids[i] for i in part])
            if self.pooling == "cls":
                pooled = states[:, 0]
            else:
                mask = (np.arange(states.shape[1])[None, :] < lengths[:, None]).astype(np.float32)
                pooled = np.einsum("btd,bt->bd", states, mask) / lengths[:, None].astype(np.float32)
            if self.normalize:
                pooled = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
            if rows is None:
                rows = np.empty((len(texts), pooled.shape[1]), np.float32)
            rows[part] = pooled
        return rows


class OnnxRuntime(Tokenized):
    name = "onnxruntime"
    package = "onnxruntime"
    parameters = {"precision": "f32", "batch": INNER, "optimized_for": "bert"}
    file = "model.onnx"

    @staticmethod
    def prepare(model, folder):
        import torch
        import transformers
        path = folder / "model.onnx"
        if path.exists():
            return
        network = transformers.AutoModel.from_pretrained(model, attn_implementation="eager", dtype=torch.float32).eval()

        class States(torch.nn.Module):
            """The last hidden states alone: a pooler behind them would be computed for nothing."""

            def __init__(self):
                super().__init__()
                self.network = network

            def forward(self, input_ids, attention_mask):
                return self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

        ids = torch.ones(2, 7, dtype=torch.int64)
        names = ["input_ids", "attention_mask"]
        axes = {name: {0: "texts", 1: "tokens"} for name in [*names, "states"]}
        raw = folder / "raw.onnx"
        torch.onnx.export(States(), (ids, ids), str(raw), input_names=names, output_names=["states"],
                          dynamic_axes=axes, opset_version=17, dynamo=False)
        from onnxruntime.transformers import optimizer
        config = network.config
        optimized = optimizer.optimize_model(str(raw), model_type="bert", num_heads=config.num_attention_heads,
                                             hidden_size=config.hidden_size)
        optimized.save_model_to_file(str(path))
        raw.unlink()

    def load(self):
        import onnxruntime
        self.library = onnxruntime
        self.load_tokenizer()

    def open(self):
        options = self.library.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = self.library.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = self.library.InferenceSession(str(self.folder / self.file), options,
                                                     providers=["CPUExecutionProvider"])

    def states(self, ids):
        import numpy as np
        lengths = np.array([len(row) for row in ids])
        inputs = np.zeros((len(ids), lengths.max()), np.int64)
        for i, row in enumerate(ids):
            inputs[i, :len(row)] = row
        mask = (np.arange(inputs.shape[1])[None, :] < lengths[:, None]).astype(np.int64)
        return self.session.run(None, {"input_ids": inputs, "attention_mask": mask})[0], lengths


class OnnxRuntimeInt8(OnnxRuntime):
    name = "onnxruntime int8"
    parameters = {"precision": "int8 (dynamic, by channel)", "batch": INNER, "optimized_for": "bert"}
    file = "model_int8.onnx"

    @staticmethod
    def prepare(model, folder):
        OnnxRuntime.prepare(model, folder)
        path = folder / OnnxRuntimeInt8.file
        if path.exists():
            return
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        # The types behind fused operators are not inferred, and all of them are f32.
        quantize_dynamic(str(folder / OnnxRuntime.file), str(path), weight_type=QuantType.QInt8, per_channel=True,
                         extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})


class CTranslate2(Tokenized):
    name = "ctranslate2"
    package = "ctranslate2"
    parameters = {"precision": "f32", "batch": INNER}
    compute_type = "float32"

    @staticmethod
    def prepare(model, folder):
        path = folder / "ctranslate2"
        if path.exists():
            return
        from ctranslate2.converters import TransformersConverter
        TransformersConverter(model, load_as_float16=False).convert(str(path))

    def load(self):
        import ctranslate2
        self.library = ctranslate2
        self.load_tokenizer()

    def open(self):
        self.network = self.library.Encoder(str(self.folder / "ctranslate2"), device="cpu",
                                            compute_type=self.compute_type, inter_threads=1,
                                            intra_threads=self.threads)

    def states(self, ids):
        import numpy as np
        output = self.network.forward_batch(ids)
        return np.asarray(output.last_hidden_state), np.array([len(row) for row in ids])


class CTranslate2Int8(CTranslate2):
    name = "ctranslate2 int8"
    parameters = {"precision": "int8", "batch": INNER}
    compute_type = "int8"


class LlamaCpp(Tokenized):
    """One text a pass: the tokens of a pass are all compared with each other, so that two texts in it take as long as
    two passes, and more of them longer."""

    name = "llama.cpp f16"
    package = "llama-cpp-python"
    parameters = {"precision": "f16", "batch": 1}
    file = "model-f16.gguf"
    matrix_type = "F16"

    @classmethod
    def prepare(cls, model, folder):
        path = folder / cls.file
        if not path.exists():
            write_bert_gguf(pathlib.Path(model), path, cls.matrix_type)

    def load(self):
        import llama_cpp
        self.library = llama_cpp
        self.log = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.log, None)
        self.load_tokenizer()

    def open(self):
        library = self.library
        library.llama_backend_init()
        model = library.llama_model_load_from_file(str(self.folder / self.file).encode(),
                                                   library.llama_model_default_params())
        if model is None:
            raise RuntimeError(f"llama.cpp cannot read {self.file}")
        settings = library.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = self.max_tokens
        settings.n_threads = settings.n_threads_batch = self.threads
        settings.pooling_type = library.LLAMA_POOLING_TYPE_NONE
        settings.embeddings = True
        self.context = library.llama_init_from_model(model, settings)
        if not self.context:
            raise RuntimeError(f"llama.cpp cannot make a context of {self.max_tokens} tokens")
        self.dim = library.llama_model_n_embd(model)

    def states(self, ids):
        import numpy as np
        library = self.library
        lengths = np.array([len(row) for row in ids])
        states = np.zeros((len(ids), lengths.max(), self.dim), np.float32)
        for i, row in enumerate(ids):
            tokens = (library.llama_token * len(row))(*row)
            code = library.llama_encode(self.context, library.llama_batch_get_one(tokens, len(row)))
            if code != 0:
                raise RuntimeError(f"llama_encode returned {code}")
            states[i, :len(row)] = np.ctypeslib.as_array(library.llama_get_embeddings(self.context),
                                                         (len(row), self.dim))
        return states, lengths


class LlamaCppQ8(LlamaCpp):
    name = "llama.cpp Q8_0"
    parameters = {"precision": "Q8_0", "batch": 1}
    file = "model-q8_0.gguf"
    matrix_type = "Q8_0"


def write_bert_gguf(model, path, matrix_type):
    """A BERT folder as llama.cpp's converter writes it: matrices in matrix_type, the rest f32."""
    import gguf
    import numpy as np
    from safetensors import safe_open
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "bert":
        raise ValueError(f"llama.cpp is given models of type bert alone, not {config.get('model_type')}")
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name(model.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_file_type(getattr(gguf.LlamaFileType, "MOSTLY_" + matrix_type))
    vocabulary = tokenizer["model"]["vocab"]
    pieces = sorted(vocabulary, key=vocabulary.get)
    special = {token["content"] for token in tokenizer["added_tokens"] if token["special"]}
    texts, types = [], []
    for piece in pieces:
        is_special = piece in special or (piece.startswith("[") and piece.endswith("]"))
        # llama.cpp marks the beginning of a word, WordPiece its continuation.
        texts.append(piece if is_special else piece[2:] if piece.startswith("##") else "\u2581" + piece)
        types.append(gguf.TokenType.CONTROL if is_special else gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(texts)
    writer.add_token_types(types)
    writer.add_token_type_count(config.get("type_vocab_size", 2))
    for key, piece in (("bos", "[CLS]"), ("eos", "[SEP]"), ("unknown", "[UNK]"), ("seperator", "[SEP]"),
                       ("padding", "[PAD]"), ("cls", "[CLS]"), ("mask", "[MASK]")):
        if piece in vocabulary:
            writer.add_uint32(f"tokenizer.ggml.{key}_token_id", vocabulary[piece])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    quantized = getattr(gguf.GGMLQuantizationType, matrix_type)
    with safe_open(model / "model.safetensors", "numpy") as weights:
        for name in weights.keys():
            short = name.removeprefix("bert.")
            if short.endswith("position_ids") or short.startswith(("pooler.", "cls.")):
                continue
            target = names.get_name(short, try_suffixes=(".weight", ".bias"))
            values = weights.get_tensor(name).astype(np.float32)
            keep = values.ndim < 2 or target.startswith(("position_embd", "token_types"))
            if keep:
                writer.add_tensor(target, values)
            else:
                writer.add_tensor(target, gguf.quants.quantize(values, quantized), raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


PEERS = [SentenceTransformers, OnnxRuntime, OnnxRuntimeInt8, CTranslate2, CTranslate2Int8, LlamaCpp, LlamaCppQ8]


def prepare(request):
    folder = pathlib.Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    systems = []
    missing = [f"{name}: no such peer; there are {', '.join(peer.name for peer in PEERS)}"
               for name in request["only"] if name not in {peer.name for peer in PEERS}]
    for peer in PEERS:
        if request["only"] and peer.name not in request["only"]:
            continue
        try:
            version = version_of(peer.package)
            peer.prepare(request["model"], folder)
        except Exception as error:  # pylint: disable=broad-except
            missing.append(f"{peer.name}: {type(error).__name__}: {error}"[:400])
            continue
        systems.append({"name": peer.name, "version": version, "parameters": peer.parameters})
    return {"systems": systems, "missing": missing}


class Process:
    """The one system of a process."""

    def __init__(self, request):
        # Before anything that makes threads is imported.
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
            os.environ[name] = str(request["threads"])
        if request["processors"]:
            os.sched_setaffinity(0, request["processors"])
        self.peer = next(peer for peer in PEERS if peer.name == request["system"])(request)
        self.peer.load()
        self.base_bytes = resident_bytes()
        begin = time.perf_counter()
        self.peer.open()
        self.load_seconds = time.perf_counter() - begin
        self.peer.encode([FIRST_TEXT])
        self.first_seconds = time.perf_counter() - begin
        self.texts = {}

    def opened(self):
        return {"load_seconds": self.load_seconds, "first_seconds": self.first_seconds, "base_bytes": self.base_bytes}

    def read(self, path):
        if path not in self.texts:
            with open(path, encoding="utf-8") as file:
                self.texts = {path: [json.loads(line) for line in file]}
        return self.texts[path]

    def encode(self, request):
        import numpy as np
        texts = self.read(request["texts"])
        batch = request["batch"] or len(texts)
        begin, processor_begin = time.perf_counter(), time.process_time()
        rows = [self.peer.encode(texts[i:i + batch]) for i in range(0, len(texts), batch)]
        seconds, processor_seconds = time.perf_counter() - begin, time.process_time() - processor_begin
        if request["vectors"]:
            np.concatenate(rows).astype("<f4").tofile(request["vectors"])
        return {"texts": len(texts), "seconds": seconds, "processor_seconds": processor_seconds,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main():
    # What libraries print must not reach the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    process = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                answer = prepare(request)
            elif request["do"] == "open":
                process = Process(request)
                answer = process.opened()
            elif request["do"] == "encode":
                answer = process.encode(request)
            else:
                break
        except Exception as error:  # pylint: disable=broad-except
            answer = {"error": f"{type(error).__name__}: {error}"[:400]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
