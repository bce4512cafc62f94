"""Does an ONNX artifact still compute what PyTorch, or the float graph that it was made from, computes?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.artifacts import Manifest, read_content
from hardnet_deploy.errors import HardnetDeployError, ParityError
from hardnet_deploy.evaluate.tolerances import FP16_AGAINST_FP32
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.workflows.artifact_checks import Check, failed, held, unchecked
from hardnet_deploy.workflows.artifact_graph import Graph
from hardnet_deploy.workflows.artifact_sources import GIVE_WEIGHTS
from hardnet_deploy.workflows.open_engine import candidate_cap
from hardnet_deploy.workflows.verify_export import ExportVerification, verify_export
from hardnet_deploy.workflows.verify_half import verify_half
from hardnet_deploy.workflows.verify_qdq import verify_qdq

if TYPE_CHECKING:
    import onnx
    from torch import nn

COMPUTES: Final = "computes"


def check_numbers(
    graph: Graph, manifest: Manifest | None, spec: ModelSpec | None, network: nn.Module | None, source: Path | None
) -> Check:
    """Hold it against PyTorch; INT8 and FP16 without weights against the float graph that they were made from.

    Args:
        graph: The artifact.
        manifest: Of it.
        spec: The model.
        network: PyTorch's, with the artifact's weights; None where they are not at hand.
        source: The float graph that it was made from; None where that is not at hand.
    """
    cap = candidate_cap(manifest.target if manifest is not None else None)
    try:
        if network is not None and spec is not None:
            return held(COMPUTES, _against_torch(graph, spec, network, cap))
        if source is not None and graph.precision != "fp32":
            return held(COMPUTES, _against_float(graph, _parsed(source), f"its float graph {source}"))
    except HardnetDeployError as error:
        return failed(COMPUTES, error)
    return unchecked(COMPUTES, "no weights to hold it against", next_step=GIVE_WEIGHTS)


def _against_torch(graph: Graph, spec: ModelSpec, network: nn.Module, cap: int) -> str:
    """How far it is from PyTorch.

    Raises:
        ParityError: It computes something else.
    """
    if graph.precision == "fp32":
        found = verify_export(network, graph.model, spec, graph.options, candidate_cap=cap)
        _refuse_other(found, "the artifact")
        return (
            f"what PyTorch computes: {len(found.tensors)} tensors and {len(found.detections)} sets of detections, "
            f"largest error {found.worst.max_abs:.2g} in '{found.worst.name}'"
        )
    from hardnet_deploy.export.onnx_export import build_graph

    full = build_graph(network, spec, graph.options, renames={}, doc="")
    _refuse_other(verify_export(network, full, spec, graph.options, candidate_cap=cap), "its float32 form")
    return _against_float(graph, full, "PyTorch by way of a float32 graph, itself held against PyTorch")


def _refuse_other(found: ExportVerification, what: str) -> None:
    if not found.ok:
        raise ParityError(
            f"{what} does not compute what PyTorch computes",
            got="; ".join(found.failures()),
            wanted=found.allowed,
            next_step="export again; hardnet-deploy parity shows where it begins",
        )


def _against_float(graph: Graph, full: onnx.ModelProto, what: str) -> str:
    """Of FP16 what its tolerance allows; of INT8, which has none, how much of the signal is left.

    Raises:
        ParityError: It computes something else; of INT8: its outputs are no numbers, or answer to no input.
    """
    preprocess, batch = graph.engine.preprocess, graph.options.batch
    if graph.precision == "fp16":
        half = verify_half(full, graph.model, preprocess, batch=batch)
        if not half.ok:
            raise ParityError(
                "it does not compute what its float32 form computes",
                got="; ".join(half.failures()),
                wanted=f"errors of at most {FP16_AGAINST_FP32}",
            )
        noisiest = half.noisiest
        return f"against {what}: '{noisiest.name}' {_decibels(noisiest.sqnr_db)}, within {FP16_AGAINST_FP32}"
    quantised = verify_qdq(full, graph.model, preprocess, batch=batch)
    if not quantised.ok:
        raise ParityError("its INT8 graph gives no usable numbers", got="; ".join(quantised.failures()))
    told = ", ".join(f"'{one.name}' {_decibels(one.sqnr_db)} on {one.case}" for one in quantised.tensors)
    return f"finite, and answers to its input; against {what}: {told} (reported: no bar is set for INT8)"


def _decibels(value: float | None) -> str:
    return "without a difference" if value is None else f"{value:.1f} dB"


def _parsed(source: Path) -> onnx.ModelProto:
    from hardnet_deploy.runners.graph import parse_model

    return parse_model(read_content(source), source=str(source))
