"""``hardnet-deploy calibrate``: images through an exported graph once, ranges of its tensors out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from hardnet_deploy.data.image_lists import ImageList, open_images
from hardnet_deploy.data.image_marks import marks_of
from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import atomic_output, write_durably
from hardnet_deploy.workflows.calibrate_options import (
    METHOD,
    SEED,
    CalibrateRequest,
    default_output,
    refuse_idle,
    refuse_overlaps,
)
from hardnet_deploy.workflows.calibrate_writings import cache_version, float_layers_asked, write_for_tensorrt
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.given_table import given_table
from hardnet_deploy.workflows.measurement import Measurement, partial_file
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.tensorrt_writings import Written, cache_header

if TYPE_CHECKING:
    from calibration.graph import GraphMap
    from calibration.summary import Clipping, Movement
    from calibration.table import CalibrationTable, Fingerprint

Progress = Callable[[str, int, int], None]
COUNT: Final = 500
KEPT_FOR_MEASURING: Final = ("search", "val")
RUNNING: Final = "measuring ranges"
CACHE_LACKS: Final = "extremes and other methods to write more from"


@dataclass(frozen=True, kw_only=True)
class CalibrateResult:
    """A table.

    Args:
        path: Its file.
        table: What is in it.
        origin: Whether this run ``measured`` it, the file held it already (``reused``), or ``--calib`` named it
            (``given``): of the last two the file stays as it is, whatever method it is read by.
        measured: Images that this run measured.
        resumed: Images that an interrupted run had measured.
        seconds: That this run took for its images.
        families: Number of concat families of more than one tensor, and of the tensors in them.
        written: Files for TensorRT.
        notes: What the user should know.
    """

    path: Path
    table: CalibrationTable
    origin: Literal["measured", "reused", "given"]
    measured: int
    resumed: int
    seconds: float
    families: tuple[int, int]
    written: tuple[Written, ...]
    notes: tuple[str, ...]

    @property
    def movements(self) -> tuple[Movement, ...]:
        """How the ranges stood after fewer images."""
        from calibration.summary import movements

        return movements(self.table)

    @property
    def clipping(self) -> Clipping:
        """What clipping means under the method in use."""
        from calibration.summary import CLIPPING

        return CLIPPING[self.table.method]

    @property
    def saturating(self) -> tuple[tuple[str, float], ...]:
        """Tensors of which more is clipped than is worth a line, and what share."""
        from calibration.summary import saturating

        return saturating(self.table)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        mark = self.table.fingerprint
        return {
            "table": str(self.path),
            "method": self.table.method,
            "origin": self.origin,
            "data": {"name": mark.data, "images": mark.count, "digest": mark.images},
            "fingerprint": asdict(mark),
            "tensors": len(self.table.tensors),
            "families": {"number": self.families[0], "tensors": self.families[1]},
            "measured": self.measured,
            "resumed": self.resumed,
            "seconds": self.seconds,
            "movements": [asdict(row) for row in self.movements],
            "saturating": [{"tensor": name, "share": share} for name, share in self.saturating],
            "clipping": asdict(self.clipping),
            "written": [one.as_dict() for one in self.written],
            "notes": list(self.notes),
        }


def run_calibrate(request: CalibrateRequest, progress: Progress) -> CalibrateResult:
    """Measure, or read what was measured before by another method, and write it for TensorRT.

    Args:
        request: The options.
        progress: Told of (what runs, how much of it is done, how much there is).

    Raises:
        UsageError: Options that would do nothing, data kept for measuring, a count out of range, an engine that is no
            ONNX file.
        InputFileError: The graph, the data or an image cannot be read; a tensor holds a value that is no number.
        ArtifactMismatchError: The graph is not what its manifest describes.
        OutputFileError: The table cannot be written.
    """
    refuse_idle(request)
    output = None if request.calib else request.output or default_output(request.onnx)
    refuse_overlaps(request, output)
    if request.cache is not None:
        cache_header(cache_version(request))
    given = None if request.calib is None else given_table(request.calib, lacks=CACHE_LACKS)
    engine = open_engine(str(request.onnx), trust=request.trust)
    demo = engine.manifest is not None and engine.manifest.model.get("dataset") == "demo"
    if given is None and request.data is None and not demo:
        raise UsageError(
            f"nothing is named to measure the ranges of {engine.label} on",
            wanted="--data with images like those the engine will see",
            next_step="add --data coco:ROOT, voc:ROOT or a folder of images; or --calib with a table that is there",
        )
    graph = _graph_of(engine)
    asked = float_layers_asked(engine, graph, request)
    if given is not None and request.calib is not None:
        result = _given(graph, given.with_method(request.method or given.method), request.calib)
    else:
        assert output is not None
        result = calibrate_engine(engine, request, output, progress)
    written, notes = write_for_tensorrt(engine, result.table, result.path, request, asked)
    return dataclasses.replace(result, written=written, notes=(*result.notes, *notes))


def _given(graph: GraphMap, table: CalibrationTable, path: Path) -> CalibrateResult:
    return CalibrateResult(
        path=path,
        table=table,
        origin="given",
        measured=0,
        resumed=0,
        seconds=0.0,
        families=_families(graph),
        written=(),
        notes=_told(table),
    )


def _graph_of(engine: OpenEngine) -> GraphMap:
    from calibration.graph import GraphMap

    if engine.model is None:
        raise UsageError(
            f"{engine.label} is no ONNX file", next_step="hardnet-deploy export writes one; calibrate that file"
        )
    with calibration_faults():
        return GraphMap(engine.model)


def _families(graph: GraphMap) -> tuple[int, int]:
    groups = {members for members in graph.families().values() if len(members) > 1}
    return len(groups), sum(map(len, groups))


def _told(table: CalibrationTable) -> tuple[str, ...]:
    from calibration.summary import too_few

    return tuple(filter(None, (too_few(table),)))


def calibrate_engine(
    engine: OpenEngine,
    request: CalibrateRequest,
    output: Path,
    progress: Progress,
    images: ImageList | None = None,
) -> CalibrateResult:
    """Measure the ranges of an engine that is open already, or read those that the file holds of the same images.

    The file is written by the run that measures and by no other: engines record its hash.

    Args:
        engine: The float graph.
        request: The options.
        output: The table.
        progress: As :func:`run_calibrate` has it.
        images: What :func:`choose_images` chose, where that was called before.
    """
    graph = _graph_of(engine)
    if engine.batch not in {None, 1}:
        raise UsageError(
            f"{engine.label} takes {engine.batch} images at once; ranges are measured on one at a time",
            next_step="export with --batch 1 and calibrate that: its table serves every batch",
        )
    method = request.method or METHOD
    with calibration_faults():
        images = images or choose_images(request, progress)
        fingerprint = fingerprint_of(graph, engine, images)
        known = None if request.restart else _known(output, fingerprint)
        notes = list(images.notes)
        if known is None:
            run = Measurement(graph, engine, images, fingerprint, output, request)
            table = dataclasses.replace(run.table(partial(progress, RUNNING)), image_marks=marks_of(images.paths))
            with atomic_output(output) as temporary:
                write_durably(temporary, table.to_json().encode())
            measured, resumed, seconds = len(images) - run.before, run.before, run.seconds
        else:
            measured, resumed, seconds = 0, 0, 0.0
            marks = known.image_marks or marks_of(images.paths)
            table = dataclasses.replace(known.with_method(method), image_marks=marks)
            if known.method != method:
                notes.append(
                    f"{output} stays as it was measured, with method {known.method}: --method {method} reads it so"
                )
        partial_file(output).unlink(missing_ok=True)
    return CalibrateResult(
        path=output,
        table=table,
        origin="measured" if known is None else "reused",
        measured=measured,
        resumed=resumed,
        seconds=seconds,
        families=_families(graph),
        written=(),
        notes=(*notes, *_told(table)),
    )


def choose_images(request: CalibrateRequest, progress: Progress) -> ImageList:
    """The images to calibrate on.

    Raises:
        UsageError: A split on which accuracy is measured, or more images than there are.
        InputFileError: No image, or one that cannot be read.
    """
    data = request.data or "demo"
    kind, _, split = data.partition(":")
    if kind == "demo" and split in KEPT_FOR_MEASURING:
        raise UsageError(
            f"the demo data's split '{split}' is kept for measuring what calibration costs",
            next_step="calibrate on demo:calibration",
        )
    return open_images(
        data,
        count=COUNT if request.count is None else request.count,
        at_most=request.count is None,
        seed=SEED if request.seed is None else request.seed,
        progress=partial(progress, "drawing the demo data"),
    )


def fingerprint_of(graph: GraphMap, engine: OpenEngine, images: ImageList) -> Fingerprint:
    """What a measurement on these images would be of."""
    from calibration.table import Fingerprint

    structure, weights = graph.fingerprint()
    return Fingerprint(
        graph=structure,
        weights=weights,
        preprocess=asdict(engine.preprocess),
        data=images.name,
        images=images.digest,
        count=len(images),
        seed=images.seed,
    )


def _known(output: Path, fingerprint: Fingerprint) -> CalibrationTable | None:
    """The table in the output file where it is of the very same measurement."""
    from calibration.errors import CalibrationError
    from calibration.table import CalibrationTable

    with contextlib.suppress(OSError, UnicodeDecodeError, CalibrationError):
        table = CalibrationTable.from_json(output.read_text(encoding="utf-8"), source=str(output))
        if table.fingerprint == fingerprint:
            return table
    return None
