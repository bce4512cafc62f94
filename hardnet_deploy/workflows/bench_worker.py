"""The process that times one side of a bench, with all that it may have to load: started as ``python WORKER SIDE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.bench.parts import Opened, Parts
from hardnet_deploy.bench.worker import serve
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine

if TYPE_CHECKING:
    from torch import Tensor, nn

WORKER: Final = ("-m", "hardnet_deploy.workflows.bench_worker")
"""For :func:`hardnet_deploy.bench.interleaved.time_sides`."""


def open_model(name: str, weights: Path | None, code_line: str, classes: Path | None) -> Opened:
    """See :class:`~hardnet_deploy.bench.parts.Parts`."""
    text = name if weights is None else f"{name}={weights}"
    return _opened(open_engine(text, code_line=code_line, classes=classes))


def open_artifact(path: Path, trust: bool) -> Opened:  # noqa: FBT001  (called by position, through Parts)
    """See :class:`~hardnet_deploy.bench.parts.Parts`."""
    return _opened(open_engine(str(path), trust=trust))


def _opened(engine: OpenEngine) -> Opened:
    return Opened(
        runner=engine.runner,
        preprocess=engine.preprocess,
        head=engine.head,
        thresholds=engine.thresholds,
        trained=engine.trained,
        sha256=engine.state_sha256 or engine.sha256,
        weights_sha256=engine.state_sha256 or _in_manifest(engine),
        warning=engine.warning,
        model=engine.model,
        network=engine.network,
    )


def _in_manifest(engine: OpenEngine) -> str | None:
    found = engine.manifest.weights.get("state_sha256") if engine.manifest else None
    return found if isinstance(found, str) and found else None


def fold(module: nn.Module, example: Tensor) -> tuple[nn.Module, str | None]:
    """See :class:`~hardnet_deploy.bench.parts.Parts`."""
    from fusion.torch_fold import fold_module

    result = fold_module(module, example)
    left = len(result.not_folded)
    return result.model, f"{left} batch norms are left, as they cannot be folded" if left else None


PARTS: Final = Parts(open_model=open_model, open_artifact=open_artifact, fold=fold)

if __name__ == "__main__":
    serve(PARTS)
