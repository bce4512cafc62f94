"""``hardnet-deploy calibrate``: images through an exported graph once, ranges of its tensors out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.data.image_lists import ImageList, open_images
from hardnet_deploy.data.image_marks import marks_of
from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import atomic_output, write_durably
from hardnet_deploy.workflows.calibrate_options import CalibrateRequest, default_output, refuse_idle, refuse_overlaps
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.measurement import Measurement, partial_file
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.quantise import quantiser_for
from hardnet_deploy.workflows.save_engine import manifest_of
from hardnet_deploy.workflows.tensorrt_writings import (
    DEFAULT_CACHE_VERSION,
    Written,
    cache_header,
    float_layers,
    write_cache_file,
    write_qdq,
    write_ranges,
)

if TYPE_CHECKING:
    from calibration.graph import GraphMap
    from calibration.summary import Clipping, Movement
    from calibration.table import CalibrationTable, Fingerprint

Progress = Callable[[str, int, int], None]
COUNT: Final = 500
KEPT_FOR_MEASURING: Final = ("search", "val")
RUNNING: Final = "measuring ranges"


@dataclass(frozen=True, kw_only=True)
class CalibrateResult:
    """A written table.

    Args:
        path: Its file.
        table: What is in it.
        images: What it was measured on.
        measured: Images that this run measured; 0 where the ranges were there and only the method changed.
        resumed: Images that an interrupted run had measured.
        seconds: That this run took for its images.
        families: Number of concat families of more than one tensor, and of the tensors in them.
        written: Files for TensorRT.
        notes: What the user should know.
    """

    path: Path
    table: CalibrationTable
    images: ImageList
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
        return {
            "table": str(self.path),
            "method": self.table.method,
            "data": {"name": self.images.name, "images": len(self.images), "digest": self.images.digest},
            "fingerprint": asdict(self.table.fingerprint),
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
    """Measure, or read the same measurement by another method.

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
    output = request.output or default_output(request.onnx)
    refuse_idle(request)
    refuse_overlaps(request, output)
    if request.cache is not None:
        cache_header(_tensorrt(request))
    engine = open_engine(str(request.onnx), trust=request.trust)
    if request.data is None and (engine.manifest is None or engine.manifest.model.get("dataset") != "demo"):
        raise UsageError(
            f"nothing is named to measure the ranges of {engine.label} on",
            wanted="--data with images like those the engine will see",
            next_step="add --data coco:ROOT, voc:ROOT or a folder of images",
        )
    if request.qdq is not None:
        manifest_of(engine)
    return calibrate_engine(engine, request, output, progress)


def calibrate_engine(
    engine: OpenEngine,
    request: CalibrateRequest,
    output: Path,
    progress: Progress,
    images: ImageList | None = None,
) -> CalibrateResult:
    """:func:`run_calibrate` for an engine that is open already; the table is written to ``output``.

    Args:
        engine: The float graph.
        request: The options.
        output: The table.
        progress: As there.
        images: What :func:`choose_images` chose, where that was called before.
    """
    from calibration.graph import GraphMap

    if engine.model is None:
        raise UsageError(
            f"{engine.label} is no ONNX file", next_step="hardnet-deploy export writes one; calibrate that file"
        )
    if engine.batch not in {None, 1}:
        raise UsageError(
            f"{engine.label} takes {engine.batch} images at once; ranges are measured on one at a time",
            next_step="export with --batch 1 and calibrate that: its table serves every batch",
        )
    with calibration_faults():
        graph = GraphMap(engine.model)
        images = images or choose_images(request, progress)
        fingerprint = fingerprint_of(graph, engine, images)
        known = None if request.restart else _known(output, fingerprint)
        marks = (known.image_marks if known else ()) or marks_of(images.paths)
        if known is None:
            run = Measurement(graph, engine, images, fingerprint, output, request)
            known = run.table(partial(progress, RUNNING))
            measured, resumed, seconds = len(images) - run.before, run.before, run.seconds
        else:
            measured, resumed, seconds = 0, 0, 0.0
        table = dataclasses.replace(known.with_method(request.method), command=request.command, image_marks=marks)
        with atomic_output(output) as temporary:
            write_durably(temporary, table.to_json().encode())
        partial_file(output).unlink(missing_ok=True)
        written = tuple(_for_tensorrt(engine, table, request, output))
        groups = {members for members in graph.families().values() if len(members) > 1}
    return CalibrateResult(
        path=output,
        table=table,
        images=images,
        measured=measured,
        resumed=resumed,
        seconds=seconds,
        families=(len(groups), sum(map(len, groups))),
        written=written,
        notes=images.notes,
    )


def _for_tensorrt(
    engine: OpenEngine, table: CalibrationTable, request: CalibrateRequest, output: Path
) -> Iterator[Written]:
    if request.qdq is None and request.cache is None and request.ranges is None:
        return
    quantiser = quantiser_for(engine, table, concat_scales=request.concat_scales or "unified")
    left = float_layers(quantiser, request.layer_precisions)
    if request.qdq is not None:
        yield write_qdq(engine, quantiser, output, request.qdq, left=left, command=request.command)
    if request.ranges is not None:
        yield write_ranges(quantiser, request.ranges, left=left)
    if request.cache is not None:
        yield write_cache_file(quantiser, request.cache, tensorrt=_tensorrt(request))


def _tensorrt(request: CalibrateRequest) -> str:
    return DEFAULT_CACHE_VERSION if request.tensorrt is None else request.tensorrt


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
        seed=request.seed,
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
