"""What the engine inspector prints: the form of 8.2 to 10, and that of 11.

11 is after NVIDIA's page "Migrating IEngineInspector Usage from TensorRT 10.x to 11.x": objects under ``I/O Tensors``
instead of names under ``Bindings``, and ``Format/Datatype`` as two fields.
"""

_NAMES = {"FLOAT": "FP32", "HALF": "FP16", "INT8": "Int8", "INT32": "INT32", "BOOL": "Bool", "INT64": "INT64"}
_TYPES = {"FLOAT": "Float", "HALF": "Half", "INT8": "Int8", "INT32": "Int32", "BOOL": "Bool", "INT64": "Int64"}


def engine_information(family, about):
    """The whole engine as the JSON's object."""
    layers = [layer_information(family, about, layer) for layer in about["layers"]]
    if about["verbosity"] == "NONE":
        layers = []
    if family != "11":
        return {"Layers": layers, "Bindings": [one["name"] for one in about["inputs"] + about["outputs"]]}
    tensors = [_io_tensor(about, one, "Input") for one in about["inputs"]]
    tensors += [_io_tensor(about, one, "Output") for one in about["outputs"]]
    return {"Layers": layers, "I/O Tensors": tensors}


def layer_information(family, about, layer):
    """One layer: its name, or all of it where the build asked for details."""
    if about["verbosity"] != "DETAILED":
        return layer["name"]
    found = {
        "Name": layer["name"],
        "LayerType": layer["layer_type"],
        "Inputs": [_tensor(family, one) for one in layer["inputs"]],
        "Outputs": [_tensor(family, one) for one in layer["outputs"]],
        "ParameterType": layer["parameter_type"],
        "TacticName": "simulated_{}".format(layer["precision"].lower()),
    }
    if layer["plugin"]:
        found["PluginType"] = layer["plugin"]
    if layer["weights"]:
        found["Weights"] = {"Type": layer["weights"], "Count": layer["weight_count"]}
    if family != "8.2":
        found["Metadata"] = "\x1e".join(f"[ONNX Layer: {name}]" for name in layer["nodes"])
    return found


def _tensor(family, one):
    found = {"Name": one["name"], "Location": "Device", "Dimensions": one["shape"]}
    if family == "11":
        found.update({"Format": "Row major linear", "Datatype": _TYPES[one["dtype"]]})
    elif one["dtype"] == "INT8":
        found["Format/Datatype"] = "Four wide channel vectorized row major Int8 format"
    else:
        found["Format/Datatype"] = "Row major linear {}".format(_NAMES[one["dtype"]])
    return found


def _io_tensor(about, one, mode):
    return {
        "Name": one["name"],
        "IOMode": mode,
        "DataType": _TYPES[one["dtype"]],
        "Dimensions": one["shape"],
        "Location": "Device",
        "IsShapeInferenceIO": False,
        "ProfileInfo": [
            {
                "MinShape": profile.get(one["name"], [one["shape"]] * 3)[0],
                "OptShape": profile.get(one["name"], [one["shape"]] * 3)[1],
                "MaxShape": profile.get(one["name"], [one["shape"]] * 3)[2],
                "Format": "Row major linear {} format (kLINEAR)".format(_NAMES[one["dtype"]]),
            }
            for profile in about["profiles"]
        ],
    }
