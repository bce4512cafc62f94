"""What INT8 in the graph changes, measured in ONNX Runtime before TensorRT sees it: figures, and nothing broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hardnet_deploy.evaluate.tensors import TensorParity, compare_tensors
from hardnet_deploy.specs import Preprocess
from hardnet_deploy.tensor_names import INPUT
from hardnet_deploy.workflows.seeded_inputs import INPUTS, SEED
from hardnet_deploy.workflows.verify_half import DYNAMIC_BATCHES, NETWORK_OUTPUTS, REFERENCE

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, kw_only=True)
class QdqVerification:
    """The outcome. INT8 has no elementwise tolerance: how good it is, mAP and matched detections decide.

    Args:
        runner: What ran the Q/DQ graph.
        tensors: Outputs of the network, by input and batch size, reported with their signal-to-noise ratio.
        dead: Outputs that no longer depend on the input although the float graph's do.
    """

    runner: str
    tensors: tuple[TensorParity, ...]
    dead: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True where something was compared, every value is a number, and every output still answers to its input."""
        return bool(self.tensors) and not self.failures()

    def failures(self) -> tuple[str, ...]:
        """One sentence each."""
        broken = [f"'{one.name}' ({one.case}) holds values that are no numbers" for one in self.tensors if not one.ok]
        flat = [f"'{name}' is the same for every input" for name in self.dead]
        return (*broken, *flat, *(() if self.tensors else ("nothing was compared",)))

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "ok": self.ok,
            "reference": REFERENCE,
            "runner": self.runner,
            "inputs": list(INPUTS),
            "seed": SEED,
            "tensors": [one.as_dict() for one in self.tensors],
        }


def verify_qdq(
    full: onnx.ModelProto, quantised: onnx.ModelProto, preprocess: Preprocess, *, batch: int | None
) -> QdqVerification:
    """Run both graphs in ONNX Runtime on the same seeded inputs.

    Args:
        full: The float32 graph.
        quantised: The same graph with Q/DQ.
        preprocess: Of the model.
        batch: That both graphs take; None for any.
    """
    from hardnet_deploy.runners.graph import cut, tensor_names
    from hardnet_deploy.runners.ort import OrtRunner

    inside = set(tensor_names(full))
    names = [name for name in NETWORK_OUTPUTS if name in inside] or [value.name for value in full.graph.output]
    reference, candidate = (OrtRunner(cut(model, names)) for model in (full, quantised))
    tensors: list[TensorParity] = []
    answers: dict[str, list[tuple[Any, Any]]] = {name: [] for name in names}
    for size in DYNAMIC_BATCHES if batch is None else (batch,):
        for kind, make in INPUTS.items():
            feeds = {INPUT: make(preprocess, size)}
            wanted, got = reference.infer(feeds), candidate.infer(feeds)
            tensors += compare_tensors(wanted, got, None, case=f"{kind}, batch {size}")
            for name in names:
                answers[name].append((wanted[name][0], got[name][0]))
    dead = [
        name
        for name, pairs in answers.items()
        if _varies([wanted for wanted, _ in pairs]) and not _varies([got for _, got in pairs])
    ]
    return QdqVerification(runner=candidate.name, tensors=tuple(tensors), dead=tuple(dead))


def _varies(values: list[Any]) -> bool:
    return any(not np.array_equal(values[0], value) for value in values[1:])
