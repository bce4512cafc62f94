"""The files that an export names: class lists that are read, and outputs that must not hurt what is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hardnet_deploy.errors import InputFileError, OutputFileError, UsageError
from hardnet_deploy.models import class_names, registry
from hardnet_deploy.workflows.export_options import ExportPlan, ExportRequest, plan_export

VOC, BACKBONE = "ssd300-hardnet85-voc", "hardnet68ds"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(**options: Any) -> ExportPlan:
    return plan_export(ExportRequest(**options))


def refused(kind: type[UsageError | InputFileError], said: str, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        plan(**options)
    assert said in str(caught.value)
    assert list(Path().glob("*.onnx*")) == []
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"cat\ndog\n",
        b"cat\ndog",
        b"cat\r\ndog\r\n\r\n",
        b"  cat \ndog\t\n",
        b"\xef\xbb\xbfcat\ndog\n",
        b"background\ncat\ndog\n",
        b"__background__\ncat\ndog\n",
    ],
    ids=repr,
)
def test_a_class_list(content: bytes) -> None:
    Path("classes.txt").write_bytes(content)
    spec = plan(model=VOC, classes=Path("classes.txt")).spec
    assert spec.class_names == ("background", "cat", "dog")
    assert spec.head is not None
    assert spec.head.num_classes == 3


def test_a_class_list_may_have_any_language_and_the_models_own_length() -> None:
    Path("classes.txt").write_text("chaise longue\nchâteau\n猫\n", encoding="utf-8")
    assert plan(classes=Path("classes.txt")).spec.class_names[1:] == ("chaise longue", "château", "猫")
    Path("classes.txt").write_text("\n".join(class_names.VOC), encoding="utf-8")
    assert plan(model=VOC, classes=Path("classes.txt")).spec == registry.get(VOC)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("cat\n\ndog\n", "empty name"),
        ("cat\ndog\ncat\n", "more than once: cat"),
        ("background\n", "class list is empty"),
    ],
)
def test_a_class_list_that_makes_no_sense_is_a_usage_error(content: str, said: str) -> None:
    Path("classes.txt").write_text(content, encoding="utf-8")
    refused(UsageError, said, classes=Path("classes.txt"))


def test_a_class_list_that_cannot_be_read_is_an_input_error() -> None:
    Path("image.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff")
    Path("utf16.txt").write_bytes("cat\n".encode("utf-16"))
    for path in (Path("nowhere.txt"), Path(), Path("image.png"), Path("utf16.txt")):
        assert "class list" in refused(InputFileError, "cannot be read", classes=path)


def test_a_backbone_has_no_class_list() -> None:
    Path("classes.txt").write_text("cat\n", encoding="utf-8")
    refused(UsageError, "--classes", model=BACKBONE, classes=Path("classes.txt"))


def test_an_output_that_cannot_be_written_is_refused_before_anything_runs() -> None:
    Path("folder").mkdir()
    Path("file").touch()
    os.mkfifo("pipe")
    for output in (Path("folder"), Path(), Path("file/x.onnx"), Path("pipe"), Path(os.devnull), Path("n" * 251)):
        with pytest.raises(OutputFileError):
            plan(output=output)


def test_a_folder_in_the_manifests_place_is_refused_too() -> None:
    Path("x.onnx.json").mkdir()
    with pytest.raises(OutputFileError, match=r"x\.onnx\.json"):
        plan(output=Path("x.onnx"))


def test_an_older_output_may_be_replaced() -> None:
    Path("x.onnx").write_bytes(b"old")
    Path("x.onnx.json").write_bytes(b"old")
    assert plan(output=Path("x.onnx")).output == Path("x.onnx")
    assert Path("x.onnx").read_bytes() == b"old"


@pytest.mark.parametrize("output", ["in.pth", "./in.pth", "link.pth", "sub/../in.pth"])
def test_an_output_that_would_overwrite_the_checkpoint_is_refused(output: str) -> None:
    Path("in.pth").write_bytes(b"weights")
    Path("link.pth").symlink_to("in.pth")
    Path("sub").mkdir()
    with pytest.raises(UsageError, match=r"would overwrite in\.pth"):
        plan(weights=Path("in.pth"), output=Path(output))
    assert Path("in.pth").read_bytes() == b"weights"


def test_an_output_that_would_overwrite_the_class_list_is_refused() -> None:
    Path("x.onnx.json").write_text("cat\n", encoding="utf-8")
    for output in ("x.onnx", "x.onnx.json"):
        with pytest.raises(UsageError, match="would overwrite"):
            plan(classes=Path("x.onnx.json"), output=Path(output))
