"""The graph that a roofline is drawn of: an ONNX file, or a registered model written as the export writes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardnet_deploy.artifacts import hold_against_manifest, read_content
from hardnet_deploy.errors import ArtifactMismatchError, UsageError
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.models import registry
from hardnet_deploy.specs import Preprocess
from hardnet_deploy.targets import DEFAULT_OPSET
from hardnet_deploy.workflows.open_engine import is_plan, open_engine

if TYPE_CHECKING:
    import onnx

EXAMPLE_SIDE = 64
"""Of the input on which a backbone's batch norms are found; the network does not depend on it."""


@dataclass(frozen=True, kw_only=True)
class RooflineGraph:
    """A graph and what it is.

    Args:
        model: With shapes.
        preprocess: How images become its input.
        detector: Whether it is one.
        identity: Label, hash, model, input side and batch.
    """

    model: onnx.ModelProto
    preprocess: Preprocess
    detector: bool
    identity: Mapping[str, Any]


def roofline_graph(text: str, *, size: int | None, trust: bool) -> RooflineGraph:
    """Open an exported file, or write a model's graph.

    Args:
        text: A path or a model's name.
        size: Input side of a backbone, given by name.
        trust: Take a file whose manifest is missing or disagrees.

    Raises:
        UsageError: No such file or model, a plan, or a size for a file.
        InputFileError, ArtifactMismatchError: See :func:`~hardnet_deploy.workflows.open_engine.open_engine`.
    """
    if text in registry.MODELS:
        return _written(text, size)
    if size is not None:
        raise UsageError("--size is for a backbone given by name; a file has its size", next_step="drop --size")
    if "=" in text and not Path(text).exists():
        raise UsageError(
            f"'{text}': weights change neither arithmetic nor traffic", next_step="name the model alone, or a file"
        )
    if Path(text).suffix in {".engine", ".plan", ".trt"}:
        raise UsageError(
            f"{text} is a TensorRT plan, which does not tell its shapes",
            next_step="name the ONNX file it was built from",
        )
    if os.path.lexists(text) and not is_plan(Path(text)):
        found = _exported(Path(text), trust=trust)
        if found is not None:
            return found
    engine = open_engine(text, trust=trust)
    assert engine.model is not None
    name = engine.manifest.model.get("name") if engine.manifest else engine.model.graph.name
    return RooflineGraph(
        model=engine.model,
        preprocess=engine.preprocess,
        detector=engine.head is not None,
        identity=_identity(text, engine.sha256, str(name), engine.preprocess.size, engine.batch or 1),
    )


def _exported(path: Path, *, trust: bool) -> RooflineGraph | None:
    """A graph with its manifest, which no engine need accept to be counted; None where ``trust`` let it be missing."""
    from hardnet_deploy.runners.graph import parse_model, tensor_infos

    content = read_content(path)
    model = parse_model(content, source=str(path))
    artifact = hold_against_manifest(path, content, trust=trust)
    manifest = artifact.manifest
    if manifest is None:
        return None
    preprocess = manifest.preprocess_spec()
    shapes = [one.shape for one in tensor_infos(model.graph.input)]
    wanted = (3, preprocess.size, preprocess.size)
    if len(shapes) != 1 or shapes[0][1:] != wanted:
        raise ArtifactMismatchError(
            f"{path} does not take the images that its pre-processing makes",
            got=", ".join(str(one) for one in shapes) or "no input",
            wanted=f"one input, {wanted} for each image",
            next_step="export it again",
        )
    return RooflineGraph(
        model=model,
        preprocess=preprocess,
        detector=manifest.head_spec() is not None,
        identity=_identity(
            str(path), artifact.sha256, str(manifest.model.get("name")), preprocess.size, max(shapes[0][0], 1)
        ),
    )


def _identity(label: str, sha256: str | None, model: str, size: int, batch: int) -> dict[str, Any]:
    return {"label": label, "sha256": sha256, "model": model, "size": size, "batch": batch}


def _written(name: str, size: int | None) -> RooflineGraph:
    """The model's folded graph up to boxes and scores or logits: how long NMS takes depends on the data."""
    import torch

    from fusion.torch_fold import fold_module
    from hardnet_deploy.export.onnx_export import build_graph

    spec = registry.get(name) if size is None else registry.with_size(registry.get(name), size)
    network = registry.build(spec)
    side = spec.preprocess.size if spec.is_detector else EXAMPLE_SIDE
    folded = fold_module(network, torch.zeros(1, 3, side, side))
    options = GraphOptions(outputs="boxes", nms="onnx", thresholds=None, opset=DEFAULT_OPSET, batch=1)
    model = build_graph(folded.model, spec, options, renames=folded.report.conv_to_batchnorm, doc="")
    return RooflineGraph(
        model=model,
        preprocess=spec.preprocess,
        detector=spec.is_detector,
        identity=_identity(name, None, name, spec.preprocess.size, 1),
    )
