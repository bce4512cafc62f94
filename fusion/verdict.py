"""How well a folded model computes what the original computed: values and sentences. No torch.

``ok`` is computed and false by default: no outputs, a folded layer that was not compared, a number that is not finite
or anything over its bound makes it false.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fusion.report import shown


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest error allowed, as a fraction of the largest magnitude of the tensor compared, and why."""

    bound: float
    why: str


LAYER_TOLERANCE = Tolerance(
    bound=1e-10,
    why="float64 keeps 2e-16; sums over thousands of products and a batch norm of small variance stay under 1e-12",
)
OUTPUT_TOLERANCE = Tolerance(
    bound=1e-5,
    why="float32 keeps 6e-8; every folded layer rounds its weights once more, which adds to about 1e-6 over 100 layers",
)


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """One folded layer against the original layer and batch norm, on the same input, in float64.

    Args:
        conv: Path of the layer.
        error: Largest absolute error divided by ``scale``.
        scale: Largest magnitude of the original batch norm's output.
        weights_match: The stored weight and bias are the folded ones, rounded once: bit for bit.
    """

    conv: str
    error: float
    scale: float
    weights_match: bool


@dataclass(frozen=True, kw_only=True)
class OutputError:
    """One output of the folded model against the original.

    Args:
        name: Where it is in the model's output: ``output``, ``output[0]``, ``output['boxes']``.
        error: Largest absolute error divided by ``scale``.
        scale: Largest magnitude of the original's output.
    """

    name: str
    error: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class FoldVerification:
    """The comparison of a folded model with its original.

    Args:
        layers: One entry for each folded layer that the example reached.
        outputs: One entry for each tensor the model returns.
        missing: Folded layers that the example did not reach.
        problems: Sentences about what could not be compared.
        layer_tolerance: Bound on ``layers``.
        output_tolerance: Bound on ``outputs``.
    """

    layers: tuple[LayerError, ...]
    outputs: tuple[OutputError, ...]
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    layer_tolerance: Tolerance = LAYER_TOLERANCE
    output_tolerance: Tolerance = OUTPUT_TOLERANCE

    @property
    def ok(self) -> bool:
        """True where everything was compared and nothing is over its bound."""
        return not self.failures()

    @property
    def worst_layer(self) -> LayerError | None:
        """The folded layer with the largest error; one that is not finite comes first."""
        return max(self.layers, key=lambda layer: _rank(layer.error), default=None)

    @property
    def worst_output(self) -> OutputError | None:
        """The output with the largest error; one that is not finite comes first."""
        return max(self.outputs, key=lambda output: _rank(output.error), default=None)

    def failures(self) -> tuple[str, ...]:
        """One sentence for each broken bound and for everything that was not compared; empty when all is well."""
        sentences = list(self.problems)
        if not self.outputs:
            sentences.append("no output was compared: the model returned no tensor with elements")
        sentences += [f"folded layer {shown(path)} was not compared: the run did not reach it" for path in self.missing]
        sentences += [
            f"folded layer {shown(layer.conv)}: its stored weights are not the folded ones, rounded once"
            for layer in self.layers
            if not layer.weights_match
        ]
        sentences += [
            _sentence(f"folded layer {shown(layer.conv)}", "float64", layer, self.layer_tolerance)
            for layer in self.layers
            if not layer.error <= self.layer_tolerance.bound
        ]
        sentences += [
            _sentence(output.name, "float32, end to end", output, self.output_tolerance)
            for output in self.outputs
            if not output.error <= self.output_tolerance.bound
        ]
        return tuple(sentences)

    def as_dict(self) -> dict[str, object]:
        """For a manifest. A number that is not finite becomes None, which JSON can write."""
        layer, output = self.worst_layer, self.worst_output
        return {
            "ok": self.ok,
            "failures": list(self.failures()),
            "layers_compared": len(self.layers),
            "layers_missing": list(self.missing),
            "worst_layer": layer.conv if layer else None,
            "worst_layer_error": _finite(layer.error) if layer else None,
            "layer_bound": self.layer_tolerance.bound,
            "worst_output": output.name if output else None,
            "worst_output_error": _finite(output.error) if output else None,
            "output_bound": self.output_tolerance.bound,
            "layers": [
                {
                    "conv": one.conv,
                    "error": _finite(one.error),
                    "scale": _finite(one.scale),
                    "weights_match": one.weights_match,
                }
                for one in self.layers
            ],
            "outputs": [
                {"name": one.name, "error": _finite(one.error), "scale": _finite(one.scale)} for one in self.outputs
            ],
        }


def _rank(error: float) -> float:
    return math.inf if math.isnan(error) else error


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sentence(what: str, where: str, found: LayerError | OutputError, tolerance: Tolerance) -> str:
    if not math.isfinite(found.error):
        return f"{what}: a number is not finite or the original is zero where the folded model is not ({where})"
    return (
        f"{what}: error {found.error:.2e} of its largest magnitude {found.scale:.3g} in {where}; "
        f"the bound is {tolerance.bound:.0e} ({tolerance.why})"
    )
