"""Where the time goes: profiles by layer, and the bounds of the roofline model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardnet_deploy.bench.layer_times import overhead_told
from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Absent, Block, Cell, Column, Fold, Section, Table, Text
from hardnet_deploy.report.device_layers import device_profiles, share_cell, unit_bar
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.plots import Point, is_plottable, log_log, plottable
from hardnet_deploy.report.runs import Engine, Runs

OF_ONNX_RUNTIME = "uint8"  # how a manifest calls the writing of INT8 that TensorRT takes no file of
KINDS = ("int8", "fp16", "fp32")
PROFILE = "hardnet-deploy profile ENGINE -o profile.json"
GIGA = 1e9
ROUNDING = 1 + 1e-9  # a layer at its bound may come out a rounding above it
ROOFLINE = "hardnet-deploy roofline ENGINE --measure -o roofline.json"


def profile(runs: Runs) -> Section:
    """Every profile: groups of layers, then layers; then those that came back from devices."""
    section = Section(ident="profile", title="Time by layer")
    for document in runs.collection.of("profile"):
        section.blocks += _profile(document, runs)
    section.blocks += device_profiles(runs)
    if not section.blocks:
        section.blocks.append(Absent(what="the time of every layer", command=PROFILE))
    return section


def _profile(document: Document, runs: Runs) -> Iterator[Block]:
    part = document.content
    engine = part.part("engine")
    found = runs.find(engine.text("sha256"), engine.text("state_sha256"))
    name = found.name if found else engine.text("label") or "an engine without a name"
    if part.flag("simulated"):
        yield Text(text=f"{name} was profiled on a simulated device.", caution=True)
    if engine.flag("trained") is False:
        yield Text(text=f"{name} was profiled untrained: what NMS had to do is no trained detector's.", caution=True)
        name += " (untrained)"
    notes = list(_about(part))
    groups = part.parts("groups")
    if groups:
        rows = [
            [
                Cell(text=one.text("group") or one.text("name") or texts.NONE),
                Cell(text=texts.milliseconds(one.number("ms"))),
                share_cell(one),
            ]
            for one in groups
        ]
        columns = [
            Column(title="group"),
            Column(title="ms", figures=True),
            Column(title="of the layers' time", figures=True),
        ]
        yield Table(caption=f"Time by group, {name}", columns=columns, rows=rows, notes=notes)
    layers = sorted(part.parts("layers"), key=lambda one: -(one.number("ms") or 0))
    rows = [
        [
            Cell(text=one.text("name") or texts.NONE, code=True),
            Cell(text=one.text("module") or texts.NONE, code=True),
            Cell(text=one.text("op") or texts.NONE),
            Cell(text=texts.milliseconds(one.number("ms"))),
            share_cell(one, layers[0].number("percent")),
        ]
        for one in layers
    ]
    titles = ("layer", "module", "operation", "ms", "of the layers' time")
    columns = [Column(title=one, figures=one in titles[3:]) for one in titles]
    about = [*([] if groups else notes), "Bars: as a share of the longest layer's."]
    yield Table(caption=f"Time by layer, {name}", columns=columns, rows=rows, notes=about)
    lints = part.parts("lints")
    if lints and not _of_onnx_runtime(found):
        rows = [
            [Cell(text=lint.text(key) or texts.NONE) for key in ("rule", "message", "action", "source")]
            for lint in lints
        ]
        columns = [Column(title=one) for one in ("rule", "what was found", "what to do", "source")]
        yield Table(caption=f"What TensorRT would stumble over, {name}", columns=columns, rows=rows)


def _of_onnx_runtime(engine: Engine | None) -> bool:
    manifests = engine.manifests if engine else ()
    return any(one.content.part("precision").text("writing") == OF_ONNX_RUNTIME for one in manifests)


def _about(part: Part) -> Iterator[str]:
    """What the times are of, and how far they can be trusted."""
    conditions = part.part("conditions")
    threads = conditions.number("threads")
    told = [part.text("provenance"), part.text("source"), conditions.text("data")]
    told.append(None if threads is None else texts.counted(threads, "thread"))
    if any(told):
        yield f"{', '.join(text for text in told if text)}; {texts.counted(part.number('runs'), 'run')}."
    run, overhead = part.number("run_ms"), part.number("profiling_overhead_percent")
    if run is not None:
        slower = "" if overhead is None else f"; {overhead_told(overhead)}"
        yield f"Whole run: {texts.milliseconds(run)} ms{slower}."
    plain = part.number("plain_run_ms")
    if plain is not None:
        yield f"Whole run without the profiler: {texts.milliseconds(plain)} ms (median)."
    accounted = part.number("accounted_percent")
    if accounted is not None:
        yield f"Layers account for {accounted:.1f} % of the whole run."
    yield from part.texts("notes")
    engine = part.part("engine")
    file, weights = engine.text("sha256"), engine.text("state_sha256")
    of_weights = " (of the weights)" if weights and not file else ""
    yield f"SHA-256 of what was profiled: {texts.short(file or weights)}{of_weights}."


def roofline(runs: Runs) -> Section:
    """Every roofline document: bounds by target, one drawing for each, layers."""
    section = Section(ident="roofline", title="Roofline")
    for number, document in enumerate(runs.collection.of("roofline"), start=1):
        section.blocks += _roofline(document, number)
    if not section.blocks:
        section.blocks.append(Absent(what="bounds by arithmetic and memory", command=ROOFLINE))
    return section


def _roofline(document: Document, number: int) -> Iterator[Block | Fold]:
    part = document.content
    model = part.text("model") or "a model without a name"
    targets = part.parts("targets")
    rows = []
    for one in targets:
        peak, layers = one.part("peak"), one.parts("layers")
        memory = sum(layer.text("bound_by") == "memory" for layer in layers)
        rows.append(
            [
                Cell(text=_target_name(one)),
                Cell(text=_arithmetic(one)),
                Cell(text=_rate(peak.number("bandwidth"), "B/s")),
                Cell(text=texts.milliseconds(one.number("bound_ms"))),
                Cell(text=texts.milliseconds(one.number("bound_ms_free_concatenation"))),
                Cell(text=f"{memory} of {len(layers)}"),
                Cell(text=texts.milliseconds(one.number("run_ms"))),
                Cell(text=texts.milliseconds(one.number("measured_ms"))),
                Cell(text=texts.percent(one.number("share"), 0)),
                Cell(text=peak.text("source") or "not recorded"),
            ]
        )
    titles = (
        "target, precision",
        "arithmetic",
        "bandwidth",
        "bound, ms",
        "with free concatenation",
        "layers bound by memory",
        "a run, ms",
        "layers, ms",
        "share reached",
        "source of the peaks",
    )
    columns = [Column(title=one, figures=one in titles[1:9]) for one in titles]
    notes = [f"SHA-256 of the graph: {texts.short(part.text('sha256'))}.", *_times(part)]
    notes += [text for text in (part.text("definition"), *part.texts("notes")) if text]
    yield Table(caption=f"Bounds, {model}", columns=columns, rows=rows, notes=notes).without(texts.NONE)
    for place, one in enumerate(targets, start=1):
        blocks = list(_target(one, f"roofline-{number}-{place}", model))
        if blocks:
            title = f"Layer by layer: {model}, {_target_name(one)}"
            yield Fold(title=title, blocks=blocks, opened=len(targets) == 1)


def _times(part: Part) -> Iterator[str]:
    """What was timed, and how."""
    source, timed = part.text("times"), part.part("times_of")
    if source is not None:
        yield f"Times: {source}."
    if timed:
        precision = timed.text("precision")
        of = ", ".join(filter(None, (timed.text("label"), precision.upper() if precision else None)))
        yield f"Times are of {of or 'an engine without a name'}, SHA-256 {texts.short(timed.text('sha256'))}."


def _target_name(target: Part) -> str:
    name = target.text("title") or target.text("target") or "a target without a name"
    return ", ".join(filter(None, (name, _upper(target.text("precision") or ""))))


def _upper(precision: str) -> str:
    """``INT8``, or ``as typed: 44 % INT8``."""
    for kind in KINDS:
        precision = precision.replace(kind, kind.upper())
    return precision


def _operation(precision: str | None) -> str:
    """What is counted: integer operations are no floating-point ones."""
    return "OP" if "int8" in (precision or "").lower() else "FLOP"


def _arithmetic(target: Part) -> str:
    """The peak; of a graph typed in several precisions that of each."""
    peaks = target.part("peaks")
    if len(peaks.values) < 2:
        return _rate(target.part("peak").number("flops"), f"{_operation(target.text('precision'))}/s")
    rates = ((kind, _rate(peaks.part(kind).number("flops"), f"{_operation(kind)}/s")) for kind in peaks.values)
    return "; ".join(f"{rate} {_upper(kind)}" for kind, rate in rates)


def _rate(value: float | None, unit: str) -> str:
    if value is None:
        return texts.NONE
    power, letter = next(((p, c) for p, c in ((1e12, "T"), (1e9, "G"), (1e6, "M")) if value >= p), (1.0, ""))
    return f"{value / power:.3g} {letter}{unit}"


def _target(target: Part, ident: str, model: str) -> Iterator[Block]:
    peak = target.part("peak")
    flops, bandwidth = peak.number("flops"), peak.number("bandwidth")
    name, operation = _target_name(target), _operation(target.text("precision"))
    layers = [
        one for one in target.parts("layers") if (one.number("intensity") or 0) > 0 and (one.number("flops") or 0) > 0
    ]
    peaks = target.part("peaks")
    points = (
        plottable(
            _point(one, peaks.part(one.text("precision") or "").number("flops") or flops, bandwidth) for one in layers
        )
        if flops and bandwidth
        else []
    )
    if flops and bandwidth and points and is_plottable(flops / GIGA) and is_plottable(bandwidth / GIGA):
        timed = sum(point.shape == "circle" for point in points)
        yield log_log(
            points,
            peak=flops / GIGA,
            slope=bandwidth / GIGA,
            lower=[(peaks.part(kind).number("flops") or 0.0) / GIGA for kind in peaks.values],
            ident=ident,
            title=f"Roofline, {model}, {name}",
            description=f"{_against_roof(points, flops, bandwidth)} the roof of {_rate(flops, f'{operation}/s')} and "
            f"{_rate(bandwidth, 'B/s')}; {timed} with a measured time. The table below has each.",
            x_label=f"{operation} per byte",
            y_label=f"G{operation}/s",
            key=[("circle", "measured"), ("diamond", "bound only")],
        )
    rows = [
        [
            Cell(text=one.text("name") or texts.NONE, code=True),
            Cell(text=one.text("module") or one.text("group") or texts.NONE, code=True),
            Cell(text=texts.millions(one.number("flops"))),
            Cell(text=texts.millions(one.number("bytes"))),
            Cell(text=texts.NONE if one.number("intensity") is None else f"{one.number('intensity'):.1f}"),
            Cell(text=texts.milliseconds(one.number("bound_ms"))),
            Cell(text=one.text("bound_by") or texts.NONE),
            Cell(text=texts.milliseconds(one.number("measured_ms"))),
            Cell(text=texts.percent(one.number("share"), 0), bar=unit_bar(one.number("share"))),
        ]
        for one in target.parts("layers")
    ]
    if rows:
        titles = (
            "layer",
            "module",
            f"M{operation}",
            "MB",
            f"{operation} per byte",
            "bound, ms",
            "bound by",
            "measured, ms",
            "share reached",
        )
        columns = [Column(title=one, figures=one not in {"layer", "module", "bound by"}) for one in titles]
        yield Table(caption=f"Bound of every layer, {model}, {name}", columns=columns, rows=rows)


def _against_roof(points: Sequence[Point], flops: float, bandwidth: float) -> str:
    """How many layers lie under the roof, and how many over it."""
    over = sum(point.y * GIGA > ROUNDING * min(flops, point.x * bandwidth) for point in points)
    under = f"{texts.counted(len(points) - over, 'layer')} at or below"
    return under if not over else f"{texts.counted(over, 'layer')} above and {under}"


def _point(layer: Part, flops: float, bandwidth: float) -> Point:
    intensity, work = layer.number("intensity") or 0.0, layer.number("flops") or 0.0
    measured = layer.number("measured_ms")
    name = layer.text("name") or ""
    if measured is not None and measured > 0:
        return Point(x=intensity, y=1e3 * work / measured / GIGA, shape="circle", title=name)
    return Point(x=intensity, y=min(flops, intensity * bandwidth) / GIGA, shape="diamond", title=name)
