"""Does the fp16-typed graph still compute what its float32 graph computes? Run before TensorRT or the user sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.evaluate.tensors import Divergence, TensorParity, compare_tensors, first_divergence
from hardnet_deploy.evaluate.tolerances import (
    DECODED_IN_FP32,
    FP16_AGAINST_FP32,
    INNER_TENSOR_FP16,
    Tolerance,
)
from hardnet_deploy.runners.base import Arrays
from hardnet_deploy.specs import Preprocess
from hardnet_deploy.tensor_names import BOXES, CONF, INPUT, LOC, LOGITS, SCORES
from hardnet_deploy.workflows.seeded_inputs import INPUTS, SEED

if TYPE_CHECKING:
    import onnx

REFERENCE: Final = "the float32 graph in ONNX Runtime (CPU)"
DYNAMIC_BATCHES: Final = (1, 2)
NETWORK_OUTPUTS: Final = (LOC, CONF, LOGITS)
END_TO_END: Final = "from the input, reported only"
DECODING: Final = "from its own loc and conf"
TENSORS_AT_ONCE: Final = 40  # inner tensors fetched in one run while looking for a divergence: bounds the memory


@dataclass(frozen=True, kw_only=True)
class HalfVerification:
    """The outcome, for the manifest and the user.

    Args:
        runner: What ran the fp16-typed graph.
        batches: Batch sizes that were run.
        tensors: Every compared tensor, by input and batch size. Reported only, but for NaN and infinity, are ``boxes``
            and ``scores`` from the input on, because ``exp`` and softmax of large logits magnify rounding, and the
            outputs of a graph with Q/DQ, where a value near the middle of two steps of int8 may go the other way.
        skipped: What could not be compared, and why; no fault of the graph.
        divergence: The first inner tensor that diverges; only looked for after a failure.
    """

    runner: str
    batches: tuple[int, ...]
    tensors: tuple[TensorParity, ...]
    skipped: tuple[str, ...] = ()
    divergence: Divergence | None = None

    @property
    def ok(self) -> bool:
        """True where an output of the network was compared and everything agrees."""
        return bool(self._judged) and all(one.ok for one in self.tensors)

    @property
    def _judged(self) -> list[TensorParity]:
        return [one for one in self.tensors if one.name in NETWORK_OUTPUTS]

    @property
    def noisiest(self) -> TensorParity:
        """The output of the network with the least ratio of signal to rounding."""
        return min(self._judged, key=lambda one: float("inf") if one.sqnr_db is None else one.sqnr_db)

    def failures(self) -> tuple[str, ...]:
        """One sentence for each comparison that failed, and where it begins."""
        sentences = [
            f"'{one.name}' ({one.case}) is off by {one.max_abs:.2g} ({one.violations} of {one.compared} values)"
            for one in self.tensors
            if not one.ok
        ]
        if not self._judged:
            sentences.append("nothing was compared")
        return (*sentences, self.divergence.sentence()) if self.divergence else tuple(sentences)

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "ok": self.ok,
            "reference": REFERENCE,
            "runner": self.runner,
            "inputs": list(INPUTS),
            "seed": SEED,
            "batches": list(self.batches),
            "skipped": list(self.skipped),
            "tensors": [one.as_dict() for one in self.tensors],
        }


def verify_half(
    full: onnx.ModelProto, half: onnx.ModelProto, preprocess: Preprocess, *, batch: int | None
) -> HalfVerification:
    """Run both graphs in ONNX Runtime on the same seeded inputs and compare what their networks make.

    Args:
        full: The float32 graph.
        half: The same graph, fp16-typed; it is run with every float16 tensor rounded.
        preprocess: Of the model.
        batch: That both graphs take; None for any.
    """
    from hardnet_deploy.runners.graph import cut, tensor_names
    from hardnet_deploy.runners.ort import OrtRunner

    inside = set(tensor_names(full))
    raw = [name for name in NETWORK_OUTPUTS if name in inside]
    quantised = any(node.op_type == "QuantizeLinear" for node in full.graph.node)
    decoded = [name for name in (BOXES, SCORES) if name in inside]
    batches = DYNAMIC_BATCHES if batch is None else (batch,)
    reference, candidate = (OrtRunner(cut(model, [*raw, *decoded])) for model in (full, half))
    decoder = OrtRunner(cut(full, decoded, inputs=(LOC, CONF))) if decoded else None
    tensors: list[TensorParity] = []
    skipped: list[str] = []
    feeds: Arrays = {}
    failing: Arrays = {}
    for size, (kind, make) in itertools.product(batches, INPUTS.items()):
        feeds = {INPUT: make(preprocess, size)}
        wanted, got = reference.infer(feeds), candidate.infer(feeds)
        case = f"{kind}, batch {size}"
        asked: list[tuple[Sequence[str], Arrays, Tolerance | None, str]] = [
            (raw, wanted, None if quantised else FP16_AGAINST_FP32, case),
            (decoded, wanted, None, f"{case}, {END_TO_END}"),
        ]
        if decoder is not None:
            own = decoder.infer({name: got[name] for name in (LOC, CONF)})
            asked.append((decoded, own, DECODED_IN_FP32, f"{case}, {DECODING}"))
        for names, values, tolerance, told in asked:
            finite = {name: values[name] for name in names if np.isfinite(values[name]).all()}
            skipped += [f"'{name}' ({told}) is not finite in float32 either" for name in names if name not in finite]
            tensors += compare_tensors(finite, got, tolerance, case=told)
        if not failing and not all(one.ok for one in tensors):
            failing = feeds
    found = HalfVerification(runner=candidate.name, batches=batches, tensors=tuple(tensors), skipped=tuple(skipped))
    if found.ok:
        return found
    divergence = first_divergence(_inner_pairs(full, half, failing or feeds), INNER_TENSOR_FP16)
    return replace(found, divergence=divergence)


def _inner_pairs(
    full: onnx.ModelProto, half: onnx.ModelProto, feeds: Arrays
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Every tensor up to the network's outputs that both graphs have, by name, in order."""
    from hardnet_deploy.runners.graph import cut, tensor_names
    from hardnet_deploy.runners.ort import OrtRunner

    end = [name for name in NETWORK_OUTPUTS if name in tensor_names(full)]
    declared = [{info.name for info in (*one.graph.value_info, *one.graph.output)} for one in (full, half)]
    shared = set(tensor_names(half)).intersection(*declared)
    names = [name for name in tensor_names(cut(full, end)) if name in shared]
    for start in range(0, len(names), TENSORS_AT_ONCE):
        chunk = names[start : start + TENSORS_AT_ONCE]
        wanted, got = (OrtRunner(cut(model, chunk)).infer(feeds) for model in (full, half))
        yield from ((name, wanted[name], got[name]) for name in chunk)
