"""Runtime, engine, context and inspector."""

import json

from simulated_tensorrt import plan
from simulated_tensorrt.context import Context
from simulated_tensorrt.facts import BYTES
from simulated_tensorrt.inspector import engine_information, layer_information
from simulated_tensorrt.plugins import registered
from simulated_tensorrt.surface import CLOSED

IMPLEMENTED = ("EngineInspector", "ICudaEngine", "IExecutionContext", "Runtime")
IExecutionContext = Context


class Runtime:
    _openness = CLOSED

    def __init__(self, logger):
        self._logger = logger
        self._host_code = False

    logger = property(lambda self: self._logger)
    num_DLA_cores = property(lambda _self: 0)

    @property
    def engine_host_code_allowed(self):
        return self._host_code

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, value):
        self._host_code = bool(value)

    def get_plugin_registry(self):
        return self._env.new("IPluginRegistry")

    def deserialize_cuda_engine(self, serialized_engine):
        env, content = self._env, bytes(serialized_engine)
        about, onnx, errors = plan.read(env, content)
        if (
            not errors
            and about["plugins"]
            and not (env.plugins_loaded and set(about["plugins"]) <= set(registered(env)))
        ):
            text = (
                "1: [pluginV2Runner.cpp::load] Error Code 1: Serialization (Serialization assertion creator failed."
                "Cannot deserialize plugin since corresponding IPluginCreator not found in Plugin Registry)"
            )
            errors = [text]
        if errors:
            errors.append(
                "4: [runtime.cpp::deserializeCudaEngine] Error Code 4: Internal Error (Engine deserialization failed.)"
            )
            for text in errors:
                env.log(self._logger, "ERROR", text)
            return None
        engine = env.new("ICudaEngine", about=about, onnx=onnx, plan=content, logger=self._logger, handle=None)
        engine._order = [one["name"] for one in about["inputs"] + about["outputs"]]
        return engine


class ICudaEngine:
    """Inputs first, then outputs, in the network's order."""

    name = property(lambda self: self._about["name"])
    num_layers = property(lambda self: len(self._about["layers"]))
    num_optimization_profiles = property(lambda self: len(self._about["profiles"]))
    has_implicit_batch_dimension = property(lambda _self: False)
    max_batch_size = property(lambda _self: 1)
    refittable = property(lambda _self: False)
    device_memory_size = property(lambda _self: 0)
    device_memory_size_v2 = property(lambda _self: 0)
    num_bindings = property(lambda self: len(self._order))
    num_io_tensors = property(lambda self: len(self._order))

    @property
    def profiling_verbosity(self):
        return self._env.enumerator("ProfilingVerbosity", self._about["verbosity"])

    def serialize(self):
        return self._env.host_memory(self._plan)

    def create_execution_context(self):
        return self._env.new("IExecutionContext")._set_up(self)

    def create_engine_inspector(self):
        return self._env.new("EngineInspector", engine=self, context=None)

    def _load(self):
        if self._handle is None:
            loaded, _ = self._env.backend.call("load", self._about, [self._onnx])
            self._handle = loaded["handle"]
        return self._handle

    def __del__(self):
        if self.__dict__.get("_handle") is not None:
            try:
                self._env.backend.call("unload", {"handle": self._handle}, [])
            except Exception:  # noqa: BLE001 - the interpreter or the worker is going down
                self._handle = None

    def _tensor(self, key):
        """The record of a tensor by name or number, and whether it is an input; None where there is none."""
        if isinstance(key, int):
            key = self._order[key] if 0 <= key < len(self._order) else None
        for is_input, side in ((True, "inputs"), (False, "outputs")):
            for one in self._about[side]:
                if one["name"] == key:
                    return one, is_input
        text = f"3: [engine.cpp] Error Code 3: API Usage Error (no input or output called {key})"
        self._env.log(self._logger, "ERROR", text)
        return None, False

    def _shape(self, key):
        one, _ = self._tensor(key)
        return self._env.dims([] if one is None else one["shape"])

    def _dtype(self, key):
        one, _ = self._tensor(key)
        return self._env.enumerator("DataType", "FLOAT" if one is None else one["dtype"])

    # by number, until 8.x
    def __len__(self):
        return len(self._order)

    def __getitem__(self, key):
        return self.get_binding_index(key) if isinstance(key, str) else self._order[key]

    def get_binding_name(self, index):
        return self._order[index] if 0 <= index < len(self._order) else None

    def get_binding_index(self, name):
        return self._order.index(name) if name in self._order else -1

    def get_binding_shape(self, index):
        return self._shape(index)

    def get_binding_dtype(self, index):
        return self._dtype(index)

    def binding_is_input(self, index):
        return self._tensor(index)[1]

    def get_profile_shape(self, profile_index, binding):
        name = self._order[binding] if isinstance(binding, int) else binding
        return [self._env.dims(shape) for shape in self._about["profiles"][profile_index][name]]

    # by name, since 8.5
    def get_tensor_name(self, index):
        return self._order[index] if 0 <= index < len(self._order) else None

    def get_tensor_mode(self, name):
        one, is_input = self._tensor(name)
        return self._env.enumerator("TensorIOMode", "NONE" if one is None else "INPUT" if is_input else "OUTPUT")

    def get_tensor_shape(self, name):
        return self._shape(name)

    def get_tensor_dtype(self, name):
        return self._dtype(name)

    def get_tensor_location(self, name):
        del name
        return self._env.enumerator("TensorLocation", "DEVICE")

    def get_tensor_format(self, name):
        del name
        return self._env.enumerator("TensorFormat", "LINEAR")

    def get_tensor_bytes_per_component(self, name):
        return BYTES[self._dtype(name).name]

    def get_tensor_profile_shape(self, name, profile_index):
        return [self._env.dims(shape) for shape in self._about["profiles"][profile_index].get(name, [])]

    def is_shape_inference_io(self, name):
        del name
        return False


class EngineInspector:
    @property
    def execution_context(self):
        return self._context

    @execution_context.setter
    def execution_context(self, value):
        self._context = value

    def get_engine_information(self, format):  # noqa: A002 - the vendor's name
        found = engine_information(self._env.family, self._engine._about)
        if format.name == "JSON":
            return json.dumps(found, indent=1)
        return "\n".join(json.dumps(layer) for layer in found["Layers"])

    def get_layer_information(self, layer_index, format):  # noqa: A002 - as above
        del format
        about = self._engine._about
        return json.dumps(layer_information(self._env.family, about, about["layers"][layer_index]))
