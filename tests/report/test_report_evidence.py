"""What a comparison that passed is too weak for, and a file that is another one now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up_runs import DATA, DIGEST, artifact, digest_of, evaluation, parity, pytorch
from made_up_times import bench, bench_row, eager_row
from report_pages import cautions, decision, page, table, why_not

FAST = bench([bench_row("a.onnx", 10.0)])


def on(images: int, **changes: Any) -> dict[str, Any]:
    return parity("a.onnx", data={"name": DATA, "digest": DIGEST, "images": images, "metric": "coco"}, **changes)


@pytest.mark.parametrize(("images", "recommended"), [(1, False), (9, False), (49, False), (50, True)])
def test_a_recommendation_wants_images(images: int, recommended: bool, tmp_path: Path) -> None:
    one = decision(tmp_path, on(images, drop=0.0, half_width=0.0), FAST)
    assert (one.chosen is not None) == recommended
    told = f"its mAP was compared on {images} image{'s' if images > 1 else ''} alone"
    assert (told in one.paragraph) != recommended
    assert ("a larger --count" in why_not(one, "a.onnx")) != recommended


@pytest.mark.parametrize(("images", "shown"), [(1, "(no interval)"), (10, "(−0.20 % to 0.60 %)")])
def test_an_interval_over_a_handful_of_images_is_none(images: int, shown: str, tmp_path: Path) -> None:
    root = page(tmp_path, on(images), FAST)
    assert f"0.20 % {shown}" in table(root, "The engines")["a.onnx"]
    beside = table(root, "mAP beside the reference")
    of_row = dict(zip(beside["engine"], beside["a.onnx"], strict=True))
    assert (of_row["95 % interval, two-sided"] == "no interval") == (images < 10)
    assert (of_row["one-sided 95 % bound separates from it"] == "too few images") == (images < 10)


def test_without_an_interval_nothing_is_recommended(tmp_path: Path) -> None:
    document = on(60)
    del document["metric"]["drop"]["two_sided"]
    one = decision(tmp_path, document, FAST)
    assert one.chosen is None
    assert "its drop of mAP has no interval" in one.paragraph


def test_a_detector_whose_map_was_not_compared_is_not_recommended(tmp_path: Path) -> None:
    one = decision(tmp_path, parity("a.onnx", metric=None), FAST)
    assert one.chosen is None
    assert "no mAP was compared" in why_not(one, "a.onnx")


def test_a_file_that_is_another_one_now_is_not_recommended(tmp_path: Path) -> None:
    artifact(tmp_path, "a.onnx")
    assert decision(tmp_path, parity("a.onnx"), FAST).chosen is not None
    (tmp_path / "a.onnx").write_bytes(b"another")
    one = decision(tmp_path, parity("a.onnx"), FAST)
    assert one.chosen is None
    assert f"{tmp_path / 'a.onnx'} has changed since its manifest was written" in one.paragraph


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": {"name": "another"}}, "disagree on its model"),
        ({"precision": {"requested": "fp32", "achieved": {}}}, "disagree on its precision"),
        ({"weights": {"trained": True, "source": "w.pth", "sha256": "e" * 64}}, "disagree on its weights"),
        ({"weights": {"trained": True, "source": "moved.pth", "sha256": "c" * 64}}, None),
        ({"command": ["hardnet-deploy", "export"], "target": "gtx-1080ti"}, None),
    ],
)
def test_manifests_of_one_file_that_disagree_are_told_of(
    changes: dict[str, Any], told: str | None, tmp_path: Path
) -> None:
    artifact(tmp_path, "a.onnx")
    artifact(tmp_path, "b.onnx", sha256=digest_of("a.onnx"), **changes)
    (tmp_path / "b.onnx").write_bytes(b"a.onnx")
    found = cautions(tmp_path, parity("a.onnx"))
    assert ("describe one file" in found) == (told is not None)
    assert told is None or told in found


@pytest.mark.parametrize("changes", [{"data": {"name": "x", "digest": "9" * 64}}, {"metric": "voc12"}])
def test_an_evaluation_of_something_else_may_have_another_map(changes: dict[str, Any], tmp_path: Path) -> None:
    assert "has a mAP of" not in cautions(tmp_path, parity("a.onnx"), evaluation("a.onnx", mAP=0.31, **changes))


def test_the_reference_of_a_comparison_is_held_against_its_evaluation(tmp_path: Path) -> None:
    documents = parity("a.onnx"), evaluation("x", engine=pytorch(), mAP=0.31)
    assert "PyTorch ssd300-made-up has a mAP of 0.3100" in cautions(tmp_path, *documents)


def test_a_gain_over_no_row_of_pytorch_doing_the_same_decides_nothing(tmp_path: Path) -> None:
    """Though there is another row, of the same batch, that it could be over."""
    gain = {"ratio": 4.0, "low": 3.8, "high": 4.2, "eager": "other"}
    rows = [eager_row(), eager_row(key="other", batch=8), bench_row("a.onnx", 10.0, gain_over_eager=gain)]
    one = decision(tmp_path, parity("a.onnx"), bench(rows))
    assert one.chosen is None
    assert "it is over 'other', which is no row of PyTorch doing the same in the run" in one.paragraph


def test_a_gain_over_the_row_that_it_names_decides(tmp_path: Path) -> None:
    """Another row of PyTorch in the run does not settle; the gain is not over that one."""
    gain = {"ratio": 4.0, "low": 3.8, "high": 4.2, "eager": eager_row()["key"]}
    other = eager_row(key="other")
    other["measured"]["stable"] = False
    one = decision(
        tmp_path, parity("a.onnx"), bench([eager_row(), other, bench_row("a.onnx", 10.0, gain_over_eager=gain)])
    )
    assert one.chosen is not None
