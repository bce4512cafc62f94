"""The paired bootstrap: what it must be for known cases, and what it refuses to say."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from small_datasets import as_detections, dataset, found, random_dataset, random_detections, truth

from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate.bootstrap import DropInterval, paired_drop, resampled_weights
from hardnet_deploy.evaluate.coco_metric import coco_match_tables, coco_scores
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.weighted_ap import mean_average_precision
from hardnet_deploy.nms.matching import DetectionSet

RESAMPLES = 200
EQUAL = 1e-12


@pytest.fixture(scope="module")
def data() -> Dataset:
    return random_dataset(11, images=40)


@pytest.fixture(scope="module")
def reference(data: Dataset) -> list[DetectionSet]:
    """Every object found, its box a few pixels off."""
    draw = np.random.default_rng(12)
    return [
        DetectionSet(
            boxes=one.boxes + draw.uniform(0, 8, (len(one), 1)),
            scores=draw.uniform(0.1, 1.0, len(one)),
            classes=one.classes,
        )
        for one in as_detections(data)
    ]


def worse(detections: list[DetectionSet], every: int) -> list[DetectionSet]:
    """The same, with nothing found in every so-manieth image."""
    return [found([]) if place % every == 0 else one for place, one in enumerate(detections)]


def tables(data: Dataset, detections: list[DetectionSet]) -> tuple[MatchTable, ...]:
    return coco_match_tables(data, detections)


def test_an_engine_does_not_drop_from_itself(data: Dataset, reference: list[DetectionSet]) -> None:
    own = tables(data, reference)
    drop = paired_drop(own, own, "coco", kind="relative", resamples=RESAMPLES)
    assert drop is not None
    assert (drop.drop, drop.two_sided, drop.at_least, drop.at_most) == (0.0, (0.0, 0.0), 0.0, 0.0)
    assert (drop.resamples, drop.undefined) == (RESAMPLES, 0)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_the_point_estimate_is_that_of_the_metric_itself(
    data: Dataset, reference: list[DetectionSet], kind: str
) -> None:
    candidate = worse(reference, 2)
    ours, theirs = (coco_scores(data, detections).mean_ap for detections in (reference, candidate))
    drop = paired_drop(
        tables(data, reference),
        tables(data, candidate),
        "coco",
        kind=kind,
        resamples=RESAMPLES,  # type: ignore[arg-type]  # a name of the kinds
    )
    assert drop is not None
    assert drop.kind == kind
    assert drop.drop == pytest.approx((ours - theirs) / (ours if kind == "relative" else 1.0), abs=EQUAL)
    low, high = drop.two_sided
    assert low < drop.at_least < drop.drop < drop.at_most < high
    assert low > 0


def test_a_gain_is_a_negative_drop(data: Dataset, reference: list[DetectionSet]) -> None:
    drop = paired_drop(
        tables(data, worse(reference, 3)), tables(data, reference), "coco", kind="absolute", resamples=RESAMPLES
    )
    assert drop is not None
    assert drop.drop < drop.at_most < 0


def test_the_same_seed_gives_the_same_interval_and_another_another(
    data: Dataset, reference: list[DetectionSet]
) -> None:
    sides = tables(data, reference), tables(data, worse(reference, 4))
    first, again, other = (
        paired_drop(*sides, metric="coco", kind="relative", resamples=RESAMPLES, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first is not None
    assert other is not None
    assert first.two_sided != other.two_sided


def test_pairing_makes_the_interval_narrower_than_two_separate_ones(
    data: Dataset, reference: list[DetectionSet]
) -> None:
    sides = tables(data, reference), tables(data, worse(reference, 10))
    drop = paired_drop(*sides, metric="coco", kind="absolute", resamples=RESAMPLES, seed=1)
    assert drop is not None
    apart = mean_average_precision(sides[0], resampled_weights(len(data), RESAMPLES, seed=1), "coco")
    apart = apart - mean_average_precision(sides[1], resampled_weights(len(data), RESAMPLES, seed=2), "coco")
    low, high = np.quantile(apart, [0.025, 0.975])
    assert drop.two_sided[1] - drop.two_sided[0] < 0.8 * (high - low)


def test_the_bounds_are_the_quantiles_of_the_resampled_drops(data: Dataset, reference: list[DetectionSet]) -> None:
    sides = tables(data, reference), tables(data, worse(reference, 4))
    draws = resampled_weights(len(data), RESAMPLES, seed=5)
    drops = mean_average_precision(sides[0], draws, "coco") - mean_average_precision(sides[1], draws, "coco")
    drop = paired_drop(*sides, metric="coco", kind="absolute", resamples=RESAMPLES, seed=5, confidence=0.9)
    assert drop is not None
    assert [*drop.two_sided, drop.at_least, drop.at_most] == pytest.approx(np.quantile(drops, [0.05, 0.95, 0.1, 0.9]))


def test_every_resample_draws_as_many_images_as_there_are() -> None:
    draws = resampled_weights(9, 50, seed=0)
    assert draws.shape == (50, 9)
    assert (draws.sum(axis=1) == 9).all()
    assert (draws >= 0).all()
    assert len(np.unique(draws, axis=0)) > 40


def test_draws_without_an_object_are_left_out_and_counted() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    data = dataset([truth([(1, box)]), truth([]), truth([])])
    own = tables(data, as_detections(data))
    drop = paired_drop(own, own, "coco", kind="relative", resamples=RESAMPLES)
    assert drop is not None
    assert drop.undefined > 0
    assert drop.undefined + drop.resamples == RESAMPLES


def test_nothing_can_be_kept_of_nothing(data: Dataset, reference: list[DetectionSet]) -> None:
    blind = tables(data, [found([])] * len(data))
    for kind in ("relative", "absolute"):
        assert paired_drop(blind, tables(data, reference), "coco", kind=kind, resamples=9) is None  # type: ignore[arg-type]  # a name of the kinds
    unlabelled = [dataclasses.replace(one, positives=np.zeros_like(one.positives)) for one in blind]
    assert paired_drop(unlabelled, unlabelled, "coco", kind="relative", resamples=9) is None


@pytest.mark.parametrize(
    ("drop", "low", "high", "limit", "separated"),
    [
        (0.001, 0.0, 0.002, 0.005, True),
        (0.004, 0.001, 0.009, 0.005, False),
        (0.009, 0.006, 0.012, 0.005, True),
        (0.009, 0.004, 0.012, 0.005, False),
        (0.005, 0.005, 0.005, 0.005, True),
    ],
)
def test_what_separates_a_drop_from_its_limit(
    drop: float, low: float, high: float, limit: float, *, separated: bool
) -> None:
    interval = DropInterval(
        kind="relative",
        drop=drop,
        two_sided=(low, high),
        at_most=high,
        at_least=low,
        confidence=0.95,
        resamples=10,
        undefined=0,
        seed=0,
    )
    assert interval.separates(limit) is separated
    json.dumps(interval.as_dict(), allow_nan=False)


def test_both_sides_are_of_the_same_images_and_classes(data: Dataset, reference: list[DetectionSet]) -> None:
    own = tables(data, reference)
    smaller = random_dataset(11, images=10)
    other = tables(smaller, random_detections(smaller, 1))
    for theirs in (other, own[:-1], ()):
        with pytest.raises(UsageError, match="same images and classes"):
            paired_drop(own, theirs, "coco", kind="relative", resamples=9)


def test_numbers_out_of_range_are_refused(data: Dataset, reference: list[DetectionSet]) -> None:
    own = tables(data, reference)
    with pytest.raises(UsageError, match="resample"):
        paired_drop(own, own, "coco", kind="relative", resamples=0)
    with pytest.raises(UsageError, match="resample"):
        resampled_weights(0, 5)
    for confidence in (0.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="confidence"):
            paired_drop(own, own, "coco", kind="relative", resamples=9, confidence=confidence)


def test_progress_reaches_the_end(data: Dataset, reference: list[DetectionSet]) -> None:
    own = tables(data, reference)
    told: list[tuple[int, int]] = []
    paired_drop(own, own, "coco", kind="relative", resamples=120, progress=lambda *step: told.append(step))
    assert told == [(50, 120), (100, 120), (120, 120)]
