#!/usr/bin/env python3
"""Rules of CONTRIBUTING.md that a program can check. Prints every breach and exits 1 when there is one.

    tests/tidy/tidy.py                 format, includes, headers, folders
    tests/tidy/tidy.py --ctest build   also, of that build: every test file is registered, and no object of
                                       an instruction set has code that other processors may run
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# Room -> rooms whose headers it may include. tests and benchmarks may include everything.
ALLOWED = {
    "lib": {"lib"},
    "index": {"lib", "index"},
    "embed": {"lib", "embed"},
    "generate": {"lib", "generate"},
    "engine": {"lib", "index", "embed", "generate", "engine"},
    "apps": {"lib", "engine", "apps"},
    "bindings": {"lib", "engine", "bindings"},
}
# Folder -> headers that its room may not include and it may, each for a reason.
EXCEPTIONS = {
    # It measures index, encoder and decoder by themselves: through the engine the rest would be timed too.
    "apps/rag_bench": {"index/vector_index.h", "index/index_spec.h", "index/tune.h", "embed/encoder.h", "generate/generator.h"},
    # The C library offers the index by itself too: other languages bind it without text and encoder.
    "bindings/c": {"index/vector_index.h", "index/index_spec.h"},
}
ROOMS = set(ALLOWED) | {"tests", "benchmarks"}
TOP_LEVEL_FOLDERS = ROOMS | {"cmake"}

# Library -> the rooms, or folders of a room, that may include it. Only their .cc files do, and headers that
# their own folder alone uses.
LIBRARIES = [
    (r"rocksdb/", {"index", "tests"}),
    (r"faiss/", {"index", "tests", "benchmarks"}),
    (r"hnswlib/", {"apps/rag_bench"}),
    (r"hdf5", {"apps/rag_bench", "tests/apps/rag_bench"}),
    (r"cairo|zlib", {"apps/rag_bench"}),
    (r"boost/", {"apps"}),
    (r"nlohmann/", {"lib"}),
    (r"sentencepiece", {"lib", "tests"}),
    (r"pcre2", {"lib"}),
    (r"jpeglib|jerror|png\.h|webp/|gif_lib", {"lib/image"}),
    (r"cuda|cublas", {"lib", "index", "embed", "generate"}),
    (r"libstemmer", {"index"}),
    (r"unicode/", {"engine"}),
    (r"gumbo|cmark|archive(_entry)?\.h|pugixml", {"engine"}),
    (r"spdlog/|fmt/|CLI/|toml\+\+/", {"apps"}),
    (r"openssl/", {"apps"}),
]

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")


def include_problems(path, text):
    """Breaches of the dependency rules in one source file; `path` is relative to the root."""
    room = path.parts[0]
    is_public_header = path.suffix == ".h" and (len(path.parts) == 2 or room in {"lib", "bindings"})
    for kind, target in INCLUDE.findall(text):
        first = target.split("/")[0]
        excepted = any(path.is_relative_to(folder) and target in headers
                       for folder, headers in EXCEPTIONS.items())
        if kind == '"' and first in ROOMS and room in ALLOWED and first not in ALLOWED[room] and not excepted:
            yield f"{path}: {room} may not include {target}"
        if kind == '"' and "/" not in target and target.endswith(".h"):
            yield f"{path}: include \"{target}\" by its path from the root"
        for pattern, rooms in LIBRARIES:
            if kind == "<" and re.match(pattern, target):
                if not any(path.is_relative_to(folder) for folder in rooms):
                    yield f"{path}: <{target}> belongs behind the wall of {', '.join(sorted(rooms))}"
                elif is_public_header and room in ALLOWED:
                    yield f"{path}: no public header shows <{target}>; include it in a .cc file"


def file_problems(path, text):
    """Breaches in one source file besides its includes."""
    if path.suffix == ".h" and path.name != "rag.h" and "#pragma once" not in text:
        yield f"{path}: a header begins with #pragma once"
    for number, line in enumerate(text.splitlines(), 1):
        if UNFINISHED.search(line):
            yield f"{path}:{number}: finish it, or say it in README's limits"
    if path.parts[0] in {"lib", "index", "embed", "generate", "engine"}:
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"\bstd::(cout|cerr)\b|\bf?printf\(|\bstd::exit\(|\babort\(\)", line):
                yield f"{path}:{number}: the library neither prints nor exits"


def folder_problems(root, files):
    for folder in sorted({f.parts[0] for f in files if len(f.parts) > 1}):
        if folder not in TOP_LEVEL_FOLDERS and not folder.startswith("."):
            yield f"{folder}/: top level holds {', '.join(sorted(TOP_LEVEL_FOLDERS))} and no other folder"
    for file in files:
        if (root / file).stat().st_size > 4_000_000:
            yield f"{file}: larger than 4 MB"


def link_problems(root, names):
    for name in names:
        if (root / name).is_symlink():
            yield f"{name}: a symbolic link, which leads elsewhere in another checkout"


def format_problems(root, sources):
    formatter = shutil.which("clang-format")
    if formatter is None:
        yield "clang-format is missing: ./dev setup"
        return
    result = subprocess.run([formatter, "--dry-run", *map(str, sources)], cwd=root,
                            capture_output=True, text=True, check=False)
    for name in sorted({line.split(":")[0] for line in result.stderr.splitlines() if "warning:" in line}):
        yield f"{name}: not in the project's format; ./dev format"


def registration_problems(root, build, files):
    """Every test file must be run by ctest: *_test.cc as a test of its own, others by a command's words."""
    # Listing tests makes ctest begin a log in the folder it runs in, over that of a run in progress.
    with tempfile.TemporaryDirectory() as elsewhere:
        path = pathlib.Path(build, "CTestTestfile.cmake").resolve()
        pathlib.Path(elsewhere, "CTestTestfile.cmake").write_text(f'subdirs("{path.parent}")\n', encoding="utf-8")
        listing = subprocess.run(["ctest", "--test-dir", elsewhere, "--show-only=json-v1"], capture_output=True,
                                 text=True, check=True)
    tests = json.loads(listing.stdout)["tests"]
    names = {test["name"] for test in tests}
    words = {pathlib.Path(word).name for test in tests for word in test.get("command", [])}
    for file in files:
        if file.parts[0] != "tests" or not re.search(r"_test\.(cc|c|py|sh)$", file.name):
            continue
        name = str(pathlib.Path(*file.parts[1:]).with_suffix("")).removesuffix("_test")
        built = re.sub(r"\.(cc|c)$", "", file.name)
        if name not in names and file.name not in words and built not in words:
            yield f"{file}: a test file that ctest does not run"


def shared_code(symbols):
    """Of nm's lines, what may run on a processor without the object's instruction set: of the copies of a weak function, or
    of a weak table of functions, in several objects the linker keeps any, and what initializes variables runs at start."""
    for line in symbols.splitlines():
        kind, name = line.split(maxsplit=2)[1:]
        if kind in "WVvu" and not name.startswith("DW.ref."):
            yield f"{name} is weak; give it, or a type of its template, an unnamed namespace"
        elif name.startswith("_GLOBAL__sub_I"):
            yield "a variable is initialized by code; make it constexpr"


def object_problems(build):
    objects = sorted(path for path in pathlib.Path(build).rglob("*.cc.o")
                     if re.search(r"_(avx2|avx512|amx)\.cc\.o$", path.name))
    if not objects:
        yield f"{build}: no object of an instruction set; build it first"
    for path in objects:
        symbols = subprocess.run(["nm", "--defined-only", str(path)], capture_output=True, text=True, check=True).stdout
        for problem in shared_code(symbols):
            yield f"{path.name}: {problem}"


def problems(root, build=None):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True,
                            text=True, check=True).stdout.splitlines()
    yield from link_problems(root, listed)
    files = [pathlib.Path(name) for name in listed if (root / name).is_file()]
    sources = [f for f in files if f.suffix in {".h", ".cc", ".cu", ".cuh"} and f.parts[0] in ROOMS
               and "documents" not in f.parts]
    for source in sources:
        text = (root / source).read_text(encoding="utf-8")
        yield from include_problems(source, text)
        yield from file_problems(source, text)
    yield from folder_problems(root, files)
    yield from format_problems(root, sources)
    if build is not None:
        yield from registration_problems(root, build, files)
        yield from object_problems(build)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ctest", metavar="BUILD", help="a configured build folder")
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    found = list(problems(root, arguments.ctest))
    for problem in found:
        print(problem)
    print(f"tidy: {len(found)} breaches")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
