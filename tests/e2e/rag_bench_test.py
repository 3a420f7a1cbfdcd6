#!/usr/bin/env python3
"""rag-bench search as its users run it: recall and fields on real vectors, errors, Ctrl-C.

    rag_bench_test.py RAG_BENCH
"""

import json
import os
import pathlib
import struct
import sys
import tempfile

from rag_bench_harness import Command

PROGRAM = sys.argv[1]
if os.environ.get("RAG_SANITIZE") == "thread":
    # hnswlib has a mutex a row: the search for cycles among them takes minutes.
    os.environ["TSAN_OPTIONS"] = os.environ.get("TSAN_OPTIONS", "") + ":detect_deadlocks=0"
ROOT = pathlib.Path(__file__).resolve().parents[2]
SEARCH = Command(PROGRAM, "search")
run, measured = SEARCH.run, SEARCH.measured


def data_folder():
    candidates = [os.environ.get("RAG_TEST_DATA", ""), ROOT.parent / "shared" / "data"]
    return next((pathlib.Path(c) for c in candidates if c and (pathlib.Path(c) / "ann-sift10k").is_dir()), None)


def check_fields(report):
    assert report["complete"] and report["k"] == 10
    assert report["machine"]["processor"] and report["machine"]["isa"]
    assert report["date"].endswith("Z")
    for system in report["systems"]:
        assert system["build_seconds"] > 0, system
        assert system["points"], system
        for point in system["points"]:
            rate = point["queries_per_second"]
            assert 0 < rate["min"] <= rate["median"] <= rate["max"]
            assert 0 <= point["recall"] <= 1
            latency = point["latency_us"]
            assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]


def by_name(report):
    return {system["name"]: system for system in report["systems"]}


def test_synthetic(folder):
    """Every output, filters, churn and linked peers, on data that needs no file."""
    outputs = {kind: folder / f"out.{kind}" for kind in ("json", "csv", "md", "svg", "png")}
    result = run("--data", "synthetic:3000x16:20", "--index", "flat,hnsw:m=8,ef_construction=60", "--sweep", "10,64",
                 "--rounds", 2, "--query-count", 50, "--filter", "0.01,0.5", "--churn", 0.5, "--reopen", "--peers",
                 "--json", outputs["json"], "--csv", outputs["csv"], "--markdown", outputs["md"],
                 "--plot", f"{outputs['svg']},{outputs['png']}")
    assert result.returncode == 0, result.stderr
    assert "recall@10" in result.stdout and "bytes a vector" in result.stdout
    report = json.loads(outputs["json"].read_text(encoding="utf-8"))
    check_fields(report)
    assert report["data"]["truth"] == "computed"
    systems = by_name(report)
    assert systems["flat"]["points"][0]["recall"] == 1
    hnsw = systems["hnsw:m=8,ef_construction=60"]
    assert hnsw["parameters"]["m"] == 8 and [p["width"] for p in hnsw["points"]] == [10, 64]
    assert hnsw["points"][1]["recall"] > 0.95, hnsw["points"]
    assert hnsw["memory_bytes"] > 3000 * 16 * 4
    assert hnsw["open_seconds"] > 0 and hnsw["save_seconds"] > 0 and hnsw["file_bytes"] > 3000 * 16 * 4
    assert len(report["filters"]) == 6
    for case in report["filters"]:
        for system in case["systems"]:
            if system["name"] == "flat":
                assert system["points"][0]["recall"] == 1, case
    churn = report["churn"][0]
    assert abs(churn["churned"]["points"][1]["recall"] - churn["fresh"]["points"][1]["recall"]) < 0.05
    assert outputs["csv"].read_text(encoding="utf-8").count("\n") >= 4
    assert "| --- |" in outputs["md"].read_text(encoding="utf-8")
    assert "<svg" in outputs["svg"].read_text(encoding="utf-8")
    assert outputs["png"].read_bytes().startswith(b"\x89PNG")


def test_real(data):
    """Real vectors with published neighbours, in three formats and metrics."""
    for name, recall in (("ann-sift10k", 0.95), ("ann-glove-twitter-25", 0.95), ("ann-scifact-minilm", 0.95)):
        report = measured("--data", name, "--data-dir", data, "--index", "flat,hnsw", "--sweep", "100", "--rounds", 1,
                          "--query-count", 100)
        check_fields(report)
        assert report["data"]["truth"] == "file"
        systems = by_name(report)
        # The published neighbours were computed in double precision by somebody else.
        assert systems["flat"]["points"][0]["recall"] >= 0.999, (name, systems["flat"])
        assert systems["hnsw"]["points"][0]["recall"] >= recall, (name, systems["hnsw"])
    batch = measured("--data", data / "ann-sift10k" / "base.bvecs", "--queries", data / "ann-sift10k" / "query.bvecs",
                     "--rows", 2000, "--index", "flat", "--rounds", 1, "--batch", "--threads", 2)
    assert batch["data"]["truth"] == "computed" and batch["data"]["rows"] == 2000
    assert batch["systems"][0]["points"][0]["recall"] == 1
    assert "latency_us" not in batch["systems"][0]["points"][0]


FAKE_PEERS = """
import json, sys
searches = 0
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "open":
        rows, k = 2000, request["k"]
        answer = {"systems": [{"name": name, "version": "1", "parameters": {}, "width": "ef", "widths": [10, 20]}
                              for name in ("good", "broken", "ended")], "missing": ["absent: no such module"]}
    elif request["do"] == "build":
        answer = {"seconds": 0.5, "resident_bytes": 1000, "memory_bytes": 2000}
    elif request["do"] == "pin":
        answer = {}
    elif request["system"] == "broken":
        answer = {"error": "out of luck"}
    elif request["system"] == "ended" and (searches := searches + 1) == 4:
        sys.exit(3)
    else:
        with open(request["found"], "wb") as file:
            file.write(b"\\xff\\xff\\xff\\xff" * request["queries"] * k)
        answer = {"seconds": 0.25}
    print(json.dumps(answer), flush=True)
"""


def test_script_of_peers(folder):
    """What a script of peers says is merged, and its failures are noted beside the others' results."""
    script = folder / "peers.py"
    script.write_text(FAKE_PEERS, encoding="utf-8")
    arguments = ("--data", "synthetic:2000x8", "--index", "hnsw:m=8", "--rounds", 1, "--query-count", 20, "--peers",
                 "--build-threads", 2, "--peers-python", sys.executable, "--peers-script", script, "--json", "-")
    result = run(*arguments)
    assert result.returncode == 1, result.stderr  # a system failed
    report = json.loads(result.stdout)
    systems = by_name(report)
    assert systems["hnsw:m=8"]["points"]
    assert systems["good"]["source"] == "python" and systems["good"]["build_seconds"] == 0.5
    point = systems["good"]["points"][0]
    assert point["recall"] == 0 and point["queries_per_second"]["median"] == 80, point
    assert "out of luck" in systems["broken"]["error"] and not systems["broken"]["points"]
    assert "ended" in systems["ended"]["error"]
    assert "absent: no such module" in report["missing"]
    missing = run(*arguments[:-4], "--peers-script", folder / "none.py", "--json", "-")
    assert missing.returncode == 0 and "process has ended" in json.loads(missing.stdout)["missing"][-1]


def test_errors(folder):
    for arguments, code, words in (
            ((), 2, "--data"),
            (("--data", "x", "--index", "tree"), 2, "tree"),
            (("--data", "x", "--plot", "a.pdf"), 2, "a.pdf"),
            (("--data", "x", "--metric", "manhattan"), 2, "metric"),
            (("--data", "no-such.fvecs"), 1, "no-such.fvecs"),
            (("--data", "synthetic:10x"), 1, "synthetic")):
        result = run(*arguments)
        assert result.returncode == code, (arguments, result.returncode, result.stderr)
        assert words in result.stderr, (arguments, result.stderr)
    damaged = folder / "damaged.fvecs"
    damaged.write_bytes(struct.pack("<if", 1, 0.5) + struct.pack("<if", 2, 0.5))
    result = run("--data", damaged)
    assert result.returncode == 1 and "row 1" in result.stderr, result.stderr
    assert run("--help").returncode == 0


def test_interrupt(folder):
    """Ctrl-C ends the run with what was measured so far."""
    # Rounds enough to last until they are interrupted, once one was measured.
    SEARCH.interrupt(3, folder, "--data", "synthetic:500x8", "--rounds", 1000)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        test_errors(folder)
        test_synthetic(folder)
        test_script_of_peers(folder)
        test_interrupt(folder)
        data = data_folder()
        if data is None:
            print("SKIPPED the real vectors of rag_bench_test.py: no shared data")
        else:
            test_real(data)
    print("rag-bench search: ok")


if __name__ == "__main__":
    main()
