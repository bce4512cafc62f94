"""Everything that the rows of a bench need before the clock starts: exported graphs, INT8 and TensorRT engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from hardnet_deploy.bench.engine_columns import COLUMNS, Machine
from hardnet_deploy.bench.sides import NETWORK, Side, SideError
from hardnet_deploy.errors import CheckpointError, ExportError, InputFileError, TargetError
from hardnet_deploy.workflows.bench_artifacts import ArtifactMaker
from hardnet_deploy.workflows.bench_data import BenchData
from hardnet_deploy.workflows.bench_plan import BenchPlan, PlannedRow
from hardnet_deploy.workflows.open_engine import open_engine

Progress = Callable[[str, int, int], None]
PREPARING: Final = "preparing"


@dataclass(kw_only=True)
class Prepared:
    """What came of the plan's rows.

    Args:
        sides: By the row's key: what is to be timed.
        why_not: By key: why a row cannot be timed after all.
        notes: By key: what belongs beside a row's times.
        sources: By key: where the network of a file comes from that was made for this run.
        repeated: By key: what a row is fed with where images are repeated to fill its batches, in words.
    """

    sides: dict[str, Side] = field(default_factory=dict)
    why_not: dict[str, str] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, str] = field(default_factory=dict)


def prepare(
    plan: BenchPlan,
    machine: Machine,
    data: BenchData,
    folder: Path,
    progress: Progress,
    *,
    code_line: str,
    trust: bool,
) -> Prepared:
    """Make what the rows need, each thing once; a row whose engine cannot be made says why and stops nothing.

    Args:
        plan: The rows.
        machine: That it is for.
        data: What they are fed with.
        folder: For everything that is made; it may go away after the timing.
        progress: Told of (``preparing KEY``, rows prepared, rows in all).
        code_line: Of checkpoints.
        trust: Take artifacts whose manifest is missing or disagrees.

    Raises:
        CheckpointError: A checkpoint that cannot be loaded, or is another model's.
        ParityError: An export does not compute what PyTorch computes.
        OutputFileError: No space for what is made.
    """
    made = Prepared()
    maker = ArtifactMaker(data, folder, code_line, machine.tensorrt_target)
    rows = plan.to_time
    _hold_checkpoints(rows, code_line)
    for number, row in enumerate(rows):
        progress(f"{PREPARING} {row.key}", number, len(rows))
        try:
            artifact, notes = maker.artifact(row)
        except CheckpointError:
            raise
        except (TargetError, InputFileError, ExportError, SideError) as error:
            made.why_not[row.key] = _one_line(error)
            continue
        made.notes[row.key] = notes
        repeated = data.repeated(row.batch)
        if repeated is not None:
            made.repeated[row.key] = repeated
        if artifact is not None and row.subject.file is None:
            made.sources[row.key] = maker.sources[row.subject.label]
        made.sides[row.key] = _side(row, plan, data, artifact, code_line=code_line, trust=trust)
    progress(PREPARING, len(rows), len(rows))
    return made


def _hold_checkpoints(rows: Sequence[PlannedRow], code_line: str) -> None:
    """Load every checkpoint once, whatever engines it is timed with, so that one that does not fit is told in full."""
    for subject in {row.subject.label: row.subject for row in rows}.values():
        if subject.weights is not None:
            open_engine(subject.label, code_line=code_line, classes=subject.classes)


def _one_line(error: Exception) -> str:
    parts = (error.what, error.got) if isinstance(error, TargetError | InputFileError | ExportError) else (str(error),)
    return " ".join("; ".join(filter(None, parts)).split())


def _side(
    row: PlannedRow, plan: BenchPlan, data: BenchData, artifact: Path | None, *, code_line: str, trust: bool
) -> Side:
    file, subject = row.subject.file, row.subject
    column = None if file is not None else COLUMNS[row.column]
    kind = _kind_of_file(row.column) if column is None else column.runtime
    return Side(
        key=row.key,
        kind=kind,
        network=subject.network if kind == "torch" else "",
        weights=str(subject.weights) if kind == "torch" and subject.weights is not None else None,
        artifact=None if artifact is None else str(artifact),
        options=() if column is None else column.options,
        device=row.device,
        boundary=row.boundary,
        size=subject.size,
        batch=row.batch,
        data=data.side,
        threads=plan.threads,
        code_line=code_line,
        classes=str(subject.classes) if kind == "torch" and subject.classes is not None else None,
        thresholds=subject.thresholds if kind == "torch" and row.boundary != NETWORK else None,
        trust=trust and file is not None,
    )


def _kind_of_file(column: str) -> Literal["onnxruntime", "tensorrt"]:
    return "tensorrt" if column.startswith("trt-") else "onnxruntime"
