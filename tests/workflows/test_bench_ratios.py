"""Which rows are divided by which, of what statistic, and what keeps a row from having a gain."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_bench import LAPTOP, WORKSTATION, MadeUpTimings
from tiny_detector import TOY, write_toy

from hardnet_deploy.bench.engine_columns import Machine
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows import bench as workflow
from hardnet_deploy.workflows.bench import run_bench
from hardnet_deploy.workflows.bench_options import BenchRequest
from hardnet_deploy.workflows.bench_plan import plan_bench
from hardnet_deploy.workflows.bench_ratios import Ratios

DEMO = "ssd300-hardnet-demo"
FUSED = "hardnet68/fused"
EVALUATED = Thresholds(score=0.02, iou=0.45, max_detections=200)
DEPLOYED = Thresholds(score=0.3, iou=0.45, max_detections=200)
SKEWED = ((10.0, 10.0, 40.0),) * 6  # mean 20, median 10


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> MadeUpTimings:
    made_up = MadeUpTimings()
    monkeypatch.setattr(workflow, "time_sides", made_up)
    return made_up


def rows(*subjects: str, machine: Machine = LAPTOP, **options: Any) -> dict[str, dict[str, Any]]:
    request = BenchRequest(subjects=subjects, **{"engines": "eager,fused", **options})
    return {row["key"]: row for row in run_bench(request, lambda *_: None, machine=machine).rows}


def test_a_gain_names_the_row_that_it_is_over(timings: MadeUpTimings) -> None:
    timings.ms = {"hardnet68/eager": 20.0, FUSED: 5.0}
    row = rows("hardnet68")[FUSED]
    assert row["gain_over_eager"]["eager"] == "hardnet68/eager"
    assert row["gain_over_eager"]["ratio"] == pytest.approx(4.0)
    assert row["notes"] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights_sha256": "1c" * 32}, "other weights"),
        ({"trained": True}, "other weights"),
        ({"trained": True, "weights_sha256": None}, "other weights"),
        ({"trained": None}, "is not known"),
    ],
)
def test_other_weights_have_no_gain_and_a_note_says_so(
    timings: MadeUpTimings, changes: dict[str, Any], said: str
) -> None:
    timings.changes = {FUSED: changes}
    row = rows("hardnet68")[FUSED]
    assert row["gain_over_eager"] is None
    (note,) = row["notes"]
    assert note.startswith("no gain over hardnet68/eager")
    assert said in note


def test_weights_without_a_hash_are_compared_where_both_are_trained_or_neither_and_that_is_said(
    timings: MadeUpTimings,
) -> None:
    timings.changes = {FUSED: {"weights_sha256": None}}
    row = rows("hardnet68")[FUSED]
    assert row["gain_over_eager"] is not None
    assert "nothing here has a hash" in row["notes"][0]


def test_other_nms_limits_have_no_gain_and_a_note_has_both(timings: MadeUpTimings) -> None:
    eager, fused = f"{DEMO}/eager/network+NMS", f"{DEMO}/fused/network+NMS"
    timings.changes = {eager: {"thresholds": EVALUATED}, fused: {"thresholds": DEPLOYED}}
    row = rows(DEMO, boundary="network+nms")[fused]
    assert row["gain_over_eager"] is None
    assert "score 0.02, IoU 0.45, at most 200" in row["notes"][0]
    assert "here score 0.3" in row["notes"][0]
    timings.changes = {key: {"thresholds": EVALUATED} for key in (eager, fused)}
    assert rows(DEMO, boundary="network+nms")[fused]["gain_over_eager"] is not None


def test_beside_published_ratios_of_means_measured_ones_are_of_means_too(timings: MadeUpTimings) -> None:
    timings.changes = {"hardnet68/eager": {"rounds_ms": SKEWED}}
    row = rows("hardnet68", protocol="1080ti-1024")["hardnet68/eager"]
    ratio = row["ratio_to_reference"]
    assert ratio["statistic"] == "mean"
    reference = np.mean([10 * (1 + 0.01 * (number % 3 + run)) for number in range(6) for run in range(2)])
    assert ratio["measured"]["ratio"] == pytest.approx(20 / reference)
    assert ratio["measured"]["low"] <= ratio["measured"]["ratio"] <= ratio["measured"]["high"]


@pytest.mark.parametrize("options", [{}, {"protocol": "1080ti-1024", "size": 64}])
def test_without_published_ones_ratios_are_of_medians(timings: MadeUpTimings, options: dict[str, Any]) -> None:
    timings.changes = {"resnet50/eager": {"rounds_ms": SKEWED}, "hardnet68/eager": {"rounds_ms": ((5.0,) * 3,) * 6}}
    ratio = rows("resnet50", "hardnet68", **options)["hardnet68/eager"]["ratio_to_reference"]
    assert (ratio["statistic"], ratio["measured"]["ratio"]) == ("median", pytest.approx(0.5))


def test_rounds_that_are_not_common_give_a_ratio_of_the_same_statistic(timings: MadeUpTimings) -> None:
    timings.changes = {"hardnet68/eager": {"rounds_ms": SKEWED, "round_numbers": tuple(range(20, 26))}}
    timings.ms = {"resnet50/eager": 10.0}
    found = rows("hardnet68", protocol="1080ti-1024")["hardnet68/eager"]["ratio_to_reference"]["measured"]
    assert found["low"] is None
    assert found["ratio"] > 1.9  # of means; of medians it is about 1


@pytest.mark.parametrize(("counted", "said"), [(73213, "sees 73213 candidates"), (None, "an unknown number of")])
def test_an_untrained_detectors_nms_load_is_said_to_be_no_detectors(
    timings: MadeUpTimings, counted: int | None, said: str
) -> None:
    eager = f"{DEMO}/eager/network+NMS"
    facts = {"nms": "numpy", "nms_candidates": counted, "trained": False}
    timings.changes = {eager: facts}
    row = rows(DEMO, boundary="network+nms")[eager]
    assert (row["nms"], row["nms_candidates"]) == ("numpy", counted)
    (note,) = [text for text in row["notes"] if "untrained" in text]
    assert said in note
    timings.changes = {eager: {**facts, "trained": True}}
    assert rows(DEMO, boundary="network+nms")[eager]["notes"] == []


def test_a_row_without_nms_says_nothing_of_candidates(timings: MadeUpTimings) -> None:
    del timings
    row = rows("hardnet68")["hardnet68/eager"]
    assert row["nms"] is row["nms_candidates"] is None
    assert row["notes"] == []


def test_a_row_that_cannot_be_timed_names_the_limits_too(timings: MadeUpTimings) -> None:
    del timings
    row = rows(DEMO, boundary="network+nms", engines="eager,trt-fp16")[f"{DEMO}/trt-fp16/network+NMS"]
    assert row["nms"] is None
    assert row["boundary_text"] == "input tensor to detections, NMS in (score 0.02, IoU 0.45, at most 200)"


def test_in_a_protocol_no_engine_is_divided_by_another_and_a_note_says_so(timings: MadeUpTimings) -> None:
    del timings
    write_toy(Path("b1.onnx"), outputs="raw")
    row = rows("b1.onnx", protocol="nano-320", size=32, engines="eager")["b1.onnx/ort-fp32"]
    assert row["ratio_to_reference"] is None
    assert "no ratio to mobilenet_v2, which has no row by ort-fp32 here" in row["notes"]


@pytest.mark.parametrize(("machine", "where"), [(LAPTOP, ("", "")), (WORKSTATION, (" on cuda", " on cpu"))])
def test_a_ratio_across_engines_names_both(timings: MadeUpTimings, machine: Machine, where: tuple[str, str]) -> None:
    del timings
    write_toy(Path("b1.onnx"), outputs="raw")
    row = rows("b1.onnx", "hardnet68", size=32, engines="eager", machine=machine)["hardnet68/eager"]
    assert row["ratio_to_reference"]["measured"]["ratio"] == pytest.approx(1)
    (note,) = row["notes"]
    assert note == (
        "the ratio is of different engines: hardnet68/eager is by eager"
        f"{where[0]}, b1.onnx/ort-fp32 by ort-fp32{where[1]}"
    )


def test_a_ratio_of_other_nms_limits_has_a_note_with_both(timings: MadeUpTimings) -> None:
    eager, other = f"{DEMO}/eager/network+NMS", "ssd512-hardnet68-coco/eager/network+NMS"
    timings.changes = {eager: {"thresholds": EVALUATED}, other: {"thresholds": DEPLOYED}}
    found = rows(DEMO, "ssd512-hardnet68-coco", boundary="network+nms", engines="eager")
    (note,) = [text for text in found[other]["notes"] if "NMS limits" in text]
    assert "score 0.02, IoU 0.45, at most 200; here score 0.3" in note
    timings.changes = {key: {"thresholds": EVALUATED} for key in (eager, other)}
    found = rows(DEMO, "ssd512-hardnet68-coco", boundary="network+nms", engines="eager")
    assert not [text for text in found[other]["notes"] if "NMS limits" in text]


@pytest.mark.parametrize(("outputs", "said"), [("boxes", True), ("raw", False)])
def test_a_gain_of_a_file_that_decodes_over_one_side_that_does_not_says_so(
    timings: MadeUpTimings, outputs: Any, said: bool
) -> None:
    del timings
    write_toy(Path("a.onnx"), outputs=outputs, spec=dataclasses.replace(TOY, name="hardnet68"))
    row = rows("hardnet68", "a.onnx", size=32, engines="eager")["a.onnx/ort-fp32"]
    assert row["gain_over_eager"]["eager"] == "hardnet68/eager"
    told = [text for text in row["notes"] if "decoding" in text]
    assert told == (["softmax and decoding are timed in a.onnx/ort-fp32 and not in hardnet68/eager"] if said else [])


@pytest.mark.parametrize(("change", "there"), [({}, True), ({"batch": 4}, False), ({"boundary": "end-to-end"}, False)])
def test_published_times_stand_beside_rows_of_their_own_batch_alone(change: dict[str, Any], there: bool) -> None:
    """A file has its own batch, whatever the protocol's."""
    plan = plan_bench(BenchRequest(subjects=("hardnet39ds",), protocol="nano-320", engines="eager"), LAPTOP)
    row = dataclasses.replace(plan.rows[0], **change)
    assert (Ratios(plan.rows, plan.protocol).published(row) is not None) is there
    elsewhere = dataclasses.replace(row, subject=dataclasses.replace(row.subject, size=224))
    assert Ratios(plan.rows, plan.protocol).published(elsewhere) is None
