"""Samples are the network's own pixels, their references PyTorch's outputs through the device's NMS."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny_detector import THRESHOLDS, TOY

from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.kit.samples import VALUES, read_pixels, references
from hardnet_deploy.kit.tolerances import LEAST_SHOWN, tolerances_for
from hardnet_deploy.specs import Preprocess, classifier_preprocess, detector_preprocess


def save(folder: Path, count: int = 2) -> list[Path]:
    paths = []
    for number in range(count):
        content = np.random.default_rng(number).integers(0, 256, (50, 70, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(content).save(paths[-1])
    return paths


@pytest.mark.parametrize("spec", [detector_preprocess(32), classifier_preprocess(32)], ids=["stretch", "crop"])
def test_the_device_makes_of_the_pixels_what_the_host_makes_of_the_image(tmp_path: Path, spec: Preprocess) -> None:
    paths = save(tmp_path)
    pixels = read_pixels(paths, spec)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (2, 3, 32, 32)
    wanted = np.stack([preprocess_image(load_image(path), spec) for path in paths])
    assert np.array_equal(run_engine.to_input(pixels, dataclasses.asdict(spec)), wanted)


def test_an_image_that_cannot_be_read_ends_it(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputFileError):
        read_pixels([*save(tmp_path, 1), tmp_path / "bad.png"], detector_preprocess(32))


class Fake:
    """A detector with 600 boxes apart from each other, all of class 1, whose scores fall from 0.9."""

    name = "fake"
    inputs = ()
    outputs = ("boxes", "scores")

    def infer(self, feeds: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        del feeds
        corner = np.arange(600, dtype=np.float32)[:, None] / 600
        boxes = np.concatenate([corner, corner, corner + 1e-4, corner + 1e-4], axis=1)[None]
        scores = np.linspace(0.9, 0.1, 600, dtype=np.float32)[:, None] * np.array([0, 1, 0], np.float32)
        return {"boxes": boxes, "scores": scores[None]}


def make(cap: int, kept: int = 100) -> dict[str, NDArray[Any]]:
    thresholds = dataclasses.replace(THRESHOLDS, max_detections=kept)
    pixels = np.zeros((2, 3, 32, 32), np.uint8)
    runner: Any = Fake()
    return references(runner, TOY, pixels, thresholds=thresholds, candidate_cap=cap)


def test_detections_are_the_devices_rows() -> None:
    rows = make(5000)["detections_1"]
    assert rows.shape == (100, 6)
    assert rows.dtype == np.float32
    assert set(rows[:, 0]) == {1.0}
    assert rows[0, 5] == np.float32(0.9)


def test_the_target_s_candidate_cap_holds() -> None:
    assert len(make(20)["detections_0"]) == 20


def test_large_outputs_are_sampled_and_small_ones_whole() -> None:
    found = make(5000)
    assert "boxes" not in found
    assert found["boxes.values"].shape == (2, VALUES)
    flat = Fake().infer({})["boxes"].reshape(-1)
    assert np.array_equal(found["boxes.values"][1], flat[found["boxes.index"]])
    assert len(set(found["boxes.index"].tolist())) == VALUES
    pixels, runner = np.zeros((1, 3, 32, 32), np.uint8), Fake()
    runner.outputs = ("boxes",)  # type: ignore[assignment]
    whole: Any = runner
    whole.infer = lambda _feeds: {"boxes": np.zeros((1, 10, 4), np.float32)}
    assert references(whole, TOY, pixels, thresholds=None, candidate_cap=1)["boxes"].shape == (1, 10, 4)


def rows_of(*scores: float) -> NDArray[np.float32]:
    rows = np.zeros((len(scores), 6), np.float32)
    rows[:, 5] = scores
    return rows


def test_tolerances_are_the_host_s_with_their_reasons() -> None:
    record, said = tolerances_for("fp16", [rows_of(*[0.9] * LEAST_SHOWN)])
    assert said is None
    assert record["shown_score"] == 0.3
    assert record["shown"]["why"]
    assert record["detections"] is None
    assert record["outputs"]["of_scale"] > 0
    record, _ = tolerances_for("fp32", [rows_of(*[0.9] * LEAST_SHOWN)])
    assert record["detections"]["share"] == 0.99


def test_there_is_always_something_to_judge() -> None:
    record, said = tolerances_for("int8", [rows_of(0.25, 0.2, 0.15), rows_of(0.1, 0.05, 0.04)])
    assert record["shown_score"] == pytest.approx(0.05)
    assert said is not None
    assert "fewer than" in said
    record, _ = tolerances_for("int8", [rows_of(0.1)])
    assert record["shown_score"] == pytest.approx(0.1)


def test_a_backbone_has_no_detections_to_judge() -> None:
    record, said = tolerances_for("fp16", None)
    assert (record["detections"], record["shown"], said) == (None, None, None)
    assert record["outputs"] is not None
    assert record["logits"] is None


def test_a_backbone_in_int8_is_judged_by_its_logits() -> None:
    record, said = tolerances_for("int8", None)
    assert (record["outputs"], record["detections"], record["shown"], said) == (None, None, None, None)
    assert (record["logits"]["noise_share"], record["logits"]["rank"]) == (0.1, 5)
    assert record["logits"]["why"]
    assert tolerances_for("int8", [rows_of(*[0.9] * LEAST_SHOWN)])[0]["logits"] is None
