"""Boxes on images: right pixels, right classes, whatever the graph ends with and however images are batched."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_detector import (
    BLUE,
    BLUE_PRIOR,
    BOTH,
    NONE,
    RED,
    RED_PRIOR,
    THRESHOLDS,
    TOY,
    expected_box,
    real_export,
    save_image,
    write_toy,
)

from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.evaluate.tolerances import NMS_AFTER_ROUNDING
from hardnet_deploy.nms.matching import DetectionSet, match_detections
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS
from hardnet_deploy.workflows.detect import ImageDetections, UnreadableImage, detect, to_detections
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine

# Boxes are float32 fractions of the side: a few roundings of 1e-7 times a side of some hundred pixels.
PIXELS = 1e-3
# Softmax and decoding in another order of operations: some float32 roundings of a score.
SCORES = 1e-5
EVERY_KIND = [("raw", "efficient"), ("boxes", "efficient"), ("detections", "efficient"), ("detections", "onnx")]
EVERY_BATCH = [1, 2, 3, None]


def toy(folder: Path, **options: Any) -> OpenEngine:
    return open_engine(str(write_toy(folder / "toy.onnx", **options)))


def found_by(engine: OpenEngine, *images: Path, **options: Any) -> list[ImageDetections]:
    rows = list(detect(engine, images, **options))
    assert all(isinstance(row, ImageDetections) for row in rows)
    return [row for row in rows if isinstance(row, ImageDetections)]


def names(row: ImageDetections) -> list[str]:
    return [one.class_name for one in row.detections]


@pytest.mark.parametrize(("outputs", "nms"), EVERY_KIND)
@pytest.mark.parametrize("size", [(451, 300), (32, 32), (1, 1), (7, 2000)])
def test_boxes_are_in_pixels_of_the_image(tmp_path: Path, outputs: Any, nms: Any, size: tuple[int, int]) -> None:
    image = save_image(tmp_path / "both.png", BOTH, size)
    (row,) = found_by(toy(tmp_path, outputs=outputs, nms=nms), image)
    blue, red = row.detections
    assert (red.class_name, red.class_id) == ("red thing", 1)
    assert (blue.class_name, blue.class_id) == ("blue thing", 2)
    assert red.box == pytest.approx(expected_box(RED_PRIOR, *size), abs=PIXELS)
    assert blue.box == pytest.approx(expected_box(BLUE_PRIOR, *size), abs=PIXELS)
    logit = 0.05 * (255 - 123), 0.05 * (255 - 104)  # upstream's means of red and blue
    assert (red.score, blue.score) == pytest.approx([1 / (1 + np.exp(-value)) for value in logit], abs=SCORES)


@pytest.mark.parametrize(("colour", "wanted"), [(RED, ["red thing"]), (BLUE, ["blue thing"]), (NONE, [])])
def test_channels_are_not_swapped(tmp_path: Path, colour: tuple[int, int, int], wanted: list[str]) -> None:
    (row,) = found_by(toy(tmp_path), save_image(tmp_path / "i.png", colour))
    assert names(row) == wanted


def test_every_kind_of_graph_detects_the_same(tmp_path: Path) -> None:
    thresholds = Thresholds(score=0.03, iou=0.45, max_detections=300)  # what raw and boxes use for VOC
    images = [save_image(tmp_path / f"{number}.png", RED, (90, 50)) for number in range(2)]
    sides = []
    for (outputs, nms), batch in itertools.product(EVERY_KIND, EVERY_BATCH):
        engine = toy(tmp_path, outputs=outputs, nms=nms, batch=batch, busy=True, thresholds=thresholds)
        assert engine.thresholds == thresholds
        sides.append([row.detections for row in found_by(engine, *images)])
    wanted = sides[0]
    assert len(wanted[0]) > 8
    for side in sides[1:]:
        for one, other in zip(wanted, side, strict=True):
            assert [(row.class_id, row.class_name) for row in one] == [(row.class_id, row.class_name) for row in other]
            assert [row.score for row in one] == pytest.approx([row.score for row in other], abs=SCORES)
            for left, right in zip(one, other, strict=True):
                assert left.box == pytest.approx(right.box, abs=PIXELS)


@pytest.mark.parametrize("batch", EVERY_BATCH)
def test_images_of_a_batch_keep_their_own_boxes(tmp_path: Path, batch: int | None) -> None:
    colours = [RED, BLUE, NONE, BOTH, RED]
    images = [save_image(tmp_path / f"{n}.png", colour, (10 + n, 20)) for n, colour in enumerate(colours)]
    rows = found_by(toy(tmp_path, batch=batch), *images)
    assert [row.path for row in rows] == images
    assert [names(row) for row in rows] == [
        ["red thing"],
        ["blue thing"],
        [],
        ["blue thing", "red thing"],
        ["red thing"],
    ]
    for number, row in enumerate(rows):
        assert row.image.shape == (20, 10 + number, 3)
        for one in row.detections:
            prior = RED_PRIOR if one.class_id == 1 else BLUE_PRIOR
            assert one.box == pytest.approx(expected_box(prior, 10 + number, 20), abs=PIXELS)


@pytest.mark.parametrize("batch", EVERY_BATCH)
@pytest.mark.parametrize("bad", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]], ids=str)
def test_an_unreadable_image_does_not_hold_up_the_others(tmp_path: Path, batch: int | None, bad: list[int]) -> None:
    images = [save_image(tmp_path / f"{n}.png", colour) for n, colour in enumerate((RED, BLUE, BOTH))]
    for number in bad:
        images[number].write_bytes(images[number].read_bytes()[:40])
    wanted = [["red thing"], ["blue thing"], ["blue thing", "red thing"]]
    for number, row in enumerate(detect(toy(tmp_path, batch=batch), images)):
        assert row.path == images[number]
        if number in bad:
            assert isinstance(row, UnreadableImage)
            assert row.error.exit_code == 4
            assert str(images[number]) in row.as_dict()["error"]["what"]
        else:
            assert isinstance(row, ImageDetections)
            assert names(row) == wanted[number]


def test_results_come_while_later_images_wait(tmp_path: Path) -> None:
    images = [save_image(tmp_path / "a.png", RED), tmp_path / "not yet there.png"]
    rows = detect(toy(tmp_path), images)
    first = next(rows)
    save_image(images[1], BLUE)
    second = next(rows)
    assert isinstance(first, ImageDetections)
    assert isinstance(second, ImageDetections)
    assert names(second) == ["blue thing"]


def test_no_images_give_no_results(tmp_path: Path) -> None:
    assert list(detect(toy(tmp_path), [])) == []


def test_json_has_the_image_its_size_and_plain_numbers(tmp_path: Path) -> None:
    image = save_image(tmp_path / "both.png", BOTH, (80, 60))
    record = found_by(toy(tmp_path), image)[0].as_dict()
    assert {key: record[key] for key in ("image", "width", "height")} == {
        "image": str(image),
        "width": 80,
        "height": 60,
    }
    assert [sorted(one) for one in record["detections"]] == [["box", "class", "class_id", "score"]] * 2
    for one in record["detections"]:
        assert [type(value) for value in (one["class"], one["class_id"], one["score"])] == [str, int, float]
        assert [type(side) for side in one["box"]] == [float] * 4


def test_a_threshold_drops_what_scores_lower_and_keeps_what_scores_as_much(tmp_path: Path) -> None:
    image = save_image(tmp_path / "both.png", BOTH)
    engine = toy(tmp_path)
    blue, red = found_by(engine, image)[0].detections
    assert red.score < blue.score
    assert names(found_by(engine, image, score_threshold=0.0)[0]) == ["blue thing", "red thing"]
    assert names(found_by(engine, image, score_threshold=red.score)[0]) == ["blue thing", "red thing"]
    assert names(found_by(engine, image, score_threshold=blue.score)[0]) == ["blue thing"]
    assert names(found_by(engine, image, score_threshold=1.0)[0]) == []


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_a_usage_error_at_once(tmp_path: Path, value: float) -> None:
    with pytest.raises(UsageError, match="--score-threshold"):
        detect(toy(tmp_path), [], score_threshold=value)


def test_a_backbone_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="backbone") as caught:
        detect(open_engine("hardnet39ds"), [])
    assert caught.value.exit_code == 2


def odd_images(folder: Path) -> dict[Path, tuple[int, int]]:
    """One image of every odd kind, red where it has colours, with its upright (width, height)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    red = Image.new("RGB", (80, 60), RED)
    kinds: dict[str, Any] = {
        "grey.png": Image.new("L", (80, 60), 200),
        "grey with alpha.png": Image.new("LA", (80, 60), (200, 3)),
        "palette.gif": red.quantize(4),
        "transparent.png": Image.new("RGBA", (80, 60), (*RED, 0)),
        "16 bit.png": Image.fromarray(np.full((60, 80), 51400, np.uint16)),
        "one bit.png": Image.new("1", (80, 60), 1),
        "print.jpg": Image.new("CMYK", (80, 60), (0, 255, 255, 0)),
        "one pixel.png": red.resize((1, 1)),
        "line.png": red.resize((3000, 1)),
    }
    for name, image in kinds.items():
        image.save(folder / name)
    red.save(folder / "turned.jpg", exif=exif)
    sizes = {name: image.size for name, image in kinds.items()} | {"turned.jpg": (60, 80)}
    return {folder / name: size for name, size in sizes.items()}


def test_odd_images_run_and_their_boxes_are_upright(tmp_path: Path) -> None:
    images = odd_images(tmp_path)
    rows = found_by(toy(tmp_path, batch=None), *images)
    for row, (width, height) in zip(rows, images.values(), strict=True):
        assert row.image.shape == (height, width, 3), row.path
        grey = row.path.name.startswith(("grey", "16", "one bit"))
        assert names(row) == (["blue thing", "red thing"] if grey else ["red thing"]), row.path
        assert row.detections[-1].box == pytest.approx(expected_box(RED_PRIOR, width, height), abs=PIXELS)


ZEROS = {
    "num_detections": np.zeros((1, 1), np.int32),
    "detection_boxes": np.zeros((1, 3, 4), np.float32),
    "detection_scores": np.zeros((1, 3), np.float32),
    "detection_classes": np.zeros((1, 3), np.int32),
}


@pytest.mark.parametrize("name", ["detection_boxes", "detection_scores", "loc", "boxes"])
def test_an_engine_that_computes_nan_is_refused_by_tensor(name: str) -> None:
    assert TOY.head is not None
    assert to_detections(ZEROS, TOY.head, THRESHOLDS)[0].sum() == 0
    with pytest.raises(InputFileError, match=f"'{name}' has NaN"):
        to_detections({**ZEROS, name: np.full((1, 3), np.nan, np.float32)}, TOY.head, THRESHOLDS)


def test_a_box_of_infinite_size_is_refused() -> None:
    assert TOY.head is not None
    broken = {**ZEROS, "detection_boxes": np.full((1, 3, 4), np.inf, np.float32)}
    with pytest.raises(InputFileError, match="infinite"):
        to_detections(broken, TOY.head, THRESHOLDS)


@pytest.mark.parametrize("values", [{}, {"logits": np.zeros((1, 1000), np.float32)}, {"boxes": np.zeros((1, 3, 4))}])
def test_outputs_of_no_detector_are_refused(values: dict[str, Any]) -> None:
    assert TOY.head is not None
    with pytest.raises(InputFileError, match="not a detector's") as caught:
        to_detections(values, TOY.head, THRESHOLDS)
    assert all(name in str(caught.value.wanted) for name in DETECTION_OUTPUTS)


def test_an_export_its_model_and_its_checkpoint_detect_the_same_on_photographs() -> None:
    """A real network: as ONNX with the plugin, by its name, and by its name with the checkpoint of the same weights."""
    from skimage import data

    real = real_export()
    folder = Path(data.__file__).parent
    photographs = [folder / "astronaut.png", folder / "camera.png"]
    engines = [open_engine(text) for text in (str(real.onnx), real.name, f"{real.name}={real.checkpoint}")]
    assert [engine.trained for engine in engines] == [False, False, True]
    assert engines[0].thresholds == engines[1].thresholds == engines[2].thresholds
    sides = [found_by(engine, *photographs) for engine in engines]
    for rows in zip(*sides, strict=True):
        sets = [DetectionSet.from_rows([(one.class_id, *one.box, one.score) for one in row.detections]) for row in rows]
        assert len(sets[0]) > 50
        for other in sets[1:]:
            outcome = match_detections(
                sets[0], other, iou_at_least=NMS_AFTER_ROUNDING.iou, score_tolerance=NMS_AFTER_ROUNDING.score
            )
            assert len(outcome.pairs) >= NMS_AFTER_ROUNDING.share * max(len(sets[0]), len(other))


def test_an_engines_batch_is_always_filled(tmp_path: Path) -> None:
    """A fixed batch takes nothing smaller: the last one is filled up, and what fills it is never reported."""
    engine = toy(tmp_path, batch=2)
    fed = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine.runner, name)

        def infer(self, feeds: dict[str, Any]) -> Any:
            fed.append(feeds["images"].shape[0])
            return engine.runner.infer(feeds)

    images = [save_image(tmp_path / f"{number}.png", RED) for number in range(3)]
    rows = found_by(dataclasses.replace(engine, runner=Watched()), *images)
    assert fed == [2, 2]
    assert len(rows) == 3
