# ruff: noqa: TID253  (this module is torch code; whoever imports it wants torch)
"""PyTorch's columns: eager, fused, channels-last, compiled, in half precision, as a CUDA graph."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from hardnet_deploy.bench.inputs import Inputs, inputs_for
from hardnet_deploy.bench.loaded import CudaEvents, Loaded, WallClock
from hardnet_deploy.bench.network_size import network_size
from hardnet_deploy.bench.nms_candidates import candidates
from hardnet_deploy.bench.parts import Parts
from hardnet_deploy.bench.rival_table import is_rival
from hardnet_deploy.bench.rivals import OWN_SOURCE, load_network
from hardnet_deploy.bench.sides import (
    CHANNELS_LAST,
    COMPILE,
    CUDA_GRAPH,
    END_TO_END,
    FUSED,
    NETWORK,
    TF32,
    Nms,
    Side,
    SideError,
    SideFacts,
)
from hardnet_deploy.bench.torch_detections import Decoded, Suppression, suppression
from hardnet_deploy.bench.torch_precision import dtype_of, float32_mode, in_dtype, precision_text
from hardnet_deploy.data.preprocess import preprocess_batch
from hardnet_deploy.specs import F32, DetectorHead, Preprocess, Thresholds, classifier_preprocess

FOLDING_SIZE: Final = 64
"""Of the example that a backbone is folded on; what is folded does not depend on it."""
Call = Callable[[Tensor], Any]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network as it was loaded: eager, float32, on the CPU."""

    module: nn.Module
    source: str
    trained: bool | None
    sha256: str
    preprocess: Preprocess
    head: DetectorHead | None = None
    thresholds: Thresholds | None = None
    warning: str | None = None


def load_torch(side: Side, parts: Parts) -> Loaded:
    """The side's network, in this process, its weights and inputs where it runs.

    Raises:
        SideError: It has another size, no such boundary, or there is no CUDA that PyTorch can use.
        HardnetDeployError: The model or checkpoint cannot be loaded.
    """
    if side.device == "cuda" and not torch.cuda.is_available():
        raise SideError("there is no NVIDIA GPU that PyTorch can use")
    torch.set_num_threads(side.threads)
    network = _open(side, parts)
    _refuse_size(side, network)
    parameters, macs = network_size(network.module, side.size)
    inputs = inputs_for(side, network.preprocess)
    module, notes = _fused(side, network.module, parts, side.size if network.head else FOLDING_SIZE)
    dtype = dtype_of(side)
    prepared = _Prepared(side, network, in_dtype(module, dtype), dtype)
    facts = SideFacts(
        engine=_engine(side),
        source=network.source,
        trained=network.trained,
        artifact_sha256=network.sha256,
        precision_note=precision_text(side, module),
        boundary_text=prepared.boundary_text,
        weights_sha256=network.sha256,
        nms=prepared.nms,
        thresholds=prepared.thresholds,
        nms_candidates=prepared.candidates(inputs),
        notes=(*notes, *([network.warning] if network.warning else []), f"fed with {inputs.text}"),
        parameters=parameters,
        macs=macs,
    )
    return prepared.loaded(facts, inputs)


class _Prepared:
    """A module on its device, with what follows it in the side's boundary."""

    def __init__(self, side: Side, network: Network, module: nn.Module, dtype: torch.dtype) -> None:
        self._side, self._dtype = side, dtype
        self._mode = partial(float32_mode, tf32=TF32 in side.options)
        self._preprocess = network.preprocess
        self._format = torch.channels_last if CHANNELS_LAST in side.options else torch.contiguous_format
        self._nms: Suppression | None = None
        self.thresholds: Thresholds | None = None
        self.boundary_text = "input tensor to " + ("raw loc and conf" if network.head else "logits")
        if side.boundary != NETWORK and network.head is not None:
            self.thresholds = side.thresholds or network.thresholds
            assert self.thresholds is not None
            module = Decoded(module, network.head)
            self._nms = suppression(self.thresholds, side.device)
            self.boundary_text = f"input tensor to detections: softmax and decoding in, NMS by {self._nms.text}"
        if side.boundary == END_TO_END:
            self.boundary_text = (
                "8-bit image to results in the computer's memory: pre-processing in NumPy, copies, then "
                + self.boundary_text
            )
        module = module.eval().to(side.device).to(memory_format=self._format)  # type: ignore[call-overload]  # torch's
        # overloads of Module.to have none with a memory format alone
        self._call: Call = module
        if COMPILE in side.options:
            graph = "reduce-overhead" if CUDA_GRAPH in side.options else None
            self._call = torch.compile(module, mode=graph)

    @property
    def nms(self) -> Nms | None:
        """What does the NMS that is inside."""
        return self._nms.kind if self._nms else None

    def candidates(self, inputs: Inputs) -> int | None:
        """What reaches the NMS; None where there is none."""
        if self.thresholds is None:
            return None
        with self._mode():
            return candidates(self._scores, inputs.tensors, self.thresholds)

    def _scores(self, tensor: F32) -> F32:
        scores: F32 = self._call(self._placed(torch.from_numpy(tensor)))[1].cpu().numpy()
        return scores

    def loaded(self, facts: SideFacts, inputs: Inputs) -> Loaded:
        """Ready to be timed by the clock that fits the device and the boundary."""
        tensors = [self._placed(torch.from_numpy(one)) for one in inputs.tensors]
        place, network = self._replayed(tensors[0]) if self._is_captured else (self._placed, self._call)
        if self._side.boundary == END_TO_END:
            images = inputs.images

            def from_images(number: int) -> Any:
                batch = torch.from_numpy(preprocess_batch(images[number % len(images)], self._preprocess))
                return to_host(self._finish(network(place(batch))))

            return WallClock(facts, from_images, self._mode)

        def run(number: int) -> Any:
            return self._finish(network(tensors[number % len(tensors)]))

        if self._side.device == "cpu":
            return WallClock(facts, run, self._mode)
        if self._is_captured and len(tensors) > 1:
            return CudaEvents(facts, run, self._mode, lambda number: place(tensors[number % len(tensors)]))
        return CudaEvents(facts, run, self._mode)

    @property
    def _is_captured(self) -> bool:
        """By us; ``torch.compile`` captures for itself."""
        return CUDA_GRAPH in self._side.options and COMPILE not in self._side.options

    def _replayed(self, example: Tensor) -> tuple[Call, Call]:
        """What copies a batch to where the graph reads it, and what replays the graph on whatever lies there."""
        held = example.clone(memory_format=torch.preserve_format)
        with self._mode():
            graph, outputs = capture(self._call, held)

        def replay(_held: Tensor) -> Any:
            graph.replay()
            return outputs

        return held.copy_, replay

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._side.device, self._dtype).contiguous(memory_format=self._format)

    def _finish(self, outputs: Any) -> Any:
        return self._nms(*outputs) if self._nms else outputs


def to_host(outputs: Any) -> Any:
    """Results in the computer's memory, every tensor among them copied, however deep; waits until they are there."""
    if isinstance(outputs, Tensor):
        return outputs.cpu()
    if isinstance(outputs, Mapping):
        return {name: to_host(one) for name, one in outputs.items()}
    return [to_host(one) for one in outputs] if isinstance(outputs, tuple | list) else outputs


def capture(call: Call, held: Tensor) -> tuple[torch.cuda.CUDAGraph, Any]:
    """A CUDA graph of ``call`` on ``held``, and the tensors that each replay fills.

    Warmed up on a side stream first, as https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs asks.
    """
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types for it
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            call(held)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = call(held)
    return graph, outputs


def _open(side: Side, parts: Parts) -> Network:
    if is_rival(side.network):
        if side.weights is not None:
            raise SideError(f"{side.network} is timed with weights from a seed; it takes no checkpoint")
        module, source = load_network(side.network)
        return Network(
            module=module,
            source=source,
            trained=False,
            sha256=state_sha256(module),
            preprocess=classifier_preprocess(side.size),
        )
    weights, classes = (Path(text) if text else None for text in (side.weights, side.classes))
    opened = parts.open_model(side.network, weights, side.code_line, classes)
    if opened.network is None:
        raise SideError(f"{side.network} is no PyTorch model")
    return Network(
        module=opened.network,
        source=OWN_SOURCE + (f", weights of {side.weights}" if side.weights else ""),
        trained=opened.trained,
        sha256=opened.weights_sha256 or state_sha256(opened.network),
        preprocess=opened.preprocess if opened.head else classifier_preprocess(side.size),
        head=opened.head,
        thresholds=opened.thresholds,
        warning=opened.warning,
    )


def state_sha256(module: nn.Module) -> str:
    """SHA-256 of the weights' names and values."""
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode() + b"\0")
        digest.update(value.contiguous().numpy().data)
    return digest.hexdigest()


def _refuse_size(side: Side, network: Network) -> None:
    if network.head is not None and network.head.input_size != side.size:
        raise SideError(f"{side.network} takes {network.head.input_size}x{network.head.input_size} images")
    if network.head is None and side.boundary == "network+NMS":
        raise SideError(f"{side.network} is no detector: it has no NMS")


def _fused(side: Side, module: nn.Module, parts: Parts, example: int) -> tuple[nn.Module, list[str]]:
    if FUSED not in side.options:
        return module, []
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()):
        return module, ["there is no batch norm to fold: the same network as eager"]
    folded, left = parts.fold(module, torch.zeros(1, 3, example, example))
    return folded, [left] if left else []


def _engine(side: Side) -> str:
    where = "CPU" if side.device == "cpu" else torch.cuda.get_device_name()
    return f"PyTorch {torch.__version__} ({where}), {', '.join(side.options) or 'eager'}"
