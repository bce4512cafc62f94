"""Every tolerance by name, with its reason. Nothing is compared with a bare number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


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
