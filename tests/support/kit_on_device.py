"""A kit's own copy of the device file, run as the device would run it."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def copied_runner(folder: Path) -> Iterator[Any]:
    """The kit's own copy of the device file, as a module."""
    found = importlib.util.spec_from_file_location("kit_run_engine", folder / "run_engine.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["kit_run_engine"] = module
    try:
        found.loader.exec_module(module)
        yield module
    finally:
        del sys.modules["kit_run_engine"]


def time_shortly(folder: Path) -> None:
    """The protocol's 300 runs take a minute where a CPU stands in."""
    document = json.loads((folder / "kit.json").read_text())
    document["protocol"] |= {"iterations": 5, "warm_up_ms": 0}
    (folder / "kit.json").write_text(json.dumps(document), encoding="utf-8")
