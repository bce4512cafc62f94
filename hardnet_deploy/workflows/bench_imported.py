"""Rows that devices measured and the user imported, as rows of a bench document."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.bench.protocols import title_of
from hardnet_deploy.bench.stats import FLAGGED_COV
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.kit.results import read_rows

FIGURES: Final = ("median", "mean", "p90", "p95", "p99", "min", "max", "cov_percent")
SIMULATED: Final = "a stand-in for TensorRT ran this: it says nothing of a device"


def read_imported(store: Path | None) -> list[dict[str, Any]]:
    """The rows of a store of results.

    Raises:
        InputFileError: It is missing, or no such store.
    """
    if store is None:
        return []
    if not store.exists():
        raise InputFileError(
            f"there is no file {store}", next_step="hardnet-deploy import-report writes one from a device's report"
        )
    return read_rows(store)


def imported_rows(stored: Iterable[dict[str, Any]], networks: Iterable[str] | None) -> list[dict[str, Any]]:
    """Rows of a store as rows of a document.

    Args:
        stored: As :func:`read_imported` gives them.
        networks: Only of these models; None for all.
    """
    wanted = None if networks is None else set(networks)
    return [_row(one) for one in stored if wanted is None or one["model"] in wanted]


def _row(one: dict[str, Any]) -> dict[str, Any]:
    timing, hashes = one["timing"], one["sha256"]
    network = one["model"] or "not in the file"
    notes = list(one["notes"]) + ([SIMULATED] if one["simulated"] else [])
    digest = hashes.get("engine") or hashes.get("onnx")
    return {
        "key": f"imported/{one['id']}",
        "network": network,
        "title": title_of(network),
        "engine": f"trt-{one['precision']}" if one["precision"] else "trt",
        "runtime": f"TensorRT {one['tensorrt']}",
        "precision": one["precision"],
        "boundary": None,
        "boundary_text": timing["boundary"],
        "nms": None,
        "nms_candidates": None,
        "size": None,
        "batch": None,
        "input": timing["inputs"],
        "device": one["device"],
        "provenance": one["label"],
        "published": None,
        "measured": {
            **{name: timing.get(name) for name in FIGURES},
            "cov_flagged": None if timing.get("cov_percent") is None else timing["cov_percent"] > FLAGGED_COV,
            "runs": timing["runs"],
            "stable": timing.get("stable"),
        },
        "rounds_ms": None,
        "loadings": None,
        "ratio_to_reference": None,
        "gain_over_eager": None,
        "artifact": {"file": None, "sha256": digest} if digest else None,
        "source": f"imported from a {one['source']}",
        "trained": one["trained"],
        "parameters": None,
        "macs": None,
        "peak_rss_bytes": None,
        "notes": notes + ([] if hashes.get("engine") else ["the hash is of the ONNX file"] if digest else []),
    }
