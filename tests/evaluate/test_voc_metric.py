"""VOC's metric against an independent computation, pixel by pixel and point by point, and against hand-made cases."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import pytest
from small_datasets import as_detections, dataset, found, random_dataset, random_detections, truth

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.evaluate.metrics import match_tables, scores
from hardnet_deploy.evaluate.voc_metric import voc_match_tables, voc_scores
from hardnet_deploy.evaluate.weighted_ap import mean_average_precision
from hardnet_deploy.nms.matching import DetectionSet

ROUNDING = 1e-12  # float64 sums in another order
METRICS: tuple[Literal["voc07", "voc12"], ...] = ("voc07", "voc12")
BOX, FAR = (10.0, 10.0, 60.0, 60.0), (200.0, 200.0, 250.0, 250.0)


def by_the_kit(
    data: Dataset, detections: list[DetectionSet], class_id: int, metric: str, *, upstream: bool = False
) -> float | None:
    """AP of a class, as the kit's text says: in 1-based inclusive pixels, one detection at a time, nothing shared."""
    objects = [
        [
            [x1 + 1, y1 + 1, x2, y2, hard, False]
            for (x1, y1, x2, y2), label, hard in zip(
                one.truth.boxes.tolist(), one.truth.labels.tolist(), one.truth.difficult.tolist(), strict=True
            )
            if label == class_id
        ]
        for one in data.samples
    ]
    total = sum(not one[4] for image in objects for one in image)
    if total == 0:
        return None
    right = wrong = 0
    curve = []
    for image, _, *box in sorted(written(detections, class_id, upstream=upstream), key=lambda line: -line[1]):
        overlaps = [overlap_of(box, one) for one in objects[image]]
        best = max(overlaps, default=0.0)
        at = objects[image][overlaps.index(best)] if best > 0.5 else None
        if at is not None and at[4]:
            continue
        if at is not None and not at[5]:
            at[5] = True
            right += 1
        else:
            wrong += 1
        curve.append((right / total, right / (right + wrong)))
    if metric == "voc07":
        points = [point * 0.1 for point in range(11)]
        return sum(max((p for r, p in curve if r >= point), default=0.0) for point in points) / 11
    area, before = 0.0, 0.0
    for recall in sorted({r for r, _ in curve}):
        area += (recall - before) * max(p for r, p in curve if r >= recall)
        before = recall
    return area


def written(detections: list[DetectionSet], class_id: int, *, upstream: bool) -> list[Any]:
    """Lines (image, score, box) of a class, in inclusive pixels from 1; as the authors print them, where so asked."""
    lines = []
    for image, one in enumerate(detections):
        for box, label, score in zip(one.boxes.tolist(), one.classes.tolist(), one.scores.tolist(), strict=True):
            if label == class_id:
                x1, y1, x2, y2 = box
                if upstream:
                    text = f"{score:.3f} {x1 + 1:.1f} {y1 + 1:.1f} {x2 + 1:.1f} {y2 + 1:.1f}"
                    lines.append((image, *(float(word) for word in text.split())))
                else:
                    lines.append((image, score, x1 + 1, y1 + 1, x2, y2))
    return lines


def overlap_of(first: list[float], second: list[float]) -> float:
    """IoU of boxes in inclusive pixels."""
    wide = min(first[2], second[2]) - max(first[0], second[0]) + 1
    high = min(first[3], second[3]) - max(first[1], second[1]) + 1
    common = wide * high if wide > 0 and high > 0 else 0.0
    sizes = [(one[2] - one[0] + 1) * (one[3] - one[1] + 1) for one in (first, second)]
    return common / (sum(sizes) - common)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("upstream", [False, True])
def test_it_agrees_with_the_independent_computation(seed: int, metric: Any, *, upstream: bool) -> None:
    data = random_dataset(seed, metric=metric)
    detections = random_detections(data, seed + 100, decimals=1 + seed % 3)
    got = voc_scores(data, detections, metric=metric, as_upstream=upstream)
    wanted = [by_the_kit(data, detections, one.class_id, metric, upstream=upstream) for one in got.classes]
    assert [one.ap for one in got.classes] == [
        None if value is None else pytest.approx(value, abs=ROUNDING) for value in wanted
    ]
    assert got.mean_ap == pytest.approx(np.mean([value for value in wanted if value is not None]), abs=ROUNDING)


@pytest.mark.parametrize("metric", METRICS)
def test_truth_as_detections_is_perfect_and_nothing_found_is_zero(metric: Any) -> None:
    data = random_dataset(3, metric=metric)
    assert any(sample.truth.difficult.any() for sample in data.samples)
    assert voc_scores(data, as_detections(data), metric=metric).mean_ap == pytest.approx(1.0, abs=ROUNDING)
    nothing = [found([]) for _ in data.samples]
    assert voc_scores(data, nothing, metric=metric).mean_ap == 0.0


def test_by_hand_one_of_two_found() -> None:
    data = dataset([truth([(1, BOX), (1, FAR)])])
    detections = [found([(1, BOX, 0.9)])]
    assert voc_scores(data, detections, metric="voc07").mean_ap == pytest.approx(6 / 11, abs=ROUNDING)
    assert voc_scores(data, detections, metric="voc12").mean_ap == pytest.approx(0.5, abs=ROUNDING)


def test_an_object_is_found_once_and_a_difficult_one_counts_for_nothing() -> None:
    twice = [found([(1, BOX, 0.9), (1, BOX, 0.8), (1, FAR, 0.7)])]
    data = dataset([truth([(1, BOX), (1, FAR)])])
    (table, _) = voc_match_tables(data, twice)
    assert table.matched.tolist() == [[True, False, True]]
    assert table.ignored.tolist() == [[False, False, False]]
    assert voc_scores(data, twice, metric="voc12").mean_ap == pytest.approx(0.5 + 0.5 * 2 / 3, abs=ROUNDING)
    hard = dataset([truth([(1, BOX), (1, FAR)], difficult=[0])])
    (table, _) = voc_match_tables(hard, twice)
    assert table.matched.tolist() == [[False, False, True]]
    assert table.ignored.tolist() == [[True, True, False]]
    assert table.positives.tolist() == [1]
    assert voc_scores(hard, twice, metric="voc12").mean_ap == pytest.approx(1.0, abs=ROUNDING)


def test_an_iou_of_exactly_one_half_is_not_enough() -> None:
    data = dataset([truth([(1, (0.0, 0.0, 10.0, 10.0))])])
    half, more = (0.0, 0.0, 20.0, 10.0), (0.0, 0.0, 19.9, 10.0)
    assert voc_scores(data, [found([(1, half, 0.9)])], metric="voc12").mean_ap == 0.0
    assert voc_scores(data, [found([(1, more, 0.9)])], metric="voc12").mean_ap == pytest.approx(1.0, abs=ROUNDING)


def test_a_detection_looks_at_the_object_it_overlaps_most_even_if_that_is_taken() -> None:
    near = (12.0, 10.0, 62.0, 60.0)
    data = dataset([truth([(1, BOX), (1, near)])])
    (table, _) = voc_match_tables(data, [found([(1, BOX, 0.9), (1, BOX, 0.8)])])
    assert table.matched.tolist() == [[True, False]]


def test_classes_without_objects_are_listed_and_not_counted_as_zero() -> None:
    data = dataset([truth([(1, BOX)])])
    result = voc_scores(data, [found([(1, BOX, 0.9), (2, BOX, 0.9)])], metric="voc07")
    assert result.mean_ap == pytest.approx(1.0, abs=ROUNDING)
    assert [(one.ap, one.objects) for one in result.classes] == [(pytest.approx(1.0, abs=ROUNDING), 1), (None, 0)]
    only_hard = dataset([truth([(1, BOX)]), truth([(2, BOX)], difficult=[0])])
    result = voc_scores(only_hard, [found([(1, BOX, 0.9)]), found([])], metric="voc07")
    assert result.classes[1].ap is None


def test_swapped_classes_and_shifted_boxes_lower_it() -> None:
    data = random_dataset(5, classes=2, metric="voc07")
    exact = as_detections(data)
    swapped = [dataclasses.replace(one, classes=3 - one.classes) for one in exact]
    shifted = [dataclasses.replace(one, boxes=one.boxes + 4.0) for one in exact]
    assert voc_scores(data, swapped, metric="voc07").mean_ap < 0.3
    assert 0.1 < voc_scores(data, shifted, metric="voc07").mean_ap < 0.95


def test_the_authors_pixel_and_rounding_change_a_close_call() -> None:
    data = dataset([truth([(1, (0.0, 0.0, 10.0, 10.0))])])
    detections = [found([(1, (0.0, 0.0, 19.9, 10.0), 0.9)])]  # one pixel more on both sides: 100 / 229.9
    assert voc_scores(data, detections, metric="voc12", as_upstream=True).mean_ap == 0.0
    pair = dataset([truth([(1, BOX), (1, FAR)])])
    ranked = [found([(1, (300.0, 300.0, 310.0, 310.0), 0.6001), (1, FAR, 0.6004), (1, BOX, 0.9)])]
    exact, rounded = (
        voc_scores(pair, ranked, metric="voc12", as_upstream=upstream).mean_ap for upstream in (False, True)
    )
    assert exact == pytest.approx(1.0, abs=ROUNDING)
    assert rounded == pytest.approx(0.5 + 0.5 * 2 / 3, abs=ROUNDING)


@pytest.mark.parametrize("metric", METRICS)
def test_tables_and_the_common_entry_give_the_same_mean(metric: Any) -> None:
    data = random_dataset(8, metric=metric)
    detections = random_detections(data, 9)
    mean = voc_scores(data, detections, metric=metric).mean_ap
    once = np.ones((1, len(data)), np.int64)
    assert mean_average_precision(match_tables(data, detections), once, metric)[0] == pytest.approx(mean, abs=ROUNDING)
    assert scores(data, detections) == voc_scores(data, detections, metric=metric)
    for table in voc_match_tables(data, detections):
        assert not (table.matched & table.ignored).any()
        assert (np.diff(table.scores) <= 0).all()


def test_crowds_count_as_difficult() -> None:
    data = dataset([truth([(1, BOX), (1, FAR)], crowd=[1])], metric="voc07")
    assert voc_scores(data, [found([(1, FAR, 0.9), (1, BOX, 0.8)])], metric="voc07").mean_ap == pytest.approx(
        1.0, abs=ROUNDING
    )


def test_progress_is_told() -> None:
    data = random_dataset(0, metric="voc07")
    told: list[tuple[int, int]] = []
    voc_scores(data, as_detections(data), metric="voc07", progress=lambda done, total: told.append((done, total)))
    assert told == [(done, len(data)) for done in range(1, len(data) + 1)]
