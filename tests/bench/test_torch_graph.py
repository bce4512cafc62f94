"""PyTorch's columns as CUDA graphs: with fakes where there is no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hardnet_deploy.bench import torch_columns
from hardnet_deploy.bench.loaded import WallClock
from hardnet_deploy.bench.sides import Side
from hardnet_deploy.bench.torch_columns import capture, load_torch
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.bench_worker import PARTS

BACKBONE: dict[str, Any] = {"key": "k", "kind": "torch", "network": "hardnet39ds", "size": 64}
DETECTOR: dict[str, Any] = {"key": "k", "kind": "torch", "network": registry.DEMO_MODEL, "size": 300, "threads": 2}


def output(one: Any, number: int) -> Any:
    assert isinstance(one, WallClock)
    with one._context():
        return one._run(number)


class FakeGraph:
    """A pretended CUDA graph: a replay computes what the tensor that was captured holds by then."""

    def __init__(self, call: Any, held: Tensor) -> None:
        self.replays = 0
        self._call, self._held = call, held
        self.outputs = tuple(torch.zeros_like(one) for one in call(held))

    def replay(self) -> None:
        self.replays += 1
        for kept, new in zip(self.outputs, self._call(self._held), strict=True):
            kept.copy_(new)


def as_pretended_gpu(**options: Any) -> Side:
    """A side that asks for CUDA and has its tensors on the CPU."""
    side = Side(**options, device="cuda")
    object.__setattr__(side, "device", "cpu")
    return side


@pytest.mark.parametrize("boundary", ["network", "network+NMS", "end-to-end"])
def test_a_cuda_graph_is_what_is_timed_in_every_boundary(
    boundary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[FakeGraph] = []

    def fake_capture(call: Any, held: Tensor) -> tuple[FakeGraph, Any]:
        graphs.append(FakeGraph(call, held))
        return graphs[-1], graphs[-1].outputs

    monkeypatch.setattr(torch_columns, "capture", fake_capture)
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    whole: dict[str, Any] = {**DETECTOR, "boundary": boundary, "data": str(tmp_path / "images.npy")}
    found = load_torch(as_pretended_gpu(**whole, options=("cuda-graph",)), PARTS)
    assert "cuda-graph" in found.facts.engine
    (graph,) = graphs
    eager = load_torch(Side(**whole), PARTS)
    for number in (0, 1) if boundary == "end-to-end" else (0,):  # CUDA events alone feed what is on the device already
        replays = graph.replays
        outputs = output(found, number)
        assert graph.replays == replays + 1
        for one, other in zip(outputs, output(eager, number), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("options", [("cuda-graph",), ("cuda-graph", "fp16", "channels-last")])
def test_a_captured_graph_takes_the_next_image_end_to_end(options: tuple[str, ...], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    whole: dict[str, Any] = {**BACKBONE, "device": "cuda", "boundary": "end-to-end"}
    whole["data"] = str(tmp_path / "images.npy")
    graph, eager = (load_torch(Side(**whole, options=one), PARTS) for one in (options, options[1:]))
    first, second = output(graph, 0)[0].clone(), output(graph, 1)[0]
    assert not torch.equal(first, second)
    for found, number in ((first, 0), (second, 1)):
        expected = output(eager, number)[0]
        assert torch.allclose(found, expected, atol=1e-2 * float(expected.abs().max()))  # cuDNN may choose others


@pytest.mark.needs_cuda
def test_a_captured_graph_computes_what_eager_does() -> None:
    module = registry.build("hardnet39ds").cuda()
    held = torch.randn(1, 3, 64, 64, device="cuda")
    with torch.inference_mode():
        expected = module(held).clone()
        graph, found = capture(module, held)
        found.zero_()
        graph.replay()
    torch.cuda.synchronize()
    assert torch.allclose(found, expected, atol=1e-3 * float(expected.abs().max()))  # cuDNN may choose other algorithms
