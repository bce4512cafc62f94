"""``hardnet-deploy roofline``: what bounds each layer of a network, and how much of the bound is reached."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.bench.graph_precision import Typed, typed_as
from hardnet_deploy.bench.peaks import DEVICES, Device, device_of_gpu
from hardnet_deploy.bench.pictures import draw_roofline
from hardnet_deploy.bench.roofline import ITEM_BYTES, Roofline, roofline, with_times
from hardnet_deploy.data.loading import usual_workers
from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.document_files import save_csv, save_json
from hardnet_deploy.workflows.environment import Probes, read_cpu, read_gpus
from hardnet_deploy.workflows.layer_options import LayerRequest, refuse_too_few
from hardnet_deploy.workflows.roofline_fit import (
    refuse_other_gpu,
    refuse_other_input,
    refuse_other_precision,
    refuse_other_request,
)
from hardnet_deploy.workflows.roofline_graph import RooflineGraph, roofline_graph
from hardnet_deploy.workflows.roofline_notes import DEFINITION, notes
from hardnet_deploy.workflows.roofline_times import LayerTimes, measured_here, read_times

if TYPE_CHECKING:
    from hardnet_deploy.bench.graph_cost import LayerCost

Progress = Callable[[str, int, int], None]
SCHEMA: Final = 1
KIND: Final = "roofline"
ALL: Final = "all"
HERE: Final = ("here", "cpu")
GPU: Final = "gpu"


@dataclass(frozen=True, kw_only=True)
class RooflineRequest(LayerRequest):
    """The options of ``hardnet-deploy roofline`` as typed; None means that the user left it to the defaults.

    Those that ``profile`` has too are in :class:`~hardnet_deploy.workflows.layer_options.LayerRequest`.

    Args:
        model: An exported file or a model's name.
        target: A name of :data:`~hardnet_deploy.bench.peaks.DEVICES`, ``gpu``, ``here`` or ``all``.
        size: Input side of a backbone.
        precision: ``fp32``, ``fp16`` or ``int8``; None for all that a target has.
        measure: Time the graph here, and show the share reached.
        times: A saved profile to show the share of.
        threads: Of what is measured here.
    """

    model: str | None = None
    target: str = ALL
    size: int | None = None
    precision: str | None = None
    measure: bool = False
    times: Path | None = None
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class RooflineResult:
    """Bounds on every target and in every precision asked for.

    Args:
        graph: Of what.
        macs: Multiply-accumulates of the graph.
        rooflines: One for each target and precision.
        times: What the shares are of; None without.
        conditions: Threads and processor of what was measured here.
        notes: What the reader should know.
        files: What was written, by option.
        command: The command line.
    """

    graph: RooflineGraph
    macs: int
    rooflines: tuple[Roofline, ...]
    times: LayerTimes | None
    conditions: Mapping[str, Any]
    notes: tuple[str, ...]
    files: Mapping[str, str]
    command: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The document; docs/profile-json.md tells every field."""
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            "command": list(self.command),
            **self.graph.identity,
            "macs": self.macs,
            "definition": DEFINITION,
            "times": None if self.times is None else self.times.source,
            "times_of": None if self.times is None else self.times.identity,
            "conditions": dict(self.conditions),
            "targets": [one.as_dict() for one in self.rooflines],
            "notes": list(self.notes),
            "files": dict(self.files),
        }


def run_roofline(request: RooflineRequest, progress: Progress) -> RooflineResult:
    """Count the graph, and hold it against the peaks.

    Args:
        request: The options.
        progress: Told (what is done, how much is done, how much there is).

    Raises:
        UsageError: Options that do not fit, or a precision that the graph is not typed in.
        TargetError: A target whose peaks are not known, or that has no such precision.
        InputFileError, ArtifactMismatchError: A file that cannot be used.
        OutputFileError: Somewhere that cannot be written.
    """
    request.refuse_files(request.model, request.times)
    _refuse_options(request)
    from hardnet_deploy.bench.graph_cost import cost

    graph = roofline_graph(request.model or registry.DEFAULT_MODEL, size=request.size, trust=request.trust)
    costs = cost(graph.model, batch=graph.identity["batch"])
    times = None if request.times is None else read_times(request.times, graph)
    if times is not None:
        refuse_other_input(times, graph)
        refuse_other_request(
            times,
            target=request.target,
            is_here=request.target in HERE,
            precision=request.precision,
            threads=request.threads,
        )
    threads = request.threads or (times.threads if times else None) or usual_workers()
    devices = _devices(request.target, threads, progress)
    typed = typed_as(costs)
    if times is not None:
        refuse_other_gpu(times, devices)
        refuse_other_precision(times, graph, typed)
    pairs = _pairs(devices, typed, request.precision or (times.precision if times else None))
    if times is not None and len(pairs) > 1:
        raise UsageError("the profile does not tell its precision", next_step="add --precision")
    if request.measure:
        times = measured_here(graph, threads=threads, progress=progress)
    found = [roofline(costs, device, precision, detector=graph.detector) for device, precision in pairs]
    held = [_held(one, costs, times, request, typed) for one in found]
    result = RooflineResult(
        graph=graph,
        macs=sum(one.macs for one in costs),
        rooflines=tuple(held),
        times=times,
        conditions=_conditions(devices, threads),
        notes=notes(held, costs, graph, times),
        files=request.files,
        command=request.command,
    )
    _write(request, result)
    return result


def _refuse_options(request: RooflineRequest) -> None:
    if request.precision is not None and request.precision not in ITEM_BYTES:
        raise UsageError(f"--precision {request.precision} is not known", wanted=", ".join(ITEM_BYTES))
    refuse_too_few("--threads", request.threads)
    if request.measure and request.times is not None:
        raise UsageError("--measure and --times both give the times", next_step="choose one")
    if request.measure and request.target not in {ALL, *HERE}:
        raise UsageError(f"--measure times this machine, not '{request.target}'", next_step="--target here")
    if request.times is not None and request.target == ALL:
        raise UsageError("--times is of one machine", next_step="say which: --target NAME, or here for this machine")


def _devices(target: str, threads: int, progress: Progress) -> tuple[Device, ...]:
    if target in DEVICES:
        return (DEVICES[target],)
    if target == GPU:
        return (_gpu(),)
    if target not in {ALL, *HERE}:
        raise UsageError(
            f"--target {target} is not known", wanted=", ".join((*DEVICES, GPU, HERE[0], ALL)), next_step="choose one"
        )
    from hardnet_deploy.bench.machine_peak import measure_cpu

    here = measure_cpu(threads=threads, progress=partial(progress, "measuring this machine's peaks"))
    return (here,) if target in HERE else (*DEVICES.values(), here)


def _gpu() -> Device:
    gpus, problem = read_gpus(Probes())
    if not gpus:
        raise TargetError(
            "there is no NVIDIA GPU here", got=problem, next_step=f"--target {', '.join((*DEVICES, HERE[0]))}"
        )
    known = device_of_gpu(gpus[0].name)
    if known is None:
        raise TargetError(
            f"the peak rates of a {gpus[0].name} are not known here",
            wanted=", ".join(DEVICES),
            next_step="--target NAME",
        )
    return known


def _pairs(devices: Sequence[Device], typed: Typed, asked: str | None) -> list[tuple[Device, str]]:
    """Devices and precisions; a graph with any layer typed in INT8 or FP16 has its own alone."""
    if asked is not None and typed.lowered and asked != typed.name:
        raise UsageError(
            f"the graph is typed in {typed.words}, so its cost in {asked} is not known",
            next_step="name the FP32 graph that it was made from, or drop --precision",
        )
    wanted = (asked,) if asked else (typed.name,) if typed.lowered else tuple(ITEM_BYTES)
    own = set(typed.macs) if typed.lowered else set()
    pairs = [(device, one) for device in devices for one in wanted if {one, *own} <= device.by_precision.keys()]
    if not pairs:
        raise TargetError(
            f"{devices[0].title} has no arithmetic in {' and '.join(sorted({wanted[0], *own}))}",
            wanted=", ".join(devices[0].by_precision),
            next_step="choose another --precision or --target",
        )
    return pairs


def _held(
    found: Roofline, costs: Sequence[LayerCost], times: LayerTimes | None, request: RooflineRequest, typed: Typed
) -> Roofline:
    """With times where they are of this device and precision; what is measured here runs as it is typed."""
    if times is None or (request.measure and (found.device.name != HERE[0] or found.kinds[0] != typed.name)):
        return found
    return with_times(found, costs, times.layers, run_ms=times.run_ms)


def _conditions(devices: Sequence[Device], threads: int) -> dict[str, Any]:
    if not any(one.name == HERE[0] for one in devices):
        return {}
    return {"threads": threads, "processor": read_cpu(Probes()).model}


def _write(request: RooflineRequest, result: RooflineResult) -> None:
    if request.output is not None:
        save_json(request.output, result.as_dict())
    if request.csv is not None:
        rows = [
            {"target": roof.device.name, "target_precision": roof.precision, **layer.as_dict()}
            for roof in result.rooflines
            for layer in roof.layers
        ]
        save_csv(request.csv, tuple(rows[0]) if rows else (), rows)
    if request.picture is not None:
        identity = result.graph.identity
        title = (
            f"{Path(str(identity['label'])).name}, {identity['size']} x {identity['size']}, batch {identity['batch']}"
        )
        draw_roofline(request.picture, result.rooflines, title=title)
