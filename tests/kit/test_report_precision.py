"""A report whose layers were not what they were asked for: told, or not taken."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from device_reports import report, write
from small_kits import report_of, small_kit

from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.document import read_kit

FELL: dict[str, Any] = {"achieved": {"a": "fp32", "b": "fp32"}, "layers": {"a": "fp32", "b": "fp32"}}


def read(folder: Path, **changes: Any) -> Any:
    return read_report(write(folder / "report.json", report(build={**report()["build"], **changes})), None)


def test_layers_in_what_they_were_asked_for_need_no_words(tmp_path: Path) -> None:
    assert not any("layers" in note for note in read(tmp_path).notes)


def test_a_fallback_that_nobody_allowed_is_not_taken(tmp_path: Path) -> None:
    for fell_back in ([], ["a"]):
        with pytest.raises(ArtifactMismatchError, match="does not hold together") as caught:
            read(tmp_path, **FELL, fell_back=fell_back)
        assert "1 of 1 layers" in str(caught.value.got)
        assert "run in FP32, asked for FP16: a" in str(caught.value.got)


def test_a_fallback_that_was_allowed_is_told(tmp_path: Path) -> None:
    notes = read(tmp_path, **FELL, fell_back=["a"], allow_fallback=True).notes
    assert any("1 of 1 layers that were to be less than FP32 run in FP32, asked for FP16: a" in note for note in notes)


def test_a_layer_that_may_stay_in_fp32_is_no_fallback_and_is_told(tmp_path: Path) -> None:
    assert any("run in FP32" in note for note in read(tmp_path, **FELL, may_stay_float=["a"]).notes)


def test_a_fallback_that_does_not_follow_from_the_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMismatchError, match="does not hold together"):
        read(tmp_path, fell_back=["a"], allow_fallback=True)


def test_a_precision_that_is_not_known_is_told(tmp_path: Path) -> None:
    unknown = dict.fromkeys(report()["build"]["requested"], "unknown")
    assert any("achieved precision not known" in note for note in read(tmp_path, achieved=unknown, layers={}).notes)


@pytest.mark.parametrize(
    "changes",
    [{"requested": None}, {"achieved": {}}, {"achieved": {"a": "fp16", "b": 1}}, {"fell_back": None},
     {"allow_fallback": None}, {"may_stay_float": "a"}],
    ids=str,
)  # fmt: skip
def test_a_report_without_its_layers_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputFileError):
        read(tmp_path, **changes)


@pytest.mark.parametrize("name", ["requested", "may_stay_float"])
def test_layers_that_the_kit_did_not_ask_for_are_of_another_kit(tmp_path: Path, name: str) -> None:
    small_kit(tmp_path / "kit")
    document = copy.deepcopy(report_of(tmp_path / "kit"))
    if name == "requested":
        document["build"]["requested"]["a"] = "fp32"
    else:
        document["build"]["may_stay_float"] = ["b"]
    path = write(tmp_path / "report.json", document)
    read_report(path, None)
    with pytest.raises(ArtifactMismatchError, match=f"another {name}"):
        read_report(path, read_kit(tmp_path / "kit"))


LOGITS = {"noise_share": 0.1, "rank": 5, "why": "of a test"}
NONE = {"matched": 0, "missing": 0, "extra": 0, "worst_iou": None, "worst_score_difference": None}


def backbone(tolerances: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A report of a backbone that says it passed."""
    output = {"passed": True, "max_error": 0.1, "scale": 10.0, "noise_share": 0.01, "rank": 1, **changes}
    rules = {"outputs": None, "logits": None, "detections": None, "shown": None, "shown_score": 0.3, **tolerances}
    document = report()
    document["parity"] = {
        "passed": True,
        "failures": [],
        "samples": [{"index": 0, "outputs": {"logits": output}}],
        "detections": NONE,
        "tolerances": rules,
    }
    return document


def test_a_backbone_that_was_judged_is_taken(tmp_path: Path) -> None:
    outputs = {"atol": 0.01, "rtol": 0.0, "of_scale": 0.05}
    for rules in ({"logits": LOGITS}, {"outputs": outputs}):
        assert read_report(write(tmp_path / "r.json", backbone(rules)), None).parity is not None


@pytest.mark.parametrize(
    ("rules", "changes"),
    [
        ({}, {"passed": None}),
        ({}, {}),
        ({"logits": LOGITS}, {"noise_share": 0.2}),
        ({"logits": LOGITS}, {"rank": 6}),
        ({"outputs": {"atol": 0.01, "rtol": 0.0, "of_scale": 0.05}}, {"max_error": 9.0}),
    ],
    ids=["not judged", "no rule", "noise", "rank", "error"],
)
def test_a_backbone_that_passed_by_no_rule_is_not_taken(
    tmp_path: Path, rules: dict[str, Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(ArtifactMismatchError, match="does not hold together"):
        read_report(write(tmp_path / "r.json", backbone(rules, **changes)), None)
