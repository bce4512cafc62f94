"""Precision: what each layer costs when it alone is INT8, and in which precision each layer of each engine runs."""

from __future__ import annotations

from collections.abc import Sequence

from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Absent, Block, Cell, Column, Section, Table, Text
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.runs import Engine, Runs

SENSITIVITY = "hardnet-deploy sensitivity F.onnx --data DATA -o sensitivity.json"
BUILD = "hardnet-deploy build-engine F.onnx --int8 --data DATA"
NOISE = "SQNR alone in INT8"
LOUDEST_DB = 80.0  # a bar's full length: what is quieter than this below the signal does no harm


def precision(runs: Runs) -> Section:
    """Rankings, then the map."""
    section = Section(ident="precision", title="Sensitivity and precision")
    rankings = runs.collection.of("sensitivity")
    section.blocks += [_ranking(document, runs) for document in rankings]
    if not rankings:
        section.blocks.append(Absent(what="what each layer costs when it alone is INT8", command=SENSITIVITY))
    section.blocks += _map(runs)
    return section


def _noise(layer: Part) -> float | None:
    """Signal to noise of the worse head; None where quantising changed nothing."""
    values = [layer.part("sqnr_db").number(name) for name in layer.part("sqnr_db").values]
    return min((value for value in values if value is not None), default=None)


def _ranking(document: Document, runs: Runs) -> Table:
    layers, data = document.content.parts("layers"), document.content.part("data")
    total = sum(layer.number("macs") or 0 for layer in layers) or 1
    rows = []
    for layer in layers:
        noise, drop = _noise(layer), layer.part("drop")
        low, high = drop.numbers("two_sided") or (None, None)
        value, kind = drop.number("drop"), drop.text("kind")
        interval = texts.NONE
        if low is not None and high is not None:
            interval = f"{texts.drop_in_words(low, kind)} to {texts.drop_in_words(high, kind)}"
        share = (layer.number("macs") or 0) / total
        fell_back = {True: "no, rounded only", False: "yes", None: texts.NONE}[layer.flag("fell_back")]
        rows.append(
            [
                Cell(text=layer.text("layer") or texts.NONE, code=True),
                Cell(
                    text="no noise" if noise is None else f"{noise:.1f} dB",
                    bar=None if noise is None else max(0.0, min(1.0, 1.0 - noise / LOUDEST_DB)),
                ),
                Cell(text="not measured" if value is None else texts.drop_in_words(value, kind)),
                Cell(text=interval),
                Cell(text=texts.percent(share, 1), bar=share),
                Cell(text=fell_back),
            ]
        )
    engine = document.content.part("engine")
    found = runs.find(engine.text("sha256"))
    titles = ("layer", "SQNR of the worse head", "drop of mAP", "95 % interval", "arithmetic", "computed in INT8")
    columns = [Column(title=one, figures=one not in {"layer", "computed in INT8"}) for one in titles]
    images = f"{data.text('name') or 'images that are not named'} ({texts.short(data.text('digest'))})"
    note = f"On {images}, most harmful first; long bars are noise (full length: 0 dB, none: {LOUDEST_DB:g} dB)."
    name = found.name if found else engine.text("engine") or "engine"
    return Table(caption=f"Each layer of {name} alone in INT8", columns=columns, rows=rows, notes=[note])


def _achieved(engine: Engine) -> dict[str, str]:
    """Layer to precision, of the first manifest that says so."""
    for document in engine.manifests:
        achieved = document.content.part("precision").part("achieved")
        found = {name: str(kind) for name, kind in achieved.values.items()}
        if found:
            return found
    return {}


def _map(runs: Runs) -> list[Block]:
    maps = [(engine, achieved) for engine in runs.engines if (achieved := _achieved(engine))]
    if not maps:
        return [Absent(what="the precision of every layer", command=BUILD)]
    plain = [engine.name for engine, achieved in maps if set(achieved.values()) <= {"fp32"}]
    lower = [(engine, achieved) for engine, achieved in maps if set(achieved.values()) - {"fp32"}]
    blocks: list[Block] = []
    if lower:
        blocks.append(_map_table(lower, _noise_columns(lower, runs)))
        blocks += [_requested(engine) for engine, _ in lower]
    else:
        blocks.append(Absent(what="an engine with layers below FP32", command=BUILD))
    if plain:
        blocks.append(Text(text=f"FP32 in every layer: {', '.join(plain)}."))
    return blocks


def _weights(engine: Engine | None) -> tuple[str, str] | None:
    """Model and hash of the weights that a file was made from; None where no manifest has both.

    Layers of all HarDNets have the same names, so names alone tell nothing.
    """
    for document in engine.manifests if engine else ():
        weights = document.content.part("weights")
        model, digest = document.content.part("model").text("name"), weights.text("state_sha256")
        digest = digest or weights.text("sha256")
        if model and digest:
            return model, digest
    return None


def _noise_columns(maps: Sequence[tuple[Engine, dict[str, str]]], runs: Runs) -> list[tuple[str, dict[str, float]]]:
    """Title and noise by layer, of each ranking of the very weights that all of the engines were made from."""
    wanted = {_weights(engine) for engine, _ in maps}
    found = [
        document
        for document in runs.collection.of("sensitivity")
        if wanted == {_weights(runs.find(document.content.part("engine").text("sha256")))} and None not in wanted
    ]
    return [
        (
            f"{NOISE}{f' ({document.path.name})' if len(found) > 1 else ''}",
            {
                layer.text("layer") or "": noise
                for layer in document.content.parts("layers")
                if (noise := _noise(layer)) is not None
            },
        )
        for document in found
    ]


def _map_table(
    maps: Sequence[tuple[Engine, dict[str, str]]], noise_columns: Sequence[tuple[str, dict[str, float]]]
) -> Table:
    layers = list(dict.fromkeys(name for _, achieved in maps for name in achieved))
    rows = []
    for name in layers:
        kinds = [achieved.get(name) for _, achieved in maps]
        cells = [Cell(text=name, code=True)]
        cells += [Cell(text=f"{noises[name]:.1f} dB" if name in noises else texts.NONE) for _, noises in noise_columns]
        cells += [Cell(text=kind.upper() if kind else "no such layer", precision=kind or "none") for kind in kinds]
        rows.append(cells)
    columns = [Column(title="layer"), *(Column(title=title, figures=True) for title, _ in noise_columns)]
    columns += [Column(title=engine.name) for engine, _ in maps]
    notes = []
    for engine, achieved in maps:
        counts = {kind: list(achieved.values()).count(kind) for kind in dict.fromkeys(achieved.values())}
        told = (f"{texts.counted(number, 'layer')} {kind.upper()}" for kind, number in counts.items())
        notes.append(f"{engine.name}: {', '.join(told)}.")
    return Table(caption="Precision that each layer achieved", columns=columns, rows=rows, notes=notes)


def _requested(engine: Engine) -> Text:
    for document in engine.manifests:
        part = document.content.part("precision")
        told = [f"requested {(part.text('requested') or 'unknown').upper()}"]
        share = part.number("macs_in_int8")
        if share is not None:
            told.append(f"{texts.percent(share, 1)} of the arithmetic achieved in INT8")
        for name, words in (
            ("asked_to_stay_float", "asked to stay float"),
            ("float_by_search", "returned to float by the search"),
        ):
            if part.texts(name):
                told.append(f"{words}: {', '.join(part.texts(name))}")
        return Text(text=f"{engine.name}: {'; '.join(told)}.")
    return Text(text=f"{engine.name}: no manifest.")
