"""``hardnet-deploy models``: what can be deployed, counted, beside what is published."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec

CLASSIFIER_SIZE: Final = 224  # no detector runs at this size: its last levels would be empty
TIMING_SIZE: Final = 1024


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model, counted.

    Args:
        spec: The model.
        parameters: Learned values.
        macs: Multiply-accumulates of convolutions and linear layers, by input side: 224 (backbones), native, 1024.
    """

    spec: ModelSpec
    parameters: int
    macs: dict[int, int]

    @property
    def shipped(self) -> bool:
        """Whether trained weights come with the package."""
        return registry.shipped_weights(self.spec) is not None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        spec = self.spec
        return {
            "name": spec.name,
            "kind": "detector" if spec.is_detector else "backbone",
            "dataset": spec.dataset,
            "input_size": spec.preprocess.size,
            "classes_with_background": len(spec.class_names) or None,
            "priors": spec.head.num_priors if spec.head else None,
            "parameters": self.parameters,
            "macs": {str(size): count for size, count in self.macs.items()},
            "published": asdict(spec.published),
            "trained_weights_shipped": self.shipped,
        }


def list_models() -> tuple[ModelRow, ...]:
    """Every registered model; counting runs no arithmetic."""
    from hardnet_deploy.models.count import count

    rows = []
    for spec in registry.MODELS.values():
        classifier = () if spec.is_detector else (CLASSIFIER_SIZE,)
        counts = count(spec, dict.fromkeys((*classifier, spec.preprocess.size, TIMING_SIZE)))
        rows.append(ModelRow(spec=spec, parameters=counts.parameters, macs=counts.macs))
    return tuple(rows)
