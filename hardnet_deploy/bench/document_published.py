"""Whether the published figures of a bench document are the published ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from hardnet_deploy.bench.published import AT_320_ON_NANO, AT_1024_ON_1080_TI
from hardnet_deploy.kit.json_record import Record

SAME: Final = 1e-6
"""Relative: a quotient of two numbers of the document, divided again."""
_KNOWN: Final = {**AT_1024_ON_1080_TI, **AT_320_ON_NANO}


def check_published(rows: Sequence[Record]) -> None:
    """Hold published times against the table of them, and published ratios against the times.

    Args:
        rows: All of a document, each checked by itself, their references too.

    Raises:
        InputFileError: A time of a network and device that the table has is another, or a ratio is no quotient of the
            two rows' times.
    """
    times = {row.values["key"]: row.record("published").values for row in rows if row.has("published")}
    for row in rows:
        mine = times.get(row.values["key"])
        known = _KNOWN.get(row.values["network"])
        if mine is not None and known is not None and mine["device"] == known.device and mine["ms"] != known.ms:
            row.record("published").refuse("ms", f"{known.ms:g}, as {known.source} has it")
        if row.has("ratio_to_reference") and row.record("ratio_to_reference").has("published"):
            ratio = row.record("ratio_to_reference")
            reference = times.get(ratio.values["reference"])
            if mine is None or reference is None:
                ratio.refuse("published", "null, as one of the two rows has no published time")
            wanted = mine["ms"] / reference["ms"]
            if not math.isclose(ratio.values["published"], wanted, rel_tol=SAME):
                ratio.refuse("published", f"{wanted:.6g}, which the two rows' published times give")
