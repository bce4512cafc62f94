"""Which files a report reads, and that it stops at what claims to be one of its documents and is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import artifact, evaluation, parity, save, sensitivity
from made_up_times import (
    bench,
    bench_row,
    device_parity,
    device_results,
    device_row,
    device_timing,
    everything,
    measured,
    profile,
    roofline,
)

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.report import collect as collecting
from hardnet_deploy.report.collect import collect
from hardnet_deploy.report.documents import ForeignFileError, Part, read_document
from hardnet_deploy.report.page import make_page
from hardnet_deploy.report.runs import join

MADE = {
    "parity": parity("a.onnx"),
    "evaluation": evaluation("a.onnx"),
    "sensitivity": sensitivity("a.onnx"),
    "bench": bench([bench_row("a.onnx", 9.0)]),
    "profile": profile("a.onnx"),
    "roofline": roofline("a.onnx"),
    "device-results": device_results([device_row()]),
    "calibration": {"kind": "calibration-table", "schema": 1},
}


@pytest.mark.parametrize("kind", MADE)
def test_a_document_is_known_by_what_it_holds_whatever_its_name(kind: str, tmp_path: Path) -> None:
    found = read_document(save(tmp_path / "anything.txt", MADE[kind]))
    assert found.kind == kind
    assert len(found.sha256) == 64


def test_a_manifest_is_known_too(tmp_path: Path) -> None:
    found = read_document(artifact(tmp_path, "a.onnx"))
    assert (found.kind, found.artifact) == ("manifest", tmp_path / "a.onnx")


@pytest.mark.parametrize("kind", ["parity", "evaluation", "sensitivity"])
def test_documents_from_before_they_said_their_kind_are_known_by_their_keys(kind: str, tmp_path: Path) -> None:
    old = {name: value for name, value in MADE[kind].items() if name not in {"kind", "schema", "command"}}
    assert read_document(save(tmp_path / "old.json", old)).kind == kind


@pytest.mark.parametrize(
    "record",
    [[], 7, {}, {"kind": "coco"}, {"kind": ["parity"]}, {"kind": "onnx"}, {"images": []}, {"kind": "manifest"}],
)
def test_other_json_is_foreign(record: object, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ForeignFileError, match="no document that a report can show"):
        read_document(path)


@pytest.mark.parametrize("schema", [2, 0, "1", True, None])
@pytest.mark.parametrize("kind", MADE)
def test_another_schema_is_refused(kind: str, schema: object, tmp_path: Path) -> None:
    path = save(tmp_path / "new.json", {**MADE[kind], "schema": schema})
    with pytest.raises(InputFileError, match="another schema") as refused:
        read_document(path)
    assert "new.json" in refused.value.what
    assert refused.value.wanted == "schema 1"


def test_folders_are_searched_and_what_is_no_document_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path / "deep" / "er" / "p.json", MADE["parity"])
    save(tmp_path / ".hidden" / "p.json", MADE["evaluation"])
    save(tmp_path / "coco.json", {"images": []})
    save(tmp_path / "new.json", {**MADE["bench"], "schema": 2})
    (tmp_path / "cut.json").write_text('{"kind": "par')
    (tmp_path / "tsconfig.json").write_text('{// comments\n"strict": true}')
    found = collect([tmp_path])
    assert [one.kind for one in found.documents] == ["parity"]
    assert found.foreign == 2
    assert {path.name for path, _ in found.unread} == {"new.json", "cut.json"}


def test_a_file_that_is_too_large_is_named_and_not_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "p.json", MADE["parity"])
    monkeypatch.setattr(collecting, "LARGEST", 1 << 20)
    (tmp_path / "large.json").write_text(json.dumps({**MADE["bench"], "padding": "x" * (1 << 20)}))
    (tmp_path / "instances_train2017.json").write_text(json.dumps({"images": "x" * (1 << 20)}))
    found = collect([tmp_path])
    assert found.foreign == 1
    assert [one.kind for one in found.documents] == ["parity"]
    ((path, why),) = found.unread
    assert path.name == "large.json"
    assert "larger than the 1 MiB" in why
    assert f"{path} is not in this report: {why}." in make_page(join(found)).cautions


IMPOSSIBLE = {
    "a time below 0": bench([bench_row("a.onnx", 9.0, measured={**measured(9.0), "median": -5})]),
    "an interval upside down": bench([bench_row("a.onnx", 9.0, gain_over_eager={"ratio": 4, "low": 5, "high": 3})]),
    "two rows of one key": bench([bench_row("a.onnx", 9.0), bench_row("a.onnx", 1.0)]),
    "nothing but its kind": {"kind": "bench", "schema": 1},
}


def scored(**changes: Any) -> dict[str, Any]:
    """A comparison with other figures of mAP."""
    made = parity("a.onnx")
    return {**made, "metric": {**made["metric"], **changes}}


DROP = parity("a.onnx")["metric"]["drop"]
IMPOSSIBLE |= {
    "a drop that the mAPs do not give": scored(drop={**DROP, "drop": 0.5}),
    "a drop of another kind": scored(drop_type="absolute"),
    "an mAP above 1": scored(reference=42.0),
    "within what it is not within": scored(max_drop=0.001),
    "a verdict against its failures": parity("a.onnx", failures=[{"part": "metric", "what": "no", "exit_code": 6}]),
    "passed with a drop beyond the limit": {**parity("a.onnx", drop=0.5), "passed": True, "failures": []},
    "passed with another exit code": parity("a.onnx", exit_code=6),
    "separated where the interval is not": scored(drop={**DROP, "at_most": 0.02, "at_least": -0.01}),
    "a drop's interval upside down": scored(drop={**DROP, "two_sided": [0.2, 0.1]}),
    "fewer than no images": parity("a.onnx", data={"name": "n", "digest": "d", "images": -3}),
    "an evaluation of 7.5": evaluation("a.onnx", mAP=7.5),
    "a class above 1": evaluation("a.onnx", per_class=[{"class_id": 1, "name": "c", "ap": 1.5, "objects": 1}]),
    "an evaluation of half an image": evaluation("a.onnx", data={"name": "n", "images": 0.5}),
    "an integer beyond all floats": scored(max_drop=10**400),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_is_refused(case: str, tmp_path: Path) -> None:
    path = save(tmp_path / "wrong.json", IMPOSSIBLE[case])
    with pytest.raises(InputFileError, match=r"wrong\.json"):
        collect([path])
    save(tmp_path / "p.json", MADE["parity"])
    found = collect([tmp_path])
    assert [(one.name, "cannot be" in why) for one, why in found.unread] == [("wrong.json", True)]
    assert make_page(join(found)).decisions[0].chosen is None


BROKEN_ROWS: dict[str, dict[str, Any]] = {
    "a median that its times do not have": device_row(timing={**device_timing(45.0), "median": 0.001}),
    "passed with failures": device_row(parity={**device_parity("a box is off by 40 px"), "passed": True}),
    "a stand-in by its label alone": device_row(label="imported (Simulated Nano, 2026-11-21), simulated"),
    "a device that has no such precision": device_row(precision="int8"),
    "half a row": {"model": "m", "timing": {"median": 1.0}},
}


@pytest.mark.parametrize("case", BROKEN_ROWS)
def test_a_device_row_that_contradicts_itself_is_refused(case: str, tmp_path: Path) -> None:
    path = save(tmp_path / "wrong.json", device_results([BROKEN_ROWS[case]]))
    with pytest.raises(InputFileError, match=r"wrong\.json"):
        collect([path])
    found = collect([tmp_path])
    assert found.documents == ()
    assert [one.name for one, _ in found.unread] == ["wrong.json"]


def test_a_device_row_twice_in_one_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="the same row twice"):
        collect([save(tmp_path / "twice.json", device_results([device_row(), device_row()]))])


def test_one_document_in_two_places_counts_once(tmp_path: Path) -> None:
    save(tmp_path / "a" / "p.json", MADE["parity"])
    copy = save(tmp_path / "b" / "q.json", MADE["parity"])
    assert len(collect([tmp_path, copy]).documents) == 1


def test_a_copied_manifest_is_about_the_file_beside_the_copy(tmp_path: Path) -> None:
    artifact(tmp_path / "out", "a.onnx")
    shutil.copytree(tmp_path / "out", tmp_path / "prod")
    runs = [tmp_path / "out", tmp_path / "prod"]
    found = collect([*runs, tmp_path / "out" / "a.onnx.json", tmp_path])
    assert [one.artifact for one in found.documents] == [one / "a.onnx" for one in runs]
    assert "prod" not in " ".join(make_page(join(collect(runs))).cautions)
    (tmp_path / "prod" / "a.onnx").write_bytes(b"another")
    assert f"{tmp_path / 'prod' / 'a.onnx'} has changed since" in " ".join(make_page(join(collect(runs))).cautions)


def test_a_named_file_must_be_there_and_be_a_document(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no file or folder"):
        collect([tmp_path / "nowhere.json"])
    with pytest.raises(ForeignFileError):
        collect([save(tmp_path / "coco.json", {"images": []})])


@pytest.mark.parametrize("kind", [kind for kind in MADE if kind not in {"calibration", "bench"}])
def test_a_document_with_nothing_but_kind_and_schema_makes_a_page(kind: str, tmp_path: Path) -> None:
    name = save(tmp_path / "bare.json", {"kind": kind, "schema": 1})
    assert make_page(join(collect([name]))).decisions[0].chosen is None


WRONG = {
    "metric": ("parity", "part"),
    "passed": ("parity", "text"),
    "failures": ("parity", "parts"),
    "mAP": ("evaluation", "number"),
    "per_class": ("evaluation", "parts"),
    "layers": ("sensitivity", "parts"),
    "rows": ("bench", "parts"),
    "command": ("bench", "texts"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_part_of_another_type_stops_the_report_and_is_named(name: str, tmp_path: Path) -> None:
    kind, _ = WRONG[name]
    path = save(tmp_path / "wrong.json", {**MADE[kind], name: {"a": 1} if name != "metric" else [3]})
    with pytest.raises(InputFileError, match=f"wrong.json.*'{name}' cannot be read"):
        make_page(join(collect([path])))


def test_numbers_beyond_all_floats_are_refused() -> None:
    with pytest.raises(InputFileError, match="'x' cannot be read"):
        Part({"x": float("inf")}, "here").number("x")
    with pytest.raises(InputFileError, match="'x' cannot be read"):
        Part({"x": True}, "here").number("x")


def test_every_kind_of_document_reaches_the_page(tmp_path: Path) -> None:
    collection = collect([everything(tmp_path)])
    assert {one.kind for one in collection.documents} == {*MADE, "manifest"} - {"calibration"}
    page = make_page(join(collection))
    assert [section.title for section in page.sections if section.empty] == ["Worst images"]
