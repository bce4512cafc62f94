"""What fp16 typing costs the trained demo detector in mAP, on validation scenes.

    python benchmarks/half_accuracy.py --save benchmarks/results/half_accuracy.json

Both graphs run in ONNX Runtime on the CPU, every float16 tensor of the typed graph rounded to float16: it shows what
the rounding costs, not what TensorRT computes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from machine import conditions

from hardnet_deploy.data.sources import open_data
from hardnet_deploy.evaluate.bootstrap import paired_drop
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.metrics import match_tables
from hardnet_deploy.evaluate.weighted_ap import mean_average_precision
from hardnet_deploy.export.half import to_half
from hardnet_deploy.models import registry
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.run_engine import detect_dataset
from hardnet_deploy.workflows.verify_half import verify_half

LARGEST_DROP = 0.001
"""Of COCO mAP in [0, 1]: a tenth of a point."""


def mean_ap(tables: tuple[MatchTable, ...]) -> float:
    every_image_once = np.ones((1, len(tables[0].positives)), np.int64)
    return float(mean_average_precision(tables, every_image_once, "coco")[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="only the first so many validation scenes")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        graph = Path(name) / "demo.onnx"
        exported = run_export(ExportRequest(model=registry.DEMO_MODEL, output=graph, target="cpu"), lambda *_: None)
        engine = open_engine(str(graph))
        dataset = open_data("demo:val", class_names=engine.class_names, count=options.count)

        def tables(model: onnx.ModelProto) -> tuple[MatchTable, ...]:
            running = dataclasses.replace(engine, runner=OrtRunner(model), model=model, sha256=None)
            with detect_dataset(running, dataset) as run:
                return tuple(match_tables(dataset, run.detections))

        full = onnx.load(graph)
        half = to_half(full)
        verified = verify_half(full, half.model, engine.preprocess, batch=engine.batch)
        reference, found = tables(full), tables(half.model)
    drop = paired_drop(reference, found, dataset.metric, kind="absolute")
    assert drop is not None
    result = {
        "what": f"{registry.DEMO_MODEL}, fp16-typed against FP32 in ONNX Runtime, every float16 tensor rounded",
        "command": ["python", "benchmarks/half_accuracy.py", *sys.argv[1:]],
        "conditions": conditions(),
        "weights_sha256": exported.weights.sha256,
        "data": {"name": dataset.name, "digest": dataset.digest, "images": len(dataset)},
        "nodes": {"fp16": len(half.fp16_nodes), "fp32": list(half.fp32_nodes), "casts": half.casts},
        "underflowed": dict(half.underflowed),
        "bytes": {"fp32": full.ByteSize(), "fp16": half.model.ByteSize()},
        "verification": verified.as_dict(),
        "fp32_mAP": mean_ap(reference),
        "fp16_mAP": mean_ap(found),
        "drop_points": 100 * drop.drop,
        "drop_points_at_most_95": 100 * drop.at_most,
        "drop_points_interval_95": [100 * bound for bound in drop.two_sided],
        "bar_points": 100 * LARGEST_DROP,
        "within_bar": abs(drop.drop) <= LARGEST_DROP,
    }
    print(
        f"FP32 mAP {result['fp32_mAP']:.4f}, fp16-typed {result['fp16_mAP']:.4f}: a drop of {100 * drop.drop:.3f} "
        f"points, at most {100 * drop.at_most:.3f} (95 %), on {len(dataset)} scenes",
        file=sys.stderr,
    )
    if options.save:
        options.save.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
