"""``calibrate``: the table, its repetition and its continuation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_int8 import calibrate, changed, detector_graph, fill_folder, save_pictures, write_backbone, write_graph

from calibration.graph import GraphMap
from calibration.table import METHODS, CalibrationTable
from hardnet_deploy.data.loading import LoadedImage, load_inputs
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.workflows import calibrate as workflow
from hardnet_deploy.workflows import measurement
from hardnet_deploy.workflows.calibrate import RUNNING
from hardnet_deploy.workflows.measurement import partial_file
from hardnet_deploy.workflows.open_engine import open_engine

PICTURES = 4
NEW = Path("new.calib.json")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(tmp_path)


def read(path: Path) -> CalibrationTable:
    return CalibrationTable.from_json(path.read_text(encoding="utf-8"), source=str(path))


def left() -> set[str]:
    return {str(path) for path in Path().rglob("*")}


class Interrupt:
    """Progress that is interrupted once so many images are done."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, what: str, done: int, _total: int) -> None:
        if what == RUNNING and done == self.after:
            raise KeyboardInterrupt


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int, **options: Any) -> None:
    """A calibration that saves after every image, interrupted before it saves image ``after``."""
    with monkeypatch.context() as patch:
        patch.setattr(measurement, "SAVE_EVERY", -1.0)
        with pytest.raises(KeyboardInterrupt):
            calibrate(output=NEW, progress=Interrupt(after), **options)
    assert partial_file(NEW).exists()
    assert not NEW.exists()


def test_the_table_reads_back_and_holds_the_exact_extremes() -> None:
    result = calibrate(output=NEW, method="entropy", command=("hardnet-deploy", "calibrate"))
    table = read(NEW)
    assert table == result.table
    assert table.method == "entropy"
    assert table.command == ("hardnet-deploy", "calibrate")
    engine = open_engine("float.onnx")
    assert engine.model is not None
    graph = GraphMap(engine.model)
    assert tuple(table.tensors) == graph.measured
    mark = table.fingerprint
    assert (mark.graph, mark.weights) == graph.fingerprint()
    assert (mark.count, mark.seed) == (PICTURES, 0)
    assert mark.data.startswith("pictures, ")
    assert mark.images == result.images.digest
    assert mark.preprocess["size"] == 32
    names = [name for name in graph.measured if name != "images"]
    runner = OrtRunner(engine.model, extra_outputs=names)
    extremes: dict[str, tuple[float, float]] = {}
    for image in load_inputs(sorted(Path("pictures").iterdir()), engine.preprocess):
        assert isinstance(image, LoadedImage)
        for name, values in {"images": image.pixels, **runner.infer({"images": image.pixels[None]})}.items():
            low, high = extremes.get(name, (np.inf, -np.inf))
            extremes[name] = min(low, float(values.min())), max(high, float(values.max()))
    for name, tensor in table.tensors.items():
        low, high = extremes[name]
        assert (min(tensor.minimum, 0), max(tensor.maximum, 0)) == pytest.approx((min(low, 0), max(high, 0)), rel=1e-5)
        assert set(tensor.thresholds) == set(METHODS)
        assert tensor.thresholds["minmax"] == pytest.approx(max(-low, high), rel=1e-5)


def test_the_result_says_what_ran_and_goes_into_json() -> None:
    result = calibrate(output=NEW)
    assert (result.measured, result.resumed, result.path) == (PICTURES, 0, NEW)
    assert result.families == (1, 3)  # base.0, base.1.a and base.1.b meet in two concatenations
    document = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert document["table"] == str(NEW)
    assert document["tensors"] == len(result.table.tensors)
    assert document["data"]["images"] == PICTURES
    assert document["written"] == []
    assert document["movements"] == []  # the first is after 32 images


def test_the_default_output_stands_beside_the_graph_and_nothing_else_does() -> None:
    Path("float.calib.json").unlink()
    before = left()
    assert calibrate().path == Path("float.calib.json")
    assert left() == before | {"float.calib.json"}


def test_the_same_images_give_the_same_bytes() -> None:
    calibrate(output=NEW)
    first = NEW.read_bytes()
    again = calibrate(output=NEW, restart=True)
    assert again.measured == PICTURES
    assert NEW.read_bytes() == first
    assert calibrate(output=NEW, workers=2).measured == 0
    assert NEW.read_bytes() == first
    calibrate(output=Path("other.calib.json"), threads=2)
    assert Path("other.calib.json").read_bytes() == first


def test_after_32_images_the_table_tells_how_the_ranges_move() -> None:
    save_pictures(Path("many"), 33)
    result = calibrate(output=NEW, data="many")
    assert [row.images for row in result.movements] == [32]
    assert read(NEW) == result.table


def test_an_interrupted_run_is_continued_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    calibrate(output=NEW)
    whole = NEW.read_bytes()
    NEW.unlink()
    interrupt(monkeypatch, 3)
    seen: list[int] = []
    result = calibrate(output=NEW, progress=lambda what, done, _: seen.append(done) if what == RUNNING else None)
    assert (result.resumed, result.measured) == (2, 2)
    assert seen == [2, 3, 4]
    assert NEW.read_bytes() == whole
    assert not partial_file(NEW).exists()


def test_snapshots_survive_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    save_pictures(Path("many"), 34)
    calibrate(output=NEW, data="many")
    whole = NEW.read_bytes()
    NEW.unlink()
    interrupt(monkeypatch, 34, data="many")
    assert calibrate(output=NEW, data="many").resumed == 33
    assert NEW.read_bytes() == whole


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize("damage", [_truncate, _flip, _array, lambda path: path.write_bytes(b"")])
def test_a_damaged_interruption_is_measured_anew(damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path("float.calib.json").read_bytes()
    interrupt(monkeypatch, 3)
    damage(partial_file(NEW))
    assert calibrate(output=NEW).resumed == 0
    assert read(NEW).tensors == CalibrationTable.from_json(whole.decode(), source="whole").tensors
    assert not partial_file(NEW).exists()


@pytest.mark.parametrize("options", [{"count": 3}, {"seed": 1}, {"restart": True}])
def test_an_interruption_of_something_else_is_not_continued(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, 3)
    assert calibrate(output=NEW, **options).resumed == 0


def test_another_method_takes_no_new_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    first = calibrate(output=NEW, method="minmax")

    def never(*_arguments: object) -> None:
        raise AssertionError("an image was run again")

    monkeypatch.setattr(workflow, "Measurement", never)
    second = calibrate(output=NEW, method="entropy")
    assert (second.measured, second.resumed, second.seconds) == (0, 0, 0.0)
    assert read(NEW).method == "entropy"
    assert read(NEW).tensors == first.table.tensors


@pytest.mark.parametrize("options", [{"count": 3}, {"seed": 1}])
def test_other_images_are_measured(options: dict[str, Any]) -> None:
    calibrate(output=NEW)
    assert calibrate(output=NEW, **options).measured > 0


def test_another_graph_is_measured() -> None:
    calibrate(output=NEW)
    write_graph(Path("float.onnx"), changed(detector_graph(), "base.2.weight", lambda values: 2 * values))
    assert calibrate(output=NEW).measured == PICTURES


def test_a_damaged_table_is_measured_anew() -> None:
    calibrate(output=NEW)
    whole = NEW.read_bytes()
    NEW.write_bytes(whole[: len(whole) // 2])
    assert calibrate(output=NEW).measured == PICTURES
    assert NEW.read_bytes() == whole


def test_fewer_images_than_the_default_are_all_taken() -> None:
    assert len(calibrate(output=NEW).images) == PICTURES
    assert len(calibrate(output=NEW, count=1).images) == 1


def test_a_backbone_is_calibrated_on_a_folder() -> None:
    result = calibrate(write_backbone(Path("backbone.onnx")))
    assert result.path == Path("backbone.calib.json")
    assert "base.2.relu" in read(result.path).tensors
