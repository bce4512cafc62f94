"""From a float graph and a table of ranges to an INT8 graph of which it is known what runs in INT8."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from hardnet_deploy.engines.ort_build import OptimisedGraph, fallbacks, inspect, optimise
from hardnet_deploy.errors import ExportError, InputFileError
from hardnet_deploy.export.nms_exchange import with_nms, without_nms
from hardnet_deploy.files import sha256_file
from hardnet_deploy.specs import DetectorHead, Thresholds
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS
from hardnet_deploy.workflows.calibration_faults import calibration_faults

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

    from calibration.graph import GraphMap
    from calibration.qdq import Choice
    from calibration.ranges import ConcatScales, Ranges
    from calibration.table import CalibrationTable
    from hardnet_deploy.workflows.open_engine import OpenEngine

CPU_WRITING: Final = "uint8"


@dataclass(frozen=True, kw_only=True)
class FloatGraph:
    """What is quantised: the graph without its NMS.

    Args:
        model: Up to ``boxes`` and ``scores`` where the original goes further, else the original.
        nms: Thresholds of the NMS that stood behind it and stands behind the result; None where there was none.
        head: For that NMS.
        whole: The original.
    """

    model: onnx.ModelProto
    nms: Thresholds | None
    head: DetectorHead | None
    whole: onnx.ModelProto

    def finished(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """``model``, a quantised form of :attr:`model`, with the NMS in standard ONNX at its end."""
        if self.nms is None or self.head is None:
            return model
        return with_nms(model, "onnx", self.head, self.nms)


def float_graph(engine: OpenEngine) -> FloatGraph:
    """The graph of an open ONNX engine, cut where its NMS begins.

    Raises:
        ExportError: It detects, but has no tensors 'boxes' and 'scores' to cut at.
    """
    assert engine.model is not None
    outputs = {value.name for value in engine.model.graph.output}
    if engine.head is None or not outputs >= set(DETECTION_OUTPUTS):
        return FloatGraph(model=engine.model, nms=None, head=None, whole=engine.model)
    cut = without_nms(engine.model)
    return FloatGraph(model=cut, nms=engine.thresholds, head=engine.head, whole=engine.model)


def read_table(path: Path) -> CalibrationTable:
    """A calibration table from a file.

    Raises:
        InputFileError: It cannot be read, or is no table.
    """
    from calibration.table import CalibrationTable

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(
            f"the calibration {path} cannot be read", got=str(error), next_step="hardnet-deploy calibrate writes one"
        ) from error
    with calibration_faults():
        return CalibrationTable.from_json(text, source=str(path))


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """An INT8 graph for ONNX Runtime's CPU kernels.

    Args:
        model: The whole graph, NMS included.
        optimised: What ONNX Runtime makes of it here.
        fell_back: Layers that were asked to be INT8 and stayed float.
        macs_int8: Share of the layers' multiply-accumulates that run in INT8.
    """

    model: onnx.ModelProto
    optimised: OptimisedGraph
    fell_back: tuple[str, ...]
    macs_int8: float


def fallback_error(layers: Sequence[str]) -> ExportError:
    """Layers that were to be INT8 and stayed float, which nobody allowed."""
    return ExportError(
        f"{len(layers)} layers that were to be INT8 stayed float in ONNX Runtime; nothing was written",
        got=", ".join(layers[:5]),
        next_step="--allow-fallback takes the engine as it is; --layer-precisions NAME:fp32 asks for it",
    )


class Quantiser:
    """Quantises one graph with one table, as often as choices are tried.

    Args:
        source: The float graph.
        table: Ranges, measured on that graph.
        concat_scales: See :class:`calibration.ranges.Ranges`.
        preprocess: Of the engine, held against the table's.

    Raises:
        ArtifactMismatchError: The table is of another graph, other weights or another pre-processing.
        InputFileError: The graph cannot be quantised.
    """

    def __init__(
        self,
        source: FloatGraph,
        table: CalibrationTable,
        *,
        concat_scales: ConcatScales,
        preprocess: dict[str, object],
    ) -> None:
        from calibration.align import align_channels
        from calibration.graph import GraphMap
        from calibration.ranges import Ranges

        self.source, self.table, self.concat_scales = source, table, concat_scales
        with calibration_faults():
            self.graph: GraphMap = GraphMap(source.model)
            structure, weights = self.graph.fingerprint()
            table.refuse_other(graph=structure, weights=weights, preprocess=preprocess)
            self.ranges: Ranges = Ranges(self.graph, table, concat_scales)
            aligned = GraphMap(align_channels(self.graph))
            self._for_cpu = aligned, Ranges(aligned, table, concat_scales)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers that can be INT8, in topological order."""
        return tuple(unit.name for unit in self.graph.units)

    def write(self, choice: Choice, *, writing: str = CPU_WRITING) -> onnx.ModelProto:
        """The graph without NMS, written as ``uint8`` (ONNX Runtime, channels aligned) or ``int8`` (TensorRT)."""
        from calibration.qdq import WRITINGS

        graph, ranges = self._for_cpu if writing == CPU_WRITING else (self.graph, self.ranges)
        with calibration_faults():
            return WRITINGS[writing](graph, ranges, choice)

    def for_cpu(self, choice: Choice) -> Quantised:
        """The whole CPU engine, and what ONNX Runtime makes of it.

        Raises:
            ExportError: ONNX Runtime refuses it, made INT8 of what was to stay float, or left a ReLU in float.
        """
        model = self.source.finished(self.write(choice))
        optimised = inspect(optimise(model), self._stored_weights(model))
        self._refuse_untrue(optimised)
        wanted = [name for name in self.layers if name not in choice.float_units]
        fell_back = fallbacks(optimised, wanted)
        if not fell_back and optimised.float_relus:
            raise ExportError("a ReLU was left in float between INT8 layers", got=", ".join(optimised.float_relus[:5]))
        integer = sum(unit.macs for unit in self.graph.units if optimised.achieved[unit.name] == "int8")
        share = integer / max(sum(unit.macs for unit in self.graph.units), 1)
        return Quantised(model=model, optimised=optimised, fell_back=fell_back, macs_int8=share)

    def _stored_weights(self, model: onnx.ModelProto) -> dict[str, str]:
        """Name of each layer's weight in a written graph: of its integers where the layer was given some.

        Layers that share a weight need not share its integers, and one of them may stay float.
        """
        integers = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
        read = {node.output[0]: node.input[1] for node in model.graph.node if node.op_type == "Conv"}
        found = {}
        for unit in self.graph.units:
            made = unit.inner if unit.inner in read else f"{unit.inner}.exact"  # as an output of the graph is called
            weight = read.get(made, unit.weight)
            found[unit.name] = integers.get(weight, weight)
        return found

    def _refuse_untrue(self, optimised: OptimisedGraph) -> None:
        """Refuse a graph of which it could not be said truly which layers run in INT8."""
        known = sum(kind == "int8" for kind in optimised.achieved.values())
        if optimised.unasked or optimised.integer_convolutions != known:
            named = f", not asked for: {', '.join(optimised.unasked[:5])}" if optimised.unasked else ""
            raise ExportError(
                "ONNX Runtime made other convolutions INT8 than it was asked to",
                got=f"{optimised.integer_convolutions} integer convolutions{named}",
                wanted=f"the {known} that were asked for, and no other",
                next_step="another version of onnxruntime, or --layer-precisions that leaves these in INT8",
            )


def quantiser_for(engine: OpenEngine, table: CalibrationTable, *, concat_scales: ConcatScales) -> Quantiser:
    """The quantiser of an open engine and a table measured on it."""
    return Quantiser(float_graph(engine), table, concat_scales=concat_scales, preprocess=asdict(engine.preprocess))


def table_record(table: CalibrationTable, path: Path) -> dict[str, object]:
    """What a manifest says of the calibration."""
    mark = table.fingerprint
    return {
        "file": path.name,
        "sha256": sha256_file(path),
        "method": table.method,
        "data": mark.data,
        "images": mark.count,
        "images_sha256": mark.images,
        "seed": mark.seed,
    }
