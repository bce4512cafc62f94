"""``calibrate``: the table, its repetition and its continuation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_int8 import calibrate, changed, detector_graph, fill_folder, save_pictures, write_backbone, write_graph

from calibration.collect import RangeCollector
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


def interrupt(after: int, **options: Any) -> None:
    """A calibration that is interrupted after image ``after``."""
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
    assert mark.images == result.table.fingerprint.images
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


def test_an_interrupted_run_is_continued_and_says_so() -> None:
    calibrate(output=NEW)
    whole = NEW.read_bytes()
    NEW.unlink()
    interrupt(3)
    seen: list[int] = []
    result = calibrate(output=NEW, progress=lambda what, done, _: seen.append(done) if what == RUNNING else None)
    assert (result.resumed, result.measured) == (3, 1)
    assert seen == [3, 4]
    assert NEW.read_bytes() == whole
    assert not partial_file(NEW).exists()


def test_snapshots_survive_an_interruption() -> None:
    save_pictures(Path("many"), 35)
    calibrate(output=NEW, data="many")
    whole = NEW.read_bytes()
    NEW.unlink()
    interrupt(34, data="many")
    assert calibrate(output=NEW, data="many").resumed == 34
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
def test_a_damaged_interruption_is_measured_anew(damage: Any) -> None:
    whole = Path("float.calib.json").read_bytes()
    interrupt(3)
    damage(partial_file(NEW))
    assert calibrate(output=NEW).resumed == 0
    assert read(NEW).tensors == CalibrationTable.from_json(whole.decode(), source="whole").tensors
    assert not partial_file(NEW).exists()


@pytest.mark.parametrize("options", [{"count": 3}, {"seed": 1}, {"restart": True}])
def test_an_interruption_of_something_else_is_not_continued(options: dict[str, Any]) -> None:
    interrupt(3)
    assert calibrate(output=NEW, **options).resumed == 0


def test_another_method_takes_no_new_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    first = calibrate(output=NEW, method="minmax", command=("one",))
    before = NEW.read_bytes()

    def never(*_arguments: object) -> None:
        raise AssertionError("an image was run again")

    monkeypatch.setattr(workflow, "Measurement", never)
    second = calibrate(output=NEW, method="entropy", command=("another",))
    assert (second.origin, second.measured, second.resumed, second.seconds) == ("reused", 0, 0, 0.0)
    assert second.table == first.table.with_method("entropy")
    assert any("stays as it was measured, with method minmax" in note for note in second.notes)
    assert NEW.read_bytes() == before  # engines record its hash


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
    assert calibrate(output=NEW).table.fingerprint.count == PICTURES
    assert calibrate(output=NEW, count=1).table.fingerprint.count == 1


def test_a_backbone_is_calibrated_on_a_folder() -> None:
    result = calibrate(write_backbone(Path("backbone.onnx")))
    assert result.path == Path("backbone.calib.json")
    assert "base.2.relu" in read(result.path).tensors


def test_few_images_are_said_to_be_few() -> None:
    assert any("4 images: too few to see" in note for note in calibrate(output=NEW).notes)
    save_pictures(Path("many"), 32)
    assert not any("too few" in note for note in calibrate(output=NEW, data="many").notes)


@pytest.mark.parametrize("added", [False, True])
def test_an_interrupt_while_an_image_is_added_never_saves_half_of_it(
    added: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path("float.calib.json").read_bytes()
    real, calls = RangeCollector.add, list[int]()

    def add(collector: RangeCollector, feeds: Any) -> None:
        calls.append(0)
        if len(calls) == 3:
            collector.whole = not added  # half of the image is counted, or it was still running
            raise KeyboardInterrupt
        real(collector, feeds)

    with monkeypatch.context() as patch:
        patch.setattr(RangeCollector, "add", add)
        with pytest.raises(KeyboardInterrupt):
            calibrate(output=NEW)
    assert partial_file(NEW).exists() is not added
    assert calibrate(output=NEW).resumed == (0 if added else 2)
    assert read(NEW).tensors == CalibrationTable.from_json(whole.decode(), source="whole").tensors


def test_a_saved_measurement_is_older_than_an_interrupt_that_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = RangeCollector.add
    monkeypatch.setattr(measurement, "SAVE_EVERY", -1.0)

    def add(collector: RangeCollector, feeds: Any) -> None:
        real(collector, feeds)
        if collector.images == 3:
            raise KeyboardInterrupt  # its ranges are in, what follows from them is not

    with monkeypatch.context() as patch:
        patch.setattr(RangeCollector, "add", add)
        with pytest.raises(KeyboardInterrupt):
            calibrate(output=NEW)
    assert calibrate(output=NEW).resumed == 2
