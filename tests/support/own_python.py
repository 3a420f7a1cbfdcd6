"""For test scripts that need packages of tests/requirements.txt, which ./dev setup puts into .venv."""

import importlib.util
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def need(*modules):
    """Goes on if this Python has them, begins again with the one of .venv if it has not, else skips the test."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return
    own = ROOT / ".venv" / "bin" / "python"
    if own.exists() and pathlib.Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        os.execv(own, [str(own), *sys.argv])
    print(f"SKIPPED {os.path.basename(sys.argv[0])}: no {', '.join(missing)}; ./dev setup installs what "
          "tests/requirements.txt names into .venv")
    sys.exit(77)
