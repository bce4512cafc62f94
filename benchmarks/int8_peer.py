"""What ONNX Runtime's own quantiser keeps of the demo detector, fairly set, beside our CPU engine in the same run.

    python benchmarks/int8_peer.py --save benchmarks/results/int8_peer.json

Both calibrate on the same scenes and are judged on validation scenes that neither saw. ``quantize_static`` gets uint8
activations, weights per channel, its recommended preparation, only the operators that cost nothing in accuracy, and
each of its three calibrations: whoever takes its best row has chosen it on the validation scenes. Its last row is no
peer but shows why: without a choice of operators it quantises the decoding of boxes too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import onnx
from int8_accuracy import first_layer, heads, mean_ap, what_is_kept
from machine import conditions
from ort_quantiser import LAYERS, Reader, Settings, prepare, quantise

from calibration.qdq import Choice
from hardnet_deploy.data.image_lists import ImageList, open_images
from hardnet_deploy.data.sources import open_data
from hardnet_deploy.engines.ort_build import inspect, optimise
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.metrics import match_tables
from hardnet_deploy.models import registry
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.workflows.calibrate import calibrate_engine
from hardnet_deploy.workflows.calibrate_options import CalibrateRequest
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.quantise import Quantiser, float_graph
from hardnet_deploy.workflows.run_engine import detect_dataset

METHODS: tuple[Literal["MinMax", "Entropy", "Percentile"], ...] = ("MinMax", "Entropy", "Percentile")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row: who quantised, how, and the whole graph."""

    row: str
    quantiser: str
    settings: dict[str, Any]
    model: onnx.ModelProto


def ours(quantiser: Quantiser) -> Iterator[Variant]:
    """Our CPU engine, and the same with the layers in float that the peer's second setting leaves."""
    kept = first_layer(quantiser) | heads(quantiser)
    for row, float_layers in (
        ("CPU engine", frozenset[str]()),
        ("CPU engine, first layer and heads in float", kept),
    ):
        settings = {"method": quantiser.table.method, "concat_scales": "unified", "in_float": sorted(float_layers)}
        model = quantiser.for_cpu(Choice(float_units=float_layers)).model
        yield Variant(row=row, quantiser="hardnet-deploy", settings=settings, model=model)


def peers(engine: OpenEngine, quantiser: Quantiser, images: ImageList, folder: Path) -> Iterator[Variant]:
    """``quantize_static`` with every layer in INT8, with the first convolution and the heads in float, and unguided."""
    source, ready, written = (folder / f"peer.{name}.onnx" for name in ("fp32", "ready", "int8"))
    onnx.save(quantiser.source.model, source)
    prepare(source, ready)
    kept = tuple(sorted(first_layer(quantiser) | heads(quantiser)))
    told = [
        (Settings(operators=LAYERS, method=method, in_float=in_float), folder / f"peer.{method}.json")
        for method in METHODS
        for in_float in ((), kept)
    ]
    for settings, ranges in (*told, (Settings(), None)):
        quantise(ready, written, Reader(images.paths, engine.preprocess), settings, ranges=ranges)
        row = f"quantize_static, {settings.method}"
        row += ", first layer and heads in float" if settings.in_float else ""
        row += "" if settings.operators else ", every operator, decoding included"
        model = quantiser.source.finished(onnx.load(written))
        yield Variant(row=row, quantiser="onnxruntime", settings=settings.as_dict(), model=model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="only the first so many validation scenes")
    parser.add_argument("--calibration", type=int, default=500, help="scenes to calibrate on")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph = folder / "demo.onnx"
        exported = run_export(ExportRequest(model=registry.DEMO_MODEL, output=graph, target="cpu"), lambda *_: None)
        engine = open_engine(str(graph))
        request = CalibrateRequest(onnx=graph, count=options.calibration)
        images = open_images("demo:calibration", count=options.calibration, seed=request.seed)
        calibrated = calibrate_engine(engine, request, folder / "demo.calib.json", lambda *_: None, images)
        dataset = open_data("demo:val", class_names=engine.class_names, count=options.count)

        def tables(model: onnx.ModelProto) -> tuple[MatchTable, ...]:
            running = dataclasses.replace(engine, runner=OrtRunner(model), model=model, sha256=None)
            with detect_dataset(running, dataset) as run:
                return tuple(match_tables(dataset, run.detections))

        quantiser = Quantiser(
            float_graph(engine), calibrated.table, concat_scales="unified", preprocess=asdict(engine.preprocess)
        )
        reference = tables(quantiser.source.finished(quantiser.source.model))
        rows: list[dict[str, Any]] = []
        for variant in chain(ours(quantiser), peers(engine, quantiser, images, folder)):
            found = tables(variant.model)
            optimised = inspect(optimise(variant.model), {})
            rows.append(
                {
                    "row": variant.row,
                    "quantiser": variant.quantiser,
                    "settings": variant.settings,
                    **what_is_kept(reference, found, dataset.metric),
                    "integer_convolutions": optimised.integer_convolutions,
                    "float_convolutions": len(optimised.float_convolutions),
                    "bytes": variant.model.ByteSize(),
                }
            )
            last = rows[-1]
            print(
                f"{variant.row:<62} mAP {last['mAP']:.4f}  kept {100 * last['kept']:.3f} %  "
                f"INT8 {last['integer_convolutions']}, float {last['float_convolutions']}",
                file=sys.stderr,
            )
        result = {
            "what": f"{registry.DEMO_MODEL}, INT8 by quantize_static and by us against FP32, all in ONNX Runtime",
            "command": ["python", "benchmarks/int8_peer.py", *sys.argv[1:]],
            "conditions": conditions(),
            "weights_sha256": exported.weights.sha256,
            "data": {"name": dataset.name, "digest": dataset.digest, "images": len(dataset)},
            "calibration": {"name": images.name, "digest": images.digest, "images": len(images), "seed": images.seed},
            "fp32_mAP": mean_ap(reference),
            "rows": rows,
        }
    if options.save:
        options.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
