# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""Time of each module of the network in PyTorch on the CPU, where every operation ends before the next begins.

The traced network is interpreted node by node, with a clock around each. The whole is timed apart, as the runner runs
it, because what stands between the nodes is the interpreter's and no part of eager PyTorch.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, Final

import torch
from torch import fx

from hardnet_deploy.bench.layer_times import EngineLayer, EngineProfile, Progress, mean_layers
from hardnet_deploy.models.trace import TracedNetwork, trace
from hardnet_deploy.runners.torch import TorchRunner
from hardnet_deploy.specs import F32
from hardnet_deploy.tensor_names import BOXES, CONF, LOC

WARM_UP_RUNS: Final = 3
SOFTMAX_AND_DECODE: Final = "decode"


class _Timed(fx.Interpreter):
    def __init__(self, traced: TracedNetwork) -> None:
        super().__init__(traced.module)
        self._names = traced.names
        self.events: list[tuple[str, str, float]] = []

    def run_node(self, n: fx.Node) -> Any:
        began = time.perf_counter()
        value = super().run_node(n)
        if n.op in {"call_module", "call_function"}:
            self.events.append((self._names[n], self._operator(n), 1e3 * (time.perf_counter() - began)))
        return value

    def _operator(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return type(self.fetch_attr(str(node.target))).__name__
        return str(getattr(node.target, "__name__", node.target))


def profile_torch(
    network: torch.nn.Module,
    runner: TorchRunner,
    batches: list[F32],
    *,
    iterations: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> EngineProfile:
    """Time each module of a network, and the runner's softmax and decoding.

    Args:
        network: What ``runner`` runs, in eval mode.
        runner: Runs it whole.
        batches: Inputs [N, 3, S, S], used in turn.
        iterations: Timed runs, of the parts and of the whole in turns.
        threads: Of PyTorch meanwhile; None leaves what it has.
        progress: Told (runs done, runs).
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        return _profile(network, runner, batches, iterations, progress)
    finally:
        torch.set_num_threads(before)


def _profile(
    network: torch.nn.Module, runner: TorchRunner, batches: list[F32], iterations: int, progress: Progress | None
) -> EngineProfile:
    interpreter = _Timed(trace(network))
    decode: list[float] = []
    profiled: list[float] = []
    plain: list[float] = []
    for number in range(WARM_UP_RUNS + iterations):
        images = batches[number % len(batches)]
        if number == WARM_UP_RUNS:
            interpreter.events.clear()
        began = time.perf_counter()
        with torch.inference_mode():
            found = interpreter.run(torch.from_numpy(images.copy()))
        if BOXES in runner.outputs:
            loc, conf = (one.numpy() for one in found)
            decoding = time.perf_counter()
            runner.decoded(loc, conf)
            decode.append(1e3 * (time.perf_counter() - decoding))
        profiled.append(1e3 * (time.perf_counter() - began))
        began = time.perf_counter()
        runner.infer({runner.inputs[0].name: images})
        plain.append(1e3 * (time.perf_counter() - began))
        if progress and number >= WARM_UP_RUNS:
            progress(number + 1 - WARM_UP_RUNS, iterations)
    layers = mean_layers(interpreter.events, iterations)
    notes = []
    if decode:
        mean = statistics.fmean(decode[WARM_UP_RUNS:])
        layers += (EngineLayer(name=SOFTMAX_AND_DECODE, op="NumPy", ms=mean),)
        notes.append(f"PyTorch ends at {LOC} and {CONF}: softmax and decoding are NumPy on the host; no NMS")
    return EngineProfile(
        layers=layers,
        source=f"clock around each module, {runner.name}",
        runs=iterations,
        run_ms=statistics.fmean(profiled[WARM_UP_RUNS:]),
        run_median_ms=statistics.median(profiled[WARM_UP_RUNS:]),
        plain_median_ms=statistics.median(plain[WARM_UP_RUNS:]),
        notes=tuple(notes),
    )
