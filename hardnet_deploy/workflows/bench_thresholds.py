"""NMS limits of what is timed side by side: a model beside a file of the same network has those of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hardnet_deploy.bench.sides import limits_text
from hardnet_deploy.nms.efficient import SMALLEST_SCORE_THRESHOLD
from hardnet_deploy.workflows.bench_subjects import Subject


def with_files_thresholds(subjects: Sequence[Subject]) -> tuple[tuple[Subject, ...], tuple[str, ...]]:
    """The subjects, models with the thresholds of the files beside them; and what the user should know of that.

    A model keeps its own where files of its network have none or several, or a score threshold that EfficientNMS cannot
    be used with. Rows whose limits differ are not compared.
    """
    found, notes = [], []
    for subject in subjects:
        beside = {
            other.thresholds: other.label
            for other in subjects
            if other.file is not None and other.network == subject.network and other.thresholds is not None
        }
        wanted = next(iter(beside)) if len(beside) == 1 else None
        if (
            subject.file is None
            and subject.thresholds is not None
            and wanted is not None
            and wanted != subject.thresholds
            and wanted.score >= SMALLEST_SCORE_THRESHOLD
        ):
            notes.append(f"{subject.label} is timed with the NMS limits of {beside[wanted]}: {limits_text(wanted)}")
            found.append(dataclasses.replace(subject, thresholds=wanted))
        else:
            found.append(subject)
    return tuple(found), tuple(notes)
