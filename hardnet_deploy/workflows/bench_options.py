"""The options of ``hardnet-deploy bench`` as typed, and what of them is refused before anything is opened."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.bench.protocols import BOUNDARIES
from hardnet_deploy.bench.sides import RANDOM, Boundary
from hardnet_deploy.errors import UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.document_files import refuse_outputs
from hardnet_deploy.workflows.export_options import MAX_BATCH
from hardnet_deploy.workflows.open_engine import CLASSES_OF_FILES, names_detector

USUAL_BUDGET_S: Final = 600.0  # of timing, on a CPU
QUICK_BUDGET_S: Final = 60.0  # of timing, for each network
_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_RANGES: Final = {
    "--iterations": (1, 100_000),
    "--rounds": (1, 10_000),
    "--threads": (1, 1024),
    "--batch": (1, MAX_BATCH),
    "--size": (1, registry.MAX_BACKBONE_SIZE),
}
LONGEST_S: Final = 24 * 3600.0
LONGEST_WARM_UP_MS: Final = 60_000.0


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """The options as typed; None means that the user left it to the defaults.

    Args:
        subjects: Models, ``MODEL=CHECKPOINT``, the networks of the published tables, artifact files; none for those of
            the protocol.
        protocol: Name of one.
        iterations: Of every row.
        rounds: Turns of every row.
        quick: Fewer engines, and a minute for each network.
        budget: Of timing, with its unit.
        engines: Columns, with commas between them.
        boundary: What is counted in.
        size: Side of the input of backbones.
        batch: Images at once.
        data: ``random``, or images as :func:`~hardnet_deploy.data.image_lists.open_images` takes them.
        threads: Of each engine on the CPU.
        warm_up_ms: Untimed, before each turn.
        allow_unstable: Take times that did not settle, marked so.
        code_line: Which repository trained a checkpoint given as ``MODEL=CHECKPOINT``.
        classes: File with the class names of every detector given as ``MODEL=CHECKPOINT``; None for the usual ones. A
            model that is named alone keeps its own, beside which a checkpoint is timed.
        trust: Take an artifact whose manifest is missing or disagrees.
        save: File for the document.
        markdown: File for the table.
        csv: File for the rows.
        results: A store of imported results, to stand beside the measured rows.
        command: The command line.
    """

    subjects: tuple[str, ...] = ()
    protocol: str | None = None
    iterations: int | None = None
    rounds: int | None = None
    quick: bool = False
    budget: str | None = None
    engines: str | None = None
    boundary: str | None = None
    size: int | None = None
    batch: int | None = None
    data: str = RANDOM
    threads: int | None = None
    warm_up_ms: float | None = None
    allow_unstable: bool = False
    code_line: str = registry.CODE_LINES[0]
    classes: Path | None = None
    trust: bool = False
    save: Path | None = None
    markdown: Path | None = None
    csv: Path | None = None
    results: Path | None = None
    command: tuple[str, ...] = ()


def parse_budget(text: str | None) -> float | None:
    """Seconds of ``90``, ``90s``, ``10m`` or ``1h``; a number alone is seconds, as of trtexec's ``--duration``.

    Raises:
        UsageError: It is no time, or out of range.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) *(s|m|min|h|)", text.strip().lower())
    if found is None:
        raise UsageError(f"--budget {text} is no time", wanted="a number with s, m or h, such as 90s or 10m")
    seconds = float(found.group(1)) * _SECONDS[found.group(2)]
    if not 1 <= seconds <= LONGEST_S:
        raise UsageError(f"--budget {text} is out of range", wanted="1s to 24h")
    return seconds


def parse_boundary(text: str | None) -> Boundary | None:
    """The boundary called ``text``, in capitals or not.

    Raises:
        UsageError: There is none.
    """
    if text is None:
        return None
    for boundary in BOUNDARIES:
        if text.lower() == boundary.lower():
            return boundary
    raise UsageError(
        f"there is no boundary called '{text}'",
        wanted="network (tensor in, raw outputs out), network+nms, or end-to-end (with pre-processing and copies)",
    )


def refuse_nonsense(request: BenchRequest) -> None:
    """Refuse what the options alone rule out.

    Raises:
        UsageError: A value out of range, or outputs that overwrite each other or what is read.
        OutputFileError: An output clearly cannot be written.
    """
    numbers = {
        "--iterations": request.iterations,
        "--rounds": request.rounds,
        "--threads": request.threads,
        "--batch": request.batch,
        "--size": request.size,
    }
    for option, value in numbers.items():
        low, high = _RANGES[option]
        if value is not None and not low <= value <= high:
            raise UsageError(f"{option} {value} is out of range", wanted=f"{low} to {high}")
    warm_up = request.warm_up_ms
    if warm_up is not None and not (math.isfinite(warm_up) and 0 <= warm_up <= LONGEST_WARM_UP_MS):
        raise UsageError(f"--warm-up {warm_up:g} is out of range", wanted=f"0 to {LONGEST_WARM_UP_MS:g}, in ms")
    if request.code_line not in registry.CODE_LINES:
        raise UsageError(
            f"unknown code line '{request.code_line}'", wanted=" or ".join(registry.CODE_LINES), next_step="see --help"
        )
    if request.classes is not None and not any("=" in text and names_detector(text) for text in request.subjects):
        raise UsageError(CLASSES_OF_FILES, got=", ".join(request.subjects) or "no such checkpoint", next_step="drop it")
    parse_budget(request.budget)
    parse_boundary(request.boundary)
    refuse_outputs({"--save": request.save, "--markdown": request.markdown, "--csv": request.csv}, _read(request))


def _read(request: BenchRequest) -> Iterator[Path]:
    if request.results is not None:
        yield request.results
    if request.classes is not None:
        yield request.classes
    for text in request.subjects:
        name, _, weights = text.partition("=")
        path = Path(weights) if weights else Path(name)
        yield path
        if path.name:
            yield manifest_path(path)
