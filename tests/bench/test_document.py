"""The bench document: what is written is read, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_bench import imported_row, made_up_document, made_up_row, missing_row, reference_row

from hardnet_deploy.bench.document import check_bench, read_bench, save_bench
from hardnet_deploy.errors import InputFileError

FIGURES = made_up_row()["measured"]
RATIO = made_up_row()["ratio_to_reference"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    document = made_up_document(made_up_row(), reference_row(), missing_row(), imported_row())
    path = tmp_path / "new" / "bench.json"
    save_bench(path, document)
    assert read_bench(path) == document
    assert [one.name for one in path.parent.iterdir()] == ["bench.json"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"kind": "profile", "schema": 1}', "NaN"])
def test_other_files_are_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputFileError, match=r"b\.json"):
        read_bench(path)


def test_another_schema_is_refused() -> None:
    with pytest.raises(InputFileError, match="another schema") as caught:
        check_bench(made_up_document(schema=2), source="b.json")
    assert caught.value.wanted == "schema 1"


def in_protocol(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["protocol"].update(changes)


def in_row(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["rows"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda document: document.pop("date"), "date"),
        (lambda document: document.update(finished="yes"), "finished"),
        (lambda document: document.update(rows={}), "rows"),
        (lambda document: document.update(rows=[made_up_row(), made_up_row()]), "rows"),
        (in_protocol(iterations=-1), "iterations"),
        (in_protocol(stability=None), "stability"),
        (in_row(key=""), "key"),
        (in_row(provenance="surely measured"), "provenance"),
        (in_row(boundary="all of it"), "boundary"),
        (in_row(boundary=None), "boundary"),
        (in_row(measured=None), "measured"),
        (in_row(measured={**FIGURES, "median": 0}), "median"),
        (in_row(measured={**FIGURES, "median": None}), "median"),
        (in_row(measured={**FIGURES, "runs": 5}), "rounds_ms"),
        (in_row(rounds_ms=None), "rounds_ms"),
        (in_row(loadings=[0]), "loadings"),
        (in_row(loadings=[0, -1]), "loadings"),
        (in_row(loadings="two"), "loadings"),
        (in_row(rounds_ms=[[1.0], [-1.0]]), "round"),
        (in_row(rounds_ms=[[1.0, 3.0, 2.0, 2.0], []]), "round"),
        (in_row(provenance="not reproducible here (why)"), "measured"),
        (in_row(published={"ms": "fast"}), "ms"),
        (in_row(gain_over_eager={"ratio": 2.0, "low": 1.0, "high": None}), "low"),
        (in_row(gain_over_eager={"ratio": 2.0, "low": 3.0, "high": 1.0}), "low"),
        (in_row(artifact={"file": None, "sha256": "short"}), "sha256"),
        (in_row(trained="yes"), "trained"),
        (in_row(nms="by hand"), "nms"),
        (in_row(nms_candidates=-1), "nms_candidates"),
        (in_row(measured={**FIGURES, "cov_flagged": "yes"}), "cov_flagged"),
        (in_row(ratio_to_reference={**RATIO, "statistic": "mode"}), "statistic"),
        (in_row(gain_over_eager={"ratio": 2.0, "low": None, "high": None, "eager": 1}), "eager"),
        (in_row(notes="none"), "notes"),
    ],
)
def test_a_part_that_is_not_what_it_must_be_is_named(change: Callable[[dict[str, Any]], None], place: str) -> None:
    document = json.loads(json.dumps(made_up_document()))
    check_bench(document, source="b.json")
    change(document)
    with pytest.raises(InputFileError) as caught:
        check_bench(document, source="b.json")
    assert place in caught.value.what


ROUNDS = [[1.0, 3.0], [2.0, 2.0]]
"""Of the made-up row: median and mean are 2."""


def contradicting(*, gain: dict[str, Any] | None = None, ratio: float = 0.5, **changes: Any) -> dict[str, Any]:
    """PyTorch, a row twice as fast, and another network of which the reference takes twice as long."""
    eager = made_up_row(ratio_to_reference=None)
    half = [[one / 2 for one in round_ms] for round_ms in ROUNDS]
    halved = {name: FIGURES[name] / 2 for name in ("median", "mean", "min", "max")}
    over = {"ratio": 2.0, "low": None, "high": None, "rounds": 2, "eager": eager["key"], **(gain or {})}
    measured = {"ratio": ratio, "low": None, "high": None, "rounds": 2}
    to = {**RATIO, "reference": eager["key"], "published": 1.0, "measured": measured}
    fused = made_up_row(key="hardnet68/fused", engine="fused", rounds_ms=half, measured={**FIGURES, **halved})
    return made_up_document(eager, fused | {"gain_over_eager": over, "ratio_to_reference": to} | changes)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"measured": {**FIGURES, "median": 0.8}}, "measured.median"),
        ({"measured": {**FIGURES, "median": 1.0, "mean": 1.1}}, "measured.mean"),
        ({"measured": {**FIGURES, "median": 1.0, "mean": 1.0, "p99": 1.5}}, "measured.p99"),
        ({"gain": {"ratio": 63.0}}, "gain_over_eager.ratio"),
        ({"gain": {"ratio": 63.0, "eager": None}}, "gain_over_eager.ratio"),
        ({"gain": {"ratio": 63.0, "rounds": 0}}, "gain_over_eager.ratio"),
        ({"gain": {"eager": "nosuch"}}, "gain_over_eager.eager"),
        ({"gain": {"eager": "hardnet68/fused"}}, "gain_over_eager.eager"),
        ({"ratio": 0.4}, "ratio_to_reference.measured.ratio"),
    ],
)
def test_figures_that_do_not_follow_from_the_times_beside_them_are_refused(change: dict[str, Any], place: str) -> None:
    check_bench(contradicting(), source="b.json")
    with pytest.raises(InputFileError, match=place) as caught:
        check_bench(contradicting(**change), source="b.json")
    assert "rows[1]" in caught.value.what


def test_a_ratio_of_some_rounds_alone_is_held_against_nothing() -> None:
    check_bench(contradicting(gain={"ratio": 2.1, "rounds": 1}), source="b.json")


def test_documents_of_before_a_field_was_recorded_are_read() -> None:
    row = made_up_row(gain_over_eager={"ratio": 2.0, "low": None, "high": None, "rounds": 1})
    for part, name in ((row, "nms"), (row, "nms_candidates"), (row["measured"], "cov_flagged")):
        part.pop(name)
    row["ratio_to_reference"].pop("statistic")
    check_bench(made_up_document(row, reference_row()), source="b.json")


def test_every_field_of_a_document_is_described() -> None:
    told = (Path(__file__).parents[2] / "docs" / "bench-json.md").read_text(encoding="utf-8")
    document = made_up_document()
    row = document["rows"][0]
    names = {*document, *document["protocol"], *row, *row["measured"], *row["published"], *row["ratio_to_reference"]}
    assert [name for name in sorted(names) if f"`{name}`" not in told] == []
