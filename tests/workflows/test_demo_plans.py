"""The trained demo detector through simulated TensorRT: mAP on its scenes beside that of the ONNX engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from simulated_device import NANO, NEWEST, PASCAL
from simulated_host import LABELS, build_plan_file, simulated_host
from small_int8 import silent

from hardnet_deploy.models.registry import DEMO_MODEL
from hardnet_deploy.workflows.evaluate import EvaluateRequest, run_evaluate
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest

pytestmark = pytest.mark.slow

SCENES = 24
ALLOWED = {"fp32": 0.0, "fp16": 0.002, "int8": 0.02}
"""mAP points / 100 on a handful of scenes, where a single box is worth a thousandth or more."""


def mean_ap(engine: str, runner: str) -> float:
    request = EvaluateRequest(engine=engine, data="demo", count=SCENES, resume=False, workers=1)
    found = run_evaluate(request, silent)
    assert runner in found.run.runner
    return found.mean_ap


@pytest.mark.parametrize(
    ("device", "precisions"),
    [(NANO, ("fp32", "fp16")), (PASCAL, ("fp32", "int8")), (NEWEST, ("fp32", "fp16", "int8"))],
    ids=["8.2", "8.6", "11"],
)
def test_the_demo_detector_keeps_its_map(
    device: tuple[str, str], precisions: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    run_export(ExportRequest(model=DEMO_MODEL, output=Path("demo.onnx")), silent)
    wanted = mean_ap("demo.onnx", "ONNX Runtime")
    assert wanted > 0.3
    options: dict[str, Any] = {"source": "demo.onnx", "calib": None}
    with simulated_host(monkeypatch, device):
        for precision in precisions:
            given = {"data": "demo", "count": 16} if precision == "int8" else {}
            build_plan_file(device, precision, **options, **given)
            found = mean_ap(f"{precision}.engine", LABELS[device])
            assert found == pytest.approx(wanted, abs=ALLOWED[precision])


def test_a_model_is_exported_as_the_installed_tensorrt_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with simulated_host(monkeypatch, NEWEST, nms_plugin=False):
        result = build_plan_file(NEWEST, "fp16", source=None, batch="1,2,4")
    assert result.manifest is not None
    assert result.manifest.graph["nms"] == "onnx"
    assert result.manifest.graph["profile"] == [1, 2, 4]
    assert any("ONNX NonMaxSuppression" in note for note in result.notes)
