"""Every tolerance by name, with its reason. Nothing is compared with a bare number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """A candidate is close where ``|error| <= atol + rtol * |reference| + of_scale * max |reference|``."""

    atol: float
    rtol: float
    why: str
    of_scale: float = 0.0

    def __str__(self) -> str:
        parts = ((self.atol, ""), (self.rtol, " of the value"), (self.of_scale, " of the largest value"))
        return " + ".join(f"{bound:g}{what}" for bound, what in parts if bound) or "nothing"


@dataclass(frozen=True, kw_only=True)
class MatchTolerance:
    """When two sets of detections are the same.

    Args:
        iou: Least overlap of a matched pair.
        score: Largest difference of a matched pair's scores.
        share: Least share of detections that must be matched, on both sides, in [0, 1].
        why: The reason.
    """

    iou: float
    score: float
    share: float
    why: str


ONNX_AGAINST_TORCH: Final = Tolerance(
    atol=1e-4,
    rtol=1e-4,
    why="float32 rounding moves outputs by up to 1e-4 (hardnet68ds); a wrong layer moves them by tenths or whole units",
)
ONNX_AGAINST_TORCH_ON_PIXELS: Final = Tolerance(
    atol=1e-4,
    rtol=1e-4,
    of_scale=1e-5,
    why="inputs of up to 151 instead of 1 scale outputs and their rounding, 1e-6 of the largest value, alike",
)
INNER_TENSOR: Final = Tolerance(
    atol=0.0,
    rtol=1e-4,
    why="per layer, relative to the layer's largest value: scales inside the network differ by orders of magnitude",
)
SAME_NMS: Final = MatchTolerance(
    iou=0.9999,
    score=0.0,
    share=1.0,
    why="both sides start from the same boxes and scores and only select among them",
)
NMS_AFTER_ROUNDING: Final = MatchTolerance(
    iou=0.99,
    score=1e-4,
    share=0.99,
    why="scores that differ by rounding may swap places at a suppression or at the cap: one detection in a hundred",
)


@dataclass(frozen=True, kw_only=True)
class PrecisionTolerances:
    """What a candidate of one precision may differ by from its reference.

    Args:
        outputs: Of the network's outputs; None where they are reported only.
        inner: Of tensors inside, by ``rtol`` of each tensor's largest value: a layer beyond it is said to diverge.
        detections: Of all detections; None where only those that a product would show are held against a bound.
        shown: Of detections with at least :data:`SHOWN_SCORE`.
    """

    outputs: Tolerance | None
    inner: Tolerance
    detections: MatchTolerance | None
    shown: MatchTolerance


SAME_PREPROCESSING: Final = Tolerance(
    atol=0.0,
    rtol=0.0,
    of_scale=1e-5,
    why="the same pixels by the same arithmetic: a mean off by half a grey level is already 2e-3 of the largest value",
)
FP16_AGAINST_FP32: Final = Tolerance(
    atol=0.0,
    rtol=0.0,
    of_scale=5e-2,
    why="every result rounded to 11 bits moves outputs by 3.1e-3 of their largest value (ssd300-hardnet68), by 1.7e-2 "
    "in the depthwise hardnet68ds with random weights; a wrong layer by tenths",
)
DECODED_IN_FP32: Final = Tolerance(
    atol=1e-5,
    rtol=1e-5,
    why="the same float32 operators on the same loc and conf; one of them left in float16 moves scores by 5e-4",
)
SAME_INPUT: Final = Tolerance(
    atol=0.0,
    rtol=1e-5,
    why="the input is made in float32 whatever the network computes in; see SAME_PREPROCESSING",
)
INNER_TENSOR_FP16: Final = Tolerance(
    atol=0.0,
    rtol=2e-2,
    why="the same rounding moves a layer by 4.1e-3 of its largest value (ssd512-hardnet85), a wrong weight by tenths",
)
INNER_TENSOR_INT8: Final = Tolerance(
    atol=0.0,
    rtol=0.5,
    why="8 bits move a layer by up to 0.22 of its largest value (ssd300-hardnet68); it names a layer and fails none",
)
ANY_SCORE: Final = 1.0  # scores lie in [0, 1], so no two of them are further apart
SHOWN_SCORE: Final = 0.3
FP32_DETECTIONS: Final = MatchTolerance(
    iou=0.5,
    score=0.05,
    share=0.99,
    why="rounding and the kind of NMS decide only ties, at a suppression or at the cap: one detection in a hundred; "
    "the survivor of a tie may score a little less",
)
FP16_SHOWN: Final = MatchTolerance(
    iou=0.5,
    score=0.05,
    share=0.98,
    why="scores move by up to a hundredth, which changes which of two overlapping boxes survives now and then",
)
INT8_SHOWN: Final = MatchTolerance(
    iou=0.5,
    score=0.2,
    share=0.9,
    why="8 bits move scores by hundredths, a few by a tenth; objects at the edge of detection come and go; mAP decides "
    "the rest",
)
BY_PRECISION: Final[dict[Precision, PrecisionTolerances]] = {
    "fp32": PrecisionTolerances(
        outputs=ONNX_AGAINST_TORCH_ON_PIXELS, inner=INNER_TENSOR, detections=FP32_DETECTIONS, shown=FP32_DETECTIONS
    ),
    "fp16": PrecisionTolerances(outputs=FP16_AGAINST_FP32, inner=INNER_TENSOR_FP16, detections=None, shown=FP16_SHOWN),
    "int8": PrecisionTolerances(outputs=None, inner=INNER_TENSOR_INT8, detections=None, shown=INT8_SHOWN),
}


def least_precision(names: Iterable[str]) -> Precision:
    """The lowest of the precisions that an engine's layers have, ``fp32`` where none is known to be lower.

    A mixed engine is judged by its lowest: one int8 layer is enough to move every output.
    """
    found = {name.lower() for name in names}
    return "int8" if found & {"int8", "uint8"} else "fp16" if found & {"fp16", "float16"} else "fp32"
