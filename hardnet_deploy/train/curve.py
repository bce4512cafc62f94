"""The loss curve as a picture."""

from __future__ import annotations

from pathlib import Path

from hardnet_deploy.files import atomic_output
from hardnet_deploy.train.state import Curve


def draw_curve(curve: Curve, path: Path, *, title: str) -> None:
    """Write both losses and the learning rate over the steps as a PNG; a curve without points writes axes alone.

    Raises:
        OutputFileError: It cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [point[0] for point in curve]
    for column, label, colour in (
        (2, "location (smooth L1)", "tab:blue"),
        (3, "confidence (cross-entropy)", "tab:red"),
    ):
        axes.plot(steps, [point[column] for point in curve], label=label, color=colour, linewidth=1.2)
    axes.set(xlabel="step", ylabel="loss per matched default box")
    axes.set_title(title, parse_math=False)
    axes.set_ylim(0, 1.05 * max((max(point[2:]) for point in curve), default=1.0) or 1.0)
    axes.grid(alpha=0.3)
    rates = [point[1] for point in curve] or [1.0]
    rate = axes.twinx()
    rate.set(ylabel="learning rate", yscale="log")
    rate.set_ylim(min(rates) / 2, max(rates) * 2)  # before plotting: a single small value has no range of its own
    rate.plot(steps, [point[1] for point in curve], color="tab:grey", linestyle=":", label="learning rate")
    lines = [*axes.get_lines(), *rate.get_lines()]
    axes.legend(lines, [str(line.get_label()) for line in lines], loc="upper right")
    with atomic_output(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
