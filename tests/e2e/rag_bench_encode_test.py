#!/usr/bin/env python3
"""rag-bench encode as its users run it: fields, sets of texts, peers of a script, errors, Ctrl-C.

    rag_bench_encode_test.py RAG_BENCH
"""

import json
import pathlib
import sys
import tempfile

from rag_bench_harness import Command

PROGRAM = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "golden" / "encoders" / "bert"
MAX_TOKENS = json.loads((MODEL / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
ENCODE = Command(PROGRAM, "encode", "--model", MODEL)
run, measured = ENCODE.run, ENCODE.measured


def texts_file(folder):
    golden = json.loads((MODEL.parent / "texts.json").read_text(encoding="utf-8"))
    texts = [text for text in golden if text.strip()] * 3
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text, "title": "a title" if i % 2 else ""}) + "\n"
                            for i, text in enumerate(texts)), encoding="utf-8")
    return path, texts


def check_systems(report, names):
    for run_ in report["runs"]:
        assert [system["name"] for system in run_["systems"]] == names, run_
        for system in run_["systems"]:
            assert 0 < system["load_seconds"] <= system["first_seconds"], system
            assert 0 < system["base_bytes"] < system["peak_bytes"], system
            assert len(system["measures"]) == len(report["sets"]) * 2, system
            for measure in system["measures"]:
                rate = measure["texts_per_second"]
                assert 0 < rate["min"] <= rate["median"] <= rate["max"]
                ratio = measure["ratio"]
                assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
                assert -1 <= measure["cosine"]["lowest"] <= measure["cosine"]["mean"] <= 1.0000001


def test_fields(folder):
    path, texts = texts_file(folder)
    out, table = folder / "out.json", folder / "out.md"
    result = run("--texts", path, "--lengths", "8,16", "--batch", "1,0", "--precision", "f32,bf16,int8", "--rounds", 2,
                 "--threads", "1,2", "--json", out, "--markdown", table)
    assert result.returncode == 0, result.stderr
    assert "texts/s" in result.stdout and "| --- |" in table.read_text(encoding="utf-8")
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["complete"] and report["machine"]["processor"] and report["machine"]["isa"]
    assert report["model"]["dim"] == 32 and report["model"]["weight_bytes"] > 10_000
    assert [run_["threads"] for run_ in report["runs"]] == [1, 2]
    check_systems(report, ["rag f32", "rag bf16", "rag int8"])
    sets = {s["name"]: s for s in report["sets"]}
    for length in (8, 16):
        found = sets[f"{length} tokens"]
        assert found["shortest"] == found["longest"] == length and found["tokens"] == found["texts"] * length, found
    corpus = sets["corpus.jsonl"]
    assert corpus["texts"] == len(texts) and corpus["shortest"] <= corpus["median"] <= corpus["longest"], corpus
    for system in report["runs"][0]["systems"]:
        # f32 beside itself; the others are rounded, and near.
        for measure in system["measures"]:
            least = 0.99999 if system["name"] == "rag f32" else 0.98
            assert measure["cosine"]["lowest"] > least, (system["name"], measure)


FAKE_PEERS = f"MAX_TOKENS = {MAX_TOKENS}" + """
import json, struct, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "prepare":
        answer = {"systems": [{"name": name, "version": "1", "parameters": {"p": 2}}
                              for name in ("good", "broken", "unopened", "narrow")], "missing": ["absent: no module"]}
    elif request["do"] == "open":
        assert request["max_tokens"] == MAX_TOKENS and request["pooling"] == "mean", request
        system = request["system"]
        answer = {"load_seconds": 0.5, "first_seconds": 0.75, "base_bytes": 1000}
        if system == "unopened":
            answer = {"error": "cannot be opened"}
    elif request["do"] == "encode":
        texts = [json.loads(text) for text in open(request["texts"], encoding="utf-8")]
        if request["vectors"]:
            with open(request["vectors"], "wb") as file:
                file.write(struct.pack("<32f", *([1.0] * 32)) * (len(texts) - (system == "narrow")))
        answer = {"texts": len(texts), "seconds": 0.25, "processor_seconds": 0.25, "peak_bytes": 5000}
        if system == "broken":
            answer = {"error": "out of luck"}
    print(json.dumps(answer), flush=True)
"""


def test_peers(folder):
    """What a script of peers says is merged, and its failures are noted beside the others' results."""
    script = folder / "peers.py"
    script.write_text(FAKE_PEERS, encoding="utf-8")
    arguments = ("--texts", texts_file(folder)[0], "--lengths", "8", "--limit", 4, "--rounds", 1, "--peers",
                 "--peers-python", sys.executable, "--json", "-", "--peers-script")
    result = run(*arguments, script)
    assert result.returncode == 1, result.stderr  # a system failed
    report = json.loads(result.stdout)
    systems = {system["name"]: system for system in report["runs"][0]["systems"]}
    good = systems["good"]
    assert good["source"] == "python" and good["version"] == "1" and good["parameters"] == {"p": 2}
    assert good["first_seconds"] == 0.75 and good["peak_bytes"] == 5000
    assert good["measures"][0]["texts_per_second"]["median"] == 4 / 0.25
    assert "out of luck" in systems["broken"]["error"] and not systems["broken"]["measures"]
    assert "cannot be opened" in systems["unopened"]["error"]
    assert "numbers" in systems["narrow"]["error"], systems["narrow"]
    assert systems["rag f32"]["measures"] and "error" not in systems["rag f32"]
    assert report["missing"] == ["absent: no module"]
    missing = run(*arguments, folder / "none.py")
    assert missing.returncode == 0 and "process has ended" in json.loads(missing.stdout)["missing"][-1]


def test_errors(folder):
    damaged = folder / "damaged.jsonl"
    damaged.write_text('{"text": "one"}\n{"text": 2}\n', encoding="utf-8")
    for arguments, code, words in (
            (("--precision", "int4"), 2, "int4"),
            (("--lengths", "0"), 2, "--texts"),
            (("--threads", "0"), 2, "threads"),
            (("--texts", folder / "none.jsonl"), 1, "none.jsonl"),
            (("--texts", damaged), 1, "line 2"),
            (("--texts", texts_file(folder)[0], "--lengths", "100000"), 1, "100000"),
            (("--texts", texts_file(folder)[0], "--lengths", "1"), 1, "tokenizer's")):
        result = run(*arguments)
        assert result.returncode == code, (arguments, result.returncode, result.stderr)
        assert words in result.stderr, (arguments, result.stderr)
    result = Command(PROGRAM, "encode").run("--model", "no-such-model")
    assert result.returncode == 1 and "no-such-model" in result.stderr, result.stderr
    assert "rag-bench encode --precision" in run("--help").stdout


def test_interrupt(folder):
    """Ctrl-C ends the run with what was measured so far."""
    ENCODE.interrupt(3, folder, "--texts", texts_file(folder)[0], "--lengths", 0, "--rounds", 1000, "--batch",
                     "1,2,3,4,5,6,7,0")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        test_errors(folder)
        test_fields(folder)
        test_peers(folder)
        test_interrupt(folder)
    print("rag-bench encode: ok")


if __name__ == "__main__":
    main()
