"""``hardnet-deploy roofline`` of engines of which some layers stayed float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from small_int8 import build, fill_folder, silent

from hardnet_deploy.bench import machine_peak
from hardnet_deploy.bench.graph_cost import cost
from hardnet_deploy.errors import ArtifactMismatchError, UsageError
from hardnet_deploy.workflows.profile import ProfileRequest, run_profile
from hardnet_deploy.workflows.roofline import RooflineRequest, RooflineResult, run_roofline


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("SECONDS", 0.0), ("LEAST_RUNS", 1), ("SIDE", 64), ("COPY_BYTES", 1 << 20)):
        monkeypatch.setattr(machine_peak, name, value)
    fill_folder(tmp_path)


def run(**options: Any) -> RooflineResult:
    return run_roofline(RooflineRequest(**{"model": "int8.onnx", "threads": 1, **options}), silent)


def profiled(engine: str) -> Path:
    run_profile(ProfileRequest(engine=engine, iterations=1, threads=1, output=Path("p.json")), silent)
    return Path("p.json")


def test_a_mixed_engine_is_priced_as_it_is_typed_alone() -> None:
    build(layer_precisions=",".join(f"{name}:fp32" for name in ("base.1.a", "base.1.b", "base.2", "loc.0")))
    result = run()
    devices = [one.device.name for one in result.rooflines]
    assert devices == ["gtx-1080ti", "h200", "here"]  # the Nano has no INT8
    (label,) = {one.precision for one in result.rooflines}
    typed = {one.name: one.precision for one in result.rooflines[0].layers if one.flops}
    assert {"int8", "fp32"} <= set(typed.values())
    shares = {
        kind: sum(one.macs for one in cost(onnx.load("int8.onnx")) if one.precision == kind)
        for kind in ("int8", "fp32")
    }
    percent = 100 * shares["int8"] / sum(shares.values())
    assert percent < 50
    assert label == f"as typed: {percent:.0f} % int8"
    assert any("each layer is bounded by the peak of its own precision" in text for text in result.notes)
    for precision in ("fp32", "fp16"):
        with pytest.raises(UsageError, match=f"typed in {percent:.0f} % int8, so its cost in {precision} is not known"):
            run(precision=precision, target="gtx-1080ti")
    (held,) = [one for one in run(measure=True).rooflines if one.measured_ms is not None]
    assert (held.device.name, held.precision) == ("here", label)
    saved = profiled("int8.onnx")
    assert [one.precision for one in run(times=saved, target="here").rooflines] == [label]


def test_times_of_another_mixed_engine_are_refused() -> None:
    build(output=Path("whole.onnx"))
    build(layer_precisions="base.1.a:fp32")
    with pytest.raises(ArtifactMismatchError, match=r"an engine in int8, int8\.onnx is typed in \d+ % int8"):
        run(times=profiled("whole.onnx"), target="here")
