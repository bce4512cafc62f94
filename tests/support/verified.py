"""Small artifacts to verify, and what is read of the outcome."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from small_int8 import silent

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.artifact_checks import Check
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.verify_artifact import VerifyRequest, VerifyResult, run_verify

BACKBONE = "hardnet39ds"
SIDE = 64


def export(path: Path, precision: str, **options: Any) -> None:
    """``run_export``."""
    run_export(ExportRequest(output=path, precision=precision, **options), silent)  # type: ignore[arg-type]  # fp32 or fp16


@cache
def _exports() -> TemporaryDirectory[str]:
    """Made once."""
    folder = TemporaryDirectory(prefix="hardnet-deploy-tests-")
    root = Path(folder.name)
    torch.manual_seed(3)
    torch.save(registry.build(BACKBONE).state_dict(), root / "w.pth")
    for precision in ("fp32", "fp16"):
        export(root / f"{precision}.onnx", precision, model=BACKBONE, size=SIDE, weights=root / "w.pth")
    return folder


def fill_with_exports(folder: Path) -> None:
    """``fp32.onnx`` and ``fp16.onnx`` of a backbone, and their weights ``w.pth``."""
    shutil.copytree(_exports().name, folder, dirs_exist_ok=True)
    for name in ("fp32.onnx", "fp16.onnx"):
        rewrite(folder / name, lambda record: record["weights"].update(source="w.pth"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change an artifact's manifest as a text editor would."""
    record = json.loads(manifest_path(path).read_text())
    change(record)
    manifest_path(path).write_text(json.dumps(record))


def verify(path: str | Path, **options: Any) -> VerifyResult:
    """``run_verify``."""
    return run_verify(VerifyRequest(artifact=Path(path), **options), silent)


def check(result: VerifyResult, name: str) -> Check:
    """The one check of that name."""
    (found,) = [one for one in result.checks if one.name == name]
    return found


def exit_code(result: VerifyResult) -> int:
    """What the command would end with."""
    error, document = result.error(), result.as_dict()
    assert document["passed"] == (error is None)
    assert document["exit_code"] == (0 if error is None else error.exit_code)
    return int(document["exit_code"])
