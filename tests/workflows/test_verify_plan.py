"""``verify`` on TensorRT plans, on simulated TensorRT: what holds here, and what another machine can still say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_device import ADA, NEWEST, PASCAL
from simulated_host import LABELS, build_plan_file, simulated_host
from small_int8 import fill_folder
from verified import check, rewrite, verify

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cache import cache_folder
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError
from hardnet_deploy.workflows import artifact_plan
from hardnet_deploy.workflows.verify_artifact import VerifyResult

COMMAND = ("hardnet-deploy", "build-engine", "float.onnx", "--int8", "--calib", "float.calib.json")


@pytest.fixture(autouse=True)
def in_a_folder_with_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    fill_folder(Path())


def built(device: tuple[str, str], precision: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    with simulated_host(monkeypatch, device):
        build_plan_file(device, precision, command=COMMAND)
    return Path(f"{precision}.engine")


def outcomes(result: VerifyResult) -> dict[str, str]:
    return {one.name: one.outcome for one in result.checks}


def not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the plan was loaded")

    monkeypatch.setattr(artifact_plan, "open_plan", never)


@pytest.mark.parametrize("device", [PASCAL, NEWEST], ids=["8.6", "11"])
def test_a_plan_that_was_built_here_holds_and_its_runner_says_simulated(
    device: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = built(device, "int8", monkeypatch)
    with simulated_host(monkeypatch, device):
        result = verify(plan)
    found = outcomes(result)
    for name in ("hash", "source graph", "calibration", "built here", "TensorRT, GPU", "precision", "runs"):
        assert found[name] == "held", name
    assert LABELS[device] in check(result, "runs").told
    assert found["computes"] == "not checked"
    assert "hardnet-deploy parity" in str(check(result, "computes").next_step)
    assert result.error() is None


def test_a_laptop_without_tensorrt_checks_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    result = verify(built(PASCAL, "fp32", monkeypatch))
    found = outcomes(result)
    assert found["hash"] == found["built here"] == "held"
    assert found["TensorRT, GPU"] == found["runs"] == "not checked"
    assert "this machine" in check(result, "TensorRT, GPU").told
    assert result.error() is None


def test_another_tensorrt_fails_with_exit_3(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = built(PASCAL, "fp32", monkeypatch)
    not_loaded(monkeypatch)
    for trust in (False, True):
        with simulated_host(monkeypatch, ADA):
            result = verify(plan, trust=trust)
        assert outcomes(result)["TensorRT, GPU"] == "FAILED"
        error = result.error()
        assert error is not None
        assert error.exit_code == 3


def test_a_plan_that_nobody_here_built_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = built(ADA, "fp32", monkeypatch)
    shutil.rmtree(cache_folder() / "plans")
    with simulated_host(monkeypatch, ADA):
        trusted = verify(plan, trust=True)
        not_loaded(monkeypatch)
        result = verify(plan)
    assert outcomes(result)["built here"] == "FAILED"
    assert outcomes(result)["runs"] == "not checked"
    error = result.error()
    assert error is not None
    assert error.exit_code == 8
    assert outcomes(trusted)["built here"] == "not checked"  # never held
    assert outcomes(trusted)["runs"] == "held"


def test_a_plan_that_changed_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = built(ADA, "fp32", monkeypatch)
    not_loaded(monkeypatch)
    plan.write_bytes(plan.read_bytes()[:-1])
    with simulated_host(monkeypatch, ADA):
        result = verify(plan)
    assert outcomes(result)["hash"] == "FAILED"
    assert outcomes(result)["precision"] == outcomes(result)["runs"] == "not checked"
    error = result.error()
    assert error is not None
    assert error.exit_code == 8


def test_a_silent_fallback_in_the_manifest_fails_unless_it_was_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = built(PASCAL, "int8", monkeypatch)
    layer = next(
        name
        for name, asked in json.loads(manifest_path(plan).read_text())["precision"]["requested_by_layer"].items()
        if asked == "int8"
    )
    rewrite(plan, lambda record: record["precision"]["achieved"].update({layer: "fp32"}))
    result = verify(plan)
    assert layer in check(result, "precision").told
    error = result.error()
    assert error is not None
    assert error.exit_code == 4
    rewrite(plan, lambda record: record["command"].append("--allow-fallback"))
    assert "1 fell back to FP32, as was allowed" in check(verify(plan), "precision").told


def test_where_nothing_is_left_to_check_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = built(PASCAL, "fp32", monkeypatch)
    rewrite(plan, lambda record: (record["checks"].clear(), record.update(sha256="0" * 64)))
    shutil.rmtree(cache_folder() / "plans")
    result = verify(plan, trust=True)
    assert set(outcomes(result).values()) == {"not checked"}
    error = result.error()
    assert error is not None
    assert "nothing of fp32.engine could be checked" in error.what
    assert error.exit_code == 8


@pytest.mark.parametrize("content", [b"", b"not a plan", np.random.default_rng(2).bytes(900)])
def test_what_is_no_plan_ends_with_exit_4(content: bytes) -> None:
    Path("x.engine").write_bytes(content)
    for trust in (False, True):
        with pytest.raises(InputFileError, match="not a TensorRT plan"):
            verify(Path("x.engine"), trust=trust)


def test_a_plan_without_a_manifest_ends_with_exit_8(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("x.engine").write_bytes(b"ftrt" + bytes(range(200, 256)) * 4)
    with pytest.raises(ArtifactMismatchError, match="without a manifest"):
        verify(Path("x.engine"), trust=True)
