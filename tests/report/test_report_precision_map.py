"""The page's map of precisions: noise of a layer stands beside engines of the very weights that it was measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up_runs import CHECKPOINT, artifact, save, sensitivity
from report_pages import page, table

NOISE = "SQNR alone in INT8"


def columns(folder: Path) -> list[str]:
    return table(page(folder), "Precision that each layer achieved")["layer"]


def ranked(folder: Path, **manifest: Any) -> Path:
    """An INT8 engine, and a ranking of ``float.onnx``, whose manifest has these changes."""
    artifact(folder, "int8.onnx")
    artifact(folder, "float.onnx", precision="fp32", **manifest)
    save(folder / "ranking.json", sensitivity("float.onnx"))
    return folder


def test_a_ranking_of_the_same_weights_is_beside_the_engine(tmp_path: Path) -> None:
    assert columns(ranked(tmp_path)) == [NOISE, "int8.onnx"]


@pytest.mark.parametrize(
    "manifest",
    [
        {"model": {"name": "ssd512-hardnet68-coco"}},
        {"weights": {"trained": True, "source": "w.pth", "sha256": "9" * 64}},
        {"weights": {"trained": True, "source": "w.pth", "sha256": CHECKPOINT, "state_sha256": "9" * 64}},
        {"weights": {"trained": True, "source": "w.pth", "sha256": None}},
        {"model": {}},
    ],
    ids=["another model", "other weights", "another state", "weights not known", "model not known"],
)
def test_a_ranking_of_anything_else_is_not(manifest: dict[str, Any], tmp_path: Path) -> None:
    assert columns(ranked(tmp_path, **manifest)) == ["int8.onnx"]


def test_a_ranking_of_a_graph_that_is_not_there_is_not(tmp_path: Path) -> None:
    artifact(tmp_path, "int8.onnx")
    save(tmp_path / "ranking.json", sensitivity("elsewhere.onnx"))
    assert columns(tmp_path) == ["int8.onnx"]


def test_a_ranking_is_of_all_engines_in_the_map_or_left_out(tmp_path: Path) -> None:
    ranked(tmp_path)
    artifact(tmp_path, "other.onnx", model={"name": "ssd512-hardnet68-coco"})
    assert columns(tmp_path) == ["int8.onnx", "other.onnx"]


def test_two_rankings_have_a_column_each(tmp_path: Path) -> None:
    document = sensitivity("float.onnx")
    for layer in document["layers"]:
        layer["sqnr_db"] = {"loc": 7.0, "conf": 8.0}
    save(ranked(tmp_path) / "second.json", document)
    found = table(page(tmp_path), "Precision that each layer achieved")
    assert found["layer"] == [f"{NOISE} (ranking.json)", f"{NOISE} (second.json)", "int8.onnx"]
    assert found["base.1.conv"][:2] == ["38.0 dB", "7.0 dB"]
