"""Execution: inputs are read from raw addresses and outputs written to raw addresses, at once, whatever the stream."""

import ctypes
import time

from simulated_tensorrt.facts import BYTES


class Context:
    def _set_up(self, engine):
        self._engine = engine
        self._label = ""
        self._profile = 0
        self._shapes = {one["name"]: list(one["shape"]) for one in engine._about["inputs"]}
        self._addresses = {}
        self._watcher = None
        self._emits = True
        engine._load()
        return self

    engine = property(lambda self: self._engine)
    active_optimization_profile = property(lambda self: self._profile)
    all_binding_shapes_specified = property(lambda self: not self._unspecified())
    all_shape_inputs_specified = property(lambda _self: True)

    @property
    def name(self):
        return self._label

    @name.setter
    def name(self, value):
        self._label = value

    @property
    def profiler(self):
        return self._watcher

    @profiler.setter
    def profiler(self, value):
        self._watcher = value

    @property
    def enqueue_emits_profile(self):
        return self._emits

    @enqueue_emits_profile.setter
    def enqueue_emits_profile(self, value):
        self._emits = bool(value)

    def set_optimization_profile_async(self, profile_index, stream_handle):
        del stream_handle
        if not 0 <= profile_index < len(self._engine._about["profiles"]):
            return self._fail(f"profile {profile_index} does not exist")
        self._profile = profile_index
        return True

    def set_binding_shape(self, binding, shape):
        return self._set_shape(self._engine._order[binding], shape)

    def get_binding_shape(self, binding):
        return self._shape_of(self._engine._order[binding])

    def set_input_shape(self, name, shape):
        return self._set_shape(name, shape)

    def get_tensor_shape(self, name):
        return self._shape_of(name)

    def infer_shapes(self):
        return self._unspecified()

    def set_tensor_address(self, name, memory):
        if name not in self._engine._order:
            return self._fail(f"setTensorAddress: no tensor called {name}")
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name):
        return self._addresses.get(name, 0)

    def execute_v2(self, bindings):
        return self._execute_list(bindings)

    def execute_async_v2(self, bindings, stream_handle, input_consumed=None):
        del stream_handle, input_consumed
        return self._execute_list(bindings)

    def execute_async_v3(self, stream_handle):
        del stream_handle
        return self._execute(self._addresses)

    def report_to_profiler(self):
        return self._watcher is not None

    def _fail(self, text):
        message = "3: [executionContext.cpp] Error Code 3: API Usage Error (Parameter check failed, condition: {})"
        self._engine._env.log(self._engine._logger, "ERROR", message.format(text))
        return False

    def _unspecified(self):
        return [name for name, shape in self._shapes.items() if -1 in shape]

    def _set_shape(self, name, shape):
        given = [int(size) for size in shape]
        if name not in self._shapes:
            return self._fail(f"{name} is no input")
        low, _, high = self._engine._about["profiles"][self._profile][name]
        fits = len(given) == len(low) and all(low[axis] <= given[axis] <= high[axis] for axis in range(len(given)))
        if not fits:
            return self._fail(
                f"satisfyProfile. Set dimension {given} for tensor {name} does not satisfy any optimization profiles. "
                f"Valid range for profile {self._profile}: {low}..{high}."
            )
        self._shapes[name] = given
        return True

    def _shape_of(self, name):
        env = self._engine._env
        if name in self._shapes:
            return env.dims(self._shapes[name])
        shape = list(self._engine._tensor(name)[0]["shape"])
        if not self._unspecified():
            batches = {
                self._shapes[one["name"]][0] for one in self._engine._about["inputs"] if one["shape"][:1] == [-1]
            }
            if shape[:1] == [-1] and len(batches) == 1:
                shape[0] = batches.pop()
        return env.dims(shape)

    def _execute_list(self, bindings):
        order = self._engine._order
        if len(bindings) != len(order):
            return self._fail(f"{len(bindings)} addresses for {len(order)} bindings")
        return self._execute({name: int(bindings[index]) for index, name in enumerate(order)})

    def _execute(self, addresses):
        engine = self._engine
        missing = self._unspecified()
        if missing:
            return self._fail("allInputDimensionsSpecified(); not specified: {}".format(", ".join(missing)))
        unset = [name for name in engine._order if not addresses.get(name)]
        if unset:
            return self._fail("tensor addresses are set; not set: {}".format(", ".join(unset)))
        inputs, blobs = [], []
        for one in engine._about["inputs"]:
            shape = self._shapes[one["name"]]
            size = BYTES[one["dtype"]]
            for length in shape:
                size *= length
            inputs.append({"name": one["name"], "dtype": one["dtype"], "shape": shape})
            blobs.append(ctypes.string_at(addresses[one["name"]], size))
        begin = time.perf_counter()
        _, outputs = engine._env.backend.call("run", {"handle": engine._load(), "inputs": inputs}, blobs)
        spent = 1000 * (time.perf_counter() - begin)
        for index, one in enumerate(engine._about["outputs"]):
            ctypes.memmove(addresses[one["name"]], outputs[index], len(outputs[index]))
        layers = engine._about["layers"]
        if self._watcher is not None and self._emits:
            for layer in layers:
                self._watcher.report_layer_time(layer["name"], spent / len(layers))
        return True
