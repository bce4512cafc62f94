"""Every file of a kit is held against its hash before anything of the kit is used; outputs have a place to go."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from simulated_device import PASCAL, rehash, simulated, write_kit
from small_int8 import write_detector

from hardnet_deploy.device import run_engine

EXACT = {"precision": "fp32"}
FILES = ("model.onnx", "model.onnx.json", "model.cache", "model.ranges.json", "samples/inputs.npz",
         "samples/reference.npz")  # fmt: skip


def call(*arguments: str) -> int:
    return run_engine.main(list(arguments))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An INT8 kit with its engine."""
    folder = write_kit(tmp_path_factory.mktemp("files") / "kit", settings=EXACT)
    nodes = run_engine.onnx_nodes((folder / "model.onnx").read_bytes())
    ranges = {name: [-40.0, 40.0] for node in nodes for name in node.outputs}
    (folder / "model.cache").write_text("TRT-8601-EntropyCalibration2\nimages: 3f99999a\n", encoding="ascii")
    (folder / "model.ranges.json").write_text(json.dumps({"dynamic_ranges": ranges}), encoding="utf-8")
    record = json.loads((folder / "kit.json").read_text(encoding="utf-8"))
    record["settings"] = {
        "precision": "int8",
        "calibration_cache": {"file": "model.cache", "sha256": ""},
        "dynamic_ranges": {"file": "model.ranges.json", "sha256": ""},
    }
    (folder / "kit.json").write_text(json.dumps(record), encoding="utf-8")
    rehash(folder)
    np.save(folder.parent / "picture.npy", np.zeros((40, 40, 3), np.uint8))
    with pytest.MonkeyPatch.context() as patch, simulated(patch, *PASCAL):
        assert call("build", "--kit", str(folder)) == 0
    return folder


@pytest.mark.parametrize("command", ["build", "all", "parity", "bench", "detect"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_kit_that_is_not_whole_is_not_used(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, name: str,
    damage: str,
) -> None:  # fmt: skip
    words = [command, "--kit", str(built)]
    if command == "detect":
        words = [command, str(built / "model.engine"), str(built.parent / "picture.npy")]
    content = (built / name).read_bytes()
    engine = (built / "model.engine").read_bytes()
    with simulated(monkeypatch, *PASCAL):
        try:
            if damage == "gone":
                (built / name).unlink()
            else:
                (built / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            assert call(*words, "--json") == 8
        finally:
            (built / name).write_bytes(content)
    streams = capsys.readouterr()
    assert name in streams.err
    assert ("the kit lacks" if damage == "gone" else "changed since the kit was written") in streams.err
    assert "copy the whole kit again" in json.loads(streams.out)["next"]
    assert "native code" not in streams.err
    assert (built / "model.engine").read_bytes() == engine
    assert not (built / "report.json").exists()


def test_a_kit_that_is_whole_detects(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(monkeypatch, *PASCAL):
        assert call("detect", str(built / "model.engine"), str(built.parent / "picture.npy")) == 0


def test_an_onnx_file_without_its_manifest_is_exported_again_and_is_no_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_detector(tmp_path / "a.onnx")
    (tmp_path / "a.onnx.json").unlink()
    assert call("build", str(tmp_path / "a.onnx")) == 8
    said = capsys.readouterr().err
    assert "hardnet-deploy export" in said
    assert "native code" not in said


@pytest.mark.parametrize("option", ["--output", "--timing-cache", "--layers"])
def test_an_output_without_a_folder_is_told_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_detector(tmp_path / "a.onnx")
    (tmp_path / "file").touch()
    monkeypatch.setattr(run_engine, "build", lambda *_given, **_more: pytest.fail("it was built"))
    for place, said in ((tmp_path / "none" / "x", "there is no folder"), (tmp_path, "is a folder")):
        assert call("build", str(tmp_path / "a.onnx"), option, str(place)) == 4
        assert said in capsys.readouterr().err


def test_arrays_without_a_place_to_go_are_not_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--input", str(tmp_path / "none.npy"), "-o", str(tmp_path / "none" / "out.npz"))
    assert call("run", str(tmp_path / "a.engine"), *words) == 4
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("percent", "text"),
    [(1.0, "1.00"), (2.5, "2.50"), (2.4999, "2.50"), (2.504, "2.504"), (2.5000001, "2.5000001"), (31.25, "31.25")],
)
def test_a_variation_is_shown_on_its_side_of_the_limit(percent: float, text: str) -> None:
    assert run_engine.variation_text(percent) == text
    assert (float(text) <= run_engine.LARGEST_COV) == (percent <= run_engine.LARGEST_COV)
