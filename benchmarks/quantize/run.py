#!/usr/bin/env python3
"""Quantized decoders beside llama.cpp's: `./dev bench quantize --model f16.gguf --text TEXT --llama BIN`.

Both programs collect an importance matrix over the first half of the text and write the model in each type, plain and
with the importance; llama.cpp's own llama-perplexity then measures both files on the other half against the model as it
was: perplexity and KL divergence. Errors are those of the layers' weights, in the root mean square relative to them,
plain and weighed by the importance. Needs the gguf package and numpy (--python names another interpreter that has
them), and llama-imatrix, llama-quantize and llama-perplexity in BIN.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Ours -> llama.cpp's; plain types are compared with the mix that is nearest to all alike.
TYPES = {"Q4_0": "Q4_0", "Q5_1": "Q5_1", "IQ4_NL": "IQ4_NL", "IQ4_XS": "IQ4_XS", "Q2_K_M": "Q2_K", "Q3_K_M": "Q3_K_M",
         "Q4_K_M": "Q4_K_M", "Q5_K_M": "Q5_K_M", "Q6_K": "Q6_K"}


def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def errors(model, quantized, importance):
    """Relative root mean square errors of the layers' matrices: plain, and weighed by the importance of columns."""
    import gguf
    import numpy as np
    weights = {}
    for tensor in gguf.GGUFReader(str(importance)).tensors:
        weights[tensor.name] = np.asarray(tensor.data, np.float64)
    exact = {t.name: t for t in gguf.GGUFReader(str(model)).tensors}
    sums = np.zeros(4)
    for tensor in gguf.GGUFReader(str(quantized)).tensors:
        key = tensor.name + ".in_sum2"
        if key not in weights or tensor.name not in exact:
            continue
        before = gguf.dequantize(exact[tensor.name].data, exact[tensor.name].tensor_type).astype(np.float64)
        after = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float64).reshape(before.shape)
        columns = weights[key].reshape(-1, before.shape[-1])
        if len(columns) > 1:
            columns = columns[:, None, :]
        square = (after - before) ** 2
        sums += [square.sum(), (before ** 2).sum(), (square * columns).sum(), (before ** 2 * columns).sum()]
    return {"error": float(np.sqrt(sums[0] / sums[1])), "weighted_error": float(np.sqrt(sums[2] / sums[3]))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a GGUF file in F32, F16 or BF16")
    parser.add_argument("--text", required=True)
    parser.add_argument("--llama", required=True, help="folder of llama.cpp's programs")
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--context", default="512")
    parser.add_argument("--threads", default=str(len(os.sched_getaffinity(0))))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rag", default=str(ROOT / "build" / "rag"))
    parser.add_argument("--out")
    arguments = parser.parse_args()
    if os.path.realpath(arguments.python) != os.path.realpath(sys.executable):
        words = [w for i, w in enumerate(sys.argv[1:]) if w != "--python" and sys.argv[i] != "--python"]
        os.execv(arguments.python, [arguments.python, __file__, *words])
    llama = pathlib.Path(arguments.llama)
    text = pathlib.Path(arguments.text).read_text(encoding="utf-8")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        learned, asked = folder / "learned.txt", folder / "asked.txt"
        half = text.find("\n", len(text) // 2)
        learned.write_text(text[:half], encoding="utf-8")
        asked.write_text(text[half:], encoding="utf-8")
        ours, theirs = folder / "ours.gguf", folder / "theirs.gguf"
        run(arguments.rag, "models", "imatrix", arguments.model, learned, "-o", ours, "--chunk-tokens",
            arguments.context)
        run(llama / "llama-imatrix", "-m", arguments.model, "-f", learned, "-o", theirs, "-c", arguments.context,
            "--no-ppl", "-t", arguments.threads)
        perplexity = [llama / "llama-perplexity", "-f", asked, "-c", arguments.context, "-t", arguments.threads]
        logits = folder / "logits"
        run(*perplexity, "-m", arguments.model, "--kl-divergence-base", logits)
        for kind in arguments.types.split(","):
            for weighted in (False, True):
                for program in ("rag", "llama.cpp"):
                    out = folder / "out.gguf"
                    out.unlink(missing_ok=True)
                    if program == "rag":
                        run(arguments.rag, "models", "quantize", arguments.model, out, "--type", kind,
                            *(["--imatrix", ours] if weighted else []))
                    else:
                        run(llama / "llama-quantize", *(["--imatrix", theirs] if weighted else []), arguments.model, out,
                            TYPES[kind], arguments.threads)
                    said = run(*perplexity, "-m", out, "--kl-divergence-base", logits, "--kl-divergence")
                    row = {"type": kind, "importance": weighted, "program": program, "bytes": out.stat().st_size,
                           "perplexity": float(re.search(r"Mean PPL\(Q\)\s*:\s*([\d.]+)", said).group(1)),
                           "kl_divergence": float(re.search(r"Mean\s+KLD:\s*([-\d.]+)", said).group(1)),
                           **errors(arguments.model, out, theirs)}
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    result = {"benchmark": "quantize", "date": datetime.date.today().isoformat(),
              "model": pathlib.Path(arguments.model).name, "text": pathlib.Path(arguments.text).name,
              "context": int(arguments.context), "rows": rows}
    if arguments.out:
        pathlib.Path(arguments.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
