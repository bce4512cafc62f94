"""``verify`` on ONNX files and their manifests: what fails with which exit code, and what is said not to be checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_int8 import build, changed, fill_folder, write_graph
from tiny_detector import write_toy
from verified import check, exit_code, rewrite, verify

from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.files import sha256_file


@pytest.fixture(autouse=True)
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(Path())


def test_a_file_that_changed_fails_and_the_other_checks_are_made() -> None:
    model = changed(onnx.load("float.onnx"), "base.0.bias", lambda old: old + 1)
    onnx.save(model, "float.onnx")
    result = verify("float.onnx")
    assert check(result, "hash").outcome == "FAILED"
    assert check(result, "runs").held
    assert exit_code(result) == 8
    trusted = verify("float.onnx", trust=True)
    assert check(trusted, "hash").outcome == "not checked"  # never held
    assert "--trust" in check(trusted, "hash").told
    assert exit_code(trusted) == 0


def test_what_is_trusted_without_a_manifest_is_held_against_nothing_it_lacks() -> None:
    shutil.copy(write_toy(Path("toy.onnx")), "bare.onnx")
    with pytest.raises(ArtifactMismatchError, match="no manifest"):
        verify("bare.onnx")


@pytest.mark.parametrize("content", [b"", b"text", np.random.default_rng(1).bytes(500)], ids=["empty", "text", "noise"])
def test_what_is_no_onnx_ends_with_exit_4_whatever_its_manifest_says(content: bytes) -> None:
    Path("float.onnx").write_bytes(content)
    for trust in (False, True):
        with pytest.raises(InputFileError, match=r"float\.onnx"):
            verify("float.onnx", trust=trust)
    with pytest.raises(InputFileError, match="no file"):
        verify("missing.onnx")


def test_a_model_is_no_file() -> None:
    with pytest.raises(UsageError, match="verify checks a file"):
        verify("ssd512-hardnet68-coco")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda record: record["graph"].update(thresholds={"score": 0.5, "iou": 0.45, "max_detections": 10}), "0.5"),
        (lambda record: record["graph"].update(batch=4), "batch"),
        (lambda record: record["graph"].update(nms="onnx"), "nms"),
        (lambda record: record["precision"].update(requested="int8"), "precision"),
    ],
)
def test_a_manifest_that_is_wrong_of_the_graph_fails(change: Callable[[dict[str, Any]], object], word: str) -> None:
    rewrite(Path("float.onnx"), change)
    result = verify("float.onnx")
    assert check(result, "hash").held
    assert word in check(result, "graph").told
    assert exit_code(result) == 8


def test_a_graph_that_the_named_target_would_refuse_fails() -> None:
    graph = onnx.load("float.onnx")
    graph.opset_import[0].version = 17
    write_graph(Path("new.onnx"), graph, target="jetson-nano")
    result = verify("new.onnx")
    assert check(result, "parser jetson-nano").outcome == "FAILED"
    assert exit_code(result) == 3


# ------------------------------------------------------------------------------------------ what was built from it


def test_an_int8_engine_is_held_against_its_float_graph_without_a_bar() -> None:
    build(command=("hardnet-deploy", "build-engine", "float.onnx", "--int8", "--calib", "float.calib.json"))
    result = verify("int8.onnx")
    assert check(result, "source graph").held
    assert check(result, "calibration").held
    assert "no bar is set for INT8" in check(result, "computes").told
    assert "dB" in check(result, "computes").told
    assert check(result, "int8 layers").held
    assert check(result, "weights").outcome == "not checked"  # the toy is no model of ours
    assert exit_code(result) == 0


def test_sources_that_changed_fail_and_sources_that_are_gone_do_not() -> None:
    build(command=("hardnet-deploy", "build-engine", "float.onnx", "--int8", "--calib=float.calib.json"))
    Path("float.calib.json").write_text("{}")
    result = verify("int8.onnx")
    assert check(result, "calibration").outcome == "FAILED"
    assert exit_code(result) == 8
    Path("float.calib.json").unlink()
    Path("float.onnx").unlink()
    result = verify("int8.onnx")
    for name in ("calibration", "source graph"):
        assert check(result, name).outcome == "not checked"
        assert "not at hand" in check(result, name).told
    assert check(result, "computes").outcome == "not checked"
    assert exit_code(result) == 0


def test_int8_that_no_longer_answers_to_its_input_fails() -> None:
    build(command=("hardnet-deploy", "build-engine", "float.onnx", "--int8"))
    model = onnx.load("int8.onnx")
    for tensor in model.graph.initializer:  # every weight of the network
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
            values = np.zeros(tuple(tensor.dims), np.int8)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, "int8.onnx")
    rewrite(Path("int8.onnx"), lambda record: record.update(sha256=sha256_file(Path("int8.onnx"))))
    result = verify("int8.onnx")
    assert check(result, "computes").outcome == "FAILED"
    assert exit_code(result) == 5


def test_a_cpu_that_makes_fewer_layers_int8_fails_with_exit_3() -> None:
    build()
    rewrite(Path("int8.onnx"), lambda record: record["checks"]["build"].update(integer_convolutions=99))
    result = verify("int8.onnx")
    assert check(result, "int8 layers").outcome == "FAILED"
    assert exit_code(result) == 3


def test_the_worst_failure_decides() -> None:
    build()
    rewrite(
        Path("int8.onnx"),
        lambda record: (record["checks"]["build"].update(integer_convolutions=99), record.update(sha256="0" * 64)),
    )
    assert exit_code(verify("int8.onnx")) == 8
