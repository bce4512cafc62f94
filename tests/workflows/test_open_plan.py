"""TensorRT plans where a command says ENGINE: which are run, and which are refused with which exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated_device import ADA, NANO, NEWEST, PASCAL
from simulated_host import answers, build_plan_file, simulated_host
from small_int8 import DETECTOR, build, fill_folder
from tiny_detector import THRESHOLDS

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.cache import cache_folder
from hardnet_deploy.errors import ArtifactMismatchError, HardnetDeployError, InputFileError, TargetError, UsageError
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.runners.trt import TrtRunner
from hardnet_deploy.workflows import open_plan as workflow
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.open_plan import PLAN_TAG
from hardnet_deploy.workflows.sensitivity import SensitivityRequest, run_sensitivity

ENGINE = Path("fp32.engine")
NOISE = np.random.default_rng(5).bytes(4096)
NO_PLANS = {
    "empty": b"",
    "text": b"Git LFS pointer\nsize 1\n",
    "json": b'{"schema": 1}',
    "cut short": b"ftrt\0\0",
}


@pytest.fixture(autouse=True)
def in_a_folder_with_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    fill_folder(Path())


def built(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, device):
        build_plan_file(device)


def opened(*, trust: bool = False) -> OpenEngine:
    """The plan, closed again."""
    engine = open_engine(str(ENGINE), trust=trust)
    assert isinstance(engine.runner, TrtRunner)
    engine.runner.close()
    return engine


def refused(kind: type[HardnetDeployError], *, trust: bool = False, path: Path = ENGINE) -> str:
    with pytest.raises(kind) as caught:
        open_engine(str(path), trust=trust)
    text = str(caught.value)
    assert "magic" not in text.lower()
    assert "run_engine.py" not in text
    assert str(path) in caught.value.what
    return text


def rewrite(change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(manifest_path(ENGINE).read_text())
    change(record)
    manifest_path(ENGINE).write_text(json.dumps(record))


def forget() -> None:
    shutil.rmtree(cache_folder() / "plans")


def test_a_plan_is_what_its_manifest_says(monkeypatch: pytest.MonkeyPatch) -> None:
    built(PASCAL, monkeypatch)
    with simulated_host(monkeypatch, PASCAL):
        engine = opened()
    assert (engine.preprocess, engine.head, engine.class_names) == (
        DETECTOR.preprocess,
        DETECTOR.head,
        DETECTOR.class_names,
    )
    assert engine.thresholds == THRESHOLDS
    assert (engine.batch, engine.model, engine.network, engine.warning) == (1, None, None, None)


def test_without_tensorrt_a_plan_ends_with_exit_3(monkeypatch: pytest.MonkeyPatch) -> None:
    built(PASCAL, monkeypatch)
    text = refused(TargetError)
    assert "this machine cannot run it" in text
    assert "tensorrt cannot be imported" in text


OTHERS = [
    (
        PASCAL,
        ADA,
        "built by TensorRT 8.6.1+simulated for sm_61; this machine has TensorRT 10.9.0.34+simulated on sm_89",
    ),
    (NANO, PASCAL, "for sm_53; this machine has TensorRT 8.6.1+simulated on sm_61"),
    (ADA, NEWEST, "built by TensorRT 10.9.0.34+simulated for sm_89; this machine has TensorRT 11.4.0.106+simulated"),
    (PASCAL, ("8.6.1", "gpu"), "for sm_61; this machine has TensorRT 8.6.1+simulated on sm_89"),
]


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(("one", "other", "sentence"), OTHERS)
def test_a_plan_of_another_tensorrt_or_gpu_gives_a_sentence(
    one: tuple[str, str], other: tuple[str, str], sentence: str, trust: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(one, monkeypatch)
    with simulated_host(monkeypatch, other):
        text = refused(TargetError, trust=trust)
    assert sentence in text
    assert "build it here: hardnet-deploy build-engine" in text


def test_another_model_of_gpu_needs_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    built(ADA, monkeypatch)
    rewrite(lambda record: record["versions"].update(gpu="GeForce RTX 4070"))
    with simulated_host(monkeypatch, ADA):
        assert "was built on GeForce RTX 4070, this machine has Simulated Ada GPU" in refused(TargetError)
        engine = opened(trust=True)
        assert "GeForce RTX 4070" in str(engine.warning)


def test_a_plan_that_changed_needs_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    built(ADA, monkeypatch)
    other = json.loads(manifest_path(ENGINE).read_text())
    with simulated_host(monkeypatch, ADA):
        build_plan_file(ADA, "fp16", output=ENGINE)
        manifest_path(ENGINE).write_text(json.dumps(other))
        assert "is not the file that its manifest describes" in refused(ArtifactMismatchError)
        engine = opened(trust=True)
        assert "changed since" in str(engine.warning)


def test_a_plan_that_nobody_here_built_needs_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    built(ADA, monkeypatch)
    forget()
    with simulated_host(monkeypatch, ADA):
        text = refused(ArtifactMismatchError)
        assert "was not built by you on this machine" in text
        assert "--trust" in text
        engine = opened(trust=True)
        assert engine.as_dict()["warning"] == "a plan that was not built by you on this machine"


def test_nothing_of_a_refused_plan_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    built(ADA, monkeypatch)
    forget()
    monkeypatch.setattr(workflow, "TrtRunner", None)
    with simulated_host(monkeypatch, ADA):
        refused(ArtifactMismatchError)
        ENGINE.write_bytes(NOISE)
        refused(ArtifactMismatchError)
        for content in NO_PLANS.values():
            ENGINE.write_bytes(content)
            refused(InputFileError)


@pytest.mark.parametrize("trust", [False, True])
def test_a_plan_without_a_readable_manifest_is_of_no_use(trust: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "TrtRunner", None)
    ENGINE.write_bytes(PLAN_TAG + NOISE)
    missing = refused(ArtifactMismatchError, trust=trust)
    assert "without a manifest" in missing
    manifest_path(ENGINE).write_text("{")
    damaged = refused(ArtifactMismatchError, trust=trust)
    assert "without a readable manifest" in damaged
    for text in (missing, damaged):  # neither --trust nor an export would help
        assert "--trust" not in text
        assert "export" not in text
        assert "copy it from where the plan was built, or build it here: hardnet-deploy build-engine" in text


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("content", [*NO_PLANS.values(), NOISE], ids=[*NO_PLANS, "noise"])
def test_what_is_no_plan_ends_with_exit_4_whatever_it_is_called(content: bytes, trust: bool) -> None:
    ENGINE.write_bytes(content)
    text = refused(InputFileError, trust=trust)
    assert f"{ENGINE} is not a TensorRT plan" in text
    assert "--trust" not in text
    assert InputFileError.exit_code == 4


def test_an_onnx_file_under_a_plans_manifest_ends_with_exit_4(monkeypatch: pytest.MonkeyPatch) -> None:
    built(ADA, monkeypatch)
    shutil.copy("float.onnx", ENGINE)
    assert "an ONNX graph" in refused(InputFileError, trust=True)


def test_a_damaged_plan_that_is_trusted_still_gives_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    built(ADA, monkeypatch)
    ENGINE.write_bytes(ENGINE.read_bytes()[:-200])
    with simulated_host(monkeypatch, ADA), pytest.raises(ArtifactMismatchError) as caught:
        open_engine(str(ENGINE), trust=True)
    assert "magic" not in str(caught.value).lower()


def test_a_plan_of_another_size_than_its_manifest_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built(ADA, monkeypatch)
    rewrite(lambda record: record["preprocess"].update(size=64))
    with simulated_host(monkeypatch, ADA) as here:
        before = here.watch.live()
        assert "another size" in refused(ArtifactMismatchError)
        assert here.watch.live() == before


def test_the_manifest_decides_what_a_file_is_and_not_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    build(output=Path("cpu.onnx"))
    for end in ("", ".json"):
        Path(f"cpu.onnx{end}").rename(f"cpu.engine{end}")
    assert isinstance(open_engine("cpu.engine").runner, OrtRunner)
    with simulated_host(monkeypatch, ADA):
        build_plan_file(ADA, output=Path("odd.bin"))
        np.testing.assert_array_equal(answers("odd.bin")["detection_boxes"], answers("float.onnx")["detection_boxes"])
    shutil.copy("float.onnx", "bare.engine")
    with pytest.raises(ArtifactMismatchError, match="its graph 'toy' is no model known here"):
        open_engine("bare.engine", trust=True)


def test_what_needs_a_graph_refuses_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    built(ADA, monkeypatch)
    with simulated_host(monkeypatch, ADA):
        with pytest.raises((UsageError, InputFileError)):
            build(source=str(ENGINE))
        with pytest.raises((UsageError, InputFileError)):
            build_plan_file(ADA, source=str(ENGINE), output=Path("again.engine"))
        with pytest.raises((UsageError, InputFileError)):
            run_sensitivity(SensitivityRequest(onnx=ENGINE, calib=Path("float.calib.json")), lambda *_: None)
