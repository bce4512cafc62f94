"""The heavy half: ONNX and ONNX Runtime behind ``call(method, document, blobs)``. Runs on the host's Python."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.export.parser_table import PARSERS
from hardnet_deploy.runners.ort import OrtRunner
from simulated_tensorrt.facts import NUMPY_NAMES
from simulated_tensorrt.importer import inferred, parse
from simulated_tensorrt.lower import PLUGIN, lower

Answer = tuple[dict[str, Any], list[bytes]]
HALF_SCORE_SHIFT: Final = 1.0
"""EfficientNMS of 8.2 in FP16 keeps score - 1 to sort fewer bits, and gives that out: TensorRT issue 1758."""

_sessions: dict[int, _Session] = {}
_handles = itertools.count(1)


class _Session:
    """A loaded engine."""

    def __init__(self, about: Mapping[str, Any], model: onnx.ModelProto) -> None:
        self.outputs = [(one["name"], np.dtype(NUMPY_NAMES[one["dtype"]])) for one in about["outputs"]]
        self.runner = _runner(model, candidate_cap=about["candidates"])
        self.shifted: tuple[str, str] | None = None
        for node in model.graph.node:
            if node.op_type == PLUGIN and about["shifted_scores"]:
                self.shifted = (node.output[0], node.output[2])

    def run(self, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        values = self.runner.infer(feeds)
        if self.shifted and all(name in values for name in self.shifted):
            counts, scores = (values[name] for name in self.shifted)
            found = np.arange(scores.shape[1]) < counts.reshape(-1, 1)
            values[self.shifted[1]] = scores - np.float32(HALF_SCORE_SHIFT) * found
        return [np.ascontiguousarray(values[name].astype(dtype)) for name, dtype in self.outputs]


def _runner(model: onnx.ModelProto, **options: Any) -> OrtRunner:
    try:
        return OrtRunner(model, **options)
    except InputFileError as error:
        raise NotImplementedError(f"the simulation lacks this graph: {error.what}: {error.got}") from error


def _arrays(inputs: Sequence[Mapping[str, Any]], blobs: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    return {
        one["name"]: np.frombuffer(blob, NUMPY_NAMES[one["dtype"]]).reshape(one["shape"])
        for one, blob in zip(inputs, blobs, strict=True)
    }


def _parse(document: Mapping[str, Any], blobs: Sequence[bytes]) -> Answer:
    return parse(blobs[0], document), []


def _operators(document: Mapping[str, Any], _blobs: Sequence[bytes]) -> Answer:
    return {"operators": sorted(PARSERS[document["family"]].ops)}, []


def _build(document: Mapping[str, Any], blobs: Sequence[bytes]) -> Answer:
    lowered, model = lower(inferred(blobs[0]), document)
    return lowered, [model.SerializeToString(deterministic=True)]


def _load(document: Mapping[str, Any], blobs: Sequence[bytes]) -> Answer:
    handle = next(_handles)
    _sessions[handle] = _Session(document, onnx.load_model_from_string(blobs[0]))
    return {"handle": handle}, []


def _unload(document: Mapping[str, Any], _blobs: Sequence[bytes]) -> Answer:
    _sessions.pop(document["handle"], None)
    return {}, []


def _run(document: Mapping[str, Any], blobs: Sequence[bytes]) -> Answer:
    outputs = _sessions[document["handle"]].run(_arrays(document["inputs"], blobs))
    return {}, [output.tobytes() for output in outputs]


def _observe(document: Mapping[str, Any], blobs: Sequence[bytes]) -> Answer:
    """Largest magnitude of every float tensor that is not the plugin's."""
    model = inferred(blobs[0])
    feeds = _arrays(document["inputs"], blobs[1:])
    plugins = {name for node in model.graph.node if node.op_type == PLUGIN for name in node.output}
    floats = [
        value.name
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in plugins
    ]
    made = {name for node in model.graph.node for name in node.output}
    values = _runner(model, extra_outputs=[name for name in floats if name in made]).infer(feeds)
    seen = {**feeds, **{name: values[name] for name in floats if name in values}}
    return {"amax": {name: float(np.abs(array).max(initial=0)) for name, array in seen.items()}}, []


_METHODS = {
    "build": _build,
    "load": _load,
    "observe": _observe,
    "operators": _operators,
    "parse": _parse,
    "run": _run,
    "unload": _unload,
}


def call(method: str, document: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> Answer:
    """One call.

    Raises:
        NotImplementedError: The simulation cannot do this.
    """
    return _METHODS[method](document, blobs)
