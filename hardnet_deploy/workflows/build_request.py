"""What ``hardnet-deploy build-engine`` was asked for, and which of it would silently do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.data.sources import spells_split
from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate.bootstrap import DropType
from hardnet_deploy.models import registry
from hardnet_deploy.target_spec import Precision, Target

if TYPE_CHECKING:
    from calibration.ranges import ConcatScales
    from calibration.table import Method

SPLITS_APART: Final = {  # by layout: what engines are judged on by default, and splits to search in and calibrate on
    "coco": ("val2017", "train2017", "unlabeled2017"),
    "voc": ("2007-test", "2007-val", "2007-train"),
}


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """The options of ``hardnet-deploy build-engine`` as typed; None means that the user left it to the defaults."""

    source: str | None = None
    weights: Path | None = None
    code_line: str = registry.CODE_LINES[0]
    int8: bool = False
    fp16: bool = False
    target: str | None = None
    calib: Path | None = None
    data: str | None = None
    count: int | None = None
    seed: int | None = None
    method: Method | None = None
    concat_scales: ConcatScales = "unified"
    layer_precisions: str | None = None
    reduce_range: bool = False
    max_drop: float | None = None
    drop_type: DropType = "relative"
    search_data: str | None = None
    search_count: int | None = None
    allow_fallback: bool = False
    workspace: str | None = None
    batch: str | None = None
    timing_cache: Path | None = None
    locked: bool = False
    dry_run: bool = False
    trust: bool = False
    output: Path | None = None
    command: tuple[str, ...] = ()


def refuse_idle(request: BuildRequest, precision: Precision, target: Target) -> None:
    """Refuse options that would silently do nothing.

    Raises:
        UsageError: One would, or it is out of range.
    """
    _refuse_of_another_runtime(request, target)
    if precision == "int8":
        _refuse_idle_int8(request)
        return
    fallback = request.allow_fallback and not (target.uses_tensorrt and precision == "fp16")
    idle = _given(
        {
            "--calib": request.calib,
            **_measuring(request),
            "--method": request.method,
            "--layer-precisions": request.layer_precisions,
            "--max-drop": request.max_drop,
            "--drop-type": request.drop_type if request.drop_type != "relative" else None,
            "--concat-scales": request.concat_scales if request.concat_scales != "unified" else None,
            "--allow-fallback": fallback or None,
            "--search-data": request.search_data,
            "--search-count": request.search_count,
            "--reduce-range": request.reduce_range or None,
        }
    )
    if idle:
        raise UsageError(f"without --int8 these would do nothing: {', '.join(idle)}", next_step="add --int8")


def _refuse_of_another_runtime(request: BuildRequest, target: Target) -> None:
    """TensorRT's options on the CPU, and the CPU's with TensorRT."""
    if target.uses_tensorrt:
        if request.reduce_range:
            raise UsageError(
                f"--reduce-range is for CPUs without VNNI and would do nothing on target '{target.name}'",
                next_step="drop --reduce-range",
            )
        return
    idle = _given(
        {
            "--workspace": request.workspace,
            "--batch": request.batch,
            "--timing-cache": request.timing_cache,
            "--locked": request.locked or None,
        }
    )
    if idle:
        raise UsageError(
            f"on target '{target.name}' these would do nothing: {', '.join(idle)}",
            got=f"options of TensorRT, and '{target.name}' runs {target.runtime}",
            next_step="drop them, or name a target of TensorRT: --target gtx-1080ti, jetson-nano or gpu",
        )


def _refuse_idle_int8(request: BuildRequest) -> None:
    both = _given(_measuring(request))
    if request.calib is not None and both:
        raise UsageError(
            f"--calib brings its ranges, so {' and '.join(both)} would do nothing", next_step="drop one of them"
        )
    if request.max_drop is not None and not 0 < request.max_drop < 1:
        raise UsageError(f"--max-drop {request.max_drop:g} is out of range", wanted="above 0, below 1")
    searching = _given(
        {
            "--drop-type": request.drop_type if request.drop_type != "relative" else None,
            "--search-data": request.search_data,
            "--search-count": request.search_count,
        }
    )
    if request.max_drop is None and searching:
        raise UsageError(f"without --max-drop {' and '.join(searching)} would do nothing", next_step="add --max-drop")
    _refuse_default_split(request.search_data)


def refuse_beside_scales(request: BuildRequest, what: str) -> None:
    """Refuse what works on measured ranges where the scales are given already: a Q/DQ graph, or a TensorRT cache.

    Raises:
        UsageError: Such an option was given.
    """
    idle = _given(
        {
            **_measuring(request),
            "--method": request.method,
            "--concat-scales": request.concat_scales if request.concat_scales != "unified" else None,
            "--max-drop": request.max_drop,
        }
    )
    if idle:
        raise UsageError(
            f"{what} brings its INT8 scales, so {' and '.join(idle)} would do nothing",
            next_step="drop them, or give the float graph and the table F.calib.json",
        )


def refuse_without_data(request: BuildRequest, dataset: object, *, detects: bool) -> None:
    """Refuse INT8 that nobody said what to measure on; for a model of the demo data that goes without saying.

    Raises:
        UsageError: No ranges and no images, or a search without labelled images.
    """
    if request.max_drop is not None and not detects:
        raise UsageError("--max-drop is measured as mAP, and a backbone detects nothing", next_step="drop --max-drop")
    if not request.int8 or dataset == "demo":
        return
    if request.calib is None and request.data is None:
        raise UsageError(
            "INT8 needs ranges, and nothing is named to take them from",
            wanted="--data with images like those the engine will see, or --calib with a table",
            next_step="add --data coco:ROOT, voc:ROOT or a folder of images",
        )
    if request.max_drop is not None and request.search_data is None:
        raise UsageError(
            "--max-drop needs labelled images to measure mAP on",
            next_step="add --search-data coco:ROOT:SPLIT or voc:ROOT:YEAR-SPLIT; keep those you will report apart",
        )


def _measuring(request: BuildRequest) -> dict[str, object]:
    return {"--data": request.data, "--count": request.count, "--seed": request.seed}


def _given(options: Mapping[str, object]) -> list[str]:
    return [name for name, value in options.items() if value is not None]


def _refuse_default_split(search_data: str | None) -> None:
    """Refuse to search, unasked, in the very split that engines are judged on by default."""
    text = search_data or ""
    kind, _, root = text.partition(":")
    if kind in SPLITS_APART and root and not spells_split(text):
        judged, search, calibration = SPLITS_APART[kind]
        plain = text.rstrip(":")
        raise UsageError(
            f"--search-data {text} names no split, and {judged}, the usual one, is what engines are judged on",
            wanted=f"{plain}:SPLIT, with a split whose mAP you will not report",
            next_step=f"--search-data {plain}:{search}, with ranges of other images, as of {plain}:{calibration}",
        )
