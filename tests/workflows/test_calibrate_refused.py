"""``calibrate``: what is refused, and that it leaves everything as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_int8 import calibrate, changed, detector_graph, fill_folder, write_graph

from calibration.graph import GraphMap
from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.errors import ArtifactMismatchError, HardnetDeployError, InputFileError, OutputFileError, UsageError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.workflows import calibrate as workflow

PICTURES = 4
NEW = Path("new.calib.json")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(tmp_path)


def left() -> set[str]:
    return {str(path) for path in Path().rglob("*")}


def refused(kind: type[HardnetDeployError], message: str, *arguments: Any, **options: Any) -> HardnetDeployError:
    """The error of a calibration that leaves the folder as it was."""
    before = left()
    with pytest.raises(kind, match=message) as caught:
        calibrate(*arguments, **{"output": NEW} | options)
    assert left() == before
    return caught.value


@pytest.mark.parametrize("split", ["val", "search"])
def test_images_kept_for_measuring_are_refused(split: str) -> None:
    error = refused(UsageError, "kept for measuring", data=f"demo:{split}")
    assert error.next_step == "calibrate on demo:calibration"


def test_an_image_that_cannot_be_read_is_named() -> None:
    Path("pictures/02.png").write_bytes(b"no image")
    refused(InputFileError, "02.png")


def test_values_that_are_no_numbers_are_an_error_that_names_image_and_tensor() -> None:
    model = changed(
        detector_graph(), "base.1.a.bias", lambda values: np.where(np.arange(len(values)) == 3, np.nan, values)
    )
    write_graph(Path("nan.onnx"), model)
    error = refused(
        InputFileError, r"pictures/0\d\.png: 'base\.1\.a\.\w+' holds a value that is no finite number", "nan.onnx"
    )
    assert error.next_step


def test_no_images_are_an_error() -> None:
    Path("empty").mkdir()
    refused(InputFileError, "there is no image in empty", data="empty")
    refused(InputFileError, "there is no folder missing", data="missing")


@pytest.mark.parametrize(("count", "message"), [(PICTURES + 1, "more than pictures has"), (0, "leaves no image")])
def test_a_count_out_of_range_is_refused(count: int, message: str) -> None:
    refused(UsageError, message, count=count)


@pytest.mark.parametrize("name", ["float.onnx", "./float.onnx", "float.onnx.json"])
def test_the_graph_and_its_manifest_are_never_overwritten(name: str) -> None:
    before = {path: sha256_file(path) for path in (Path("float.onnx"), Path("float.onnx.json"))}
    refused(UsageError, "would overwrite", output=Path(name))
    refused(UsageError, "would overwrite", qdq=Path(name))
    refused(UsageError, "would overwrite", cache=Path(name))
    assert {path: sha256_file(path) for path in before} == before


def test_outputs_do_not_overwrite_each_other() -> None:
    refused(UsageError, "would overwrite", qdq=NEW)
    refused(UsageError, "would overwrite", cache=NEW)
    refused(UsageError, "would overwrite", qdq=Path("x.onnx"), cache=Path("x.onnx"))
    refused(UsageError, "would overwrite", qdq=Path("x.onnx"), output=manifest_path(Path("x.onnx")))


def test_an_output_that_cannot_be_written_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "open_engine", None)
    refused(OutputFileError, "is a folder", output=Path("pictures"))
    refused(OutputFileError, "is not a folder", cache=Path("float.onnx/x.cache"))


def test_what_is_no_exported_graph_is_refused() -> None:
    Path("text.onnx").write_text("hello")
    refused(InputFileError, "text.onnx is not an ONNX model", "text.onnx")
    refused(InputFileError, "there is no file none.onnx", "none.onnx")
    manifest_path(Path("float.onnx")).unlink()
    refused(ArtifactMismatchError, "has no manifest")


def test_a_graph_without_convolutions_or_quantised_already_is_refused() -> None:
    calibrate(qdq=Path("int8.onnx"))
    refused(InputFileError, "quantised already", "int8.onnx")


def test_a_graph_of_several_images_is_served_by_the_table_of_one() -> None:
    write_graph(Path("two.onnx"), detector_graph(batch=2))
    error = refused(UsageError, "takes 2 images at once", "two.onnx")
    assert "its table serves every batch" in (error.next_step or "")
    one = calibrate(output=NEW)
    write_graph(Path("any.onnx"), detector_graph(batch=None))
    assert calibrate("any.onnx").table.fingerprint == one.table.fingerprint
    two = GraphMap(onnx.load("two.onnx"))
    assert two.fingerprint() == (one.table.fingerprint.graph, one.table.fingerprint.weights)


@pytest.mark.parametrize("option", ["threads", "workers"])
def test_numbers_out_of_range_are_refused_whatever_is_there(option: str) -> None:
    refused(UsageError, f"--{option} 0 is out of range", output=None, **{option: 0})  # its table is there


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "pictures", "ranges": NEW}, "--data would do nothing"),
        ({"count": 3, "seed": 0, "ranges": NEW}, "--count and --seed would do nothing"),
        ({"restart": True, "ranges": NEW}, "--restart would do nothing"),
        ({"threads": 1, "workers": 1, "ranges": NEW}, "--threads and --workers would do nothing"),
        ({"output": NEW, "ranges": Path("r.json")}, "--output would do nothing"),
        ({}, "without --qdq or --cache or --ranges --calib would do nothing"),
        ({"ranges": Path("float.calib.json")}, "would overwrite"),
    ],
)
def test_beside_a_table_that_is_there_nothing_is_measured(options: dict[str, Any], message: str) -> None:
    before = Path("float.calib.json").read_bytes()
    given: dict[str, Any] = dict.fromkeys(("data", "output", "threads", "workers", "method"))
    refused(UsageError, message, calib=Path("float.calib.json"), **given | options)
    assert Path("float.calib.json").read_bytes() == before


def test_a_table_of_another_graph_is_refused() -> None:
    write_graph(Path("other.onnx"), changed(detector_graph(), "base.2.weight", lambda values: 2 * values))
    given: dict[str, Any] = dict.fromkeys(("data", "output", "threads", "workers", "method"))
    refused(ArtifactMismatchError, "weights", "other.onnx", calib=Path("float.calib.json"), ranges=NEW, **given)
