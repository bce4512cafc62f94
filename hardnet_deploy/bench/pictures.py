"""Pictures of a profile and of a roofline, as PNG or SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.bench.layer_times import LayerTable
from hardnet_deploy.bench.module_map import group_order
from hardnet_deploy.bench.roofline import Roofline
from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import atomic_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS: Final = (".png", ".svg")
SHOWN: Final = 25
"""Layers in the picture of a profile."""
_DPI: Final = 130
_SMALL: Final = 9
_PALETTE: Final = (
    "#c9702f",
    "#4c9a5b",
    "#a8484f",
    "#7b66a8",
    "#8a6a4f",
    "#c06fa0",
    "#6f7680",
    "#a39a2e",
    "#3b98a8",
    "#e0a33a",
)


def refuse_format(path: Path) -> None:
    """Refuse a picture that is neither PNG nor SVG.

    Raises:
        UsageError: It is not.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--picture {path} is of no known kind", wanted="a name that ends in .png or .svg")


def draw_profile(path: Path, table: LayerTable, *, title: str) -> None:
    """Time by part of the network, and of the slowest layers.

    Raises:
        OutputFileError: It cannot be written.
    """
    groups, slowest = table.groups(), table.slowest()[:SHOWN]
    colours = _colours([one.group for one in groups])
    rows = len(groups) + len(slowest)
    figure = _figure(10, 0.27 * rows + 2.4)
    upper, lower = figure.subplots(2, 1, height_ratios=[len(groups) + 1, len(slowest) + 1])
    _bars(
        upper,
        [(f"{one.group} ({one.layers})", one.ms, f"{one.ms:.3g} ms, {one.percent:.1f} %") for one in groups],
        [colours[one.group] for one in groups],
    )
    upper.set_title(f"{_plain(title)}: time by part of the network (number of layers)", fontsize=11, loc="left")
    _bars(
        lower,
        [
            (_short(one.label), one.layer.ms, f"{one.layer.ms:.3g} ms, {one.layer.op or one.place.group}")
            for one in slowest
        ],
        [colours[one.place.group] for one in slowest],
    )
    lower.set_title(f"the {len(slowest)} slowest of {len(table.layers)} layers", fontsize=11, loc="left")
    lower.set_xlabel(f"ms in a run, mean of {table.profile.runs}", fontsize=_SMALL)
    _save(figure, path)


def draw_roofline(path: Path, found: Sequence[Roofline], *, title: str) -> None:
    """Layers under the roof of each device and precision: on it, or where times are known, as high as they reach.

    The larger a dot, the more of the whole bound is its layer's.

    Raises:
        OutputFileError: It cannot be written.
    """
    columns = min(len(found), 2)
    rows = math.ceil(len(found) / columns)
    figure = _figure(6.2 * columns, 4.6 * rows + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False)
    colours = _colours(sorted({one.group for roof in found for one in roof.layers if one.flops}, key=_order))
    for number, axes in enumerate(panels.flat):
        if number < len(found):
            _roof(axes, found[number], colours)
        else:
            axes.set_axis_off()
    figure.suptitle(_plain(title), fontsize=12)
    handles = [_marker(colour, name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=_SMALL, frameon=False)
    _save(figure, path)


def _roof(axes: Axes, roof: Roofline, colours: dict[str, str]) -> None:
    peak = roof.peak
    computing = [one for one in roof.layers if one.flops and one.bytes]
    copying = [one for one in roof.layers if not one.flops]
    low = min([one.intensity for one in computing], default=0.1) / 2
    high = max([*(one.intensity for one in computing), peak.ridge]) * 3
    for one in roof.peaks.values():  # of a graph typed in several precisions each has its own
        points = [low, one.ridge, high] if low < one.ridge < high else [low, high]
        axes.plot(points, [min(one.flops, x * one.bandwidth) / 1e9 for x in points], color="#333333", linewidth=1.5)
    axes.axvline(peak.ridge, color="#999999", linewidth=0.8, linestyle=":")
    for layer in computing:
        ms = layer.measured_ms or layer.bound_ms
        axes.plot(
            layer.intensity,
            layer.flops / ms / 1e6,
            marker="o",
            markersize=4 + 14 * math.sqrt(layer.bound_ms / roof.bound_ms),
            markeredgecolor="white",
            markeredgewidth=0.5,
            color=colours[layer.group],
            alpha=0.85,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(visible=True, which="major", color="#e3e3e3", linewidth=0.6)
    axes.tick_params(labelsize=_SMALL)
    axes.set_xlabel("operations a byte", fontsize=_SMALL)
    axes.set_ylabel("billion operations a second", fontsize=_SMALL)
    reached = f", {roof.whole_ms:.3g} ms measured" if roof.whole_ms else ""
    device = _plain(roof.device.title)
    axes.set_title(f"{device}, {roof.precision}: bound {roof.bound_ms:.3g} ms{reached}", fontsize=10)
    moved = sum(one.bound_ms for one in copying)
    axes.text(
        0.98,
        0.03,
        f"memory-bound: {roof.memory_percent:.0f} % of the bound\ncopies without arithmetic: {moved:.2g} ms",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=_SMALL,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )


def _bars(axes: Axes, rows: Sequence[tuple[str, float, str]], colours: Sequence[str]) -> None:
    places = range(len(rows))
    axes.barh(places, [ms for _, ms, _ in rows], color=colours)
    axes.set_yticks(places, [_plain(name) for name, _, _ in rows], fontsize=_SMALL)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    longest = max((ms for _, ms, _ in rows), default=1.0)
    axes.set_xlim(0, 1.3 * longest or 1.0)
    for number, (_, ms, text) in enumerate(rows):
        axes.text(ms + 0.01 * longest, number, _plain(text), va="center", fontsize=_SMALL)
    axes.tick_params(axis="x", labelsize=_SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _marker(colour: str, label: str) -> object:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker="o", linestyle="", label=_plain(label))


def _colours(groups: Sequence[str]) -> dict[str, str]:
    """A colour for each part of the network; blocks, which are many, share their shades of one."""
    blocks = [one for one in groups if one.startswith("block ")]
    shades = {one: _mix("#1f3f66", "#8fb7e0", number / max(len(blocks) - 1, 1)) for number, one in enumerate(blocks)}
    others = [one for one in groups if one not in shades]
    return {**shades, **{one: _PALETTE[number % len(_PALETTE)] for number, one in enumerate(others)}}


def _mix(first: str, second: str, share: float) -> str:
    pairs = zip(*(bytes.fromhex(one[1:]) for one in (first, second)), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def _order(group: str) -> tuple[int, int]:
    return (99, 0) if group == "several" else group_order(group)


def _short(name: str, length: int = 44) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _plain(text: str) -> str:
    """As it stands: matplotlib takes what two dollars enclose for a formula, and fails where it is none."""
    return text.replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    with atomic_output(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lower().removeprefix("."), dpi=_DPI)
