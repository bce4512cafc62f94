"""What two choices of the CPU engine's writing do to its time: scales of concatenations, and channels filled up.

    python benchmarks/int8_choices.py --save benchmarks/results/int8_choices.json

All engines come from one calibration; each runs in a process of its own, in turn. What scales cost in mAP stands in
the rows of ``int8_accuracy.json``; filling channels up changes no value.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx
from machine import conditions

from calibration.qdq import Choice, write_uint8
from calibration.ranges import ConcatScales
from hardnet_deploy.bench.interleaved import time_side_by_side
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.quantise import quantiser_for, read_table
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

SCALES: tuple[ConcatScales, ...] = ("unified", "separate")
BARE = "channels as they are"


def bare(graph: Path, calib: Path) -> onnx.ModelProto:
    """The engine of unified scales without a channel filled up."""
    engine = open_engine(str(graph))
    quantiser = quantiser_for(engine, read_table(calib), concat_scales="unified")
    return quantiser.source.finished(write_uint8(quantiser.graph, quantiser.ranges, Choice()))


def main() -> None:
    """Build all, time all."""
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
        assert calib is not None
        engines[BARE] = folder / "bare.onnx"
        engines[BARE].write_bytes(bare(graph, calib).SerializeToString(deterministic=True))
        times = time_side_by_side(
            engines,
            seeded_pixels(registry.get(options.model).preprocess, 1),
            threads=options.threads,
            rounds=options.rounds,
            per_round=5,
        )
    medians = {name: one.median_ms for name, one in times.items()}
    result = {
        "what": f"{options.model}, weights drawn from a seed, batch 1, {options.threads} threads, boxes before NMS",
        "command": ["python", "benchmarks/int8_choices.py", *sys.argv[1:]],
        "conditions": conditions(),
        "median_ms": medians,
        "separate_over_unified": medians["separate"] / medians["unified"],
        "as_they_are_over_filled_up": medians[BARE] / medians["unified"],
        "rounds": {name: one.rounds for name, one in times.items()},
        "operators": operators,
    }
    print(
        json.dumps({key: result[key] for key in ("median_ms", "separate_over_unified", "as_they_are_over_filled_up")})
    )
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
