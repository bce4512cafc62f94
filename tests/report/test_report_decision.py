"""The decision: what is recommended, and above all what never is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import DIGEST, artifact, digest_of, evaluation, parity, pytorch, side
from made_up_times import (
    MACHINE,
    bench,
    bench_row,
    device_parity,
    device_results,
    device_row,
    eager_row,
    everything,
    imported_row,
    measured,
)
from report_pages import cautions, decision, joined, why_not

from hardnet_deploy.report.collect import collect
from hardnet_deploy.report.decision import decide
from hardnet_deploy.report.runs import join


def test_the_fastest_that_passed_is_recommended_with_gain_cost_and_verdict(tmp_path: Path) -> None:
    first = decide(join(collect([everything(tmp_path)])))[0]
    assert first.chosen is not None
    assert first.chosen.name == "int8.onnx"
    assert first.headline == f"Deploy int8.onnx on {MACHINE}"
    timed = "network+NMS, 300×300, batch 1, input: 16 images in turn (made-up:val, first 16 of 60 images), 2026-11-21"
    for part in (
        f"SHA-256 {digest_of('int8.onnx')[:12]}",
        f"10.0 ms (median; {timed}; {MACHINE})",
        "4.00× as fast, against PyTorch eager in the same run (95 % interval 3.80 to 4.20)",
        "a drop of 0.20 % (−0.20 % to 0.60 %) of mAP, 0.6986 against 0.7000 on made-up:val",
        "passes parity and stays within the 1.00 % allowed",
    ):
        assert part in first.paragraph
    assert [option.name for option in first.options] == ["int8.onnx", "float.onnx", "reckless.onnx"]
    assert "mAP drops too far" in why_not(first, "reckless.onnx")  # though it is the fastest


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "failed": (parity("a.onnx", drop=0.2), "parity failed"),
    "without a verdict": (parity("a.onnx", passed=None), "parity failed"),
    "untrained": (parity("a.onnx", candidate=side("a.onnx", trained=False)), "untrained"),
    "untrained reference": (parity("a.onnx", reference=pytorch(trained=False)), "untrained"),
    "nothing known of its weights": (
        parity("a.onnx", candidate=side("a.onnx", trained=None)),
        "not known to be trained",
    ),
    "simulated": (
        parity("a.onnx", candidate=side("a.onnx", runner="TensorRT 8.6.1+simulated (Simulated GTX 1080 Ti)")),
        "simulated: a stand-in ran it",
    ),
    "taken with --trust": (parity("a.onnx", candidate=side("a.onnx", warning="taken without a manifest")), "--trust"),
    "reference with --trust": (parity("a.onnx", reference=pytorch(warning="taken without a manifest")), "--trust"),
    "never compared": (evaluation("a.onnx"), "never compared"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_never_recommended_however_fast(case: str, tmp_path: Path) -> None:
    document, reason = REFUSED[case]
    one = decision(tmp_path, document, bench([bench_row("a.onnx", 1.0)]))
    assert one.chosen is None
    assert one.headline.startswith("No engine can be recommended yet")
    assert reason in why_not(one, "a.onnx")
    assert "Deploy" not in one.paragraph


def test_of_several_comparisons_one_that_failed_decides(tmp_path: Path) -> None:
    documents = (parity("a.onnx"), parity("a.onnx", drop=0.3), bench([bench_row("a.onnx", 1.0)]))
    assert decision(tmp_path, *documents).chosen is None
    assert "a.onnx passed one comparison and failed another; it counts as failed" in cautions(tmp_path, *documents)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (bench_row("a.onnx", 1.0, measured=measured(1.0, stable=False)), "not stable"),
        (bench_row("a.onnx", 1.0, notes=["ended early: its process was ended by SIGKILL"]), "not stable"),
        (imported_row("a.onnx", 1.0, "imported (Simulated Nano, 2026-11-21), simulated"), "stand-in"),
        (bench_row("a.onnx", 1.0, gain_over_eager={"ratio": 0.9, "low": 0.8, "high": 0.95}), "no faster than PyTorch"),
    ],
)
def test_times_that_no_decision_rests_on(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    one = decision(tmp_path, parity("a.onnx"), bench([row]))
    assert one.chosen is None
    assert told in one.paragraph
    assert any("stable times" in missing.what for missing in one.missing) == (told == "not stable")


def test_the_time_of_another_file_of_that_name_is_not_its_time(tmp_path: Path) -> None:
    other = bench([bench_row("a.onnx", 1.0, artifact={"file": "a.onnx", "sha256": "f" * 64})])
    assert decision(tmp_path, parity("a.onnx"), other).chosen is None
    assert "a.onnx was timed with SHA-256 ffffffffffff, but compared with SHA-256" in cautions(tmp_path)


def test_a_drop_that_is_not_separated_from_its_limit_is_said(tmp_path: Path) -> None:
    one = decision(tmp_path, parity("a.onnx", drop=0.008, half_width=0.02), bench([bench_row("a.onnx", 10.0)]))
    assert one.chosen is not None
    assert "the interval does not separate the drop from that limit" in one.paragraph
    assert any("enough images" in missing.what for missing in one.missing)


@pytest.mark.parametrize("count", [None, "24"])
def test_more_images_are_all_that_the_data_has(count: str | None, tmp_path: Path) -> None:
    command = ["hardnet-deploy", "parity", "m", "a.onnx", "--data", "demo", *(["--count", count] if count else [])]
    unclear = parity("a.onnx", drop=0.008, half_width=0.02, command=[*command, "--output", "p.json"])
    one = decision(tmp_path, unclear, bench([bench_row("a.onnx", 10.0)]))
    (missing,) = (each for each in one.missing if "enough images" in each.what)
    if count is None:
        assert missing.command is None
        assert "more than the 60 that its data gave" in missing.what
    else:
        assert missing.command is not None
        words = shlex.split(missing.command)
        assert words == ["hardnet-deploy", "parity", "m", "a.onnx", "--data", "demo", *words[-2:]]
        assert words[-2:] == ["-o", str(tmp_path / "a.parity.json")]


def test_milliseconds_of_two_runs_are_never_compared(tmp_path: Path) -> None:
    """Each run recommends its own fastest, though the other run's engine has the smaller number."""
    documents = (parity("a.onnx"), parity("b.onnx"))
    slow = bench([eager_row(400.0), bench_row("a.onnx", 100.0, eager=400.0)], date="2026-11-20", machine="Slow")
    fast = bench([eager_row(4.0), bench_row("b.onnx", 1.0, eager=4.0)], machine="Fast")
    found = decide(joined(tmp_path, *documents, slow, fast))
    assert [(one.where, one.chosen.name) for one in found if one.chosen] == [("Fast", "b.onnx"), ("Slow", "a.onnx")]


def test_a_device_that_compared_and_timed_has_a_decision_of_its_own(tmp_path: Path) -> None:
    """What it gains is not known there, so its time is shown and it is not recommended."""
    one = decision(tmp_path, device_results([device_row()]))
    assert one.where == "Made-up Nano, MAXN"
    assert one.chosen is None
    assert "the gain is not known, as PyTorch was not timed in the same run" in one.paragraph
    assert "(network+NMS, input: 1x300x300, 2026-11-21; Made-up Nano, MAXN): " in one.paragraph
    assert one.paragraph.endswith(" 45.0 ms.")
    assert "on an idle machine" not in one.paragraph
    simulated = device_row(device="Simulated Nano")
    (stand_in,) = decide(joined(tmp_path / "simulated", device_results([simulated])))
    assert stand_in.chosen is None
    assert "simulated" in stand_in.paragraph


def test_a_device_whose_engine_failed_there_is_not_recommended(tmp_path: Path) -> None:
    failed = device_row(parity=device_parity("boxes are missing"))
    one = decision(tmp_path, device_results([failed]))
    assert one.chosen is None
    assert "boxes are missing" in one.paragraph


def test_a_backbone_has_no_map_to_lose(tmp_path: Path) -> None:
    images = {"name": "a folder", "digest": DIGEST, "images": 60, "metric": None}
    backbone = parity("a.onnx", metric=None, detections=None, data=images)
    one = decision(tmp_path, backbone, bench([bench_row("a.onnx", 10.0)]))
    assert one.chosen is not None
    assert "No mAP was compared" in one.paragraph


def test_without_any_comparison_it_says_how_to_make_one(tmp_path: Path) -> None:
    artifact(tmp_path, "a.onnx")
    one = decision(tmp_path)
    assert one.chosen is None
    assert [(missing.command, "hardnet-deploy parity" in missing.what) for missing in one.missing] == [(None, True)]


def test_pytorch_itself_is_no_engine_to_deploy(tmp_path: Path) -> None:
    reference = evaluation("x", engine=pytorch())
    one = decision(tmp_path, parity("a.onnx"), reference)
    assert [option.name for option in one.options] == ["a.onnx"]


CONTRADICTIONS: dict[str, tuple[tuple[dict[str, Any], ...], str]] = {
    "two files of one name": (
        (parity("a.onnx"), parity("a.onnx", candidate=side("a.onnx", sha256="f" * 64))),
        "a.onnx stands for different files",
    ),
    "other images": (
        (parity("a.onnx"), evaluation("a.onnx", data={"name": "other:val", "digest": "9" * 64})),
        f"made-up:val (digest {DIGEST[:12]}); other:val (digest 999999999999)",
    ),
    "untrained in one document": (
        (parity("a.onnx"), evaluation("a.onnx", engine=side("a.onnx", trained=False))),
        "a.onnx is untrained: its weights are drawn from a seed, though another document says that they are trained",
    ),
    "unfinished": ((bench([], finished=False),), "the run was interrupted"),
    "throttled": ((bench([], conditions={"throttled": True}),), "the device throttled"),
    "unstable": ((bench([bench_row("a.onnx", 1.0, measured=measured(1.0, stable=False))]),), "not stable: "),
    "a busy machine": (
        (bench([], conditions={"load": "the machine was at work already"}),),
        "1.json: the machine was at work already.",
    ),
    "another mAP of the same": (
        (evaluation("a.onnx", mAP=0.31), parity("a.onnx")),
        "a.onnx has a mAP of 0.3100 in 1.json and of 0.6986 in 2.json, on the same images",
    ),
    "another schema": ((bench([], schema=9),), "is not in this report"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_does_not_fit_together_is_said(case: str, tmp_path: Path) -> None:
    documents, told = CONTRADICTIONS[case]
    assert told in cautions(tmp_path, parity("z.onnx"), *documents)


def test_an_artifact_that_changed_since_is_said(tmp_path: Path) -> None:
    artifact(tmp_path, "a.onnx")
    assert "changed" not in cautions(tmp_path, parity("a.onnx"))
    (tmp_path / "a.onnx").write_bytes(b"another")
    assert "a.onnx has changed since its manifest was written" in cautions(tmp_path, parity("a.onnx"))


def test_runs_that_agree_have_nothing_to_be_said(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"a.onnx")
    assert cautions(tmp_path, parity("a.onnx"), evaluation("a.onnx"), bench([bench_row("a.onnx", 9.0)])) == ""
