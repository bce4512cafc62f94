"""``hardnet-deploy sensitivity``: what each layer costs when it alone is INT8, as noise and as mAP."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import atomic_output, refuse_unwritable, write_durably
from hardnet_deploy.workflows.judged_apart import refuse_search_in_calibration
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.precision_search import noise_record
from hardnet_deploy.workflows.precision_trials import SEARCH_SPLIT, Trial, Trials
from hardnet_deploy.workflows.quantise import quantiser_for, read_table
from hardnet_deploy.workflows.spelled import spelled

if TYPE_CHECKING:
    from calibration.ranges import ConcatScales
    from calibration.sensitivity import LayerNoise
    from hardnet_deploy.data.dataset import Dataset

Progress = Callable[[str, int, int], None]
SCHEMA: Final = 1
KIND: Final = "sensitivity"
COUNT: Final = 200
SHOWN: Final = 40  # layers in the picture


@dataclass(frozen=True, kw_only=True)
class SensitivityRequest:
    """The options of ``hardnet-deploy sensitivity`` as typed."""

    onnx: Path
    calib: Path | None = None
    data: str = "demo"
    count: int = COUNT
    with_map: bool = True
    concat_scales: ConcatScales = "unified"
    output: Path | None = None
    trust: bool = False

    def command(self) -> list[str]:
        """The command line that measures this."""
        options = {
            "--calib": self.calib,
            "--data": self.data,
            "--count": self.count,
            "--no-map": not self.with_map,
            "--concat-scales": self.concat_scales,
            "--output": self.output,
            "--trust": self.trust,
        }
        return spelled("sensitivity", [str(self.onnx)], options)


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One layer, quantised alone.

    Args:
        noise: In the heads' outputs.
        trial: Its drop of mAP, and whether ONNX Runtime computes it in INT8; None where it was not measured.
    """

    noise: LayerNoise
    trial: Trial | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        drop = self.trial.drop.as_dict() if self.trial else None
        fell_back = bool(self.trial.fell_back) if self.trial else None
        return {**noise_record(self.noise), "drop": drop, "fell_back": fell_back}


@dataclass(frozen=True, kw_only=True)
class SensitivityResult:
    """The ranking, the most harmful layer first.

    Args:
        request: The options.
        engine: What was looked at.
        dataset: On which images.
        layers: By their noise.
        report: As JSON.
        picture: As a picture.
    """

    request: SensitivityRequest
    engine: OpenEngine
    dataset: Dataset
    layers: tuple[LayerCost, ...]
    report: Path
    picture: Path

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "command": self.request.command(),
            "engine": self.engine.as_dict(),
            "data": {"name": self.dataset.name, "digest": self.dataset.digest, "images": len(self.dataset)},
            "layers": [one.as_dict() for one in self.layers],
            "picture": str(self.picture),
        }


def run_sensitivity(request: SensitivityRequest, progress: Progress) -> SensitivityResult:
    """Quantise each layer alone.

    Raises:
        UsageError, OutputFileError: Before anything long runs; data with images that the ranges come from too.
        InputFileError: The graph, table, data or an image cannot be read.
        ArtifactMismatchError: A manifest or the table is of something else.
        ExportError: ONNX Runtime refuses a graph, or makes INT8 of what is to stay float.
    """
    from calibration.qdq import Choice

    table_path = request.calib or request.onnx.with_suffix(".calib.json")
    report = request.output or request.onnx.with_suffix(".sensitivity.json")
    picture = report.with_suffix(".png")
    record = report.with_suffix(".trials.json")
    taken = {os.path.realpath(path) for path in (request.onnx, manifest_path(request.onnx), table_path)}
    for path in (report, picture, record):
        refuse_unwritable(path)
        place = os.path.realpath(path)
        if place in taken:
            raise UsageError(f"-o {report}: {path} is taken already", next_step="name a file that ends in .json")
        taken.add(place)
    engine = open_engine(str(request.onnx), trust=request.trust)
    if engine.model is None or engine.head is None:
        raise UsageError(f"{engine.label} is no exported detector", next_step="hardnet-deploy export writes one")
    table = read_table(table_path)
    quantiser = quantiser_for(engine, table, concat_scales=request.concat_scales)
    dataset = open_data(
        request.data,
        class_names=engine.class_names,
        default_split=SEARCH_SPLIT,
        count=request.count,
        progress=partial(progress, "drawing the demo data"),
    )
    refuse_search_in_calibration(table.fingerprint.data, table.image_marks, dataset, option="--data")
    # A layer that ONNX Runtime computes in float is rounded all the same, so what that costs is measured.
    trials = Trials(engine, quantiser, dataset, "relative", record, progress, allow_fallback=True)
    everything = frozenset(quantiser.layers)
    layers = []
    for one in trials.ranking():
        trial = None
        if request.with_map:
            trial = trials.measure(Choice(float_units=everything - {one.name}), f"only {one.name} in INT8")
        layers.append(LayerCost(noise=one, trial=trial))
    result = SensitivityResult(
        request=request, engine=engine, dataset=dataset, layers=tuple(layers), report=report, picture=picture
    )
    with atomic_output(report) as temporary:
        write_durably(temporary, (json.dumps(result.as_dict(), indent=1, allow_nan=False) + "\n").encode())
    _draw(result)
    return result


def _draw(result: SensitivityResult) -> None:
    from matplotlib.figure import Figure

    shown = [one for one in result.layers if one.noise.worst != float("inf")][:SHOWN]
    figure = Figure(figsize=(9, 0.24 * max(len(shown), 4) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = [one.noise.name for one in shown]
    axes.barh(names, [one.noise.worst for one in shown], color="#4878a8")
    axes.invert_yaxis()
    axes.set_xlabel("signal to noise of the worse head output, dB (short bars hurt most)")
    title = f"Each layer alone in INT8: {Path(result.engine.label).name}, {result.dataset.name}"
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.tick_params(axis="y", labelsize=7)
    with atomic_output(result.picture) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
