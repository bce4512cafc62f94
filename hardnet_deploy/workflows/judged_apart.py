"""Images that took part in making an engine do not judge it."""

from __future__ import annotations

from typing import Any

from hardnet_deploy.errors import UsageError
from hardnet_deploy.workflows.open_engine import OpenEngine


def refuse_images_it_was_made_with(engine: OpenEngine, data: str) -> None:
    """Refuse the data that an INT8 engine was calibrated on, or in which its search measured mAP.

    Args:
        engine: Open; its manifest says what it was made with.
        data: The name of a data set, as data sets name themselves: split first, then how much of it.

    Raises:
        UsageError: Calibration or search used the same split.
    """
    precision = engine.manifest.precision if engine.manifest else {}
    for part, what in (("calibration", "calibrated"), ("search", "searched for")):
        used = _data_of(precision.get(part))
        if used is not None and _split(used) == _split(data):
            raise UsageError(
                f"{engine.label} was {what} on {_split(used)}: it cannot be judged on the same images",
                next_step="name another split of the data",
            )


def _data_of(record: Any) -> str | None:
    if not isinstance(record, dict):
        return None
    data = record.get("data")
    name = data.get("name") if isinstance(data, dict) else data
    return name if isinstance(name, str) else None


def _split(name: str) -> str:
    return name.partition(", ")[0]
