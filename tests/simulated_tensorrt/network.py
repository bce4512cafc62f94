"""The network that the parser fills: layers and tensors, their types, ranges and precisions."""

IMPLEMENTED = ("ILayer", "INetworkDefinition", "ITensor")


class ITensor:
    """One tensor; ``_about`` is the backend's record of it."""

    name = property(lambda self: self._name)
    shape = property(lambda self: self._env.dims(self._about["shape"]))
    is_network_input = property(lambda self: self._name in self._network._inputs)
    is_network_output = property(lambda self: self._name in self._network._outputs)
    is_execution_tensor = property(lambda _self: True)
    is_shape_tensor = property(lambda _self: False)

    @property
    def dtype(self):
        return self._env.enumerator("DataType", self._about["dtype"])

    @property
    def location(self):
        return self._env.enumerator("TensorLocation", "DEVICE")

    def set_dynamic_range(self, min, max):  # noqa: A002 - the vendor's names
        if not min <= max or abs(min) == float("inf") or abs(max) == float("inf"):
            return False
        self._network._ranges[self._name] = (float(min), float(max))
        return True

    def reset_dynamic_range(self):
        self._network._ranges.pop(self._name, None)

    @property
    def dynamic_range(self):
        return self._network._ranges.get(self._name)


class ILayer:
    """One layer; ``_about`` is the backend's record of it."""

    name = property(lambda self: self._about["name"])
    num_inputs = property(lambda self: len(self._about["inputs"]))
    num_outputs = property(lambda self: len(self._about["outputs"]))

    @property
    def type(self):
        known = self._env.classes["LayerType"].__members__
        return next(known[name] for name in (*self._about["types"], "IDENTITY") if name in known)

    def get_input(self, index):
        return self._tensor("inputs", index)

    def get_output(self, index):
        return self._tensor("outputs", index)

    def _tensor(self, side, index):
        names = self._about[side]
        return self._network._tensor(names[index]) if 0 <= index < len(names) else None

    @property
    def precision(self):
        return self._env.enumerator("DataType", self._pins()["precision"] or "FLOAT")

    @precision.setter
    def precision(self, value):
        self._pins()["precision"] = value.name

    @property
    def precision_is_set(self):
        return self._pins()["precision"] is not None

    def reset_precision(self):
        self._pins()["precision"] = None

    def set_output_type(self, index, dtype):
        self._pins()["outputs"][str(index)] = dtype.name

    def reset_output_type(self, index):
        self._pins()["outputs"].pop(str(index), None)

    def output_type_is_set(self, index):
        return str(index) in self._pins()["outputs"]

    def get_output_type(self, index):
        made = self._network._graph["tensors"][self._about["outputs"][index]]["dtype"]
        return self._env.enumerator("DataType", self._pins()["outputs"].get(str(index), made))

    def _pins(self):
        return self._network._pins.setdefault(str(self._index), {"precision": None, "outputs": {}})


class INetworkDefinition:
    """Empty until a parser fills it."""

    def _set_up(self, builder, logger, typed, explicit_batch):
        self._builder, self._logger = builder, logger
        self._typed, self._explicit_batch = typed, explicit_batch
        self._graph = {"inputs": [], "outputs": [], "tensors": {}, "layers": [], "qdq": False}
        self._onnx = None
        self._inputs, self._outputs = [], []
        self._ranges, self._pins = {}, {}
        self._label = "Unnamed Network 0"
        return self

    def _fill(self, graph, onnx):
        self._graph, self._onnx = graph, onnx
        self._inputs, self._outputs = list(graph["inputs"]), list(graph["outputs"])

    def _tensor(self, name):
        return self._env.new("ITensor", network=self, name=name, about=self._graph["tensors"][name])

    num_layers = property(lambda self: len(self._graph["layers"]))
    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))
    has_implicit_batch_dimension = property(lambda self: not self._explicit_batch)
    builder = property(lambda self: self._builder)

    @property
    def name(self):
        return self._label

    @name.setter
    def name(self, value):
        self._label = value

    def __len__(self):
        return self.num_layers

    def __getitem__(self, index):
        layer = self.get_layer(index)
        if layer is None:
            raise IndexError(index)
        return layer

    def get_layer(self, index):
        layers = self._graph["layers"]
        if not 0 <= index < len(layers):
            return None
        return self._env.new("ILayer", network=self, index=index, about=layers[index])

    def get_input(self, index):
        return self._tensor(self._inputs[index]) if 0 <= index < len(self._inputs) else None

    def get_output(self, index):
        return self._tensor(self._outputs[index]) if 0 <= index < len(self._outputs) else None

    def mark_output(self, tensor):
        if tensor.name not in self._outputs:
            self._outputs.append(tensor.name)

    def unmark_output(self, tensor):
        self._outputs.remove(tensor.name)

    def get_flag(self, flag):
        return self._typed if flag.name == "STRONGLY_TYPED" else flag.name == "EXPLICIT_BATCH"
