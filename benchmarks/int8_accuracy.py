"""What INT8 costs the trained demo detector, on validation scenes that neither calibration nor search saw.

    python benchmarks/int8_accuracy.py --save benchmarks/results/int8_accuracy.json

Every row is the drop of COCO mAP against the FP32 graph on the same scenes, with its paired bootstrap interval. The
``int8`` writing, made for TensorRT, is run by ONNX Runtime here: it shows what the rounding costs, not what TensorRT
computes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from machine import conditions

from calibration.qdq import Choice
from calibration.table import METHODS, CalibrationTable
from hardnet_deploy.data.dataset import Metric
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.evaluate.bootstrap import paired_drop
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.metrics import match_tables
from hardnet_deploy.evaluate.weighted_ap import mean_average_precision
from hardnet_deploy.models import registry
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.workflows.calibrate import calibrate_engine
from hardnet_deploy.workflows.calibrate_options import CalibrateRequest
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.precision_search import search_precision
from hardnet_deploy.workflows.precision_trials import Trials
from hardnet_deploy.workflows.quantise import Quantiser, float_graph
from hardnet_deploy.workflows.run_engine import detect_dataset

SEARCH_BUDGET = 0.001


def mean_ap(tables: tuple[MatchTable, ...]) -> float:
    every_image_once = np.ones((1, len(tables[0].positives)), np.int64)
    return float(mean_average_precision(tables, every_image_once, "coco")[0])


def what_is_kept(reference: tuple[MatchTable, ...], found: tuple[MatchTable, ...], metric: Metric) -> dict[str, Any]:
    """The mAP and its share of the reference's, with its bootstrap interval over images."""
    drop = paired_drop(reference, found, metric, kind="relative")
    assert drop is not None
    return {
        "mAP": mean_ap(found),
        "kept": 1 - drop.drop,
        "kept_at_least_95": 1 - drop.at_most,
        "kept_interval_95": [1 - bound for bound in reversed(drop.two_sided)],
    }


def first_layer(quantiser: Quantiser) -> frozenset[str]:
    return frozenset(quantiser.layers[:1])


def heads(quantiser: Quantiser) -> frozenset[str]:
    return frozenset(name for name in quantiser.layers if name.startswith(("loc", "conf")))


Row = tuple[str, dict[str, Any], onnx.ModelProto]


def cpu_row(title: str, quantiser: Quantiser, choice: Choice, **told: Any) -> Row:
    """A CPU engine."""
    made = quantiser.for_cpu(choice)
    assert not made.fell_back
    settings = {**common(quantiser, choice), "writing": "uint8", "macs_in_int8": made.macs_int8, **told}
    return title, settings, made.model


def qdq_row(title: str, quantiser: Quantiser) -> Row:
    """A graph for TensorRT, its first layer in float."""
    choice = Choice(float_units=first_layer(quantiser))
    macs = {unit.name: unit.macs for unit in quantiser.graph.units}
    share = 1 - sum(macs[name] for name in choice.float_units) / sum(macs.values())
    model = quantiser.source.finished(quantiser.write(choice, writing="int8"))
    return title, {**common(quantiser, choice), "writing": "int8", "macs_in_int8": share}, model


def common(quantiser: Quantiser, choice: Choice) -> dict[str, Any]:
    return {
        "method": quantiser.table.method,
        "concat_scales": quantiser.concat_scales,
        "float": sorted(choice.float_units),
    }


def variants(engine: OpenEngine, table: CalibrationTable, folder: Path, *, search: bool) -> Iterator[Row]:
    """Name, settings and whole graph of every row."""
    source = float_graph(engine)
    preprocess = asdict(engine.preprocess)

    def quantiser(method: Any = table.method, scales: Any = "unified") -> Quantiser:
        return Quantiser(source, table.with_method(method), concat_scales=scales, preprocess=preprocess)

    for method in METHODS:
        yield cpu_row(f"CPU engine, {method}", quantiser(method), Choice())
    plain, separate = quantiser(), quantiser(scales="separate")
    edges = Choice(float_units=first_layer(plain) | heads(plain))
    yield cpu_row("CPU engine, first layer and heads in float", plain, edges)
    yield cpu_row("CPU engine, 7-bit weights", plain, Choice(reduced_weights=True))
    yield cpu_row("CPU engine, separate concat scales", separate, Choice())
    if search:
        dataset = open_data("demo:search", class_names=engine.class_names)
        trials = Trials(engine, plain, dataset, "relative", folder / "search.json", lambda *_: None)
        found = search_precision(trials, Choice(), SEARCH_BUDGET, "relative")
        choice = Choice(float_units=frozenset(found.best.float_layers))
        yield cpu_row(f"CPU engine, --max-drop {SEARCH_BUDGET:g}", plain, choice, search=found.as_dict())
    yield qdq_row("int8 Q/DQ graph, unified concat scales", plain)
    yield qdq_row("int8 Q/DQ graph, separate concat scales", separate)
    for method in ("minmax", "mse"):
        yield qdq_row(f"int8 Q/DQ graph, {method}", quantiser(method))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="only the first so many validation scenes")
    parser.add_argument("--calibration", type=int, default=500, help="scenes to calibrate on")
    parser.add_argument("--no-search", action="store_true")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph = folder / "demo.onnx"
        exported = run_export(ExportRequest(model=registry.DEMO_MODEL, output=graph, target="cpu"), lambda *_: None)
        engine = open_engine(str(graph))
        calibrated = calibrate_engine(
            engine, CalibrateRequest(onnx=graph, count=options.calibration), folder / "demo.calib.json", lambda *_: None
        )
        dataset = open_data("demo:val", class_names=engine.class_names, count=options.count)

        def tables(model: onnx.ModelProto) -> tuple[MatchTable, ...]:
            running = dataclasses.replace(engine, runner=OrtRunner(model), model=model, sha256=None)
            with detect_dataset(running, dataset) as run:
                return tuple(match_tables(dataset, run.detections))

        source = float_graph(engine)
        reference = tables(source.finished(source.model))
        rows: list[dict[str, Any]] = []
        for title, settings, model in variants(engine, calibrated.table, folder, search=not options.no_search):
            found = tables(model)
            kept = what_is_kept(reference, found, dataset.metric)
            rows.append({"row": title, **settings, **kept, "bytes": model.ByteSize()})
            last = rows[-1]
            print(f"{title:<46} mAP {last['mAP']:.4f}  kept {100 * last['kept']:.3f} %", file=sys.stderr)
        result = {
            "what": f"{registry.DEMO_MODEL}, INT8 against FP32 in ONNX Runtime",
            "command": ["python", "benchmarks/int8_accuracy.py", *sys.argv[1:]],
            "conditions": conditions(),
            "weights_sha256": exported.weights.sha256,
            "data": {"name": dataset.name, "digest": dataset.digest, "images": len(dataset)},
            "calibration": calibrated.as_dict() | {"table": None},
            "fp32_mAP": mean_ap(reference),
            "rows": rows,
        }
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
