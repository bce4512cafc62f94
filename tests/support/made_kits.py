"""Kits as ``run_kit`` writes them, made once a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from small_int8 import save_pictures

from hardnet_deploy.workflows.kit_options import KitRequest
from hardnet_deploy.workflows.make_kit import KitResult, run_kit

DEMO = "ssd300-hardnet-demo"
SAMPLES = 2


def silent(_what: str, _done: int, _total: int) -> None:
    return None


@cache
def workshop() -> Path:
    """A folder with ``pictures`` in it, removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="hardnet-deploy-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    save_pictures(folder / "pictures")
    return folder


def make(folder: Path, target: str, **options: Any) -> KitResult:
    settings = {"model": DEMO, "samples": SAMPLES, "data": "demo:val", **options}
    return run_kit(KitRequest(target=target, folder=folder, command=("hardnet-deploy", "kit"), **settings), silent)


@cache
def demo_kit(target: str) -> KitResult:
    """Of the demo detector, with two samples of the demo data; INT8 ranges from four other pictures."""
    if target == "jetson-nano":
        return make(workshop() / "nano", target)
    table = make(workshop() / "ranges", target, data=str(workshop() / "pictures"), count=4).table
    return make(workshop() / "pascal", target, calib=table)
