"""The ranges of an INT8 build, and the labelled images of its search: given, or measured now beside the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardnet_deploy.data.image_marks import marks_of
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.workflows.build_options import BuildPlan, BuildRequest
from hardnet_deploy.workflows.calibrate import calibrate_engine, choose_images
from hardnet_deploy.workflows.calibrate_options import CalibrateRequest
from hardnet_deploy.workflows.judged_apart import refuse_search_in_calibration, with_marks
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.precision_search import SearchResult, search_precision
from hardnet_deploy.workflows.precision_trials import SEARCH_SPLIT, Trials
from hardnet_deploy.workflows.quantise import Quantiser

if TYPE_CHECKING:
    from calibration.qdq import Choice
    from calibration.table import CalibrationTable
    from hardnet_deploy.data.dataset import Dataset
    from hardnet_deploy.data.image_lists import ImageList

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class BuildRanges:
    """What an INT8 build quantises with.

    Args:
        table: The ranges.
        path: Where they stand.
        dataset: Labelled images of the search; None without one.
        notes: What the user should know.
    """

    table: CalibrationTable
    path: Path
    dataset: Dataset | None
    notes: tuple[str, ...]

    def search(
        self,
        engine: OpenEngine,
        quantiser: Quantiser,
        base: Choice,
        plan: BuildPlan,
        request: BuildRequest,
        progress: Progress,
    ) -> tuple[Choice, SearchResult | None]:
        """``base`` with as many more float layers as the budget of ``--max-drop`` needs, measured on the CPU.

        Raises:
            AccuracyBudgetError, ExportError: See :func:`~hardnet_deploy.workflows.precision_search.search_precision`.
        """
        if request.max_drop is None or self.dataset is None:
            return base, None
        trials = Trials(
            engine,
            quantiser,
            self.dataset,
            request.drop_type,
            plan.output.with_suffix(".search.json"),
            progress,
            allow_fallback=request.allow_fallback,
        )
        found = search_precision(trials, base, request.max_drop, request.drop_type)
        return dataclasses.replace(base, float_units=frozenset(found.best.float_layers)), found

    def search_record(self, search: SearchResult | None) -> dict[str, Any] | None:
        """What a manifest says of the search."""
        if search is None or self.dataset is None:
            return None
        return with_marks(search.as_dict(), marks_of(sample.path for sample in self.dataset.samples))


def build_ranges(
    plan: BuildPlan,
    request: BuildRequest,
    engine: OpenEngine,
    given: CalibrationTable | None,
    progress: Progress,
) -> BuildRanges:
    """Ranges from ``--calib``, or measured now and kept beside the engine.

    Args:
        plan: What is built.
        request: Its options.
        engine: The float source, open.
        given: The table of ``--calib``; None to measure.
        progress: Told of (what runs, how much of it is done, how much there is).

    Raises:
        UsageError: Images of the search are those that the ranges are fitted to, or no usable data.
        InputFileError: The data or an image cannot be read.
    """
    calibrate = _calibration(plan, request, engine)
    images = choose_images(calibrate, progress) if given is None else None
    dataset = None if request.max_drop is None else _search_data(request, engine, images, given, progress)
    if request.calib is not None and given is not None:
        table = given.with_method(request.method) if request.method else given
        return BuildRanges(table=table, path=request.calib, dataset=dataset, notes=())
    assert calibrate.output is not None
    result = calibrate_engine(engine, calibrate, calibrate.output, progress, images)
    return BuildRanges(table=result.table, path=result.path, dataset=dataset, notes=result.notes)


def _calibration(plan: BuildPlan, request: BuildRequest, engine: OpenEngine) -> CalibrateRequest:
    """How ranges are measured where ``--calib`` brings none."""
    return CalibrateRequest(
        onnx=Path(engine.label),
        data=request.data or "demo",
        method=request.method,
        count=request.count,
        seed=request.seed,
        output=plan.output.with_suffix(".calib.json"),
        command=request.command,
    )


def _search_data(
    request: BuildRequest,
    engine: OpenEngine,
    images: ImageList | None,
    given: CalibrationTable | None,
    progress: Progress,
) -> Dataset:
    """``--search-data``, of the demo data the split that exists for it; apart from what the ranges come from."""
    dataset = open_data(
        request.search_data or "demo",
        class_names=engine.class_names,
        default_split=SEARCH_SPLIT,
        count=request.search_count,
        progress=partial(progress, "drawing the demo data"),
    )
    if given is not None:
        refuse_search_in_calibration(given.fingerprint.data, given.image_marks, dataset)
    if images is not None:
        refuse_search_in_calibration(images.name, marks_of(images.paths), dataset)
    return dataset
