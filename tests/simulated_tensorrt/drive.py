"""The shortest way through a simulated module, for the simulation's own tests: build, load, run on raw addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulated_tensorrt import make
from simulated_tensorrt.facts import NUMPY_NAMES

Arrays = dict[str, NDArray[Any]]
Shape = Sequence[int]


@dataclass
class Driver:
    """One module and what its logger was told, as (severity, text)."""

    version: str
    device: str = "gpu"
    switches: dict[str, Any] = field(default_factory=dict)
    plugins: bool = True
    lines: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.trt: Any = make(self.version, self.device, **self.switches)
        lines = self.lines

        class Keeper(self.trt.ILogger):  # type: ignore[misc,name-defined]  # a class of the module made above
            def __init__(self, base: Any) -> None:
                base.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                lines.append((severity.name, msg))

        self.logger = Keeper(self.trt.ILogger)
        if self.plugins:
            self.trt.init_libnvinfer_plugins(self.logger, "")
        self.builder = self.trt.Builder(self.logger)
        self.config = self.builder.create_builder_config()

    @property
    def errors(self) -> str:
        return "\n".join(text for severity, text in self.lines if severity == "ERROR")

    @property
    def warnings(self) -> list[str]:
        return [text for severity, text in self.lines if severity == "WARNING"]

    def network(self, onnx: bytes, *, typed: bool = False) -> Any:
        """A parsed network, or None; the parser stays as ``parser``."""
        flags, kinds = 0, self.trt.NetworkDefinitionCreationFlag
        if hasattr(kinds, "EXPLICIT_BATCH"):
            flags |= 1 << int(kinds.EXPLICIT_BATCH)
        if typed:
            flags |= 1 << int(kinds.STRONGLY_TYPED)
        network = self.builder.create_network(flags)
        self.parser = self.trt.OnnxParser(network, self.logger)
        return network if self.parser.parse(onnx) else None

    def flags(self, *names: str) -> None:
        for name in names:
            self.config.set_flag(getattr(self.trt.BuilderFlag, name))

    def profile(self, name: str, low: Shape, best: Shape, high: Shape) -> None:
        profile = self.builder.create_optimization_profile()
        profile.set_shape(name, low, best, high)
        self.config.add_optimization_profile(profile)

    def build(self, network: Any) -> bytes | None:
        plan = self.builder.build_serialized_network(network, self.config)
        return None if plan is None else bytes(plan)

    def load(self, plan: bytes) -> Any:
        return self.trt.Runtime(self.logger).deserialize_cuda_engine(plan)

    def run(self, engine: Any, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """One execution through the API that this version has, on host memory."""
        context = engine.create_execution_context()
        by_name = hasattr(self.trt.ICudaEngine, "num_io_tensors")
        names = [engine[i] for i in range(engine.num_bindings)] if not by_name else []
        names = names or [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        held = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        for name, array in held.items():
            if by_name:
                assert context.set_input_shape(name, array.shape)
            else:
                assert context.set_binding_shape(engine.get_binding_index(name), array.shape)
        outputs: Arrays = {}
        for index, name in enumerate(names):
            if name not in held:
                shape = tuple(context.get_tensor_shape(name) if by_name else context.get_binding_shape(index))
                dtype = engine.get_tensor_dtype(name) if by_name else engine.get_binding_dtype(index)
                outputs[name] = held[name] = np.zeros(shape, NUMPY_NAMES[dtype.name])
        if by_name:
            assert all(context.set_tensor_address(name, held[name].ctypes.data) for name in names)
            assert context.execute_async_v3(0)
        else:
            assert context.execute_async_v2([held[name].ctypes.data for name in names], 0)
        return outputs


def pin_float(driver: Driver, network: Any, names: Sequence[str]) -> None:
    """Hold layers and their float outputs in FP32."""
    kinds = driver.trt.DataType
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.name in names:
            layer.precision = kinds.FLOAT
            for output in range(layer.num_outputs):
                if layer.get_output(output).dtype in {kinds.FLOAT, kinds.HALF}:
                    layer.set_output_type(output, kinds.FLOAT)
    driver.flags("OBEY_PRECISION_CONSTRAINTS")
