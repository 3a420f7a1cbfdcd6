#!/usr/bin/env python3
"""rag-bench decode as its users run it: every table of a small model, peers that work and that fail, errors, Ctrl-C.

    rag_bench_decode_test.py RAG_BENCH
"""

import json
import pathlib
import stat
import sys
import tempfile

from rag_bench_harness import Command

PROGRAM = sys.argv[1]
DECODERS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "decoders"
MODEL = DECODERS / "llama3" / "model.gguf"
SMALL = ("--prompt", 24, "--tokens", 4, "--depth", "0,16", "--batch", "1,3", "--rounds", 3)
DECODE = Command(PROGRAM, "decode")
run, measured = DECODE.run, DECODE.measured


def find(model, what, threads, context=0, sequences=1, unit="tokens/s"):
    found = [c for c in model["cases"] if (c["what"], c["threads"], c["context"], c["sequences"], c["unit"])
             == (what, threads, context, sequences, unit)]
    assert len(found) == 1, (what, threads, context, sequences, unit, model["cases"])
    return found[0]


def check_values(case):
    for system in case["systems"]:
        assert 0 < system["min"] <= system["median"] <= system["max"], case
        assert sorted(system["rounds"])[len(system["rounds"]) // 2] == system["median"]


def test_tables(folder):
    """Every figure of two models, in every output."""
    outputs = {kind: folder / f"out.{kind}" for kind in ("json", "md")}
    result = run(MODEL, DECODERS / "mixtral" / "model.gguf", *SMALL, "--threads", "1,2", "--draft-tokens", 4,
                 "--json", outputs["json"], "--markdown", outputs["md"])
    assert result.returncode == 0, result.stderr
    assert "prefill of 24" in result.stdout and "batch of 3" in result.stdout
    assert "| --- |" in outputs["md"].read_text(encoding="utf-8")
    report = json.loads(outputs["json"].read_text(encoding="utf-8"))
    assert report["complete"] and report["rounds"] == 3 and report["cache_type"] == "F32"
    assert report["machine"]["processor"] and report["machine"]["isa"] and report["date"].endswith("Z")
    llama, mixtral = report["models"]
    assert llama["architecture"] == "llama" and llama["file_bytes"] == MODEL.stat().st_size
    # Two of its four experts are read for a token, and of the embeddings a row.
    assert 0 < mixtral["token_bytes"] < mixtral["weight_bytes"]
    for model in report["models"]:
        for threads in (1, 2):
            for case in (find(model, "prefill", threads), find(model, "decode", threads),
                         find(model, "decode", threads, 16), find(model, "batch", threads, sequences=3),
                         find(model, "first token", threads, 16, unit="ms"),
                         find(model, "cached first token", threads, 16, unit="steps"),
                         find(model, "repetition with guesses", threads)):
                check_values(case)
                assert len(case["systems"]) == 1 and len(case["systems"][0]["rounds"]) == 3
            decode = find(model, "decode", threads)
            rate = decode["systems"][0]["median"] * model["token_bytes"]
            assert abs(decode["weight_bytes_per_second"] / rate - 1) < 1e-9
            read = next(r for r in model["memory_reads"] if r["threads"] == threads)["bytes_per_second"]
            assert abs(decode["share_of_memory"] * read["max"] / rate - 1) < 1e-9
            shares = sorted(ours * model["token_bytes"] / there
                            for ours, there in zip(decode["systems"][0]["rounds"], read["rounds"], strict=True))
            within = decode["share_of_memory_within_a_round"]
            for got, wanted in zip((within["min"], within["median"], within["max"]), shares, strict=True):
                assert abs(got / wanted - 1) < 1e-9
            load = next(entry for entry in model["loads"] if entry["threads"] == threads)
            assert load["seconds"] > 0 and load["first_token_seconds"] > 0 and load["peak_bytes"] > 0, load
    mapped = measured(MODEL, *SMALL, "--threads", 1, "--mapped-weights", "--kv-type", "f16")
    assert mapped["models"][0]["token_bytes"] == llama["token_bytes"] and mapped["cache_type"] == "F16"


FAKE_PEER = """#!{python}
import json, os, sys
arguments = sys.argv[1:]
if "--help" in arguments:
    print("{help}")
    sys.exit({help_code})
value = dict(zip(arguments[::2], arguments[1::2]))
assert os.path.exists(value["-m"]) and value["-r"] == "1" and value["-o"] == "json", arguments
rate = 100 * int(value["-t"])
entries = []
if int(value["-p"]):
    entries.append({{"n_prompt": int(value["-p"]), "n_gen": 0, "avg_ts": 10.0 * rate}})
if int(value["-n"]):
    entries.append({{"n_prompt": 0, "n_gen": int(value["-n"]), "avg_ts": rate / (2 if "-d" in value else 1)}})
if "-gp" in value:
    depth, tokens = map(int, value["-gp"].split(","))
    entries.append({{"n_prompt": depth, "n_gen": tokens, "avg_ts": rate / 4}})
{extra}
print(json.dumps(entries))
"""


def fake_peer(folder, name, takes="--n-depth", help_code=0, extra=""):
    path = folder / name
    path.write_text(FAKE_PEER.format(python=sys.executable, help=takes, help_code=help_code, extra=extra),
                    encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_peers(folder):
    """What llama-bench says is put beside ours; a peer that fails is named, and the others are measured."""
    good = fake_peer(folder, "good")
    pairs = fake_peer(folder, "pairs", takes="-gp <pp,tg>")
    report = measured(MODEL, *SMALL, "--threads", "1,2", "--peer", f"good={good}", "--peer",
                      f"in pairs=env A=1  {pairs}")
    model = report["models"][0]
    for threads in (1, 2):
        for case, rates in ((find(model, "prefill", threads), (1000, 1000)),
                            (find(model, "decode", threads), (100, 100)),
                            (find(model, "decode", threads, 16), (50, 25))):
            check_values(case)
            ours, *peers = case["systems"]
            assert [peer["name"] for peer in peers] == ["good", "in pairs"]
            for peer, rate in zip(peers, rates):
                assert peer["rounds"] == [rate * threads] * 3, case
                ratios = sorted(mine / rate / threads for mine in ours["rounds"])
                assert abs(peer["ratio"]["median"] / ratios[1] - 1) < 1e-9, case
        assert len(find(model, "batch", threads, sequences=3)["systems"]) == 1
    result = run(MODEL, *SMALL, "--threads", 1, "--json", "-", "--peer", f"good={good}",
                 "--peer", f"broken={fake_peer(folder, 'broken', extra='sys.exit(3)')}",
                 "--peer", f"talks={fake_peer(folder, 'talks', extra='print(1, 2)')}",
                 "--peer", f"helpless={fake_peer(folder, 'helpless', help_code=4)}",
                 "--peer", f"absent={folder / 'absent'}")
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert report["complete"]
    errors = report["errors"]
    for words in (("broken", "3"), ("talks", "JSON"), ("helpless", "4"), ("absent", "absent")):
        assert any(all(word in error for word in words) for error in errors), errors
    names = [system["name"] for system in find(report["models"][0], "decode", 1)["systems"]]
    assert names == ["rag", "good"]


def test_errors(folder):
    for arguments, code, words in (
            ((), 2, "models"),
            ((MODEL, "--kv-type", "q2"), 2, "q2"),
            ((MODEL, "--peer", "llama-bench"), 2, "NAME=COMMAND"),
            ((MODEL, "--peer", "a=x", "--peer", "a=y"), 2, "twice"),
            ((MODEL, "--rounds", "0"), 2, "rounds"),
            ((folder / "no-such.gguf", *SMALL), 1, "no-such.gguf"),
            ((DECODERS / "make_decoders.py", *SMALL), 1, "make_decoders.py")):
        result = run(*arguments)
        assert result.returncode == code, (arguments, result.returncode, result.stderr)
        assert words in result.stderr, (arguments, result.stderr)
    help_text = run("--help")
    assert help_text.returncode == 0 and "--peer" in help_text.stdout


def test_interrupt(folder):
    """Ctrl-C ends the run with what was measured so far."""
    DECODE.interrupt(3, folder, MODEL, *SMALL[:-2], "--rounds", 1000, "--threads", 1)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        test_errors(folder)
        test_tables(folder)
        test_peers(folder)
        test_interrupt(folder)
    print("rag-bench decode: ok")


if __name__ == "__main__":
    main()
