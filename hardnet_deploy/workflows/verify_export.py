"""Does the exported file compute what PyTorch computes? Run after every export; nothing is saved where it does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.evaluate.tensors import Divergence, TensorParity, compare_tensors, first_divergence
from hardnet_deploy.evaluate.tolerances import (
    INNER_TENSOR,
    NMS_AFTER_ROUNDING,
    ONNX_AGAINST_TORCH,
    ONNX_AGAINST_TORCH_ON_PIXELS,
    SAME_NMS,
)
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.nms.efficient import CANDIDATE_CAP, EfficientNmsResult
from hardnet_deploy.nms.matching import DetectionSet, match_detections
from hardnet_deploy.specs import F32, ModelSpec
from hardnet_deploy.tensor_names import BOXES, CONF, DETECTION_OUTPUTS, INPUT, LOC, SCORES
from hardnet_deploy.workflows.reference_nms import reference_nms
from hardnet_deploy.workflows.seeded_inputs import INPUTS, PIXELS, SEED, crafted_candidates, seeded_noise

if TYPE_CHECKING:
    import onnx
    from torch import nn

REFERENCE: Final = "PyTorch (CPU), unfused, float32; NumPy decoding, on pixels of the file's own loc and conf"
DYNAMIC_BATCHES: Final = (1, 2)
Nms = Callable[[F32, F32], EfficientNmsResult]
LARGEST_BOX: Final = 100.0  # beyond it the weights were not made for pixels, and saturated scores tie by the hundred
TENSORS_AT_ONCE: Final = 40  # inner tensors fetched in one run while looking for a divergence: bounds the memory


@dataclass(frozen=True, kw_only=True)
class DetectionParity:
    """Detections of the file against the NumPy reference of its NMS, matched by class, overlap and score.

    Args:
        what: What was compared.
        reference: Number of detections on the reference's side.
        candidate: Number on the file's side.
        matched: Number of pairs.
        share_wanted: Least share that must match, on both sides.
        required: True where no detections at all would be a failure.
    """

    what: str
    reference: int
    candidate: int
    matched: int
    share_wanted: float
    required: bool

    @property
    def ok(self) -> bool:
        """True where enough matched; nothing compared fails where it was required."""
        most = max(self.reference, self.candidate)
        return not self.required if most == 0 else self.matched >= self.share_wanted * most


@dataclass(frozen=True, kw_only=True)
class ExportVerification:
    """The outcome, for the manifest and the user.

    Args:
        runner: What ran the file.
        batches: Batch sizes that were run.
        tensors: Every compared tensor, per batch size.
        detections: Comparisons of detections; empty where the graph has no NMS.
        skipped: What could not be compared, and why; no fault of the file.
        divergence: The first inner tensor that diverges; only looked for after a failure.
    """

    runner: str
    batches: tuple[int, ...]
    tensors: tuple[TensorParity, ...]
    detections: tuple[DetectionParity, ...]
    skipped: tuple[str, ...] = ()
    divergence: Divergence | None = None

    @property
    def ok(self) -> bool:
        """True where something was compared and all of it agrees."""
        return bool(self.tensors) and all(one.ok for one in self.tensors) and all(one.ok for one in self.detections)

    @property
    def worst(self) -> TensorParity:
        """The tensor with the largest absolute error."""
        return max(self.tensors, key=lambda tensor: tensor.max_abs)

    @property
    def allowed(self) -> str | None:
        """The tolerance of the first tensor that failed; None where only detections did."""
        return next((f"errors of at most {tensor.tolerance}" for tensor in self.tensors if not tensor.ok), None)

    def failures(self) -> tuple[str, ...]:
        """One sentence for each comparison that failed, and where it begins."""
        sentences = [
            f"'{tensor.name}' is off by {tensor.max_abs:.2g} ({tensor.violations} of {tensor.compared} values, "
            f"{tensor.case})"
            for tensor in self.tensors
            if not tensor.ok
        ]
        sentences += [
            f"{part.what}: {part.matched} of {max(part.reference, part.candidate)} detections match"
            for part in self.detections
            if not part.ok
        ]
        if not self.tensors:
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
            "tensors": [tensor.as_dict() for tensor in self.tensors],
            "detections": [{**vars(part), "ok": part.ok} for part in self.detections],
        }


def verify_export(
    original: nn.Module,
    exported: onnx.ModelProto,
    spec: ModelSpec,
    options: GraphOptions,
    *,
    candidate_cap: int = CANDIDATE_CAP,
) -> ExportVerification:
    """Run the exported model in ONNX Runtime on seeded inputs and hold it against the unfused PyTorch network.

    Args:
        original: The network as loaded, before any folding; in eval mode.
        exported: The model that is about to be saved.
        spec: What it is.
        options: What the graph looks like.
        candidate_cap: Boxes that the plugin considers in an image on the target.
    """
    from hardnet_deploy.runners.graph import tensor_names
    from hardnet_deploy.runners.ort import OrtRunner
    from hardnet_deploy.runners.torch import TorchRunner

    torch_runner = TorchRunner(original, spec)
    required = [name for name in torch_runner.outputs if options.outputs != "raw" or name not in {BOXES, SCORES}]
    inside = set(tensor_names(exported))
    shared = [name for name in required if name in inside]  # one that is missing fails its comparison below
    nms = partial(reference_nms, options=options, candidate_cap=candidate_cap)
    batches = DYNAMIC_BATCHES if options.batch is None else (options.batch,)
    tensors: list[TensorParity] = []
    detections: list[DetectionParity] = []
    skipped: list[str] = []
    with OrtRunner(exported, extra_outputs=shared, candidate_cap=candidate_cap) as runner:
        for batch, (kind, make) in itertools.product(batches, INPUTS.items()):
            feeds = {INPUT: make(spec.preprocess, batch)}
            wanted = torch_runner.infer(feeds)
            got = runner.infer(feeds)
            case = f"{kind}, batch {batch}"
            tolerance = ONNX_AGAINST_TORCH_ON_PIXELS if kind == PIXELS else ONNX_AGAINST_TORCH
            if kind == PIXELS and LOC in got and CONF in got:
                # Softmax and exp magnify the rounding of logits in the hundreds: each part gets its own input.
                wanted |= torch_runner.decoded(got[LOC], got[CONF])
            boxes = wanted.get(BOXES, np.zeros(1))
            overflowed = kind == PIXELS and BOXES in required and not np.isfinite(boxes).all()
            compared = {name: wanted[name] for name in required if not (overflowed and name == BOXES)}
            tensors += compare_tensors(compared, got, tolerance, case=case)
            if overflowed:
                skipped.append(f"{case}: decoding overflows in the reference too, so no boxes were compared")
            elif options.thresholds is not None and kind == PIXELS and np.abs(boxes).max() > LARGEST_BOX:
                skipped.append(f"{case}: boxes of over {LARGEST_BOX:g} image sides, so no detections were compared")
            elif options.thresholds is not None:
                detections += _compare_detections(wanted, got, nms, case, plugin=options.nms == "efficient")
    if options.thresholds is not None:
        detections.append(_crafted_detections(exported, spec, options, batches[-1], candidate_cap))
    verification = ExportVerification(
        runner=runner.name,
        batches=batches,
        tensors=tuple(tensors),
        detections=tuple(detections),
        skipped=tuple(skipped),
    )
    if verification.ok:
        return verification
    divergence = first_divergence(_inner_pairs(original, exported, spec, batches[0]), INNER_TENSOR)
    return replace(verification, divergence=divergence)


def _result(values: dict[str, NDArray[Any]]) -> EfficientNmsResult:
    return EfficientNmsResult(*(values[name] for name in DETECTION_OUTPUTS))


def _compare_detections(
    wanted: dict[str, NDArray[Any]], got: dict[str, NDArray[Any]], nms: Nms, case: str, *, plugin: bool
) -> list[DetectionParity]:
    """The file's detections against the reference NMS on the wanted boxes; ONNX NMS also on the file's own."""
    found = _result(got)
    own = nms(wanted[BOXES], wanted[SCORES])
    what = f"{case}: detections of the file against the reference NMS on the reference's boxes"
    compared = [_match(what, own, found, NMS_AFTER_ROUNDING, required=False)]
    if not plugin:  # its NMS would be the reference on both sides
        same = nms(got[BOXES], got[SCORES])
        what = f"{case}: NMS of the file against its reference, on the file's boxes"
        compared.append(_match(what, same, found, SAME_NMS, required=False))
    return compared


def _match(
    what: str, wanted: EfficientNmsResult, got: EfficientNmsResult, tolerance: Any, *, required: bool
) -> DetectionParity:
    reference = candidate = matched = 0
    for image in range(len(wanted.num_detections)):
        sides = DetectionSet.from_result(wanted, image), DetectionSet.from_result(got, image)
        outcome = match_detections(*sides, iou_at_least=tolerance.iou, score_tolerance=tolerance.score)
        reference, candidate = reference + len(sides[0]), candidate + len(sides[1])
        matched += len(outcome.pairs)
    return DetectionParity(
        what=what,
        reference=reference,
        candidate=candidate,
        matched=matched,
        share_wanted=tolerance.share,
        required=required,
    )


def _crafted_detections(
    exported: onnx.ModelProto, spec: ModelSpec, options: GraphOptions, batch: int, candidate_cap: int
) -> DetectionParity:
    """The NMS alone on made-up boxes and scores that surely hold detections, whatever the weights are."""
    from hardnet_deploy.runners.graph import cut
    from hardnet_deploy.runners.ort import OrtRunner

    boxes, scores = crafted_candidates(spec, options, batch)
    part = cut(exported, DETECTION_OUTPUTS, inputs=(BOXES, SCORES))
    runner = OrtRunner(part, candidate_cap=candidate_cap)
    found = _result(runner.infer({BOXES: boxes, SCORES: scores}))
    wanted = reference_nms(boxes, scores, options=options, candidate_cap=candidate_cap)
    what = (
        "NMS of the file against its reference, on crafted boxes"
        if options.nms == "onnx"
        else "attributes of the plugin node against what was asked, on crafted boxes, both by the NumPy reference"
    )
    return _match(what, wanted, found, SAME_NMS, required=True)


def _inner_pairs(
    original: nn.Module, exported: onnx.ModelProto, spec: ModelSpec, batch: int
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Every tensor that both sides have, by name, in the file's order."""
    import torch

    from hardnet_deploy.models.trace import trace
    from hardnet_deploy.runners.graph import tensor_names
    from hardnet_deploy.runners.ort import OrtRunner

    traced = trace(original)
    images = seeded_noise(spec.preprocess, batch)
    known = set(traced.names.values())
    names = [name for name in tensor_names(exported) if name in known]
    for start in range(0, len(names), TENSORS_AT_ONCE):
        chunk = names[start : start + TENSORS_AT_ONCE]
        got = OrtRunner(exported, extra_outputs=chunk).infer({INPUT: images})
        wanted = {
            name: value.numpy().copy() for name, value in traced.tensors(torch.from_numpy(images)) if name in chunk
        }
        for name in chunk:
            yield name, wanted[name], got[name]
