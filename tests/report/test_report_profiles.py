"""Profiles and rooflines on the page: of what they are, those of devices, and what their figures are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import MODEL, artifact, save
from made_up_times import device_results, device_row, profile, roofline
from report_pages import page, table

STATE = "7" * 64
LAYERS = {
    "runs": 30,
    "layers": [
        {"name": "base.0.conv", "average_ms": 1.0, "median_ms": 0.9, "percent": 25.0},
        {"name": "base.1.conv", "average_ms": 3.0, "median_ms": 2.9, "percent": 75.0},
    ],
}


@pytest.mark.parametrize("trained", [False, True, None])
def test_an_untrained_profile_is_called_so_with_the_hash_of_its_weights(trained: bool | None, tmp_path: Path) -> None:
    engine = {"label": "hardnet68", "sha256": None, "state_sha256": STATE, "trained": trained}
    text = page(tmp_path, profile("x", engine=engine)).one("profile").text
    assert ("hardnet68 was profiled untrained" in text) == (trained is False)
    assert ("Time by layer, hardnet68 (untrained)" in text) == (trained is False)
    assert f"SHA-256 of what was profiled: {STATE[:12]} (of the weights)." in text


def test_layers_of_a_device_are_shown_and_not_asked_for(tmp_path: Path) -> None:
    root = page(tmp_path, device_results([device_row(profile=LAYERS)]))
    layers = table(root, "Time by layer, ssd300-made-up, fp16, imported (Made-up Nano, 2026-11-21)")
    assert list(layers)[1:] == ["base.1.conv", "base.0.conv"]  # the longest first
    assert layers["base.1.conv"] == ["3.00", "2.90", "75.0 %"]
    section = root.one("profile")
    assert "MAXN; TensorRT 8.2.1, trtexec's profile of 30 runs" in section.text
    assert "Not in these runs" not in section.text
    assert "aaaaaaaaaaaa" in section.text


def test_one_row_in_two_documents_is_one_table(tmp_path: Path) -> None:
    row = device_row(profile=LAYERS)
    root = page(tmp_path, device_results([row]), {**device_results([row]), "again": True})
    assert len([one for one in root.one("profile").all("caption") if "imported" in one.text]) == 1


def test_devices_without_a_profile_leave_it_missing(tmp_path: Path) -> None:
    assert (
        "Not in these runs: the time of every layer"
        in page(tmp_path, device_results([device_row()])).one("profile").text
    )


@pytest.mark.parametrize("writing", ["uint8", "int8", None])
def test_a_file_that_tensorrt_does_not_take_has_no_lints_of_it(writing: str | None, tmp_path: Path) -> None:
    precision = {"requested": "int8", "achieved": {"base.0.conv": "int8"}, "writing": writing}
    artifact(tmp_path, "int8.onnx")
    manifest = json.loads((tmp_path / "int8.onnx.json").read_text())
    save(tmp_path / "int8.onnx.json", {**manifest, "precision": precision})
    text = page(tmp_path, profile("int8.onnx")).one("profile").text
    assert ("What TensorRT would stumble over, int8.onnx" in text) == (writing != "uint8")


def as_typed(precision: str, **target: Any) -> dict[str, Any]:
    document = roofline("a.onnx")
    document["targets"][0] |= {"precision": precision, **target}
    return document


@pytest.mark.parametrize(("precision", "unit"), [("int8", "OP"), ("fp16", "FLOP"), ("fp32", "FLOP")])
def test_integer_operations_are_no_floating_point_ones(precision: str, unit: str, tmp_path: Path) -> None:
    root = page(tmp_path, as_typed(precision))
    assert table(root, f"Bounds, {MODEL}")[f"cpu, {precision.upper()}"][0] == f"100 G{unit}/s"
    head = table(root, "Bound of every layer")["layer"]
    assert {f"M{unit}", f"{unit} per byte"} <= set(head)
    texts = {one.text for one in root.one("roofline").all("text")}
    assert {f"{unit} per byte", f"G{unit}/s"} <= texts
    assert f"the roof of 100 G{unit}/s" in root.one("roofline").text


def test_a_mixed_graph_has_both_peaks_and_its_share(tmp_path: Path) -> None:
    peaks = {kind: {"flops": flops, "bandwidth": 1e10} for kind, flops in (("int8", 1e11), ("fp32", 2e10))}
    document = as_typed("as typed: 44 % int8", peaks=peaks)
    document["targets"][0]["layers"][1]["precision"] = "fp32"
    root = page(tmp_path, document)
    rows = table(root, f"Bounds, {MODEL}")
    assert rows["cpu, as typed: 44 % INT8"][0] == "100 GOP/s INT8; 20 GFLOP/s FP32"
    (drawing,) = (one for one in root.one("roofline").all("svg") if one.attributes.get("role") == "img")
    roofs = [one.attributes["points"].split() for one in drawing.all("polyline")]
    assert len(roofs) == 2
    (layer,) = (one for one in drawing.all("g") if "diamond" in one.attributes.get("class", ""))
    low = float(roofs[1][0].split(",")[1])  # of FP32, whose layer lies on it
    assert float(layer.all("path")[0].attributes["d"].split()[1].partition("l")[0]) == pytest.approx(low - 7)


def test_a_simulated_or_untrained_profile_of_a_device_is_called_so(tmp_path: Path) -> None:
    row = device_row(device="Simulated Nano", trained=False, profile=LAYERS)
    text = page(tmp_path, device_results([row])).one("profile").text
    assert row["simulated"] is True
    assert "was profiled on a simulated device" in text
    assert "fp16 (untrained)" in text
