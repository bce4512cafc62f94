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
    why="float32 keeps 6e-8; the fold rounds each layer anew and later layers amplify that: 2e-6 to 2e-5 in HarDNets",
)
FLOAT64_TOLERANCE = Tolerance(
    bound=1e-10,
    why="float64 keeps 2e-16 and the weights are not rounded; a HarDNet stays under 1e-13",
)
TIMES_OWN_ROUNDING = 4
"""Original and folded model each round in float32, about equally: twice the original's own rounding, with a margin."""
LARGEST_ROUNDING = 1e-3
"""An original that differs more between float32 and float64 does not just round: it draws or decides otherwise."""


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
        error: Largest absolute error in float32 (float64 where the model is float64) divided by ``scale``.
        scale: Largest magnitude of the original's output.
        float64_error: The same in float64, with folded weights that were never rounded; None where that could not be
            compared.
        rounding_of_original: Largest difference between what the original returns in float32 and in float64, divided by
            the largest magnitude in float64; None where it was not measured and for integers.
    """

    name: str
    error: float
    scale: float
    float64_error: float | None = None
    rounding_of_original: float | None = None

    def bound(self, base: float) -> float:
        """The bound on ``error``: ``base``, or 4 times the original's own rounding where that is more."""
        own = self.rounding_of_original
        return base if own is None or not own <= LARGEST_ROUNDING else max(base, TIMES_OWN_ROUNDING * own)


@dataclass(frozen=True, kw_only=True)
class FoldVerification:
    """The comparison of a folded model with its original.

    Args:
        layers: One entry for each folded layer that the example reached.
        outputs: One entry for each tensor the model returns.
        missing: Folded layers that the example did not reach.
        problems: Sentences about what could not be compared; each is a failure.
        notes: Sentences about checks that this model does not allow; none is a failure.
        layer_tolerance: Bound on ``layers``.
        output_tolerance: Bound on the float32 error of ``outputs``, where the original's own rounding allows no more.
            In float64 the bound is ``FLOAT64_TOLERANCE``.
    """

    layers: tuple[LayerError, ...]
    outputs: tuple[OutputError, ...]
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
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
            _sentence(f"folded layer {shown(layer.conv)}", "float64", layer.error, layer.scale, self.layer_tolerance)
            for layer in self.layers
            if not layer.error <= self.layer_tolerance.bound
        ]
        sentences += [
            _sentence(output.name, "float64, end to end", output.float64_error, output.scale, FLOAT64_TOLERANCE)
            for output in self.outputs
            if output.float64_error is not None and not output.float64_error <= FLOAT64_TOLERANCE.bound
        ]
        sentences += [
            _sentence(output.name, "float32, end to end", output.error, output.scale, self._allowed(output))
            for output in self.outputs
            if not output.error <= self._allowed(output).bound
        ]
        return tuple(sentences)

    def _allowed(self, output: OutputError) -> Tolerance:
        bound = output.bound(self.output_tolerance.bound)
        if bound == self.output_tolerance.bound:
            return self.output_tolerance
        why = f"{TIMES_OWN_ROUNDING} times the {output.rounding_of_original:.1e} that float32 changes in the original"
        return Tolerance(bound=bound, why=why)

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
            "float64_output_bound": FLOAT64_TOLERANCE.bound,
            "notes": list(self.notes),
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
                {
                    "name": one.name,
                    "error": _finite(one.error),
                    "bound": one.bound(self.output_tolerance.bound),
                    "scale": _finite(one.scale),
                    "float64_error": _finite(one.float64_error),
                    "rounding_of_original": _finite(one.rounding_of_original),
                }
                for one in self.outputs
            ],
        }


def _rank(error: float) -> float:
    return math.inf if math.isnan(error) else error


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _sentence(what: str, where: str, error: float, scale: float, tolerance: Tolerance) -> str:
    if not math.isfinite(error):
        return f"{what}: a number is not finite or the original is zero where the folded model is not ({where})"
    return (
        f"{what}: error {error:.2e} of its largest magnitude {scale:.3g} in {where}; "
        f"the bound is {tolerance.bound:.2g} ({tolerance.why})"
    )
