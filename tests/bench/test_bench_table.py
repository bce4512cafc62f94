"""benchmarks/bench_table.py: every row that was timed is in a table, and what speaks against the figures below it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

from made_up_bench import made_up_document, made_up_row, missing_row, reference_row

from hardnet_deploy.bench.document import check_bench, save_bench

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_table.py"
FIGURES = made_up_row()["measured"]
RATIO = made_up_row()["ratio_to_reference"]
ROUNDS = [[1.0, 3.0, 11.0], [2.0, 2.0, 5.0]]
"""Median 2.5, mean 4."""


def printed(document: dict[str, Any]) -> str:
    check_bench(document, source="b.json")
    spec = importlib.util.spec_from_file_location("bench_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.table(document))


def lines(text: str) -> dict[str, list[str]]:
    """Cells of each table row by its first one."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {first: rest for first, *rest in cells}


def test_a_published_protocol_has_times_and_ratios_published_and_measured() -> None:
    text = printed(made_up_document())
    assert "published, GTX 1080 Ti" in text
    assert lines(text)["HarDNet68"] == ["22.5 ms, 0.73", "2.00 ms, 0.80 (0.75 to 0.86)"]
    assert lines(text)["ResNet-50"] == ["31 ms", "2.00 ms"]
    assert "1024 x 1024, batch 1, mean of 4 runs in 2 rounds" in text
    assert "ratio to ResNet-50, by the same engine" in text
    assert "nterrupted" not in text


def test_without_anything_published_there_is_no_such_column_and_no_boundary_hides_another() -> None:
    rows: list[dict[str, Any]] = []
    for boundary, name in (("network", ""), ("network+NMS", "/network+NMS")):
        key = f"ssd-a/eager{name}"
        common = {"boundary": boundary, "published": None, "size": 512}
        rows.append(made_up_row(key=key, network="ssd-a", title="A", ratio_to_reference=None, **common))
        to = {**RATIO, "reference": key, "published": None}
        rows.append(made_up_row(key=f"ssd-b/eager{name}", network="ssd-b", title="B", ratio_to_reference=to, **common))
    text = printed(made_up_document(*rows))
    assert "published" not in text
    tables = text.split("Timed, ")
    assert [one.split(":")[0] for one in tables[1:]] == ["network", "network+NMS"]
    assert all(set(lines(one)) >= {"A", "B"} for one in tables[1:])
    assert "512 x 512, batch 1" in text
    assert "None" not in text


def test_times_are_of_the_statistic_that_the_ratios_divide() -> None:
    """The protocol's mean is that of the published times, which are not there at another size."""
    measured = {**FIGURES, "median": 2.5, "mean": 4.0, "max": 11.0, "runs": 6, "cov_percent": None, "cov_flagged": None}
    to = {**RATIO, "statistic": "median", "published": None}
    row = made_up_row(published=None, size=224, rounds_ms=ROUNDS, measured=measured, ratio_to_reference=to)
    text = printed(made_up_document(row, reference_row(published=None, size=224)))
    assert lines(text)["HarDNet68"] == ["2.50 ms, 0.80 (0.75 to 0.86)"]
    assert "224 x 224, batch 1, median of 4 to 6 runs" in text


def test_a_run_that_was_interrupted_is_called_so_and_what_did_not_settle_is_marked() -> None:
    unstable = reference_row(measured={**FIGURES, "stable": False})
    text = printed(made_up_document(made_up_row(), unstable, finished=False))
    assert "**Interrupted after 2 rounds.**" in text
    assert lines(text)["HarDNet68"][1] == "2.00 ms, 0.80 (0.75 to 0.86)\\*"
    assert lines(text)["ResNet-50"][1] == "2.00 ms\\*"
    assert "did not settle" in text


def test_two_rows_of_one_network_and_engine_are_both_there() -> None:
    again = made_up_row(key="hardnet68=other.pth/eager", measured={**FIGURES, "stable": False})
    text = printed(made_up_document(made_up_row(), again, reference_row()))
    assert text.count("| HarDNet68 |") == 2


def test_a_ratio_over_another_engine_names_it_and_notes_are_below() -> None:
    other = reference_row(key="resnet50/ort-fp32", engine="ort-fp32")
    row = made_up_row(ratio_to_reference={**RATIO, "reference": other["key"]}, notes=["look at this"])
    text = printed(made_up_document(row, other))
    assert lines(text)["HarDNet68"][1].endswith(", over ONNX Runtime FP32")
    assert "hardnet68/eager: look at this." in text


def test_where_nothing_was_timed_or_read_a_sentence_says_so(tmp_path: Path) -> None:
    save_bench(tmp_path / "b.json", made_up_document(missing_row()))
    for name, said in (("b.json", "no row of this document was timed here"), ("none.json", "none.json cannot be read")):
        found = subprocess.run(
            [sys.executable, str(SCRIPT), str(tmp_path / name)], capture_output=True, text=True, check=False
        )
        assert found.returncode == 1
        assert said in found.stderr
        assert "Traceback" not in found.stderr
