"""ONNX Runtime on the CPU, with NVIDIA's NMS plugin executed by its NumPy reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.nms.efficient import CANDIDATE_CAP, PLUGIN_OP, efficient_nms
from hardnet_deploy.runners.base import Arrays, check_feeds
from hardnet_deploy.runners.graph import cut, tensor_infos
from hardnet_deploy.specs import TensorInfo

if TYPE_CHECKING:
    import onnx


class OrtRunner:
    """Runs an ONNX model on the CPU.

    A graph that ends in EfficientNMS_TRT is run up to the plugin by ONNX Runtime; the plugin itself by the NumPy
    reference of its semantics, and :attr:`name` says so. Nothing of this is TensorRT.

    An fp16-typed graph is computed in float32 and rounded to float16 wherever it stores float16: see
    :mod:`~hardnet_deploy.runners.half_rounding`. Its float16 tensors come as float32.

    Args:
        model: The model; kept as it is.
        extra_outputs: Inner tensors to return as well.
        candidate_cap: Boxes that the plugin considers in an image: 5000, or 2000 on sm_53.
        threads: Of ONNX Runtime; None leaves its default, one for each core.
        trace: Where ONNX Runtime's own profiler writes: its file begins so. It slows every run; see :meth:`end_trace`.

    Raises:
        InputFileError: ONNX Runtime refuses the graph.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        extra_outputs: Sequence[str] = (),
        candidate_cap: int = CANDIDATE_CAP,
        threads: int | None = None,
        trace: Path | None = None,
    ) -> None:
        import onnxruntime

        from hardnet_deploy.runners.half_rounding import is_half_typed, rounded_to_half

        declared = [value.name for value in model.graph.output]
        plugins = [node for node in model.graph.node if node.op_type == PLUGIN_OP]
        if len(plugins) > 1:
            raise InputFileError("the graph has more than one EfficientNMS_TRT node", wanted="at most one")
        self._plugin = _Plugin(plugins[0], candidate_cap) if plugins else None
        from_plugin = self._plugin.outputs if self._plugin else ()
        from_graph = [name for name in (*declared, *extra_outputs) if name not in from_plugin]
        fetched = list(dict.fromkeys([*from_graph, *(self._plugin.inputs if self._plugin else ())]))
        self._outputs = tuple(dict.fromkeys((*declared, *extra_outputs)))
        self._inputs = tensor_infos(model.graph.input)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        if trace is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(trace)
        runnable = model if fetched == declared else cut(model, fetched)
        self._rounds = is_half_typed(model)
        if self._rounds:
            runnable = rounded_to_half(runnable)
        try:
            self._session = onnxruntime.InferenceSession(
                runnable.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,  # the fallback prints to stdout, and there is nothing to fall back to
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            got = (str(error).splitlines() or [type(error).__name__])[0]
            newer = "IR version" in got
            raise InputFileError(
                "ONNX Runtime does not accept the graph",
                got=got,
                next_step="save it with an older IR version, or install a newer onnxruntime-gpu"
                if newer
                else "hardnet-deploy export --nms onnx writes a graph of standard operators",
            ) from error
        self._fetched = fetched

    @property
    def name(self) -> str:
        """What ran."""
        rounds = ", rounded to float16 after every operator" if self._rounds else ""
        return f"ONNX Runtime (CPU){rounds}" + (", EfficientNMS by its NumPy reference" if self._plugin else "")

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What :meth:`infer` wants."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that :meth:`infer` returns."""
        return self._outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def end_trace(self) -> Path:
        """The finished file of a runner that was opened with ``trace``: Chrome trace events as JSON."""
        return Path(self._session.end_profiling())

    def infer(self, feeds: Mapping[str, NDArray[np.float32]]) -> Arrays:
        """Run one batch; see :class:`~hardnet_deploy.runners.base.Runner`."""
        check_feeds(self._inputs, feeds)
        values = dict(zip(self._fetched, self._session.run(self._fetched, dict(feeds)), strict=True))
        if self._plugin:
            values |= self._plugin.run(values)
        return {name: values[name] for name in self._outputs}


class _Plugin:
    """The EfficientNMS_TRT node of a graph.

    Raises:
        InputFileError: It cannot be run: attributes are missing or out of range, or tensors too few or too many.
    """

    _REQUIRED = ("score_threshold", "iou_threshold", "max_output_boxes", "background_class")
    _OPTIONAL = ("score_activation", "box_coding", "class_agnostic")

    def __init__(self, node: onnx.NodeProto, candidate_cap: int) -> None:
        from onnx import helper

        self.inputs = tuple(node.input)
        self.outputs = tuple(node.output)
        attributes: dict[str, Any] = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        missing = [name for name in self._REQUIRED if name not in attributes]
        if missing:
            raise InputFileError(f"the EfficientNMS_TRT node lacks the attributes {', '.join(missing)}")
        if len(self.inputs) not in {2, 3} or len(self.outputs) != 4:
            raise InputFileError(
                "the EfficientNMS_TRT node has other tensors than the plugin",
                got=f"{len(self.inputs)} inputs and {len(self.outputs)} outputs",
                wanted="boxes, scores and perhaps anchors; four outputs",
            )
        self._options: dict[str, Any] = {
            name: attributes[name] for name in (*self._REQUIRED, *self._OPTIONAL) if name in attributes
        }
        self._options["candidate_cap"] = candidate_cap
        try:
            efficient_nms(np.zeros((1, 1, 4), np.float32), np.zeros((1, 1, 1), np.float32), **self._options)
        except (UsageError, TypeError) as error:
            raise InputFileError("the EfficientNMS_TRT node has an attribute out of range", got=str(error)) from error

    def run(self, values: Mapping[str, NDArray[Any]]) -> Arrays:
        """The plugin's four outputs."""
        boxes, scores, *anchors = (values[name] for name in self.inputs)
        found = efficient_nms(boxes, scores, anchors=anchors[0] if anchors else None, **self._options)
        results = (found.num_detections, found.detection_boxes, found.detection_scores, found.detection_classes)
        return dict(zip(self.outputs, results, strict=True))
