"""What ``hardnet-deploy profile`` found, and the document that it writes: docs/profile-json.md tells every field."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hardnet_deploy.bench.layer_times import LayerTable
from hardnet_deploy.bench.lints import Lint

SCHEMA: Final = 1
KIND: Final = "profile"


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
