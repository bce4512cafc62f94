"""Average precision with whole-number image weights: pycocotools' with weights of 1, repeated images' with others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_datasets import as_detections, dataset, found, random_dataset, random_detections, truth

from hardnet_deploy.data.dataset import Dataset, Metric
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate import weighted_ap
from hardnet_deploy.evaluate.coco_metric import coco_match_tables, coco_scores
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.voc_metric import voc_match_tables
from hardnet_deploy.evaluate.weighted_ap import average_precision, mean_average_precision
from hardnet_deploy.nms.matching import DetectionSet

EQUAL = 1e-12
SEEDS = range(8)


def ones(data: Dataset) -> np.ndarray:
    return np.ones((1, len(data)), np.int64)


def tables(data: Dataset, detections: list[DetectionSet]) -> tuple[MatchTable, ...]:
    judge = coco_match_tables if data.metric == "coco" else voc_match_tables
    return judge(data, detections)


def repeated(data: Dataset, detections: list[DetectionSet], weights: np.ndarray) -> tuple[Dataset, list[DetectionSet]]:
    """The data with image i ``weights[i]`` times in a row."""
    order = np.repeat(np.arange(len(data)), weights)
    samples = tuple(data.samples[index] for index in order)
    return dataclasses.replace(data, samples=samples), [detections[index] for index in order]


def textbook(table: MatchTable, metric: Metric) -> float:
    """VOC's definitions word by word, one detection at a time."""
    right = wrong = 0
    recalls, precisions = [0.0], [0.0]
    for matched, ignored in zip(table.matched[0], table.ignored[0], strict=True):
        right, wrong = right + int(matched and not ignored), wrong + int(not matched and not ignored)
        if right + wrong:
            recalls.append(right / int(table.positives.sum()))
            precisions.append(right / (right + wrong))
    if metric == "voc07":
        levels = [number * 0.1 for number in range(11)]
        best = [
            max((p for r, p in zip(recalls, precisions, strict=True) if r >= level), default=0.0) for level in levels
        ]
        return sum(best) / 11
    return sum((recalls[i] - recalls[i - 1]) * max(precisions[i:]) for i in range(1, len(recalls)))


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_of_one_give_what_pycocotools_gives(seed: int) -> None:
    data = random_dataset(seed)
    detections = random_detections(data, seed + 100)
    got = mean_average_precision(tables(data, detections), ones(data), "coco")
    assert got[0] == pytest.approx(coco_scores(data, detections).mean_ap, abs=EQUAL)
    assert 0 < got[0] < 1


def test_each_class_gets_what_pycocotools_gives_it() -> None:
    data = random_dataset(3, images=20, classes=4)
    detections = random_detections(data, 4)
    wanted = {one.class_id: one.ap for one in coco_scores(data, detections).classes}
    for table in tables(data, detections):
        ap = average_precision(table, ones(data), "coco")[0]
        assert ap == pytest.approx(wanted[table.class_id], abs=EQUAL)


@pytest.mark.parametrize("metric", ["voc07", "voc12"])
@pytest.mark.parametrize("seed", SEEDS)
def test_vocs_two_averages_are_the_textbooks(seed: int, metric: Metric) -> None:
    data = random_dataset(seed, metric=metric)
    for table in tables(data, random_detections(data, seed + 7)):
        if table.positives.any():
            ap = average_precision(table, ones(data), metric)[0]
            assert ap == pytest.approx(textbook(table, metric), abs=EQUAL)


@pytest.mark.parametrize("metric", ["coco", "voc07", "voc12"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_weight_counts_as_that_many_copies_of_the_image(seed: int, metric: Metric) -> None:
    data = random_dataset(seed, images=7, metric=metric)
    detections = random_detections(data, seed, decimals=12)  # no ties: copies of tied detections would rank otherwise
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(data)))
    weights[:, int(np.argmax([len(one) for one in as_detections(data)]))] += 1  # some object must count
    got = mean_average_precision(tables(data, detections), weights, metric)
    for value, row in zip(got, weights, strict=True):
        copies = repeated(data, detections, row)
        assert value == pytest.approx(mean_average_precision(tables(*copies), ones(copies[0]), metric)[0], abs=EQUAL)


def test_copies_of_everything_change_nothing() -> None:
    data = random_dataset(1)
    judged = tables(data, random_detections(data, 2))
    once, thrice = mean_average_precision(judged, np.stack([ones(data)[0], 3 * ones(data)[0]]), "coco")
    assert once == thrice


@pytest.mark.parametrize("metric", ["coco", "voc07", "voc12"])
def test_truth_as_detections_is_perfect_and_nothing_is_worth_nothing(metric: Metric) -> None:
    data = random_dataset(5, metric=metric)
    perfect, nothing = as_detections(data), [found([])] * len(data)
    assert mean_average_precision(tables(data, perfect), ones(data), metric)[0] == pytest.approx(1.0, abs=EQUAL)
    assert mean_average_precision(tables(data, nothing), ones(data), metric)[0] == 0.0


def test_a_class_without_objects_of_any_weight_is_left_out() -> None:
    data = dataset([truth([(1, (0, 0, 9, 9))]), truth([(2, (0, 0, 9, 9))])])
    judged = tables(data, [found([(1, (0, 0, 9, 9), 0.9)]), found([])])
    weights = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    assert mean_average_precision(judged, weights, "coco") == pytest.approx([0.5, 1.0, 0.0, np.nan], nan_ok=True)
    assert np.isnan(average_precision(judged[1], weights[1:2], "coco")).all()


def test_a_detection_in_a_crowd_counts_for_nothing() -> None:
    box, crowd = (0.0, 0.0, 9.0, 9.0), (50.0, 50.0, 90.0, 90.0)
    data = dataset([truth([(1, box), (1, crowd)], crowd=[1])])
    judged = tables(data, [found([(1, crowd, 0.9), (1, box, 0.5)])])
    assert average_precision(judged[0], ones(data), "coco")[0] == pytest.approx(1.0, abs=EQUAL)


def test_the_result_does_not_depend_on_how_many_weights_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_dataset(9, images=9)
    judged = tables(data, random_detections(data, 9))
    weights = np.random.default_rng(0).integers(0, 3, (11, len(data)))
    together = mean_average_precision(judged, weights, "coco")
    monkeypatch.setattr(weighted_ap, "_VALUES_AT_ONCE", 1)
    assert np.array_equal(together, mean_average_precision(judged, weights, "coco"), equal_nan=True)


def test_no_weights_at_all_give_no_values() -> None:
    data = random_dataset(2)
    judged = tables(data, random_detections(data, 2))
    assert mean_average_precision(judged, np.zeros((0, len(data)), np.int64), "coco").shape == (0,)


@pytest.mark.parametrize("shape", [(1, 3), (12,), (1, 13)])
def test_weights_of_other_images_are_refused(shape: tuple[int, ...]) -> None:
    data = random_dataset(2)
    judged = tables(data, random_detections(data, 2))
    with pytest.raises(UsageError, match="weights"):
        mean_average_precision(judged, np.ones(shape, np.int64), "coco")
