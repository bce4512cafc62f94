"""A comparison counts where it leads back to PyTorch, each link of the way passed."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import parity, pytorch, side
from made_up_times import bench, bench_row, device_parity, device_results, device_row
from report_pages import cautions, decision, joined, page, table, why_not

from hardnet_deploy.report.decision import decide
from hardnet_deploy.report.lineage import references, state_of

FAST = bench([bench_row("a.onnx", 1.0)])


def test_a_file_against_itself_has_passed_nothing(tmp_path: Path) -> None:
    documents = (parity("a.onnx", drop=0.0, reference=side("a.onnx")), FAST)
    one = decision(tmp_path, *documents)
    assert one.chosen is None
    assert "compared with itself" in why_not(one, "a.onnx")
    assert "a.onnx was compared with itself: this comparison does not count" in cautions(tmp_path)
    root = page(tmp_path)
    (row,) = (row for name, row in table(root, "All comparisons").items() if name != "comparison")
    assert row[0] == "! does not count: compared with itself"
    assert "✓ passed" not in table(root, "mAP beside the reference")["a.onnx"]
    assert "parity" in one.missing[0].what


def test_a_copy_of_the_file_under_another_name_is_the_file(tmp_path: Path) -> None:
    same = side("copy.onnx", sha256=side("a.onnx")["sha256"])
    assert decision(tmp_path, parity("a.onnx", reference=same), FAST).chosen is None


@pytest.mark.parametrize(
    ("link", "told"),
    [
        (parity("float.onnx", drop=0.5), "compared with float.onnx, which failed parity itself"),
        (
            parity("float.onnx", reference=side("float.onnx")),
            "compared with float.onnx, which was never held against PyTorch itself",
        ),
        (
            parity("float.onnx", reference=side("a.onnx")),
            "compared with float.onnx, which was never held against PyTorch itself",
        ),
        (
            parity("other.onnx"),
            "compared with float.onnx, which was never held against PyTorch itself",
        ),
    ],
)
def test_a_reference_that_has_not_passed_itself_proves_nothing(
    link: dict[str, object], told: str, tmp_path: Path
) -> None:
    found = decide(joined(tmp_path, parity("a.onnx", reference=side("float.onnx")), link, FAST))
    assert all(one.chosen is None for one in found)
    assert any(told in why_not(one, option.name) for one in found for option in one.options)
    assert "this comparison does not count" in cautions(tmp_path)


def test_a_chain_that_ends_at_pytorch_counts(tmp_path: Path) -> None:
    links = (parity("a.onnx", reference=side("float.onnx")), parity("float.onnx"))
    runs = joined(tmp_path, *links, FAST)
    (recommended,) = (one for one in decide(runs) if one.chosen)
    assert recommended.chosen is not None
    assert recommended.chosen.name == "a.onnx"
    (engine,) = (one for one in runs.engines if one.name == "a.onnx")
    assert state_of(engine, runs) == "passed"
    assert [one.name for one in references(engine, runs)] == ["float.onnx", "PyTorch ssd300-made-up"]


def test_a_chain_that_ends_at_references_in_a_kit_counts(tmp_path: Path) -> None:
    plan = side("n.plan", sha256="a" * 64, runner="TensorRT 8.2.1")
    runs = joined(tmp_path, device_results([device_row()]), parity("a.onnx", reference=plan), FAST)
    assert [one.chosen.name for one in decide(runs) if one.chosen] == ["a.onnx"]
    failed = device_row(parity=device_parity("boxes are missing"))
    documents = (device_results([failed]), parity("a.onnx", reference=plan), FAST)
    assert not [one for one in decide(joined(tmp_path / "failed", *documents)) if one.chosen]


def test_what_is_wrong_at_the_end_of_a_chain_is_wrong_with_all_of_it(tmp_path: Path) -> None:
    untrained = pytorch(trained=False)
    links = (parity("a.onnx", reference=side("float.onnx")), parity("float.onnx", reference=untrained))
    found = decide(joined(tmp_path, *links, FAST))
    assert all(one.chosen is None for one in found)
    assert any("untrained" in why_not(one, "a.onnx") for one in found if one.subject == "float.onnx")


def test_one_comparison_that_counts_is_enough_beside_one_that_does_not(tmp_path: Path) -> None:
    documents = (parity("a.onnx", drop=0.0, reference=side("a.onnx")), parity("a.onnx", drop=0.004), FAST)
    one = decision(tmp_path, *documents)
    assert one.chosen is not None
    assert "a drop of 0.40 %" in one.paragraph  # of the comparison with PyTorch, not of the other
