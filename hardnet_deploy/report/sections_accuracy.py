"""Accuracy: the plot against latency, mAP with intervals, classes, parity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardnet_deploy.evaluate.bootstrap import LEAST_FOR_INTERVAL
from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Absent, Block, Cell, Column, Section, Table, Text
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.lineage import why_void
from hardnet_deploy.report.next_steps import free_name
from hardnet_deploy.report.plots import Point, Shape, scatter
from hardnet_deploy.report.runs import Engine, Runs
from hardnet_deploy.report.timings import Group, Timing
from hardnet_deploy.report.verdicts import Verdict, cost_of, judge

COCO_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
METRICS = {
    "coco": "COCO AP @[.50:.95]",
    "voc07": "VOC07 AP @.50, 11 points",
    "voc12": "VOC12 AP @.50, area under the curve",
}
EVALUATE = "hardnet-deploy evaluate ENGINE --data DATA -o evaluation.json"
PARITY = "hardnet-deploy parity REFERENCE CANDIDATE --data DATA --pictures worst -o parity.json"


def against_latency(runs: Runs) -> Section:
    """One drawing for each run that timed engines whose mAP was compared on the same images."""
    section = Section(ident="accuracy-latency", title="Accuracy against latency")
    groups: dict[tuple[str, Group], list[tuple[Timing, Point]]] = {}
    for engine, digest, point in _scored(runs):
        for timing in engine.timings:
            alone = len({one.median_ms for one in engine.timings if one.group == timing.group}) == 1
            label = engine.name if alone else f"{engine.name}, {timing.source.text('engine') or 'timed again'}"
            label += ", its plugin by NumPy" if timing.plugin_by_numpy else ""
            at = Point(x=timing.median_ms, y=point.y, y_range=point.y_range, label=label, shape=point.shape)
            groups.setdefault((digest, timing.group), []).append((timing, at))
    for number, ((digest, _), found) in enumerate(groups.items(), start=1):
        timing = found[0][0]
        where = f"{timing.where}; {timing.of_what}"
        told = "; ".join(f"{at.label}: {texts.milliseconds(at.x)} ms, mAP {at.y:.4f}" for _, at in found)
        section.blocks.append(
            scatter(
                [at for _, at in found],
                ident=f"accuracy-latency-{number}",
                title=f"mAP against time. {where}",
                description=told,
                x_label="median time of one run, ms",
                y_label="mAP",
                key=[("circle", "passed parity"), ("cross", "failed parity"), ("square", "reference, or not compared")],
            )
        )
        section.blocks.append(
            Text(
                text="Up and to the left is better; the vertical axis does not begin at 0. Vertical lines: 95 % "
                "interval of the difference from the reference, whose own mAP is taken as it is. Images: digest "
                f"{texts.short(digest)}."
            )
        )
    if not section.blocks:
        section.blocks.append(Absent(what="an engine of which both mAP and time are known", command=_bench(runs)))
    return section


def _bench(runs: Runs) -> str:
    save = texts.shell([str(free_name(runs.collection, "bench.json"))])
    return f"hardnet-deploy bench REFERENCE ENGINE... --engines eager --data DATA --save {save}"


def _scored(runs: Runs) -> Iterator[tuple[Engine, str, Point]]:
    """Every engine with the mAP that a comparison or an evaluation gave it, and the digest of the images."""
    for engine in runs.engines:
        known: dict[str, Point] = {}
        for document in engine.evaluations:
            value = document.content.number("mAP")
            if value is not None:
                known[document.content.part("data").text("digest") or ""] = Point(
                    x=0, y=value, shape=_shape(engine, runs)
                )
        for document in engine.reference_of:
            value = document.content.part("metric").number("reference")
            if value is not None:
                known[document.content.part("data").text("digest") or ""] = Point(x=0, y=value, shape="square")
        if engine.parity:
            cost = judge(engine, runs).cost
            if cost and cost.candidate is not None:
                known[cost.digest] = Point(
                    x=0, y=cost.candidate, y_range=cost.mean_ap_interval, shape=_shape(engine, runs)
                )
        for digest, point in known.items():
            yield engine, digest, point


def _shape(engine: Engine, runs: Runs) -> Shape:
    state = judge(engine, runs).state
    return "circle" if state == "passed" else "cross" if state == "failed" else "square"


def accuracy(runs: Runs) -> Section:
    """Mean average precision of every engine on every data set, with intervals; COCO's twelve numbers; every class."""
    section = Section(ident="accuracy", title="mAP")
    compared = [document for engine in runs.engines for document in engine.parity if document.content.part("metric")]
    if compared:
        section.blocks.append(_drops(compared, runs))
    else:
        section.blocks.append(Absent(what="mAP of an engine beside its reference's", command=PARITY))
    evaluations = runs.collection.of("evaluation")
    if evaluations:
        section.blocks.append(_evaluations(evaluations, runs))
        if any(document.content.part("coco") for document in evaluations):
            section.blocks.append(_twelve([one for one in evaluations if one.content.part("coco")], runs))
        for document in evaluations:
            section.blocks += [
                Text(text=f"{_name(document, runs)}: {warning}", caution=True)
                for warning in document.content.texts("warnings")
            ]
    else:
        section.blocks.append(Absent(what="COCO's twelve numbers, or VOC's mAP", command=EVALUATE))
    section.blocks.append(_classes(evaluations, runs))
    return section


def _name(document: Document, runs: Runs) -> str:
    part = document.content.part("engine")
    engine = runs.find(part.text("sha256"), part.text("state_sha256"), f"label:{part.text('engine')}")
    return engine.name if engine else part.text("engine") or "engine"


def verdict_cell(parity: Document, runs: Runs) -> Cell:
    """What a comparison found, and whether that counts."""
    if parity.content.flag("passed") is not True:
        return Cell(text="failed", status="fail")
    void = why_void(parity, runs)
    return Cell(text=f"does not count: {void}", status="warn") if void else Cell(text="passed", status="pass")


def _images(data: Part) -> str:
    return f"{data.text('name') or 'not named'} ({texts.short(data.text('digest'))})"


def _drops(documents: Sequence[Document], runs: Runs) -> Table:
    rows = []
    for document in documents:
        part, metric = document.content, document.content.part("metric")
        candidate = part.part("candidate")
        engine = runs.find(candidate.text("sha256"), candidate.text("state_sha256"))
        verdict = judge(engine, runs) if engine else None
        drop, cost = metric.part("drop"), cost_of(document)
        low, high = (cost.low, cost.high) if cost else (None, None)
        kind = metric.text("drop_type")
        value = drop.number("drop")
        interval = (
            "no interval"
            if low is None or high is None
            else f"{texts.drop_in_words(low, kind)} to {texts.drop_in_words(high, kind)}"
        )
        limit = metric.number("max_drop")
        separated = {True: "yes", False: "no, more images would", None: texts.NONE}[metric.flag("separated")]
        separated = "too few images" if cost and cost.images < LEAST_FOR_INTERVAL else separated
        rows.append(
            [
                Cell(text=engine.name if engine else texts.NONE),
                Cell(text=texts.mean_ap(metric.number("reference"))),
                Cell(text=texts.mean_ap(metric.number("candidate"))),
                Cell(text=texts.NONE if value is None else f"{texts.drop_in_words(value, kind)} {kind or ''}".strip()),
                Cell(text=interval),
                Cell(text=texts.NONE if limit is None else texts.drop_in_words(limit, kind)),
                Cell(text=separated),
                verdict_cell(document, runs),
                Cell(text=_images(part.part("data"))),
                Cell(text=", ".join(_marks(verdict)) or "none"),
            ]
        )
    columns = [
        Column(title="engine"),
        Column(title="reference mAP", figures=True),
        Column(title="engine mAP", figures=True),
        Column(title="drop", figures=True),
        Column(title="95 % interval", figures=True),
        Column(title="allowed", figures=True),
        Column(title="interval separates from it"),
        Column(title="parity"),
        Column(title="images (digest)"),
        Column(title="marks"),
    ]
    note = "A drop below 0 is a gain. Drops are of the reference's mAP where it says relative."
    return Table(caption="mAP beside the reference", columns=columns, rows=rows, notes=[note])


def _marks(verdict: Verdict | None) -> list[str]:
    wanted = ("untrained", "simulated", "not known", "taken with", "compared with")
    return [why for why in (verdict.why_not if verdict else ()) if why.startswith(wanted)]


def _evaluations(documents: Sequence[Document], runs: Runs) -> Table:
    rows = []
    for document in documents:
        part, data = document.content, document.content.part("data")
        untrained = {True: "untrained", False: "trained", None: "not known"}[part.flag("untrained")]
        rows.append(
            [
                Cell(text=_name(document, runs)),
                Cell(text=texts.mean_ap(part.number("mAP"))),
                Cell(text=METRICS.get(part.text("metric") or "", part.text("metric") or texts.NONE)),
                Cell(text=f"{_images(data)}, {texts.counted(data.number('images'), 'image')}"),
                Cell(text=part.part("postprocess").text("made_by") or texts.NONE),
                Cell(text=untrained, status="warn" if untrained != "trained" else "none"),
            ]
        )
    titles = ("engine", "mAP", "metric", "images (digest)", "detections made by", "weights")
    columns = [Column(title=title, figures=title == "mAP") for title in titles]
    return Table(caption="mAP by itself", columns=columns, rows=rows)


def _twelve(documents: Sequence[Document], runs: Runs) -> Table:
    rows = [
        [
            Cell(text=_name(one, runs)),
            *(Cell(text=texts.mean_ap(one.content.part("coco").number(name))) for name in COCO_NUMBERS),
        ]
        for one in documents
    ]
    columns = [Column(title="engine"), *(Column(title=name, figures=True) for name in COCO_NUMBERS)]
    note = "s, m, l: small, medium and large objects; 1, 10, 100: boxes an image. A dash: there are no such objects."
    return Table(caption="COCO's twelve numbers", columns=columns, rows=rows, notes=[note])


def _classes(documents: Sequence[Document], runs: Runs) -> Block:
    known = [one for one in documents if one.content.parts("per_class")]
    if not known:
        return Absent(what="AP of every class", command=EVALUATE)
    by_class: dict[str, dict[int, Part]] = {}
    for place, document in enumerate(known):
        for entry in document.content.parts("per_class"):
            by_class.setdefault(entry.text("name") or f"class {entry.count('class_id')}", {})[place] = entry
    rows = []
    for name, found in by_class.items():
        cells = [Cell(text=name), Cell(text=texts.count(next(iter(found.values())).number("objects")))]
        for place in range(len(known)):
            value = found[place].number("ap") if place in found else None
            cells.append(Cell(text=texts.mean_ap(value), bar=value))
        rows.append(cells)
    columns = [Column(title="class"), Column(title="objects", figures=True)]
    columns += [Column(title=_name(document, runs), figures=True) for document in known]
    return Table(caption="AP of every class", columns=columns, rows=rows)
