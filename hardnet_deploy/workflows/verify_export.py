"""Does the exported file compute what PyTorch computes? Run after every export; nothing is saved where it does not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
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
from hardnet_deploy.nms.efficient import EfficientNmsResult, efficient_nms
from hardnet_deploy.nms.matching import DetectionSet, match_detections
from hardnet_deploy.nms.onnx_nms import onnx_detections
from hardnet_deploy.specs import F32, ModelSpec, Thresholds
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS, INPUT, SCORES
from hardnet_deploy.workflows.seeded_inputs import INPUTS, PIXELS, SEED, crafted_candidates, seeded_noise

if TYPE_CHECKING:
    import onnx
    from torch import nn

DYNAMIC_BATCHES: Final = (1, 2)
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
        divergence: The first inner tensor that diverges; only looked for after a failure.
    """

    runner: str
    batches: tuple[int, ...]
    tensors: tuple[TensorParity, ...]
    detections: tuple[DetectionParity, ...]
    divergence: Divergence | None = None

    @property
    def ok(self) -> bool:
        """True where something was compared and all of it agrees."""
        return bool(self.tensors) and all(one.ok for one in self.tensors) and all(one.ok for one in self.detections)

    @property
    def worst(self) -> TensorParity:
        """The tensor with the largest absolute error."""
        return max(self.tensors, key=lambda tensor: tensor.max_abs)

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
            "reference": "PyTorch (CPU), unfused, float32",
            "runner": self.runner,
            "inputs": list(INPUTS),
            "seed": SEED,
            "batches": list(self.batches),
            "tensors": [tensor.as_dict() for tensor in self.tensors],
            "detections": [{**vars(part), "ok": part.ok} for part in self.detections],
        }


def verify_export(
    original: nn.Module, exported: onnx.ModelProto, spec: ModelSpec, options: GraphOptions
) -> ExportVerification:
    """Run the exported model in ONNX Runtime on seeded inputs and hold it against the unfused PyTorch network.

    Args:
        original: The network as loaded, before any folding; in eval mode.
        exported: The model that is about to be saved.
        spec: What it is.
        options: What the graph looks like.
    """
    from hardnet_deploy.runners.graph import tensor_names
    from hardnet_deploy.runners.ort import OrtRunner
    from hardnet_deploy.runners.torch import TorchRunner

    torch_runner = TorchRunner(original, spec)
    inside = set(tensor_names(exported))
    shared = [name for name in torch_runner.outputs if name in inside]
    batches = DYNAMIC_BATCHES if options.batch is None else (options.batch,)
    tensors: list[TensorParity] = []
    detections: list[DetectionParity] = []
    with OrtRunner(exported, extra_outputs=shared) as runner:
        for batch, (kind, make) in itertools.product(batches, INPUTS.items()):
            feeds = {INPUT: make(spec.preprocess, batch)}
            wanted = torch_runner.infer(feeds)
            got = runner.infer(feeds)
            on_pixels = kind == PIXELS
            # On pixels untrained sizes may overflow to infinity on both sides; the raw outputs say as much and cannot.
            names = [name for name in shared if not (on_pixels and name == BOXES)]
            tolerance = ONNX_AGAINST_TORCH_ON_PIXELS if on_pixels else ONNX_AGAINST_TORCH
            case = f"{kind}, batch {batch}"
            tensors += compare_tensors({name: wanted[name] for name in names}, got, tolerance, case=case)
            if options.thresholds is not None and np.isfinite(wanted[BOXES]).all():
                detections += _compare_detections(wanted, got, options, kind)
    if options.thresholds is not None:
        detections.append(_crafted_detections(exported, spec, options, batches[-1]))
    verification = ExportVerification(
        runner=runner.name, batches=batches, tensors=tuple(tensors), detections=tuple(detections)
    )
    if verification.ok:
        return verification
    divergence = first_divergence(_inner_pairs(original, exported, spec, batches[0]), INNER_TENSOR)
    return ExportVerification(
        runner=runner.name,
        batches=batches,
        tensors=verification.tensors,
        detections=verification.detections,
        divergence=divergence,
    )


def reference_nms(boxes: F32, scores: F32, options: GraphOptions) -> EfficientNmsResult:
    """The NumPy reference of the graph's NMS."""
    thresholds = options.thresholds
    assert isinstance(thresholds, Thresholds)
    if options.nms == "efficient":
        return efficient_nms(
            boxes,
            scores,
            score_threshold=thresholds.score,
            iou_threshold=thresholds.iou,
            max_output_boxes=thresholds.max_detections,
            background_class=0,
        )
    return onnx_detections(
        boxes,
        scores,
        score_threshold=thresholds.score,
        iou_threshold=thresholds.iou,
        max_detections=thresholds.max_detections,
    )


def _result(values: dict[str, NDArray[Any]]) -> EfficientNmsResult:
    return EfficientNmsResult(*(values[name] for name in DETECTION_OUTPUTS))


def _compare_detections(
    wanted: dict[str, NDArray[Any]], got: dict[str, NDArray[Any]], options: GraphOptions, kind: str
) -> list[DetectionParity]:
    """The file's detections against the reference on PyTorch's boxes; ONNX NMS also on the file's own."""
    found = _result(got)
    own = reference_nms(wanted[BOXES], wanted[SCORES], options)
    what = f"{kind}: detections of the file against the reference NMS on PyTorch's boxes"
    compared = [_match(what, own, found, NMS_AFTER_ROUNDING, required=False)]
    if options.nms == "onnx":  # the plugin's would be its own reference on both sides
        same = reference_nms(got[BOXES], got[SCORES], options)
        what = f"{kind}: NMS of the file against its reference, on the file's boxes"
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
    exported: onnx.ModelProto, spec: ModelSpec, options: GraphOptions, batch: int
) -> DetectionParity:
    """The NMS alone on made-up boxes and scores that surely hold detections, whatever the weights are."""
    from hardnet_deploy.runners.graph import cut
    from hardnet_deploy.runners.ort import OrtRunner

    boxes, scores = crafted_candidates(spec, options, batch)
    runner = OrtRunner(cut(exported, DETECTION_OUTPUTS, inputs=(BOXES, SCORES)))
    found = _result(runner.infer({BOXES: boxes, SCORES: scores}))
    wanted = reference_nms(boxes, scores, options)
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
