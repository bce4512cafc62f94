"""Choices of INT8 layers, measured on labelled images; every result is kept in a file, none is measured twice."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hardnet_deploy.artifacts import versions
from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.loading import LoadedImage, load_inputs
from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.evaluate.bootstrap import DropInterval, DropType, paired_drop
from hardnet_deploy.evaluate.match_table import MatchTable
from hardnet_deploy.evaluate.metrics import match_tables
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.tensor_names import CONF, LOC
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.quantise import CPU_WRITING, Quantiser, fallback_error
from hardnet_deploy.workflows.run_engine import detect_dataset
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels
from hardnet_deploy.workflows.trial_record import UNREADABLE, keep_record, ranges_digest, read_records

if TYPE_CHECKING:
    import onnx

    from calibration.qdq import Choice
    from calibration.sensitivity import LayerNoise
    from hardnet_deploy.workflows.open_engine import OpenEngine

Progress = Callable[[str, int, int], None]
SEARCH_SPLIT: Final = "search"  # of the demo data: neither calibrated on nor judged on
NOISE_IMAGES: Final = 16
RANKING: Final = "quantising each layer alone"
TIMED_RUNS: Final = 20
KEEP_EVERY_S: Final = 10.0  # how much of a ranking a loss of power may cost; an interrupt costs no finished layer
RECORD_FORMAT: Final = 3  # raised with every change of what is measured or kept
PACKAGES: Final = ("onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "Pillow")


@dataclass(frozen=True, kw_only=True)
class FloatPoint:
    """The end of the curve at which nothing is INT8 and nothing is lost: the float graph.

    Args:
        median_ms: As of a :class:`Trial`, by the same function.
        size_bytes: Of the float graph with the same NMS.
    """

    median_ms: float
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"macs_int8": 0.0, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One choice of float layers, measured.

    Args:
        float_layers: Asked to stay float, in topological order.
        fell_back: Stayed float without being asked; empty unless that was allowed.
        macs_int8: Share of the convolutions' multiply-accumulates that run in INT8.
        drop: Of mAP against the float graph.
        median_ms: Of one batch (one image where the graph takes any number), ONNX Runtime's default threads, in the
            process of the search: trials and float graph are timed minutes apart, or in another run where their
            record was continued. For comparing points of one curve, no benchmark.
        size_bytes: Of the engine.
    """

    float_layers: tuple[str, ...]
    fell_back: tuple[str, ...] = ()
    macs_int8: float
    drop: DropInterval
    median_ms: float
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "drop": self.drop.as_dict()}


class Trials:
    """Measures choices of one graph, table and data set.

    Args:
        engine: The float engine, open.
        quantiser: Of its graph.
        dataset: Labelled images.
        drop_type: Of the drop of mAP.
        record: File in which results are kept; results of anything else in it are not used, and stay.
        progress: Told of (what runs, how much of it is done, how much there is).
        allow_fallback: Measure choices of which a layer stays float that is to be INT8, instead of refusing them.
    """

    def __init__(
        self,
        engine: OpenEngine,
        quantiser: Quantiser,
        dataset: Dataset,
        drop_type: DropType,
        record: Path,
        progress: Progress,
        *,
        allow_fallback: bool = False,
    ) -> None:
        self.dataset, self.record = dataset, record
        self._allow_fallback = allow_fallback
        self._engine, self._quantiser, self._drop_type, self._progress = engine, quantiser, drop_type, progress
        self._reference: tuple[MatchTable, ...] | None = None
        self._identity = {
            "format": RECORD_FORMAT,
            "engine": engine.sha256,
            "ranges": ranges_digest(quantiser.table),
            "concat_scales": quantiser.concat_scales,
            "writing": CPU_WRITING,
            "drop_type": drop_type,
            "data": dataset.digest,
            "images": len(dataset),
            "versions": versions(PACKAGES),
        }
        self._noise: dict[str, dict[str, float]] = {}
        self._float_point: FloatPoint | None = None
        self._trials: dict[str, Trial] = {}
        self._read()

    def ranking(self) -> tuple[LayerNoise, ...]:
        """Every layer quantised alone, by the noise it makes in the heads' outputs, the most harmful first.

        Finished layers are kept where it is interrupted; the next run measures the others.
        """
        from calibration.qdq import WRITINGS
        from calibration.sensitivity import layer_noise

        graph = self._quantiser.graph
        heads = [name for name in (LOC, CONF) if name in graph.producers]
        outputs = heads or [value.name for value in graph.model.graph.output]
        paths = [sample.path for sample in self.dataset.samples[:NOISE_IMAGES]]
        name = graph.model.graph.input[0].name
        batch = self._engine.batch or 1
        images = [
            {name: np.repeat(image.pixels[None], batch, axis=0)}
            for image in _readable(load_inputs(paths, self._engine.preprocess))
        ]
        with calibration_faults(), self._keeping_noise() as keep:
            return layer_noise(
                graph,
                self._quantiser.ranges,
                WRITINGS[CPU_WRITING],
                images,
                outputs,
                done={layer: sqnr for layer, sqnr in self._noise.items() if sqnr.keys() == set(outputs)},
                keep=keep,
                progress=partial(self._progress, RANKING),
            )

    @contextlib.contextmanager
    def _keeping_noise(self) -> Iterator[Callable[[LayerNoise], None]]:
        """Takes finished layers, writes them every few seconds, and the last of them however it ends."""
        written, unwritten = time.monotonic(), False

        def keep(one: LayerNoise) -> None:
            nonlocal written, unwritten
            self._noise[one.name] = dict(one.sqnr)
            unwritten = True
            if time.monotonic() - written >= KEEP_EVERY_S:
                self._write()
                written, unwritten = time.monotonic(), False

        try:
            yield keep
        finally:
            if unwritten:
                self._write()

    def float_point(self) -> FloatPoint:
        """What the float graph costs, by which its trials are compared."""
        if self._float_point is None:
            model = self._float_model()
            self._float_point = FloatPoint(median_ms=_median_ms(self._running(model)), size_bytes=model.ByteSize())
            self._write()
        return self._float_point

    def measure(self, choice: Choice, title: str) -> Trial:
        """What a choice costs.

        Raises:
            ExportError: A layer stays float that is to be INT8; nothing is measured.
            UsageError: The float graph finds nothing in the data.
        """
        key = f"{choice.reduced_weights}: {','.join(sorted(choice.float_units))}"
        if key in self._trials:
            self._refuse(self._trials[key].fell_back)
            return self._trials[key]
        found = self._quantiser.for_cpu(choice)
        self._refuse(found.fell_back)
        engine = self._running(found.model)
        reference = self._float_tables()
        drop = paired_drop(reference, self._tables(engine, title), self.dataset.metric, kind=self._drop_type)
        if drop is None:
            raise UsageError(
                f"the float graph finds nothing in {self.dataset.name}, so no drop can be measured",
                next_step="use data of the model's classes",
            )
        trial = Trial(
            float_layers=tuple(name for name in self._quantiser.layers if name in choice.float_units),
            fell_back=found.fell_back,
            macs_int8=found.macs_int8,
            drop=drop,
            median_ms=_median_ms(engine),
            size_bytes=found.model.ByteSize(),
        )
        self._trials[key] = trial
        self._write()
        return trial

    def _refuse(self, fell_back: tuple[str, ...]) -> None:
        if fell_back and not self._allow_fallback:
            raise fallback_error(fell_back)

    def _running(self, model: onnx.ModelProto) -> OpenEngine:
        return dataclasses.replace(self._engine, runner=OrtRunner(model), model=model, sha256=None)

    def _float_model(self) -> onnx.ModelProto:
        source = self._quantiser.source
        return source.finished(source.model)

    def _float_tables(self) -> tuple[MatchTable, ...]:
        if self._reference is None:
            self._reference = self._tables(self._running(self._float_model()), "the float graph")
        return self._reference

    def _tables(self, engine: OpenEngine, title: str) -> tuple[MatchTable, ...]:
        with detect_dataset(engine, self.dataset, progress=partial(self._progress, title)) as run:
            return tuple(match_tables(self.dataset, run.detections))

    def _read(self) -> None:
        with contextlib.suppress(*UNREADABLE):
            for stored in read_records(self.record):
                if stored["identity"] != self._identity:
                    continue
                noise = {
                    layer: {name: float(value) for name, value in outputs.items()}
                    for layer, outputs in stored["noise"].items()
                }
                trials = {key: _trial_from(one) for key, one in stored["trials"].items()}
                point = stored["float_point"]
                self._float_point = None if point is None else FloatPoint(**point)
                self._noise, self._trials = noise, trials

    def _write(self) -> None:
        noise = {  # what JSON has no number for stands as text
            layer: {name: value if math.isfinite(value) else str(value) for name, value in outputs.items()}
            for layer, outputs in self._noise.items()
        }
        record = {
            "identity": self._identity,
            "noise": noise,
            "float_point": asdict(self._float_point) if self._float_point else None,
            "trials": {key: asdict(trial) for key, trial in self._trials.items()},
        }
        keep_record(self.record, record)


def _readable(images: Iterable[LoadedImage | InputFileError]) -> Iterator[LoadedImage]:
    for image in images:
        if not isinstance(image, LoadedImage):
            raise image
        yield image


def _trial_from(stored: Mapping[str, Any]) -> Trial:
    drop = {**stored["drop"], "two_sided": tuple(stored["drop"]["two_sided"])}
    layers = {name: tuple(stored[name]) for name in ("float_layers", "fell_back")}
    return Trial(**{**stored, **layers, "drop": DropInterval(**drop)})


def _median_ms(engine: OpenEngine) -> float:
    name = engine.runner.inputs[0].name
    image = seeded_pixels(engine.preprocess, engine.batch or 1)
    times = []
    for _ in range(TIMED_RUNS):
        began = time.perf_counter()
        engine.runner.infer({name: image})
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)
