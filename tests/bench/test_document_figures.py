"""A document that somebody edited: what does not follow from its own times, or from what was published, is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_up_bench import made_up_document, made_up_row, reference_row

from hardnet_deploy.bench.document import check_bench
from hardnet_deploy.bench.sides import Device
from hardnet_deploy.bench.stability import is_stable, rule
from hardnet_deploy.bench.stats import Rounds, ratio, summarise
from hardnet_deploy.errors import InputFileError

LOADINGS = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
EAGER, FUSED, REFERENCE = "hardnet68/eager", "hardnet68/fused", "resnet50/eager"


def times(median: float, *, seed: int, scatter: float = 0.02) -> Rounds:
    """Rounds of five runs; each loading has its own speed."""
    draw = np.random.default_rng(seed)
    loaded = draw.uniform(1 - scatter, 1 + scatter, 6)
    return [[float(median * loaded[one] * draw.uniform(0.99, 1.01)) for _ in range(5)] for one in LOADINGS]


def timed(make: Callable[..., dict[str, Any]], key: str, rounds: Rounds, device: Device = "cpu") -> dict[str, Any]:
    loadings = LOADINGS[: len(rounds)]
    measured = {**summarise(rounds).as_dict(), "stable": is_stable(rounds, device, loadings)}
    engine = key.split("/")[1]
    return make(key=key, engine=engine, rounds_ms=rounds, loadings=loadings, measured=measured, device=device)


def run(*, fused: Rounds | None = None, device: Device = "cpu") -> dict[str, Any]:
    """Three rows as a bench makes them: eager, fused with a gain and a ratio, and the reference."""
    eager, other = times(20.0, seed=1), times(30.0, seed=2)
    fused = fused or times(10.0, seed=3)
    row = timed(made_up_row, FUSED, fused, device)
    common = min(len(fused), len(eager))
    loadings = LOADINGS[:common]
    to = ratio(fused, other[:common], statistic="mean", loadings=loadings).as_dict()
    row["ratio_to_reference"] = {
        "reference": REFERENCE,
        "statistic": "mean",
        "published": 22.5 / 31.0,
        "measured": to,
    }
    row["gain_over_eager"] = {**ratio(eager[:common], fused, loadings=loadings).as_dict(), "eager": EAGER}
    base = timed(made_up_row, EAGER, eager, device) | {"ratio_to_reference": None}
    document = made_up_document(row, base, timed(reference_row, REFERENCE, other, device))
    document["protocol"] |= {"stability": rule(device, loadings=6), "groups": [[FUSED, EAGER, REFERENCE]]}
    return json.loads(json.dumps(document))  # type: ignore[no-any-return]  # as it is in the file


def setting(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    """Sets what is at ``path`` of the first row."""

    def change(document: dict[str, Any]) -> None:
        part = document["rows"][0]
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = to

    return change


GAIN, TO = ("gain_over_eager",), ("ratio_to_reference", "measured")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (setting("measured", "stable", to=False), "measured.stable"),
        (setting("measured", "stable", to=None), "measured.stable"),
        (setting("measured", "cov_flagged", to=True), "measured.cov_flagged"),
        (setting(*GAIN, "low", to=1.99), "gain_over_eager.low"),
        (setting(*GAIN, "high", to=2.5), "gain_over_eager.high"),
        (setting(*TO, "low", to=0.3), "measured.low"),
        (setting(*TO, "high", to=0.3), "measured.high"),
        (lambda document: document["rows"][0]["gain_over_eager"].update(low=None, high=None), "gain_over_eager.low"),
        (setting(*GAIN, "rounds", to=11), "gain_over_eager.rounds"),
        (setting(*GAIN, "rounds", to=500), "gain_over_eager.rounds"),
        (setting(*GAIN, "rounds", to=0), "gain_over_eager.rounds"),
        (setting(*GAIN, "rounds", to=None), "gain_over_eager.rounds"),
        (setting("loadings", to=[0] * 12), "stable|rounds"),
        (setting("ratio_to_reference", "reference", to=FUSED), "ratio_to_reference.reference"),
        (setting("ratio_to_reference", "reference", to="nosuch"), "ratio_to_reference.reference"),
        (setting("ratio_to_reference", "published", to=0.5), "ratio_to_reference.published"),
        (setting("ratio_to_reference", "statistic", to="median"), "ratio_to_reference.measured"),
        (setting("published", "ms", to=21.5), "published.ms"),
        (setting("published", to=None), "ratio_to_reference.published"),
        (setting("device", to="a fast one"), "device"),
    ],
)
def test_what_somebody_edited_is_named(change: Callable[[dict[str, Any]], None], place: str) -> None:
    document = run()
    check_bench(document, source="b.json")
    change(document)
    with pytest.raises(InputFileError, match=place) as caught:
        check_bench(document, source="b.json")
    assert "rows[0]" in caught.value.what


def test_times_that_did_not_settle_cannot_be_called_settled() -> None:
    document = run(fused=times(10.0, seed=3, scatter=0.5))
    assert document["rows"][0]["measured"]["stable"] is False
    check_bench(document, source="b.json")
    document["rows"][0]["measured"]["stable"] = True
    with pytest.raises(InputFileError, match=r"measured\.stable") as caught:
        check_bench(document, source="b.json")
    assert "false" in (caught.value.wanted or "")


def test_a_document_of_another_rule_keeps_what_that_rule_said() -> None:
    document = run(fused=times(10.0, seed=3, scatter=0.5))
    document["rows"][0]["measured"]["stable"] = True
    document["protocol"]["stability"] = "somebody looked at it"
    check_bench(document, source="b.json")


def test_on_a_gpu_its_own_rule_counts() -> None:
    rounds = [list(one) for one in times(10.0, seed=3)]
    rounds[-1] = [10.0, 20.0] * 5
    document = run(fused=rounds, device="cuda")
    assert document["rows"][0]["measured"]["stable"] is False
    check_bench(document, source="b.json")
    document["rows"][0]["measured"]["stable"] = True
    with pytest.raises(InputFileError, match=r"measured\.stable"):
        check_bench(document, source="b.json")


def test_a_row_that_ended_early_is_held_against_the_rounds_that_it_had() -> None:
    document = run(fused=times(10.0, seed=3)[:10])
    check_bench(document, source="b.json")
    document["rows"][0]["gain_over_eager"]["low"] *= 1.01
    with pytest.raises(InputFileError, match=r"gain_over_eager\.low"):
        check_bench(document, source="b.json")


def test_rows_of_different_groups_have_no_rounds_in_common() -> None:
    document = run()
    document["protocol"]["groups"] = [[FUSED], [EAGER, REFERENCE]]
    with pytest.raises(InputFileError, match=r"ratio_to_reference\.measured\.rounds"):
        check_bench(document, source="b.json")
    for name in ("gain_over_eager", "ratio_to_reference"):
        found = document["rows"][0][name]
        (found.get("measured") or found).update(low=None, high=None, rounds=0)
    check_bench(document, source="b.json")
    document["rows"][0]["gain_over_eager"] |= {"low": 1.9, "high": 2.1}
    with pytest.raises(InputFileError, match=r"gain_over_eager\.low"):
        check_bench(document, source="b.json")


def test_a_ratio_lies_within_its_interval_even_where_its_rounds_are_not_known() -> None:
    document = run()
    document["protocol"]["groups"] = [[FUSED, EAGER, REFERENCE], [EAGER, REFERENCE]]
    document["rows"][0]["gain_over_eager"] |= {"rounds": 6, "low": 2.2, "high": 2.5}
    with pytest.raises(InputFileError, match=r"gain_over_eager\.low"):
        check_bench(document, source="b.json")


def test_a_published_time_of_another_device_is_not_held_against_the_table() -> None:
    document = run()
    for row in document["rows"]:
        row["published"]["device"] = "a made-up card"
    document["rows"][0]["published"]["ms"] = 31.0
    document["rows"][0]["ratio_to_reference"]["published"] = 1.0
    check_bench(document, source="b.json")
