"""Export every model, detectors with either NMS, and record what the verification measured.

Run:
    python benchmarks/export_matrix.py --save benchmarks/results/export_matrix.json

The weights come from the fixed seed: the figures are about arithmetic, not about detection quality.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import conditions

from hardnet_deploy.models import registry
from hardnet_deploy.targets import NmsKind
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest

FOLD_ERRORS = ("fold_worst_layer_float64", "fold_worst_output_float32")


def row(name: str, nms: NmsKind | None, folder: Path) -> dict[str, Any]:
    """One export and its verification."""
    start = time.perf_counter()
    result = run_export(ExportRequest(model=name, nms=nms, output=folder / "m.onnx"), lambda *_: None)
    seconds = time.perf_counter() - start
    assert result.fusion is not None
    layer, output = result.fusion.verification.worst_layer, result.fusion.verification.worst_output
    assert layer is not None
    assert output is not None
    return {
        "model": name,
        "nms": nms,
        "opset": result.plan.graph.opset,
        "mib": round(result.size_bytes / 2**20, 1),
        "sha256": result.manifest.sha256,
        "batch_norms_folded": f"{len(result.fusion.report.folded)}/{result.fusion.report.total}",
        "fold_worst_layer_float64": layer.error,
        "fold_worst_output_float32": output.error,
        "parity_worst_abs": {
            case: max(tensor.max_abs for tensor in result.verification.tensors if tensor.case == case)
            for case in dict.fromkeys(tensor.case for tensor in result.verification.tensors)
        },
        "detections_matched": {
            part.what: f"{part.matched}/{max(part.reference, part.candidate)}"
            for part in result.verification.detections
        },
        "runner": result.verification.runner,
        "parsers_accepting": [report.target for report in result.targets if report.accepted],
        "seconds": round(seconds, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, one line a model: the worst of its exports."""
    lines = [
        "| model | batch norms folded | worst layer, float64 | worst output, float32 | worst error: noise | pixels |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one["model"] for one in rows):
        own = [one for one in rows if one["model"] == name]
        errors = [max(one["parity_worst_abs"][case] for one in own) for case in own[0]["parity_worst_abs"]]
        cells = (
            f"`{name}`",
            own[0]["batch_norms_folded"],
            *(f"{max(one[key] for one in own):.1e}" for key in FOLD_ERRORS),
            *(f"{error:.1e}" for error in errors),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--table", type=Path, help="print the rows of a saved result as Markdown; runs nothing")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(options.table.read_text())["rows"]))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in registry.names():
            kinds: tuple[NmsKind | None, ...] = ("efficient", "onnx") if registry.get(name).is_detector else (None,)
            for nms in kinds:
                rows.append(row(name, nms, Path(folder)))
                print(json.dumps(rows[-1]), flush=True)
    result = {
        "what": "hardnet-deploy export --fuse-bn of every model, weights from the fixed seed (untrained)",
        "command": ["python", "benchmarks/export_matrix.py", *sys.argv[1:]],
        "rows": rows,
        "machine": conditions(),
    }
    if options.save:
        options.save.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
