"""Where two engines begin to differ: every tensor that both have, in the order in which it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from hardnet_deploy.evaluate.tensors import TensorComparison, TensorParity
from hardnet_deploy.evaluate.tolerances import SAME_INPUT, Tolerance
from hardnet_deploy.specs import F32
from hardnet_deploy.tensor_names import INPUT

WORST: Final = 10
BYTES_AT_ONCE: Final = 128 * 1024**2  # of one side's tensors: bounds the memory


@dataclass(frozen=True, kw_only=True)
class InnerTensor:
    """A tensor inside an engine.

    Args:
        operation: What makes it, and under which name: ``Conv base.0.conv``.
        bytes: Its size for one image.
    """

    operation: str
    bytes: int


class InnerTensors(Protocol):
    """The tensors inside an engine, those of ``images`` first."""

    @property
    def tensors(self) -> Mapping[str, InnerTensor]:
        """Every floating-point tensor up to the network's outputs, by name, in topological order."""
        ...

    def values(self, images: F32, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The tensors ``names`` for one batch; the arrays are the caller's."""
        ...


@dataclass(frozen=True, kw_only=True)
class LayerParity:
    """One inner tensor of both sides.

    Args:
        parity: How far they are apart; its name is the module path of the original network whose output it equals.
        position: Place among the compared tensors, from 0.
        reference: What makes it in the reference.
        candidate: What makes it in the candidate.
        tolerance: Of ``max_rel``, by its ``rtol``.
    """

    parity: TensorParity
    position: int
    reference: str
    candidate: str
    tolerance: Tolerance

    @property
    def error(self) -> float:
        """Largest error over the reference's largest magnitude."""
        return self.parity.max_rel

    @property
    def diverges(self) -> bool:
        """True where the error is beyond the tolerance, or not finite."""
        return not self.error <= self.tolerance.rtol

    @property
    def title(self) -> str:
        """The module, for a person."""
        return f"{INPUT} (pre-processing)" if self.parity.name == INPUT else self.parity.name

    @property
    def operation(self) -> str:
        """What makes it, on both sides where they differ."""
        same = self.reference == self.candidate
        return self.reference if same else f"{self.reference} -> {self.candidate}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON; errors that are not finite become None."""
        known = self.parity.as_dict()
        figures = {key: known[key] for key in ("max_abs", "max_rel", "cosine", "sqnr_db", "sqnr")}
        return {
            "name": self.parity.name,
            "title": self.title,
            "position": self.position,
            "reference_operation": self.reference,
            "candidate_operation": self.candidate,
            **figures,
            "allowed": self.tolerance.rtol,
            "diverges": self.diverges,
        }


@dataclass(frozen=True, kw_only=True)
class LayersParity:
    """Every shared inner tensor.

    Args:
        layers: In topological order, ``images`` first.
        only_reference: Tensors that only the reference has, such as batch norms' inputs of an unfused network.
        only_candidate: Tensors that only the candidate has.
        images: Images that were run.
        why: Why there are none; None where there are.
    """

    layers: tuple[LayerParity, ...]
    only_reference: int = 0
    only_candidate: int = 0
    images: int = 0
    why: str | None = None

    @property
    def first(self) -> LayerParity | None:
        """The first layer that diverges; None where none does."""
        return next((layer for layer in self.layers if layer.diverges), None)

    @property
    def worst(self) -> tuple[LayerParity, ...]:
        """The :data:`WORST` layers with the largest errors, largest first; equal ones in topological order."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.error)[:WORST])

    def sentence(self) -> str:
        """Where the difference begins."""
        first = self.first
        if first is None:
            return self.why or f"none of {len(self.layers)} inner tensors diverges"
        return (
            f"the first of {len(self.layers)} inner tensors to diverge is '{first.title}' ({first.operation}): "
            f"error {first.error:.2g} of its scale, allowed {first.tolerance.rtol:g}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "compared": len(self.layers),
            "only_reference": self.only_reference,
            "only_candidate": self.only_candidate,
            "images": self.images,
            "not_available": self.why,
            "first": self.first.as_dict() if self.first else None,
            "worst": [layer.as_dict() for layer in self.worst],
        }


def compare_layers(
    reference: InnerTensors, candidate: InnerTensors, batches: Sequence[tuple[F32, F32]], tolerance: Tolerance
) -> LayersParity:
    """Compare every tensor that both sides have by name.

    Args:
        reference: The side that is trusted.
        candidate: The side in question.
        batches: Pre-processed images [N, 3, S, S], the reference's and the candidate's, each from the same originals.
        tolerance: Its ``rtol`` bounds the error relative to a tensor's largest value. The input is held to
            :data:`~hardnet_deploy.evaluate.tolerances.SAME_INPUT` instead: no precision excuses another pre-processing.

    Returns:
        The layers in the candidate's order; without any where nothing is shared or there was no batch.
    """
    ours, theirs = reference.tensors, candidate.tensors
    shared = [name for name in theirs if name in ours]
    comparisons = {name: TensorComparison(name, None, case="inner tensor") for name in shared}
    images = sum(len(got_images) for _, got_images in batches)
    largest = max((len(got_images) for _, got_images in batches), default=0)
    for names in _chunks(shared, {name: theirs[name].bytes * largest for name in shared}):
        for wanted_images, got_images in batches:
            wanted, got = reference.values(wanted_images, names), candidate.values(got_images, names)
            for name in names:
                comparisons[name].add(wanted[name], got[name])
    layers = tuple(
        LayerParity(
            parity=comparisons[name].result(),
            position=position,
            reference=ours[name].operation,
            candidate=theirs[name].operation,
            tolerance=SAME_INPUT if name == INPUT else tolerance,
        )
        for position, name in enumerate(shared)
    )
    why = None
    if not images or not shared:
        why = "no image was run" if shared else "the two sides share no tensor by name"
        layers = ()
    return LayersParity(
        layers=layers,
        only_reference=len(ours) - len(shared),
        only_candidate=len(theirs) - len(shared),
        images=images,
        why=why,
    )


def _chunks(names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """``names`` in order, as many at once as :data:`BYTES_AT_ONCE` holds, at least one."""
    chunk: list[str] = []
    total = 0
    for name in names:
        if chunk and total + sizes[name] > BYTES_AT_ONCE:
            yield chunk
            chunk, total = [], 0
        chunk.append(name)
        total += sizes[name]
    if chunk:
        yield chunk
