"""The tensor part of parity: the network's outputs and everything inside, on original images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.evaluate.layers import LayersParity, compare_layers
from hardnet_deploy.evaluate.tensors import TensorComparison, TensorParity
from hardnet_deploy.evaluate.tolerances import (
    BY_PRECISION,
    ONNX_AGAINST_TORCH_ON_PIXELS,
    SAME_PREPROCESSING,
    Precision,
    Tolerance,
)
from hardnet_deploy.specs import F32
from hardnet_deploy.tensor_names import CONF, INPUT, LOC
from hardnet_deploy.workflows.parity_side import DECODED, NETWORK_OUTPUTS, Side, decoded

Progress = Callable[[int, int], None]
LAYER_IMAGES: Final = 2  # all that is inside a network weighs hundreds of times its outputs
END_TO_END: Final = "from the images"
DECODING: Final = "from the candidate's own loc and conf"


@dataclass(frozen=True, kw_only=True)
class TensorsParity:
    """Outputs and inner tensors of both sides.

    Args:
        images: Number of images compared.
        precision: Whose tolerances hold: the candidate's.
        outputs: Every compared output; ``images`` is the outcome of each side's own pre-processing.
        missing: Outputs that only one side has, each in words.
        layers: The tensors inside.
        unavailable: Why a side does not hand out what would be compared, which is then no failure: detections and mAP
            decide. None where both sides do.
    """

    images: int
    precision: Precision
    outputs: tuple[TensorParity, ...]
    missing: tuple[str, ...]
    layers: LayersParity
    unavailable: str | None = None

    def failures(self) -> tuple[str, ...]:
        """One sentence for each output that is off, and after the first where it begins; empty where all is well."""
        sentences = [
            f"'{one.name}' ({one.case}) is off by {one.max_abs:.2g}: {one.violations} of {one.compared} values are "
            f"beyond {one.tolerance or 'finite numbers'}"
            for one in self.outputs
            if not one.ok
        ]
        compared = {one.name for one in self.outputs} - {INPUT}
        if not compared and not self.unavailable:
            sentences.append("no common outputs: nothing was compared")
        sentences += self.missing
        if sentences and self.layers.layers:
            sentences.insert(1, self.layers.sentence())
        elif not self.layers.layers and not self.unavailable:
            sentences.append(f"no inner tensors were compared: {self.layers.why}")
        return tuple(sentences)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "precision": self.precision,
            "outputs": [one.as_dict() for one in self.outputs],
            "missing": list(self.missing),
            "layers": self.layers.as_dict(),
            "not_available": self.unavailable,
        }


def compare_side_tensors(reference: Side, candidate: Side, paths: Sequence[Path], progress: Progress) -> TensorsParity:
    """Feed original images through each side's own pre-processing and network, and compare.

    ``loc``, ``conf`` and ``logits`` are compared from the images on. ``boxes`` and ``scores`` that the candidate's
    graph computes are held against the NumPy reference on the candidate's own ``loc`` and ``conf``, because ``exp``
    and softmax of large logits magnify rounding; from the images on, they are reported only, unless a side has no
    ``loc`` and ``conf``.

    Args:
        reference: The side that is trusted.
        candidate: The side in question.
        paths: Images, at least one; one is in memory at a time.
        progress: Told of (images done, images).

    Raises:
        InputFileError: An image cannot be read.
    """
    allowed = BY_PRECISION[candidate.precision]
    comparisons: dict[tuple[str, str], TensorComparison] = {}
    lacking: dict[str, str] = {}
    fed: list[tuple[F32, F32]] = []

    def add(name: str, case: str, tolerance: Tolerance | None, values: tuple[Any, Any]) -> None:
        comparison = comparisons.setdefault((name, case), TensorComparison(name, tolerance, case=case))
        comparison.add(*values)

    for done, path in enumerate(paths, start=1):
        image = load_image(path)
        ours, theirs = (preprocess_image(image, side.engine.preprocess)[None] for side in (reference, candidate))
        if len(fed) < LAYER_IMAGES:
            fed.append((ours, theirs))
        add(INPUT, "after each side's own pre-processing", SAME_PREPROCESSING, (ours, theirs))
        wanted, got = reference.infer(ours), candidate.infer(theirs)
        decoding = decoded(got, candidate.engine.head) if candidate.decodes else {}
        has_raw = all(name in values for name in (LOC, CONF) for values in (wanted, got))
        for name in (*NETWORK_OUTPUTS, *DECODED):
            if name in wanted and name in got:
                gated = name in NETWORK_OUTPUTS or not has_raw
                add(name, END_TO_END, allowed.outputs if gated else None, (wanted[name], got[name]))
            elif name in NETWORK_OUTPUTS and name in {*wanted, *got}:
                role, side = ("the candidate", candidate) if name in wanted else ("the reference", reference)
                if side.closed is None:
                    lacking[name] = f"'{name}' is not in {role}, so it was not compared"
        for name, value in decoding.items():
            tolerance = None if allowed.outputs is None else ONNX_AGAINST_TORCH_ON_PIXELS  # decoding stays in fp32
            add(name, DECODING, tolerance, (value, got[name]))
        progress(done, len(paths))
    closed = next((side.closed for side in (candidate, reference) if side.closed), None)
    layers = compare_layers(reference.inner, candidate.inner, fed, allowed.inner)
    return TensorsParity(
        images=len(paths),
        precision=candidate.precision,
        outputs=tuple(comparison.result() for comparison in comparisons.values()),
        missing=tuple(lacking.values()),
        layers=dataclasses.replace(layers, why=closed) if closed else layers,
        unavailable=closed,
    )
