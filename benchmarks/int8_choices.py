"""One scale through each concat family, or a scale for each tensor: what the difference costs in time.

    python benchmarks/int8_concat.py --save benchmarks/results/int8_concat.json

Both engines come from one calibration; each runs in a process of its own, in turn. What it costs in mAP stands in
the rows of ``int8_accuracy.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import conditions

from calibration.ranges import ConcatScales
from hardnet_deploy.bench.interleaved import time_side_by_side
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

SCALES: tuple[ConcatScales, ...] = ("unified", "separate")


def main() -> None:
    """Build both, time both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ssd512-hardnet68-coco")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph = folder / "fp32.onnx"
        run_export(ExportRequest(model=options.model, outputs="boxes", output=graph), lambda *_: None)
        engines: dict[str, Path] = {}
        operators: dict[str, Any] = {}
        calib: Path | None = None
        for scales in SCALES:
            engines[scales] = folder / f"{scales}.onnx"
            built = run_build(
                BuildRequest(
                    source=str(graph),
                    int8=True,
                    target="cpu",
                    calib=calib,
                    data=None if calib else "demo:calibration",
                    count=None if calib else 32,
                    concat_scales=scales,
                    output=engines[scales],
                ),
                lambda *_: None,
            )
            calib = built.table
            operators[scales] = dict(built.optimised.operators) if built.optimised else {}
        times = time_side_by_side(
            engines,
            seeded_pixels(registry.get(options.model).preprocess, 1),
            threads=options.threads,
            rounds=options.rounds,
            per_round=5,
        )
    medians = {scales: times[scales].median_ms for scales in SCALES}
    result = {
        "what": f"{options.model}, weights drawn from a seed, batch 1, {options.threads} threads, boxes before NMS",
        "command": ["python", "benchmarks/int8_concat.py", *sys.argv[1:]],
        "conditions": conditions(),
        "median_ms": medians,
        "separate_over_unified": medians["separate"] / medians["unified"],
        "rounds": {scales: times[scales].rounds for scales in SCALES},
        "operators": operators,
    }
    print(json.dumps({key: result[key] for key in ("median_ms", "separate_over_unified")}))
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
