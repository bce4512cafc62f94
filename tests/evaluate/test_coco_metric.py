"""COCO's metric: pycocotools' own numbers, and cases that can be computed by hand."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_datasets import as_detections, dataset, found, random_dataset, random_detections, truth

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate import coco_metric
from hardnet_deploy.evaluate.coco_metric import NUMBERS, coco_match_tables, coco_scores
from hardnet_deploy.evaluate.metrics import match_tables, scores
from hardnet_deploy.evaluate.weighted_ap import mean_average_precision
from hardnet_deploy.nms.matching import DetectionSet

ROUNDING = 1e-12  # the same additions of up to a thousand float64 numbers in another order
BOX, FAR = (10.0, 10.0, 60.0, 60.0), (200.0, 200.0, 250.0, 250.0)
RECALL_POINTS = 101


def plain_pycocotools(data: Dataset, detections: list[DetectionSet], folder: Path) -> Any:
    """The way everybody does it: two JSON files, all images at once."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for image, (sample, one) in enumerate(zip(data.samples, detections, strict=True), start=100):
        for box, label, area, crowd in zip(
            sample.truth.boxes, sample.truth.labels, sample.truth.areas, sample.truth.crowd, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label) * 7,
                    "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
        for box, label, score in zip(one.boxes, one.classes, one.scores, strict=True):
            sides = [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]
            results.append({"image_id": image, "category_id": int(label) * 7, "bbox": sides, "score": float(score)})
    document = {
        "images": [{"id": image} for image in range(100, 100 + len(data))],
        "categories": [{"id": number * 7} for number in range(1, len(data.class_names))],
        "annotations": annotations,
    }
    (folder / "truth.json").write_text(json.dumps(document))
    (folder / "found.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(known, known.loadRes(str(folder / "found.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("images_at_once", [1, 5, 1000])
def test_the_numbers_are_pycocotools_whatever_the_block(
    seed: int, images_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_metric, "_IMAGES_AT_ONCE", images_at_once)
    data = random_dataset(seed)
    detections = random_detections(data, seed + 100)
    wanted = plain_pycocotools(data, detections, tmp_path)
    got = coco_scores(data, detections)
    assert [-1 if got.numbers[name] is None else got.numbers[name] for name in NUMBERS] == wanted.stats.tolist()
    precision = wanted.eval["precision"]
    for one in got.classes:
        assert one.ap == pytest.approx(precision[:, :, one.class_id - 1, 0, 2].mean(), abs=ROUNDING)
        assert one.ap50 == pytest.approx(precision[0, :, one.class_id - 1, 0, 2].mean(), abs=ROUNDING)


@pytest.mark.parametrize("seed", range(3))
def test_truth_as_detections_is_perfect_and_their_order_means_nothing(seed: int) -> None:
    data = random_dataset(seed)
    assert any(sample.truth.crowd.any() for sample in data.samples)
    assert any(len(sample.truth) == 0 for sample in data.samples)
    detections = as_detections(data)
    assert coco_scores(data, detections).mean_ap == pytest.approx(1.0, abs=ROUNDING)
    draw = np.random.default_rng(seed)
    mixed = []
    for one in random_detections(data, seed, decimals=6):
        order = draw.permutation(len(one))
        mixed.append(DetectionSet(boxes=one.boxes[order], scores=one.scores[order], classes=one.classes[order]))
    assert coco_scores(data, mixed) == coco_scores(data, random_detections(data, seed, decimals=6))


def test_nothing_found_is_zero_and_nothing_to_find_is_none() -> None:
    data = dataset([truth([(1, BOX)]), truth([])])
    result = coco_scores(data, [found([]), found([])])
    assert result.mean_ap == 0.0
    assert result.numbers["APm"] == 0.0
    assert result.numbers["APs"] is None
    assert result.numbers["ARl"] is None
    assert [(one.ap, one.objects) for one in result.classes] == [(0.0, 1), (None, 0)]


def test_by_hand_one_wrong_before_the_only_right_one_halves_the_precision() -> None:
    data = dataset([truth([(1, BOX)])])
    result = coco_scores(data, [found([(1, FAR, 0.9), (1, BOX, 0.8)])])
    assert result.numbers["AP50"] == pytest.approx(0.5, abs=ROUNDING)
    assert result.numbers["AR1"] == 0.0
    assert result.numbers["AR10"] == 1.0
    result = coco_scores(data, [found([(1, BOX, 0.9), (1, FAR, 0.8)])])
    assert result.mean_ap == pytest.approx(1.0, abs=ROUNDING)


def test_by_hand_one_of_two_found_covers_51_of_101_recalls() -> None:
    data = dataset([truth([(1, BOX), (1, FAR)])])
    assert coco_scores(data, [found([(1, BOX, 0.9)])]).mean_ap == pytest.approx(51 / RECALL_POINTS, abs=ROUNDING)


def test_by_hand_an_iou_of_two_thirds_counts_at_four_of_ten_thresholds() -> None:
    data = dataset([truth([(1, (0.0, 0.0, 10.0, 10.0))])])
    result = coco_scores(data, [found([(1, (0.0, 0.0, 15.0, 10.0), 0.9)])])
    assert result.mean_ap == pytest.approx(0.4, abs=ROUNDING)
    assert (result.numbers["AP50"], result.numbers["AP75"]) == (pytest.approx(1.0, abs=ROUNDING), 0.0)


def test_what_is_found_in_a_crowd_is_neither_right_nor_wrong() -> None:
    objects = [(1, BOX), (1, (180.0, 180.0, 300.0, 300.0))]
    detections = [found([(1, FAR, 0.95), (1, FAR, 0.9), (1, BOX, 0.8)])]
    assert coco_scores(dataset([truth(objects, crowd=[1])]), detections).mean_ap == pytest.approx(1.0, abs=ROUNDING)
    assert coco_scores(dataset([truth(objects, difficult=[1])]), detections).mean_ap == pytest.approx(1.0, abs=ROUNDING)
    assert coco_scores(dataset([truth(objects)]), detections).mean_ap < 0.5


def test_sizes_go_by_the_area_field() -> None:
    data = dataset([truth([(1, BOX)], areas=[100.0])])
    numbers = coco_scores(data, [found([(1, BOX, 0.9)])]).numbers
    assert numbers["APs"] == pytest.approx(1.0, abs=ROUNDING)
    assert numbers["APm"] is None


def test_swapped_classes_and_shifted_boxes_lower_it() -> None:
    data = random_dataset(5, classes=2)
    exact = as_detections(data)
    swapped = [dataclasses.replace(one, classes=3 - one.classes) for one in exact]
    shifted = [dataclasses.replace(one, boxes=one.boxes + 4.0) for one in exact]
    assert coco_scores(data, swapped).mean_ap < 0.3
    assert 0.1 < coco_scores(data, shifted).mean_ap < 0.9


def test_the_authors_pixel_makes_exact_boxes_too_large() -> None:
    data = dataset([truth([(1, (0.0, 0.0, 10.0, 10.0))])])
    detections = [found([(1, (0.0, 0.0, 10.0, 10.0), 0.9)])]
    assert coco_scores(data, detections).mean_ap == pytest.approx(1.0, abs=ROUNDING)
    # 100 / 121 = 0.826: right at 0.50 to 0.80, seven of ten thresholds
    assert coco_scores(data, detections, plus_one=True).mean_ap == pytest.approx(0.7, abs=ROUNDING)


@pytest.mark.parametrize("seed", range(3))
def test_tables_hold_what_the_mean_is_made_of(seed: int) -> None:
    data = random_dataset(seed)
    detections = random_detections(data, seed + 50)
    tables = coco_match_tables(data, detections)
    assert [table.class_id for table in tables] == [1, 2, 3]
    for table in tables:
        assert table.matched.shape == table.ignored.shape == (10, len(table.scores))
        assert not (table.matched & table.ignored).any()
        assert (np.diff(table.scores) <= 0).all()
        labels = [sample.truth.labels[~sample.truth.crowd] for sample in data.samples]
        assert table.positives.tolist() == [int((one == table.class_id).sum()) for one in labels]
    once = np.ones((1, len(data)), np.int64)
    mean = coco_scores(data, detections).mean_ap
    assert mean_average_precision(tables, once, "coco")[0] == pytest.approx(mean, abs=ROUNDING)
    assert [table.scores.tolist() for table in match_tables(data, detections)] == [t.scores.tolist() for t in tables]
    assert scores(data, detections) == coco_scores(data, detections)


def test_a_class_without_objects_or_detections_has_an_empty_table() -> None:
    first, second = coco_match_tables(dataset([truth([(1, BOX)])]), [found([])])
    assert first.positives.tolist() == [1]
    assert second.positives.tolist() == [0]
    assert second.matched.shape == (10, 0)


def test_nothing_is_printed_and_progress_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    data = random_dataset(0)
    told: list[tuple[int, int]] = []
    coco_scores(data, as_detections(data), progress=lambda done, total: told.append((done, total)))
    assert capsys.readouterr() == ("", "")
    assert told[-1] == (len(data), len(data))


@pytest.mark.parametrize("metric", ["coco", "voc07", "voc12"])
@pytest.mark.parametrize(
    ("truths", "detections", "said"),
    [
        ([[(1, BOX)]], [], "detections of 0 images"),
        ([[]], [[]], "no object that counts"),
        ([[(1, BOX)]], [[(0, BOX, 0.5)]], "classes 0 to 0"),
        ([[(1, BOX)]], [[(3, BOX, 0.5)]], "classes 3 to 3"),
        ([[(1, BOX)]], [[(1, (0, 0, np.inf, 1), 0.5)]], "no numbers"),
        ([[(1, BOX)]], [[(1, BOX, np.nan)]], "no numbers"),
    ],
)
def test_what_cannot_be_scored_is_refused(truths: Any, detections: Any, said: str, metric: Any) -> None:
    data = dataset([truth(rows) for rows in truths], metric=metric)
    with pytest.raises(UsageError) as caught:
        scores(data, [found(rows) for rows in detections])
    assert said in str(caught.value)
