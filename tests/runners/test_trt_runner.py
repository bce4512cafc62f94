"""Plans through the runner, on simulated TensorRT and CUDA: what a Runner promises, and memory on every path."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from simulated_device import ADA, EVERY_FAMILY, NANO, PASCAL
from simulated_host import LABELS, answers, pictures, simulated_host
from small_int8 import DETECTOR, detector_graph

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError, TargetError, UsageError
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.runners.trt import TrtRunner, sm_text, tensorrt_here
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS

SIZE = DETECTOR.preprocess.size


def plan_of(trt: Any) -> bytes:
    return bytes(run_engine.build(trt, detector_graph().SerializeToString(), {})["plan"])


def dynamic_plan(trt: Any) -> bytes:
    graph = detector_graph(batch=None).SerializeToString()
    return bytes(run_engine.build(trt, graph, {"batch": [1, 2, 4]})["plan"])


@EVERY_FAMILY
def test_a_plan_is_a_runner_like_any_other(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, device) as here, TrtRunner(plan_of(here.trt)) as runner:
        assert runner.name == LABELS[device]
        assert [(one.name, one.dtype, one.shape) for one in runner.inputs] == [
            ("images", "float32", (1, 3, SIZE, SIZE))
        ]
        assert set(runner.outputs) == set(DETECTION_OUTPUTS)
        first = runner.infer({"images": pictures()})
        kept = {name: value.copy() for name, value in first.items()}
        runner.infer({"images": pictures(seed=1)})
        cap = 2000 if device == NANO else 5000
        wanted = OrtRunner(detector_graph(), candidate_cap=cap).infer({"images": pictures()})
        for name in DETECTION_OUTPUTS:
            np.testing.assert_array_equal(first[name], kept[name])
            np.testing.assert_array_equal(first[name], wanted[name])


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"pictures": pictures()},
        {"images": pictures().astype(np.float64)},
        {"images": pictures(2)},
        {"images": pictures()[:, :, 1:]},
    ],
)
def test_wrong_feeds_are_refused_and_the_next_run_works(feeds: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL) as here, TrtRunner(plan_of(here.trt)) as runner:
        with pytest.raises(UsageError):
            runner.infer(feeds)
        assert runner.infer({"images": pictures()})


def test_a_dynamic_batch_takes_what_its_profile_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, ADA) as here, TrtRunner(dynamic_plan(here.trt)) as runner:
        assert runner.inputs[0].shape == (-1, 3, SIZE, SIZE)
        many = runner.infer({"images": pictures(3)})
        for number in range(3):
            one = runner.infer({"images": pictures(3)[number : number + 1]})
            assert all((one[name][0] == many[name][number]).all() for name in DETECTION_OUTPUTS)
        with pytest.raises(UsageError, match="profile"):
            runner.infer({"images": pictures(5)})


@pytest.mark.parametrize("leave", [lambda runner: runner.close(), lambda runner: runner.__exit__(None, None, None)])
def test_memory_goes_back_on_closing(leave: Callable[[TrtRunner], object], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL) as here:
        before = here.watch.live()
        runner = TrtRunner(plan_of(here.trt))
        runner.infer({"images": pictures()})
        assert here.watch.live() != before
        leave(runner)
        assert here.watch.live() == before
        runner.close()
        with pytest.raises(UsageError, match="closed"):
            runner.infer({"images": pictures()})


def test_memory_goes_back_when_nobody_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL) as here:
        before = here.watch.live()
        runner = TrtRunner(plan_of(here.trt))
        runner.infer({"images": pictures()})
        del runner
        gc.collect()
        assert here.watch.live() == before


def test_memory_goes_back_where_the_gpu_stops_answering_behind_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engines: list[run_engine.Engine] = []
    original = run_engine.Engine

    def made(*given: Any) -> run_engine.Engine:
        engines.append(original(*given))
        monkeypatch.setattr(run_engine.Cudart, "device", lost)
        return engines[-1]

    def lost(_cuda: Any) -> Any:
        raise run_engine.EngineError("the GPU is lost", 3)

    with simulated_host(monkeypatch, PASCAL) as here:
        before, plan = here.watch.live(), plan_of(here.trt)
        monkeypatch.setattr(run_engine, "Engine", made)
        with pytest.raises(TargetError, match="the GPU is lost"):
            TrtRunner(plan)
        assert here.watch.live() == before
        with pytest.raises(run_engine.EngineError, match="closed"):
            engines[0].infer({"images": pictures()})


def test_plans_of_others_are_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL) as here:
        plan = plan_of(here.trt)
    with simulated_host(monkeypatch, ADA):
        with pytest.raises(ArtifactMismatchError, match="another TensorRT or another GPU built it") as caught:
            TrtRunner(plan)
        assert "magic" not in str(caught.value).lower()
        assert "hardnet-deploy build-engine" in str(caught.value.next_step)
        with pytest.raises(TargetError, match=r"built by TensorRT 8\.6\.1 for sm_61; this is TensorRT 10"):
            TrtRunner(plan, manifest={"versions": {"tensorrt": "8.6.1", "compute_capability": "6.1"}})


@pytest.mark.parametrize("content", [b"", b"no plan"])
def test_what_is_no_plan_is_refused(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL), pytest.raises(ArtifactMismatchError):
        TrtRunner(content)


def test_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, PASCAL):
        here = tensorrt_here()
        assert here.text == "TensorRT 8.6.1+simulated on Simulated GTX 1080 Ti (sm_61)"
    with pytest.raises(TargetError):
        tensorrt_here()
    assert sm_text("12.0") == "sm_120"


def test_host_code_in_plans_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, ADA) as here:
        plan = plan_of(here.trt)
        runtimes: list[Any] = []
        original = here.trt.Runtime

        def recorded(logger: Any) -> Any:
            runtimes.append(original(logger))
            return runtimes[-1]

        monkeypatch.setattr(here.trt, "Runtime", recorded)
        assert answers(TrtRunner(plan))
        assert runtimes
        assert not any(runtime.engine_host_code_allowed for runtime in runtimes)
        del runtimes[:]
