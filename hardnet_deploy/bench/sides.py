"""What one process times: a network or a file, how it is run, on what data, and where the clock starts and stops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from hardnet_deploy.errors import UsageError
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS

Kind = Literal["torch", "onnxruntime", "tensorrt"]
Boundary = Literal["network", "network+NMS", "end-to-end"]
Device = Literal["cpu", "cuda"]
Nms = Literal["plugin-by-numpy", "in-graph", "numpy", "torchvision"]
"""What does the NMS of a side: the plugin's NumPy reference behind a graph, the graph or plan itself, the same NumPy
reference behind PyTorch, torchvision behind PyTorch."""
NMS_KINDS: Final[tuple[Nms, ...]] = get_args(Nms)

RANDOM: Final = "random"
NETWORK: Final = "network"
NETWORK_NMS: Final = "network+NMS"
END_TO_END: Final = "end-to-end"

FUSED: Final = "fused"
CHANNELS_LAST: Final = "channels-last"
COMPILE: Final = "compile"
FP16: Final = "fp16"
BF16: Final = "bf16"
TF32: Final = "tf32"
CUDA_GRAPH: Final = "cuda-graph"
OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "torch": frozenset({FUSED, CHANNELS_LAST, COMPILE, FP16, BF16, TF32, CUDA_GRAPH}),
    "onnxruntime": frozenset(),
    "tensorrt": frozenset({CUDA_GRAPH}),
}
ONLY_CUDA: Final = frozenset({TF32, CUDA_GRAPH})


class SideError(Exception):
    """A side that cannot be timed here. Its one sentence goes into the side's row; the other sides run on."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one process times.

    Args:
        key: Unique in a run, as ``hardnet68/eager``.
        kind: What runs it.
        network: For ``torch``: a registered model or a rival (:data:`hardnet_deploy.bench.rival_table.RIVALS`).
        weights: A checkpoint for ``torch``; None for what the model ships, else for weights drawn from a seed.
        artifact: The ``.onnx`` or plan for the others, with its manifest beside it.
        options: For ``torch`` any of ``fused``, ``channels-last``, ``compile``, ``fp16``, ``bf16``, ``tf32`` and
            ``cuda-graph``; for ``tensorrt`` ``cuda-graph``. Without ``tf32``, float32 is IEEE's on a GPU too.
        device: Where it runs. ``tensorrt`` is ``cuda`` always, ``onnxruntime`` ``cpu``.
        boundary: Where the clock starts and stops. ``network``: from the input tensor where the network reads it to
            its raw outputs (``loc`` and ``conf``, or ``logits``); a file whose outputs are ``boxes`` has softmax and
            decoding in as well. ``network+NMS``: to the detections. ``end-to-end``: from 8-bit images in the
            computer's memory through pre-processing, copies, network and NMS to results in the computer's memory.
            :attr:`SideFacts.boundary_text` says what it was for one side.
        size: Side S of the input [N, 3, S, S].
        batch: Images N a run.
        data: ``random`` (uniform 8-bit pixels from a seed, pre-processed), or an .npy file: uint8 [M, H, W, 3] RGB
            images, M >= N, cycled in batches, or float32 [N, 3, S, S], fed as it is.
        threads: Of the process that runs it.
        code_line: Which repository trained ``weights``.
        classes: File with the class names of ``weights``; None for the usual ones of the network.
        thresholds: Of the NMS behind ``torch``; None for the usual ones of the model. A file has its own.
        trust: Take an artifact whose manifest is missing or disagrees; noted in the facts.
        made_here: The caller wrote the ONNX file itself, a moment ago: it needs no manifest.

    Raises:
        UsageError: Parts that do not go together.
    """

    key: str
    kind: Kind
    network: str = ""
    weights: str | None = None
    artifact: str | None = None
    options: tuple[str, ...] = ()
    device: Device = "cpu"
    boundary: Boundary = "network"
    size: int
    batch: int = 1
    data: str = RANDOM
    threads: int = 1
    code_line: str = "pingolh"
    classes: str | None = None
    thresholds: Thresholds | None = None
    trust: bool = False
    made_here: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.options) - OPTIONS[self.kind])
        if unknown:
            raise UsageError(f"{self.kind} has no option {', '.join(unknown)}", wanted=", ".join(OPTIONS[self.kind]))
        if FP16 in self.options and BF16 in self.options:
            raise UsageError(f"'{self.key}' asks for fp16 and bf16", wanted="one of them")
        if self.device == "cpu" and ONLY_CUDA & set(self.options):
            raise UsageError(f"'{self.key}' asks for {', '.join(sorted(ONLY_CUDA & set(self.options)))} on the CPU")
        if (self.kind == "torch") != bool(self.network) or (self.kind == "torch") == bool(self.artifact):
            raise UsageError(f"'{self.key}' needs a network for torch, an artifact for everything else, and not both")
        if (self.kind == "tensorrt") != (self.device == "cuda") and self.kind != "torch":
            raise UsageError(f"'{self.key}': TensorRT runs on CUDA, ONNX Runtime on the CPU", got=self.device)
        if min(self.size, self.batch, self.threads) < 1:
            raise UsageError(f"'{self.key}' has a size, a batch or threads under 1")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Side:
        """Of :meth:`as_dict`, through JSON."""
        return cls(**{**record, "options": tuple(record["options"]), "thresholds": _thresholds(record)})


@dataclass(frozen=True, kw_only=True)
class SideFacts:
    """What a process says of the side it loaded; all None or empty for a side that could not be loaded.

    Args:
        engine: What runs it, in words, with its version.
        source: Where the network comes from: ``torchvision 0.28.0``, ``hardnet-deploy's own definition``, a file.
        trained: False for weights drawn from a seed, None where nothing is known.
        artifact_sha256: Of the artifact's bytes; for torch of the names and values of the weights.
        weights_sha256: Of the names and values of the weights, before anything was folded or quantised; of a file what
            its manifest says; None where nothing does.
        precision_note: What it computes in, in words.
        boundary_text: What is inside the timed part, in words.
        nms: What does the NMS that is inside; None where there is none.
        thresholds: Of that NMS.
        nms_candidates: Pairs of a box and a class, background out, that reach its score threshold: the mean over images
            of what is timed, rounded; None where they were not counted.
        notes: Sentences that belong beside its times.
        parameters: Learned values of the network; None for files.
        macs: Multiply-accumulates of its convolutions and linear layers for one image; None for files.
        peak_rss_bytes: Largest resident memory of the process so far; None where the system does not tell.
    """

    engine: str = ""
    source: str = ""
    trained: bool | None = None
    artifact_sha256: str | None = None
    weights_sha256: str | None = None
    precision_note: str = ""
    boundary_text: str = ""
    nms: Nms | None = None
    thresholds: Thresholds | None = None
    nms_candidates: int | None = None
    notes: tuple[str, ...] = ()
    parameters: int | None = None
    macs: int | None = None
    peak_rss_bytes: int | None = None

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> SideFacts:
        """Of ``dataclasses.asdict``, through JSON."""
        return cls(**{**record, "notes": tuple(record["notes"]), "thresholds": _thresholds(record)})


def _thresholds(record: Mapping[str, Any]) -> Thresholds | None:
    found = record.get("thresholds")
    return None if found is None else Thresholds(**found)


def limits_text(thresholds: Thresholds) -> str:
    """What an NMS keeps, in words."""
    return f"score {thresholds.score:g}, IoU {thresholds.iou:g}, at most {thresholds.max_detections}"


def boundary_of(outputs: Iterable[str]) -> Boundary:
    """``network+NMS`` for a graph whose outputs are detections, ``network`` for any other."""
    return "network+NMS" if set(DETECTION_OUTPUTS) <= set(outputs) else "network"


def network_text(outputs: Iterable[str], thresholds: Thresholds | None = None) -> str:
    """What is inside the timed part of a graph, in words.

    Args:
        outputs: Of the graph.
        thresholds: Of the NMS inside, where there is one.
    """
    names = set(outputs)
    if set(DETECTION_OUTPUTS) <= names:
        limits = f" ({limits_text(thresholds)})" if thresholds else ""
        return f"input tensor to detections: softmax, decoding and NMS{limits} in"
    if BOXES in names:
        return "input tensor to boxes and scores: softmax and decoding in, NMS out"
    return "input tensor to raw outputs: softmax, decoding and NMS out" if len(names) > 1 else "input tensor to logits"
