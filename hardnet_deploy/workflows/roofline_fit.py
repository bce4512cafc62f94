"""Whether measured times are of what a bound is of: the same input, processor, precision and number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hardnet_deploy.bench.graph_precision import Typed
from hardnet_deploy.bench.peaks import DEVICES, Device, device_of_gpu
from hardnet_deploy.errors import ArtifactMismatchError, UsageError
from hardnet_deploy.workflows.environment import Probes, read_cpu
from hardnet_deploy.workflows.roofline_graph import RooflineGraph
from hardnet_deploy.workflows.roofline_times import LayerTimes

NANO_GPU: Final = "tegra x1"
"""What CUDA calls the GPU of a Jetson Nano."""


def refuse_other_input(times: LayerTimes, graph: RooflineGraph) -> None:
    """Refuse the times of another input size or batch than those of ``graph``.

    Raises:
        ArtifactMismatchError: They differ, or the size is not known of another file than ``graph``.
    """
    size, batch = graph.identity["size"], graph.identity["batch"]
    if times.size is None and not times.is_of(graph):
        raise ArtifactMismatchError(
            "the profile does not tell its input size",
            got=f"times of {times.label}",
            wanted=f"{size} x {size}",
            next_step="name the file that was profiled",
        )
    if times.size not in {None, size}:
        raise ArtifactMismatchError(
            "the profile is at another input size",
            got=f"{times.size} x {times.size}",
            wanted=f"{size} x {size}",
            next_step="name the file that was profiled; for a backbone by name add --size",
        )
    if times.batch not in {None, batch}:
        raise ArtifactMismatchError(
            "the profile is of another batch",
            got=f"{times.batch}",
            wanted=f"{batch}",
            next_step="name the file that was profiled",
        )


def refuse_other_precision(times: LayerTimes, graph: RooflineGraph, typed: Typed) -> None:
    """Refuse the times of another file whose arithmetic is not that of ``graph``.

    A plan cannot be named instead, so the times of one are held against the graph that it was built from.

    Args:
        times: Of a profile.
        graph: Held against them.
        typed: Its precisions; of a mixed graph no other file is known to have the same layers in each.

    Raises:
        ArtifactMismatchError: They differ.
    """
    if times.is_of(graph) or times.processor is None or times.precision in {None, typed.label}:
        return
    raise ArtifactMismatchError(
        f"the profile is of an engine in {times.precision}, {graph.identity['label']} is typed in {typed.words}",
        got=f"times of {times.label}",
        next_step="name the file that was profiled",
    )


def refuse_other_request(
    times: LayerTimes, *, target: str, is_here: bool, precision: str | None, threads: int | None
) -> None:
    """Refuse times of another processor, precision or number of threads than was asked for.

    Args:
        times: Of a profile.
        target: As typed.
        is_here: Whether that is this machine's CPU.
        precision: As typed; None without.
        threads: As typed; None without.

    Raises:
        UsageError: They differ.
    """
    if precision not in {None, times.precision} and times.precision is not None:
        raise UsageError(
            f"the profile is of an engine in {times.precision}", got=f"--precision {precision}", next_step="drop it"
        )
    if is_here != (times.processor is not None):
        raise UsageError(
            f"the profile is of {times.processor or times.device or times.target or 'a GPU'}",
            got=f"--target {target}",
            next_step="name the machine that it was measured on" if is_here else "--target here, on that machine",
        )
    if not is_here:
        return
    processor = read_cpu(Probes()).model
    if times.processor != processor:
        raise UsageError(
            f"the profile is of {times.processor}, this machine has {processor}",
            next_step="profile the engine here: hardnet-deploy profile",
        )
    if threads not in {None, times.threads}:
        raise UsageError(f"the profile is of {times.threads} threads", got=f"--threads {threads}", next_step="drop it")


def refuse_other_gpu(times: LayerTimes, devices: Sequence[Device]) -> None:
    """Refuse the times of another GPU than the bounds are of; those of a stand-in are of none, and say so.

    Raises:
        UsageError: They are of another.
    """
    if times.processor is not None or times.simulated:
        return
    known = _known(times)
    if known is None and times.device is None:  # not told, or a target that is no one device: a note says so
        return
    if any(known is not one for one in devices):
        raise UsageError(
            f"the profile is of {times.device or times.target}",
            got=f"--target {devices[0].name}",
            next_step=f"--target {known.name}" if known else "its peak rates are not known here",
        )


def is_device_told(times: LayerTimes) -> bool:
    """True where the times say which processor ran them."""
    return times.processor is not None or times.device is not None or _known(times) is not None


def _known(times: LayerTimes) -> Device | None:
    """The device that ran it, where its peaks are known."""
    if times.device is None:
        return DEVICES.get(times.target or "")
    return device_of_gpu(times.device) or (DEVICES["jetson-nano"] if NANO_GPU in times.device.lower() else None)
