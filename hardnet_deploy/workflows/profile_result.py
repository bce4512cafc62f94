"""What ``hardnet-deploy profile`` found, and the document that it writes: docs/profile-json.md tells every field."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.bench.layer_times import LayerTable
from hardnet_deploy.bench.lints import Lint

SCHEMA: Final = 1
KIND: Final = "profile"
HASH_DIGITS: Final = 12


@dataclass(frozen=True, kw_only=True)
class ProfileResult:
    """A profile.

    Args:
        table: Every layer in its place.
        lints: What makes it slow on TensorRT.
        engine: What was profiled: label, hashes, model, precision.
        provenance: ``measured here``, or ``imported (device)``; a stand-in is called so.
        simulated: A stand-in of TensorRT ran: its times mean nothing.
        conditions: What the times depend on: data, input size, batch, threads, processor or GPU, runner.
        files: What was written, by option.
        command: The command line.
    """

    table: LayerTable
    lints: tuple[Lint, ...]
    engine: Mapping[str, Any]
    provenance: str
    simulated: bool
    conditions: Mapping[str, Any]
    files: Mapping[str, str]
    command: tuple[str, ...]

    @property
    def untrained(self) -> bool:
        """True for weights that nobody trained: what NMS then finds is no detector's."""
        return self.engine["trained"] is False

    @property
    def sha256(self) -> str | None:
        """Of the file, else of PyTorch's weights; None where neither is known."""
        digest: str | None = self.engine["sha256"] or self.engine["state_sha256"]
        return digest

    @property
    def title(self) -> str:
        """Of its picture: what was profiled, and what its times must not be read without."""
        digest = f"SHA-256 {self.sha256[:HASH_DIGITS]}" if self.sha256 else None
        told = (digest, UNTRAINED if self.untrained else None, "simulated" if self.simulated else None)
        remarks = ", ".join(filter(None, told))
        name = Path(str(self.engine["label"])).name
        return f"{name} ({remarks})" if remarks else name

    def as_dict(self) -> dict[str, Any]:
        """The document; docs/profile-json.md tells every field."""
        table, profile = self.table, self.table.profile
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            "command": list(self.command),
            "engine": dict(self.engine),
            "provenance": self.provenance,
            "simulated": self.simulated,
            "source": profile.source,
            "conditions": dict(self.conditions),
            "runs": profile.runs,
            "run_ms": profile.run_ms,
            "plain_run_ms": profile.plain_median_ms,
            "layers_ms": table.layers_ms,
            "accounted_percent": table.accounted_percent,
            "profiling_overhead_percent": profile.overhead_percent,
            "layers": [one.as_dict() for one in table.slowest()],
            "groups": [asdict(one) for one in table.groups()],
            "lints": [one.as_dict() for one in self.lints],
            "notes": list(profile.notes),
            "files": dict(self.files),
        }
