"""What the choices of ``int8_accuracy.py`` cost in time, the demo detector's engines timed beside each other.

    python benchmarks/int8_cost.py --save benchmarks/results/int8_cost.json

The layers that the accuracy search left in float are read from the recorded ``int8_accuracy.json``. Each engine runs in
a process of its own, in turn, from the input to detections.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import onnx
from int8_accuracy import first_layer, heads
from machine import conditions

from calibration.qdq import Choice
from hardnet_deploy.bench.interleaved import time_side_by_side
from hardnet_deploy.data.image_lists import open_images
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.calibrate import calibrate_engine
from hardnet_deploy.workflows.calibrate_options import CalibrateRequest
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import open_engine
from hardnet_deploy.workflows.quantise import Quantiser, float_graph

RESULTS = Path(__file__).parent / "results"
FP32 = "FP32, ONNX Runtime"
SEARCHED = "CPU engine, --max-drop 0.001"


def main() -> None:
    """Build all, time all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    recorded = json.loads((RESULTS / "int8_accuracy.json").read_text())
    searched = next(row["float"] for row in recorded["rows"] if row["row"] == SEARCHED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph = folder / "demo.onnx"
        run_export(ExportRequest(model=registry.DEMO_MODEL, output=graph, target="cpu"), lambda *_: None)
        engine = open_engine(str(graph))
        calibrated = calibrate_engine(
            engine, CalibrateRequest(onnx=graph, count=500), folder / "demo.calib.json", lambda *_: None
        )
        source = float_graph(engine)

        def quantiser(scales: str) -> Quantiser:
            preprocess = asdict(engine.preprocess)
            return Quantiser(source, calibrated.table, concat_scales=scales, preprocess=preprocess)  # type: ignore[arg-type]  # a name of two

        plain = quantiser("unified")
        models: dict[str, onnx.ModelProto] = {FP32: source.finished(source.model)}
        for row, made, choice in (
            ("CPU engine, entropy", plain, Choice()),
            (
                "CPU engine, first layer and heads in float",
                plain,
                Choice(float_units=first_layer(plain) | heads(plain)),
            ),
            ("CPU engine, 7-bit weights", plain, Choice(reduced_weights=True)),
            ("CPU engine, separate concat scales", quantiser("separate"), Choice()),
            (SEARCHED, plain, Choice(float_units=frozenset(searched))),
        ):
            models[row] = made.for_cpu(choice).model
        engines = {}
        for number, (row, model) in enumerate(models.items()):
            engines[row] = folder / f"{number}.onnx"
            engines[row].write_bytes(model.SerializeToString())
        scene = preprocess_image(load_image(open_images("demo:val", count=1).paths[0]), engine.preprocess)[None]
        times = time_side_by_side(engines, scene, threads=options.threads, rounds=options.rounds, per_round=10)
    medians = {row: one.median_ms for row, one in times.items()}
    result = {
        "what": f"{registry.DEMO_MODEL}, batch 1, {options.threads} threads, one demo scene, NMS included",
        "command": ["python", "benchmarks/int8_cost.py", *sys.argv[1:]],
        "conditions": conditions(),
        "median_ms": medians,
        "times_faster_than_fp32": {row: medians[FP32] / median for row, median in medians.items()},
        "rounds": {row: one.rounds for row, one in times.items()},
    }
    print(json.dumps(result["times_faster_than_fp32"], indent=1))
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
