"""The page's profiles and rooflines: whose times they hold, and drawings of whatever numbers a document has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from html_outline import Element
from made_up_runs import digest_of
from made_up_times import profile, roofline
from report_pages import page, table


def bounds(folder: Path, layer: dict[str, Any] | None = None, **changes: Any) -> Element:
    document = roofline("a.onnx", **changes)
    first = document["targets"][0]["layers"][0]
    first |= layer or {}
    first["intensity"] = first["flops"] / first["bytes"]
    share = first["bound_ms"] / first["measured_ms"]
    first["share"] = share if math.isfinite(share) else None
    return page(folder, document).one("roofline")


def test_whose_times_a_roofline_holds_is_below_its_table(tmp_path: Path) -> None:
    timed = {"label": "other.onnx", "sha256": digest_of("other.onnx"), "precision": "int8"}
    text = bounds(tmp_path, times="profiler of ONNX Runtime (CPU), measured here (p.json)", times_of=timed).text
    assert "Times: profiler of ONNX Runtime (CPU), measured here (p.json)." in text
    assert f"Times are of other.onnx, INT8, SHA-256 {digest_of('other.onnx')[:12]}." in text


def test_bounds_without_times_tell_of_none(tmp_path: Path) -> None:
    text = bounds(tmp_path, times=None, times_of=None).text
    assert "Times:" not in text
    assert "Times are of" not in text


def test_the_run_and_the_layers_have_columns_of_their_own(tmp_path: Path) -> None:
    document = roofline("a.onnx")
    document["targets"][0] |= {"run_ms": 8.1, "measured_ms": 17.7, "share": 0.5}
    cells = table(page(tmp_path, document), "Bounds, ssd300-made-up")
    head, row = cells["target, precision"], cells["cpu, FP32"]
    assert (row[head.index("a run, ms")], row[head.index("layers, ms")]) == ("8.10", "17.7")


@pytest.mark.parametrize(
    "layer",
    [{"measured_ms": 1e-320}, {"flops": 1e-320}, {"flops": 1e300}, {"flops": 1e300, "bytes": 1e-5}],
    ids=str,
)
def test_what_no_axis_has_room_for_is_left_out_of_the_drawing(layer: dict[str, Any], tmp_path: Path) -> None:
    assert "the roof of" in bounds(tmp_path, layer).text  # the other layer is drawn


@pytest.mark.parametrize("peak", [{"flops": 1e-320}, {"flops": 1e300}, {"bandwidth": 1e-320}], ids=str)
def test_a_roof_that_no_axis_has_room_for_is_not_drawn(peak: dict[str, float], tmp_path: Path) -> None:
    document = roofline("a.onnx")
    document["targets"][0]["peak"] |= peak
    section = page(tmp_path, document).one("roofline")
    assert "the roof of" not in section.text
    assert "base.1.conv" in section.text


@pytest.mark.parametrize(
    ("measured_ms", "told"),
    [(2.0, "2 layers at or below the roof of"), (2e-5, "1 layer above and 1 layer at or below the roof of")],
)
def test_a_layer_that_is_faster_than_its_bound_is_not_said_to_be_below(
    measured_ms: float, told: str, tmp_path: Path
) -> None:
    assert told in bounds(tmp_path, {"measured_ms": measured_ms}).text


@pytest.mark.parametrize(
    ("percent", "told"), [(51.1, "51.1 % longer for being profiled"), (-7.2, "drowns in noise (-7.2 %)")]
)
def test_what_profiling_adds_is_beside_the_run(percent: float, told: str, tmp_path: Path) -> None:
    conditions = {"data": "random pixels", "threads": 2}
    document = profile("int8.onnx", profiling_overhead_percent=percent, plain_run_ms=6.8, conditions=conditions)
    text = page(tmp_path, document).one("profile").text
    assert "measured here, random pixels, 2 threads; " in text
    assert told in text
    assert "Whole run without the profiler: 6.80 ms (median)." in text
