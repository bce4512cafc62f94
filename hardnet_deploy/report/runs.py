"""What the documents say of each engine, joined by hashes: of the artifact, or of the weights that PyTorch runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hardnet_deploy.report.collect import Collection
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.texts import short

MEASURED_HERE: Final = "measured here"
IMPORTED: Final = "imported"
PYTORCH: Final = "PyTorch"
_SIMULATED: Final = "simulated"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One time of one engine.

    Args:
        platform: Which machine, so that times of two are never compared.
        where: The same for a reader.
        provenance: As the row says.
        boundary: What was timed.
        inputs: Size, batch and data in words; empty where they are not known.
        median_ms: Of one run.
        stable: As the row says; None where it says nothing.
        gain: Over PyTorch eager in the same run: ratio, low, high; the interval may be missing.
        source: The row.
    """

    platform: str
    where: str
    provenance: str
    boundary: str
    inputs: str
    median_ms: float
    stable: bool | None
    gain: tuple[float, float | None, float | None] | None
    source: Part

    @property
    def group(self) -> tuple[str, str]:
        """Times are compared only within one run on one machine, over one boundary."""
        return self.platform, self.boundary

    @property
    def simulated(self) -> bool:
        """True where a stand-in for the device was timed."""
        return _SIMULATED in self.provenance.lower()


@dataclass(kw_only=True)
class Engine:
    """Everything that is known of one engine.

    Args:
        ids: Hashes that it goes by.
        labels: As it was called, the first first.
        runner: What ran it; None where nothing did.
    """

    ids: set[str]
    labels: list[str] = field(default_factory=list)
    runner: str | None = None
    name: str = ""
    manifests: list[Document] = field(default_factory=list)
    parity: list[Document] = field(default_factory=list)
    reference_of: list[Document] = field(default_factory=list)
    evaluations: list[Document] = field(default_factory=list)
    device_rows: list[Part] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    trained: set[bool | None] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    simulated: bool = False

    @property
    def sha256(self) -> str | None:
        """One of its hashes."""
        return min(self.ids, default=None)

    @property
    def judged(self) -> bool:
        """True where it was compared with a reference, here or on a device."""
        return bool(self.parity or any(row.part("parity") for row in self.device_rows))


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The documents and the engines in them, in the order in which they were found."""

    collection: Collection
    engines: tuple[Engine, ...]

    def find(self, *hashes: str | None) -> Engine | None:
        """The engine that goes by one of ``hashes``."""
        return next((engine for engine in self.engines if engine.ids & set(filter(None, hashes))), None)

    @property
    def candidates(self) -> tuple[Engine, ...]:
        """Those that are no mere reference and no other model's time."""
        return tuple(
            one
            for one in self.engines
            if one.judged or one.manifests or not (one.reference_of or (one.runner or "").startswith(PYTORCH))
        )


def join(collection: Collection) -> Runs:
    """Join ``collection`` by hashes."""
    engines: list[Engine] = []

    def engine(ids: Iterable[str | None], label: str | None, runner: str | None = None) -> Engine:
        known = {one for one in ids if one} or {f"label:{label}"}
        found = [one for one in engines if one.ids & known]
        if found:
            one, *others = found
            for other in others:  # two that a third document shows to be one
                _merge(one, other)
                engines.remove(other)
        else:
            one = Engine(ids=set())
            engines.append(one)
        one.ids |= known
        if label and label not in one.labels:
            one.labels.append(label)
        one.runner = one.runner or runner
        one.simulated |= _SIMULATED in (runner or "").lower()
        return one

    def side(part: Part) -> Engine:
        one = engine([part.text("sha256"), part.text("state_sha256")], part.text("engine"), part.text("runner"))
        one.trained.add(part.flag("trained"))
        warning = part.text("warning")
        if warning and warning not in one.warnings:
            one.warnings.append(warning)
        return one

    for document in collection.of("manifest"):
        one = engine([document.content.text("sha256")], str(document.artifact))
        one.manifests.append(document)
        one.trained.add(document.content.part("weights").flag("trained") is True)
        one.simulated |= _SIMULATED in str(document.content.part("versions").values).lower()
    for document in collection.of("parity"):
        side(document.content.part("reference")).reference_of.append(document)
        side(document.content.part("candidate")).parity.append(document)
    for document in collection.of("evaluation"):
        side(document.content.part("engine")).evaluations.append(document)
    for document in collection.of("device-results"):
        for row in document.content.parts("rows"):
            _device_row(row, engine([row.part("sha256").text("engine")], _device_name(row)))
    _name(engines)
    runs = Runs(collection=collection, engines=tuple(engines))
    for document in collection.of("bench"):
        for timing in bench_timings(document):
            found = runs.find(timing.source.part("artifact").text("sha256"))
            if found:
                found.timings.append(timing)
    return runs


def bench_timings(document: Document) -> Iterator[Timing]:
    """The rows of a bench document that have a time."""
    protocol = document.content.part("protocol")
    for row in document.content.parts("rows"):
        median = row.part("measured").number("median")
        provenance = row.text("provenance") or "provenance not recorded"
        if median is None:
            continue
        here = provenance == MEASURED_HERE
        yield Timing(
            platform=document.sha256 if here else provenance,
            where=machine(document) if here else provenance,
            provenance=provenance,
            boundary=row.text("boundary") or "boundary not recorded",
            inputs=_inputs(row, protocol, document.content.text("date")),
            median_ms=median,
            stable=row.part("measured").flag("stable"),
            gain=gain(row.part("gain_over_eager")),
            source=row,
        )


def _inputs(row: Part, protocol: Part, date: str | None) -> str:
    size, batch = (row.number(name) or protocol.number(name) for name in ("size", "batch"))
    known = (f"{size:g}×{size:g}" if size else "", f"batch {batch:g}" if batch else "", (date or "")[:10])
    return ", ".join(text for text in known if text)


def gain(part: Part) -> tuple[float, float | None, float | None] | None:
    """Ratio, low and high of a recorded ratio; None where there is none."""
    value = part.number("ratio")
    return None if value is None else (value, part.number("low"), part.number("high"))


def machine(document: Document) -> str:
    """The machine that a bench document was made on, in a few words."""
    told = document.content.text("machine")
    if told:
        return told
    conditions = document.content.part("conditions")
    found = [_words(conditions.values, names) for names in (("gpu", "gpu_name", "device"), ("cpu", "cpu_model"))]
    threads = conditions.values.get("threads")
    parts = [text for text in found if text] or ["this machine"]
    return ", ".join([*parts, *([f"{threads} threads"] if isinstance(threads, int) else [])])


def _words(values: Mapping[str, object], names: Iterable[str]) -> str | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, dict):
            value = next((value[key] for key in ("name", "model") if isinstance(value.get(key), str)), None)
        if isinstance(value, str) and value:
            return value
    return None


def _device_name(row: Part) -> str:
    return (
        f"{row.text('model') or 'engine'} {row.text('precision') or ''} on {row.text('device') or 'a device'}".replace(
            "  ", " "
        )
    )


def _device_row(row: Part, one: Engine) -> None:
    one.device_rows.append(row)
    one.trained.add(row.flag("trained"))
    one.simulated |= row.flag("simulated") is True
    timing = row.part("timing")
    median = timing.number("median")
    if median is not None:
        label = row.text("label") or "imported"
        one.timings.append(
            Timing(
                platform=label,
                where=row.text("device") or "a device",
                provenance=label,
                boundary=timing.text("boundary") or "boundary not recorded",
                inputs=timing.text("inputs") or "",
                median_ms=median,
                stable=timing.flag("stable"),
                gain=None,
                source=row,
            )
        )


def _merge(one: Engine, other: Engine) -> None:
    one.ids |= other.ids
    one.labels += [label for label in other.labels if label not in one.labels]
    one.warnings += [warning for warning in other.warnings if warning not in one.warnings]
    one.trained |= other.trained
    one.simulated |= other.simulated
    one.runner = one.runner or other.runner
    for name in ("manifests", "parity", "reference_of", "evaluations", "device_rows", "timings"):
        getattr(one, name).extend(getattr(other, name))


def _name(engines: list[Engine]) -> None:
    """The file's or model's name; where two have the same, the hash behind it."""
    for one in engines:
        label = one.labels[0] if one.labels else "an engine without a name"
        in_pytorch = (one.runner or "").startswith(PYTORCH)
        one.name = f"PyTorch {label}" if in_pytorch else Path(label).name if "/" in label else label
    names = [one.name for one in engines]
    for one in engines:
        if names.count(one.name) > 1:
            one.name = f"{one.name} ({short(one.sha256)})"
