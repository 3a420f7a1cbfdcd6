#!/usr/bin/env python3
"""benchmarks/store/run.py with the store alone: what it measures of it is right, and a second run goes on where the first one ended.

    store_bench_test.py BUILD_FOLDER
"""

import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import own_python  # noqa: E402: after the folder that has it

own_python.need("numpy")

BUILD = pathlib.Path(sys.argv[1])
if not (BUILD / "bench_store").exists():
    print(f"SKIPPED store_bench_test.py: {BUILD} has no bench_store (RAG_BUILD_BENCHMARKS is off)")
    sys.exit(77)


def run(out, *arguments):
    subprocess.run([sys.executable, ROOT / "benchmarks" / "store" / "run.py", "--build", BUILD, "--data",
                    "synthetic:3000x32", "--systems", "rag", "--batch", "250", "--queries", "100", "--filter-queries", "20",
                    "--json", out / "store.json", "--markdown", out / "store.md", *arguments],
                   check=True, stdout=subprocess.DEVNULL, timeout=600)
    return json.loads((out / "store.json").read_text(encoding="utf-8"))


def main():
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name)
        first = run(out, "--rounds", "1", "--kills", "1", "--no-syncs")
        report = run(out, "--rounds", "1", "--kills", "2", "--no-syncs", "--resume")
        table = (out / "store.md").read_text(encoding="utf-8")
    system = report["systems"]["rag"]
    assert report["complete"] and report["missing"] == {}, report
    assert system["runs"] == first["systems"]["rag"]["runs"], "the first run was made again"
    (cycle,) = system["runs"]
    assert cycle["searches"]["0"]["all"]["recall"] >= 0.95, cycle["searches"]
    for label, measured in cycle["searches"]["0"].items():
        assert measured["wrong_hits"] == 0 and measured["recall"] >= 0.95, (label, measured)
        matches = 3 if "0.1%" in label else 10
        assert measured["hits"] == matches, (label, measured)
    for stage in ("remove", "compact"):
        assert cycle[stage]["left"] == report["rows"] - report["removed_rows"], cycle[stage]
        search = cycle[stage]["searches"]["0"]
        assert search["wrong_hits"] == 0 and search["recall"] >= 0.95, (stage, search)
    assert cycle["compact"]["texts_in_files"]["removed"] == 0, cycle["compact"]
    assert len(system["kills"]) == 2
    for kill in system["kills"]:
        assert kill["opened"] and kill["lost"] == 0 and kill["not_found_by_search"] == 0, kill
        assert kill["of_batch_under_way"] in (0, 250), kill
    for head in ("Loading", "Filtered search", "Half of the rows removed", "Killed while loading"):
        assert head in table, table
    print("store benchmark: ok")


if __name__ == "__main__":
    main()
