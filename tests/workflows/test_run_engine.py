"""An engine over a data set: detections in pixels, resumed where interrupted, the same however it was run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_detector import BLUE_PRIOR, BOTH, RED_PRIOR, TOY, expected_box, save_image
from toy_runs import Stops, contents, engine, make_data

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.nms.matching import DetectionSet
from hardnet_deploy.nms.upstream import upstream_postprocess
from hardnet_deploy.runners.base import Arrays
from hardnet_deploy.runners.graph import cut
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows.detect import ImageDetections, detect
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.post_process import runner_before_nms
from hardnet_deploy.workflows.run_engine import detect_dataset

PIXELS = 1e-3  # float32 fractions of a side of some hundred pixels
ROUNDING = 1e-5  # of a softmax in float32


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return make_data(tmp_path / "data", 10)


def test_boxes_are_in_pixels_of_each_image(tmp_path: Path, data: Dataset) -> None:
    with detect_dataset(engine(tmp_path), data) as run:
        assert len(run.detections) == len(data)
        assert (run.computed, run.resumed, run.unreadable, run.notes) == (10, 0, (), ())
        assert run.images_per_second is not None
        assert run.images_per_second > 0
        for sample, found in zip(data.samples, run.detections, strict=True):
            assert sorted(found.classes.tolist()) == sample.truth.labels.tolist()
            for box, label in zip(found.boxes, found.classes, strict=True):
                prior = {1: RED_PRIOR, 2: BLUE_PRIOR}[int(label)]
                assert box.tolist() == pytest.approx(expected_box(prior, sample.width, sample.height), abs=PIXELS)
        assert [one.classes.tolist() for one in run.detections[2:4]] == [run.detections[2].classes.tolist(), []]
        assert run.detections[-1].classes.tolist() == run.detections[9].classes.tolist()
        with pytest.raises(IndexError):
            _ = run.detections[10]


@pytest.mark.parametrize("outputs", ["detections", "boxes", "raw"])
@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_it_finds_what_detect_finds(outputs: Any, nms: Any, tmp_path: Path, data: Dataset) -> None:
    opened = engine(tmp_path, outputs=outputs, nms=nms, busy=True)
    one_by_one = list(detect(opened, [sample.path for sample in data.samples]))
    with detect_dataset(opened, data) as run:
        for found, wanted in zip(run.detections, one_by_one, strict=True):
            assert isinstance(wanted, ImageDetections)
            assert found.scores.tolist() == [one.score for one in wanted.detections]
            assert found.classes.tolist() == [one.class_id for one in wanted.detections]
            assert found.boxes.tolist() == [list(one.box) for one in wanted.detections]
        assert ("the NMS in its graph" in run.sentence) == (outputs == "detections")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch", [None, 1, 4, 16])
def test_workers_and_batches_change_nothing(workers: int, batch: int | None, tmp_path: Path, data: Dataset) -> None:
    opened = engine(tmp_path, batch=None, busy=True)
    with detect_dataset(opened, data) as plain, detect_dataset(opened, data, workers=workers, batch=batch) as run:
        assert contents(run) == contents(plain)


def test_a_fixed_batch_is_filled_up(tmp_path: Path, data: Dataset) -> None:
    (tmp_path / "four").mkdir()
    with (
        detect_dataset(engine(tmp_path, busy=True), data) as plain,
        detect_dataset(engine(tmp_path / "four", batch=4, busy=True), data) as run,
    ):
        assert contents(run) == contents(plain)
    with pytest.raises(UsageError, match="takes 4 images at once"):
        detect_dataset(engine(tmp_path / "four", batch=4), data, batch=2)
    with pytest.raises(UsageError, match="--batch 0"):
        detect_dataset(engine(tmp_path), data, batch=0)


@pytest.mark.parametrize("outputs", ["detections", "boxes", "raw"])
def test_upstream_is_the_authors_on_what_comes_before_the_nms(outputs: Any, tmp_path: Path, data: Dataset) -> None:
    opened = engine(tmp_path, outputs=outputs, busy=True)
    (tmp_path / "boxes").mkdir()
    before = engine(tmp_path / "boxes", outputs="boxes", busy=True)
    with detect_dataset(opened, data, postprocess="upstream") as run:
        assert run.thresholds == Thresholds(score=0.02, iou=0.45, max_detections=200)
        assert "the authors' own post-processing" in run.sentence
        for sample, found in zip(data.samples, run.detections, strict=True):
            values = before.runner.infer({"images": pixels(sample.path)})
            wanted = upstream_postprocess(
                values["boxes"][0],
                values["scores"][0],
                (sample.height, sample.width),
                threshold=0.02,
                max_per_image=200,
            )
            assert len(wanted)
            expected = DetectionSet.from_rows(wanted)
            exact = outputs != "raw"  # else NumPy decodes instead of the graph
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.0 if exact else PIXELS)
            np.testing.assert_allclose(found.scores, expected.scores, rtol=0.0 if exact else ROUNDING)
            assert found.classes.tolist() == expected.classes.tolist()
    voc = dataclasses.replace(data, metric="voc07")
    with detect_dataset(opened, voc, postprocess="upstream") as run:
        assert run.thresholds == Thresholds(score=0.03, iou=0.45, max_detections=300)


def pixels(path: Path) -> Any:
    from hardnet_deploy.data.images import load_image
    from hardnet_deploy.data.preprocess import preprocess_image

    return preprocess_image(load_image(path), TOY.preprocess)[None]


def test_upstream_needs_boxes_and_scores(tmp_path: Path, data: Dataset) -> None:
    opened = engine(tmp_path)
    assert opened.model is not None
    renamed = onnx.load_from_string(opened.model.SerializeToString().replace(b"scores", b"scorex"))
    with pytest.raises(InputFileError, match="does not give the boxes and scores before its NMS"):
        detect_dataset(dataclasses.replace(opened, model=renamed), data, postprocess="upstream")
    assert set(runner_before_nms(opened).outputs) == {"boxes", "scores"}
    assert "EfficientNMS" not in runner_before_nms(opened).name
    assert cut(opened.model, ("boxes",)).graph.node


def test_an_unreadable_image_stops_the_run_by_name_or_counts_as_found_empty(tmp_path: Path, data: Dataset) -> None:
    opened = engine(tmp_path)
    torn = data.samples[4].path
    torn.write_bytes(torn.read_bytes()[:40])
    with pytest.raises(InputFileError) as caught:
        detect_dataset(opened, data)
    assert str(torn) in caught.value.what
    assert "--skip-unreadable" in str(caught.value.next_step)
    (tmp_path / "four").mkdir()
    for batched in (opened, engine(tmp_path / "four", batch=4)):
        with detect_dataset(batched, data, skip_unreadable=True) as run:
            assert len(run.detections) == len(data)
            assert [place for place, _ in run.unreadable] == [4]
            assert len(run.detections[4]) == 0
            assert any("count as missed" in note and torn.name in note for note in run.notes)
            assert len(run.detections[5]) == len(data.samples[5].truth)


def test_an_image_of_another_size_than_annotated_is_refused(tmp_path: Path, data: Dataset) -> None:
    save_image(data.samples[2].path, BOTH, (100, 90))
    with pytest.raises(InputFileError, match="another size than its annotations"):
        detect_dataset(engine(tmp_path), data)


def test_an_image_on_its_side_is_said(tmp_path: Path, data: Dataset) -> None:
    sample = data.samples[2]
    assert sample.width != sample.height
    save_image(sample.path, BOTH, (sample.height, sample.width))
    with detect_dataset(engine(tmp_path), data) as run:
        assert any("on their side" in note and "000003" in note for note in run.notes)
        found = run.detections[2]
        wanted = [expected_box(prior, sample.height, sample.width) for prior in (RED_PRIOR, BLUE_PRIOR)]
        boxes = found.boxes[np.argsort(found.classes)].ravel().tolist()
        assert boxes == pytest.approx(np.ravel(wanted).tolist(), abs=PIXELS)


def test_what_cannot_run_is_refused(tmp_path: Path, data: Dataset) -> None:
    with pytest.raises(UsageError, match="is a backbone"):
        detect_dataset(open_engine("hardnet39ds"), data)
    opened = engine(tmp_path)
    with pytest.raises(UsageError, match="has no image"):
        detect_dataset(opened, dataclasses.replace(data, samples=()))
    with pytest.raises(UsageError, match="other classes"):
        detect_dataset(opened, dataclasses.replace(data, class_names=("background", "one")))
    with pytest.raises(UsageError, match="--workers 0"):
        detect_dataset(opened, data, workers=0)


def test_outputs_that_are_no_numbers_stop_the_run(tmp_path: Path, data: Dataset) -> None:
    opened = engine(tmp_path, outputs="boxes")

    class Broken(Stops):
        def infer(self, feeds: Mapping[str, Any]) -> Arrays:
            return {name: np.full_like(value, np.nan) for name, value in super().infer(feeds).items()}

    broken: Any = Broken(opened.runner, 99, KeyboardInterrupt())
    for postprocess in ("deployed", "upstream"):
        with pytest.raises(InputFileError, match="NaN"):
            detect_dataset(dataclasses.replace(opened, runner=broken), data, postprocess=postprocess)
