"""Per-layer times of ONNX Runtime and PyTorch: they add up, and every layer has its place."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import onnx
import pytest
from small_int8 import DETECTOR, detector_graph

from hardnet_deploy.bench import profile_ort as profile_ort_module
from hardnet_deploy.bench.layer_times import EngineLayer, EngineProfile, overhead_told, placed
from hardnet_deploy.bench.module_map import OTHER
from hardnet_deploy.bench.profile_ort import profile_ort
from hardnet_deploy.bench.profile_torch import profile_torch
from hardnet_deploy.models import registry
from hardnet_deploy.nms.efficient import CANDIDATE_CAP
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.runners.torch import TorchRunner
from hardnet_deploy.specs import F32

RUNS = 3
SUM = 1e-9  # relative: the same numbers, added in another order
WHOLE = 1.001  # of a run: kernels lie inside it; their clock and ours are read at different moments


def images(size: int, count: int = 1) -> list[F32]:
    draw = np.random.default_rng(0)
    return [draw.standard_normal((1, 3, size, size), dtype=np.float32) for _ in range(count)]


def small(**options: object) -> EngineProfile:
    model: onnx.ModelProto = detector_graph(**options)  # type: ignore[arg-type]  # passed through
    inputs = images(DETECTOR.preprocess.size, 2)
    return profile_ort(model, inputs, iterations=RUNS, candidate_cap=CANDIDATE_CAP, threads=1)


@pytest.mark.parametrize("outputs", ["raw", "boxes", "detections"])
def test_the_kernels_of_onnx_runtime_are_inside_the_run(outputs: str) -> None:
    table = placed(small(outputs=outputs, nms="onnx"), detector=True)
    assert table.profile.run_ms is not None
    assert table.layers_ms == pytest.approx(sum(one.ms for one in table.groups()), rel=SUM)
    assert sum(one.percent for one in table.layers) == pytest.approx(100, rel=SUM)
    assert 0 < table.layers_ms <= WHOLE * table.profile.run_ms
    assert table.accounted_percent == pytest.approx(100 * table.layers_ms / table.profile.run_ms)
    assert table.profile.overhead_percent is not None
    assert not [one for one in table.layers if one.place.group == OTHER]
    assert {one.layer.calls for one in table.layers} == {1.0}


def test_each_run_counts_once_and_the_warm_up_not_at_all() -> None:
    told: list[tuple[int, int]] = []
    found = profile_ort(
        detector_graph(outputs="raw"),
        images(DETECTOR.preprocess.size),
        iterations=RUNS,
        candidate_cap=CANDIDATE_CAP,
        threads=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert found.runs == RUNS
    assert told == [(one, 2 * RUNS) for one in range(1, 2 * RUNS + 1)]  # without the profiler, then with it


def test_the_run_without_the_profiler_has_the_machine_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[weakref.ref[OrtRunner]] = []
    alive: list[int] = []

    class Counted(OrtRunner):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            alive.append(sum(one() is not None for one in opened))
            super().__init__(*arguments, **options)
            opened.append(weakref.ref(self))

    monkeypatch.setattr(profile_ort_module, "OrtRunner", Counted)
    found = small(outputs="raw")
    assert alive == [0, 0]  # the first session is closed before the second is opened
    assert found.plain_median_ms is not None
    assert found.run_median_ms is not None


@pytest.mark.parametrize(
    ("percent", "told"), [(51.12, "51.1 % longer for being profiled"), (-7.2, "drowns in noise (-7.2 %)")]
)
def test_what_profiling_adds_is_said_in_words_that_fit_its_sign(percent: float, told: str) -> None:
    words = overhead_told(percent)
    assert told in words
    assert ("longer" in words) == (percent > 0)


def test_the_plugin_is_what_a_run_takes_without_onnx_runtime_and_called_numpy() -> None:
    found = small(nms="efficient")
    plugin = found.layers[-1]
    assert "NumPy" in plugin.op
    assert any("nothing of TensorRT" in note for note in found.notes)
    table = placed(found, detector=True)
    assert [one.place.group for one in table.layers if one.layer is plugin] == ["NMS"]


def test_pytorch_is_timed_module_by_module() -> None:
    spec = registry.get("ssd300-hardnet-demo")
    network = registry.build(spec)
    runner = TorchRunner(network, spec)
    table = placed(profile_torch(network, runner, images(300), iterations=RUNS), detector=True)
    groups = {one.group for one in table.groups()}
    assert {"stem", "block base.3", "concatenations", "heads", "softmax and decode"} <= groups
    assert OTHER not in groups
    assert {one.layer.op for one in table.layers} >= {"Conv2d", "BatchNorm2d", "ReLU", "concat"}
    assert table.profile.run_ms is not None
    assert 0 < table.layers_ms <= WHOLE * table.profile.run_ms
    assert any("no NMS" in note for note in table.profile.notes)


def test_the_threads_of_pytorch_are_given_back() -> None:
    import torch

    spec = registry.get("hardnet39ds")
    network = registry.build(spec)
    before = torch.get_num_threads()
    profile_torch(network, TorchRunner(network, spec), images(224), iterations=1, threads=1)
    assert torch.get_num_threads() == before


def test_what_was_not_measured_is_none() -> None:
    table = placed(EngineProfile(layers=(EngineLayer(name="base.0", op="", ms=2.0),), source="", runs=1), detector=True)
    assert table.accounted_percent is None
    assert table.profile.overhead_percent is None


def test_the_slowest_come_first_and_groups_in_the_order_of_the_data() -> None:
    layers = [("nms", 1.0), ("base.0", 3.0), ("base.3.in.1", 2.0)]
    profile = EngineProfile(
        layers=tuple(EngineLayer(name=name, op="", ms=ms) for name, ms in layers), source="", runs=1, run_ms=8.0
    )
    table = placed(profile, detector=True)
    assert [one.layer.ms for one in table.slowest()] == [3.0, 2.0, 1.0]
    assert [one.group for one in table.groups()] == ["stem", "concatenations", "NMS"]
    assert table.accounted_percent == 75
