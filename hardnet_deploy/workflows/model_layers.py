"""What is known of a model's graph before its export: names of layers and tensors, and tables that are not of it."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.models import registry
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.workflows.calibration_faults import calibration_faults

if TYPE_CHECKING:
    from torch import fx

    from calibration.table import CalibrationTable
    from hardnet_deploy.models.trace import TracedNetwork

SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class ModelLayers:
    """Names that the exported graph will have; see ``models.trace`` for the rule.

    Args:
        layers: Of the convolutions, in topological order.
        tensors: Of all tensors that the network makes, and its input.
        ends: For each layer the tensors of which the last is measured: of the convolution, its batch norm and its ReLU.
    """

    layers: tuple[str, ...]
    tensors: frozenset[str]
    ends: tuple[tuple[str, ...], ...]


def layers_of_model(spec: ModelSpec) -> ModelLayers:
    """Trace a model without weights; some tenths of a second."""
    from torch import nn

    from hardnet_deploy.models.trace import trace

    network = registry.build(spec, device="meta").eval()
    traced = trace(network)
    found = {
        str(node.target): tuple(_ends(node, traced))
        for node in traced.module.graph.nodes
        if node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), nn.Conv2d)
    }
    return ModelLayers(layers=tuple(found), tensors=frozenset(traced.names.values()), ends=tuple(found.values()))


def _ends(node: fx.Node, traced: TracedNetwork) -> list[str]:
    """Names from a convolution on, as long as one node alone reads what the last one made."""
    from torch import nn, relu

    found = [traced.names[node]]
    while len(node.users) == 1:
        (node,) = node.users
        module = traced.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(module, nn.BatchNorm2d | nn.ReLU | nn.ReLU6) and node.target is not relu:
            break
        found.append(traced.names[node])
    return found


def refuse_table_of_another(table: CalibrationTable, path: Path, spec: ModelSpec, known: ModelLayers) -> None:
    """Refuse a table that cannot be of a model, whatever its weights.

    Args:
        table: It.
        path: Where it was read.
        spec: The model.
        known: What is known of its graph.

    Raises:
        ArtifactMismatchError: It was measured with another pre-processing, or on tensors of another network.
    """
    mark = table.fingerprint
    with calibration_faults():
        table.refuse_other(graph=mark.graph, weights=mark.weights, preprocess=dataclasses.asdict(spec.preprocess))
    foreign = [name for name in table.tensors if name not in known.tensors]
    unmeasured = [names[-1] for names in known.ends if not set(names).intersection(table.tensors)]
    if foreign or unmeasured:
        told = [("has", foreign), ("lacks", unmeasured)]
        raise ArtifactMismatchError(
            f"{path} was not measured on {spec.name}: it has ranges of another network's tensors",
            got="; ".join(f"it {verb} {', '.join(names[:SHOWN])}" for verb, names in told if names),
            wanted=f"ranges of {spec.name}",
            next_step=f"name the table of {spec.name}, or drop --calib to measure the ranges anew",
        )


def nearest(pattern: str, names: tuple[str, ...]) -> str:
    """Layers that a name that is none may mean, or the first ones, for a message."""
    close = difflib.get_close_matches(pattern, names, n=SHOWN, cutoff=0.5)
    return ", ".join(close or names[:SHOWN])
