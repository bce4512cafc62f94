"""What the documents say of each engine, joined by hashes: of the artifact, or of the weights that PyTorch runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hardnet_deploy.bench.engine_columns import EAGER
from hardnet_deploy.report.collect import Collection
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.texts import short
from hardnet_deploy.report.timings import SIMULATED, Timing, bench_timings, device_timing

PYTORCH: Final = "PyTorch"


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

    @property
    def in_pytorch(self) -> bool:
        """True for a model that PyTorch runs: what every comparison goes back to."""
        return (self.runner or "").startswith(PYTORCH)

    @property
    def has_plugin(self) -> bool:
        """True for an ONNX file with a plugin of TensorRT in it, which no other runtime has."""
        return any(
            one.content.text("kind") == "onnx" and one.content.part("graph").text("nms") == "efficient"
            for one in self.manifests
        )


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The documents and the engines in them, in the order in which they were found."""

    collection: Collection
    engines: tuple[Engine, ...]

    def find(self, *hashes: str | None) -> Engine | None:
        """The engine that goes by one of ``hashes``."""
        return next((engine for engine in self.engines if engine.ids & set(filter(None, hashes))), None)

    def side(self, part: Part) -> Engine | None:
        """The engine that a side of a comparison, or an evaluation, is of."""
        return self.find(part.text("sha256"), part.text("state_sha256"), f"label:{part.text('engine')}")

    @property
    def candidates(self) -> tuple[Engine, ...]:
        """Those that are no mere reference and no other model's time."""
        return tuple(
            one for one in self.engines if one.judged or one.manifests or not (one.reference_of or one.in_pytorch)
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
        one.simulated |= SIMULATED in (runner or "").lower()
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
        one.simulated |= SIMULATED in str(document.content.part("versions").values).lower()
    for document in collection.of("parity"):
        side(document.content.part("reference")).reference_of.append(document)
        side(document.content.part("candidate")).parity.append(document)
    for document in collection.of("evaluation"):
        side(document.content.part("engine")).evaluations.append(document)
    imported: set[str] = set()
    for document in collection.of("device-results"):
        for row in document.content.parts("rows"):
            _device_row(row, engine([row.part("sha256").text("engine")], _device_name(row)), document, imported)
    _name(engines)
    runs = Runs(collection=collection, engines=tuple(engines))
    for document in collection.of("bench"):
        for timing in bench_timings(document):
            found = runs.find(timing.source.part("artifact").text("sha256"))
            if found and _of_what_was_compared(found, timing) and timing.source.text("key") not in imported:
                found.timings.append(timing)
    return runs


def _of_what_was_compared(one: Engine, timing: Timing) -> bool:
    """Whether a time is of what comparisons and evaluations ran.

    The rows of PyTorch share the hash of the weights, but all except the eager one fold, compile or round them.
    """
    return not one.in_pytorch or timing.source.text("engine") == EAGER


def _device_name(row: Part) -> str:
    return (
        f"{row.text('model') or 'engine'} {row.text('precision') or ''} on {row.text('device') or 'a device'}".replace(
            "  ", " "
        )
    )


def _device_row(row: Part, one: Engine, document: Document, imported: set[str]) -> None:
    """What a device says of ``one``; a time that came in two documents counts once."""
    one.device_rows.append(row)
    one.trained.add(row.flag("trained"))
    one.simulated |= row.flag("simulated") is True
    ident, timing = row.text("id"), device_timing(row, document)
    if timing and f"imported/{ident}" not in imported:
        one.timings.append(timing)
        if ident:
            imported.add(f"imported/{ident}")


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
        one.name = f"PyTorch {label}" if one.in_pytorch else Path(label).name if "/" in label else label
    names = [one.name for one in engines]
    for one in engines:
        if names.count(one.name) > 1:
            one.name = f"{one.name} ({short(one.sha256)})"
