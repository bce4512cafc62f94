"""What TensorRT's objects answer while the code under test is recorded: one small network, its build and its engine.

The answers let the code go its ways; they compute nothing. A ``World`` with a fault makes one call fail as the library
lets it fail, so that the branches for errors are recorded too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from trt_objects import Maker

PLAN: Final = b"a plan that no TensorRT made"
LAYERS_JSON: Final = {"Layers": ["features.0", "nms"], "Bindings": ["images"]}
TIMING_CACHE: Final = b"a timing cache that no TensorRT made"
NUMPY_TYPES: Final = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "BOOL": np.bool_}


@dataclass(frozen=True)
class Tensor:
    """A tensor at the engine's boundary; -1 stands for the dynamic batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_input: bool = False


TENSORS: Final = (
    Tensor("images", "FLOAT", (1, 3, 4, 4), is_input=True),
    Tensor("num_detections", "INT32", (1, 1)),
    Tensor("detection_boxes", "FLOAT", (1, 5, 4)),
    Tensor("detection_scores", "FLOAT", (1, 5)),
    Tensor("detection_classes", "INT32", (1, 5)),
)
# (name, member of LayerType, names of its outputs): a layer of each kind, two with names that a parser made up.
LAYERS: Final = (
    ("features.0", "CONVOLUTION", ("features",)),
    ("shape", "SHAPE", ("shape",)),
    ("(Unnamed Layer* 2) [Softmax]", "SOFTMAX", ("scores",)),
    ("(Unnamed Layer* 3) [Shuffle]", "SHUFFLE", ("(Unnamed Layer* 3) [Shuffle]_output",)),
    ("constant", "CONSTANT", ("weights",)),
    ("nms", "PLUGIN_V2", tuple(tensor.name for tensor in TENSORS if not tensor.is_input)),
)


@dataclass
class World:
    """One course of events.

    Args:
        faults: Names of calls that fail: ``parse``, ``build_serialized_network``, ``deserialize_cuda_engine``, ...
        dynamic: The batch dimension is -1 until a context is given a shape.
        resizable: The height is -1, too.
    """

    faults: frozenset[str] = frozenset()
    dynamic: bool = False
    resizable: bool = False

    def answer(self, maker: Maker, holder: Any, owner: str, name: str, given: tuple[Any, ...]) -> Any:
        """The value of a property or of a call, or NotImplemented for one of the declared type."""
        if owner in self.faults and name == "__init__":
            raise TypeError("pybind11::init(): factory function returned nullptr")
        if name in self.faults:
            return _failure(maker, owner, name)
        method = getattr(self, f"_{name}", None) or getattr(self, f"_{owner}_{name}", None)
        return NotImplemented if method is None else method(maker, holder, *given)

    # The network and its parser

    def _parse(self, _maker: Maker, _parser: Any, *_given: Any) -> bool:
        return True

    def _num_errors(self, _maker: Maker, _parser: Any) -> int:
        return 1 if self.faults & {"parse", "build_serialized_network"} else 0

    def _num_layers(self, _maker: Maker, _network: Any) -> int:
        return len(LAYERS)

    def _get_layer(self, maker: Maker, _network: Any, index: int) -> Any:
        name, kind, outputs = LAYERS[index]
        layer = maker.make("ILayer")
        vars(layer).update(_named=name, _kind=kind, _tensors=(("images",), outputs))
        return layer

    def _ILayer_name(self, _maker: Maker, layer: Any) -> str:
        return str(layer._named)

    def _ILayer_type(self, maker: Maker, layer: Any) -> Any:
        return maker.member("LayerType", layer._kind)

    def _num_inputs(self, _maker: Maker, holder: Any) -> int:
        return len(_names(holder, 0))

    def _num_outputs(self, _maker: Maker, holder: Any) -> int:
        return len(_names(holder, 1))

    def _get_input(self, maker: Maker, holder: Any, index: int) -> Any:
        return self._tensor(maker, _names(holder, 0)[index])

    def _get_output(self, maker: Maker, holder: Any, index: int) -> Any:
        return self._tensor(maker, _names(holder, 1)[index])

    def _tensor(self, maker: Maker, name: str) -> Any:
        made = maker.make("ITensor")
        known = next((tensor for tensor in TENSORS if tensor.name == name), Tensor(name, "FLOAT", (1, 8)))
        vars(made)["_tensor"] = known
        return made

    def _ITensor_name(self, _maker: Maker, tensor: Any) -> str:
        return str(tensor._tensor.name)

    def _is_shape_tensor(self, _maker: Maker, _tensor: Any) -> bool:
        return False

    def _ITensor_shape(self, maker: Maker, tensor: Any) -> Any:
        return self._dims(maker, tensor._tensor)

    def _ITensor_dtype(self, maker: Maker, tensor: Any) -> Any:
        return maker.member("DataType", tensor._tensor.dtype)

    def _platform_has_fast_fp16(self, _maker: Maker, _builder: Any) -> bool:
        return True

    _platform_has_fast_int8 = _platform_has_fast_fp16

    # The build, with the callbacks that the library makes during it

    def _build_serialized_network(self, maker: Maker, builder: Any, _network: Any, config: Any) -> Any:
        settings = vars(config)
        if settings.get("int8_calibrator") is not None:
            calibrate(settings["int8_calibrator"])
        if settings.get("progress_monitor") is not None:
            show_progress(settings["progress_monitor"])
        for severity in ("VERBOSE", "WARNING", "ERROR"):
            builder._given[0].log(maker.member("ILogger.Severity", severity), "a line of the builder's log")
        return maker.make("IHostMemory", PLAN)

    def _serialize(self, maker: Maker, _holder: Any, *_given: Any) -> Any:
        return maker.make("IHostMemory", TIMING_CACHE)

    def _nbytes(self, _maker: Maker, memory: Any) -> int:
        return bytes.__len__(memory)

    # The engine and its contexts

    def _num_io_tensors(self, _maker: Maker, _engine: Any) -> int:
        return len(TENSORS)

    _num_bindings = _num_io_tensors

    def _get_tensor_name(self, _maker: Maker, _engine: Any, index: int) -> str:
        return TENSORS[index].name

    _get_binding_name = _get_tensor_name

    def _get_binding_index(self, _maker: Maker, _engine: Any, name: str) -> int:
        return [tensor.name for tensor in TENSORS].index(name)

    def _get_tensor_mode(self, maker: Maker, _engine: Any, name: str) -> Any:
        return maker.member("TensorIOMode", "INPUT" if _tensor_of(name).is_input else "OUTPUT")

    def _binding_is_input(self, _maker: Maker, _engine: Any, which: int | str) -> bool:
        return _tensor_of(which).is_input

    def _get_tensor_dtype(self, maker: Maker, _engine: Any, which: int | str) -> Any:
        return maker.member("DataType", _tensor_of(which).dtype)

    _get_binding_dtype = _get_tensor_dtype

    def _get_tensor_shape(self, maker: Maker, _holder: Any, which: int | str) -> Any:
        return self._dims(maker, _tensor_of(which), known="ICudaEngine" not in type(_holder).__name__)

    _get_binding_shape = _get_tensor_shape

    def _get_tensor_profile_shape(self, maker: Maker, _engine: Any, *_given: Any) -> list[Any]:
        return [maker.make("Dims", (batch, *TENSORS[0].shape[1:])) for batch in (1, 1, 2)]

    _get_profile_shape = _get_tensor_profile_shape

    def _execute_async_v3(self, _maker: Maker, context: Any, *_given: Any) -> bool:
        profiler = vars(context).get("profiler")
        if profiler is not None:
            profiler.report_layer_time("features.0", 0.5)
        return True

    _execute_async_v2 = _execute_async_v3

    def _get_engine_information(self, _maker: Maker, _inspector: Any, *_given: Any) -> str:
        return json.dumps(LAYERS_JSON)

    def _get_layer_information(self, _maker: Maker, _inspector: Any, *_given: Any) -> str:
        return json.dumps({"Name": "features.0", "Precision": "FP32"})

    def _nptype(self, _maker: Maker, _holder: Any, dtype: Any) -> Any:
        return NUMPY_TYPES[dtype.name]

    # The plugins

    def _all_creators(self, maker: Maker, _registry: Any) -> list[Any]:
        creator = maker.make("IPluginCreator")
        vars(creator)["name"] = "EfficientNMS_TRT"
        return [creator]

    _plugin_creator_list = _all_creators

    def _get_plugin_registry(self, maker: Maker, _holder: Any) -> Any:
        return maker.make("IPluginRegistry")

    def _dims(self, maker: Maker, tensor: Tensor, *, known: bool = False) -> Any:
        batch, *rest = tensor.shape
        if self.resizable and len(rest) == 3:
            rest[1] = -1
        return maker.make("Dims", (-1 if self.dynamic and not known else batch, *rest))


def calibrate(calibrator: Any) -> None:
    """The builder's questions to a calibrator: its cache, and batches where it has none."""
    calibrator.get_batch_size()
    if calibrator.read_calibration_cache() is None:
        while calibrator.get_batch(["images"]):
            pass
        calibrator.write_calibration_cache(memoryview(b"a cache"))


def show_progress(monitor: Any) -> None:
    """One phase inside another, as the builder reports them."""
    monitor.phase_start("Building", None, 2)
    monitor.phase_start("Choosing tactics", "Building", 1)
    monitor.step_complete("Choosing tactics", 0)
    monitor.phase_finish("Choosing tactics")
    monitor.step_complete("Building", 0)
    monitor.phase_finish("Building")


def _failure(maker: Maker, owner: str, name: str) -> Any:
    attribute = maker.api.attribute(owner, name)
    signatures = attribute.signatures if attribute is not None else maker.api.functions.get(name, ())
    return False if signatures and signatures[0].returns == "bool" else None


def _names(holder: Any, side: int) -> tuple[str, ...]:
    if "_tensors" in vars(holder):
        names: tuple[str, ...] = holder._tensors[side]
        return names
    return tuple(tensor.name for tensor in TENSORS if tensor.is_input is (side == 0))


def _tensor_of(which: int | str) -> Tensor:
    return TENSORS[which] if isinstance(which, int) else next(tensor for tensor in TENSORS if tensor.name == which)
