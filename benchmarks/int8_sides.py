"""Every engine of ``int8_speed.py`` behind one interface: an image in, boxes and scores before NMS out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.image_lists import open_images
from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.evaluate.tensors import TensorComparison
from hardnet_deploy.evaluate.tolerances import ONNX_AGAINST_TORCH_ON_PIXELS
from hardnet_deploy.models import registry
from hardnet_deploy.tensor_names import BOXES, INPUT, SCORES

Kind = Literal["torch", "onnxruntime", "openvino", "openvino-f32"]
Arrays = dict[str, NDArray[np.float32]]
OUTPUTS = (BOXES, SCORES)
OPENVINO_FLOATS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Side:
    """One engine.

    Args:
        kind: What runs it.
        what: Its file, or the mode of PyTorch.
        exact: Whether it computes in float32, so that it must give what ONNX Runtime gives in FP32.
    """

    kind: Kind
    what: str
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A side ready to be timed.

    Args:
        run: Computes boxes and scores of the image, as the engine hands them out.
        read: These as arrays by name.
        floats: What the engine computes in where it is not on integers.
    """

    run: Callable[[], Any]
    read: Callable[[Any], Arrays]
    floats: str = "float32"


def image(model: str) -> NDArray[np.float32]:
    """One demo scene as the network's input."""
    path = open_images("demo:calibration", count=1).paths[0]
    return preprocess_image(load_image(path), registry.get(model).preprocess)[None]


def load(side: Side, model: str, threads: int) -> Loaded:
    """The engine, in this process."""
    loaders: dict[Kind, Callable[[], Loaded]] = {
        "torch": lambda: _torch(side.what, model, threads),
        "onnxruntime": lambda: _onnxruntime(Path(side.what), model, threads),
        "openvino": lambda: _openvino(Path(side.what), model, threads, {}),
        "openvino-f32": lambda: _openvino(Path(side.what), model, threads, {"INFERENCE_PRECISION_HINT": "f32"}),
    }
    return loaders[side.kind]()


def compare(found: Arrays, expected: Arrays, *, exact: bool) -> dict[str, Any]:
    """How far boxes and scores are from ONNX Runtime's in FP32, in JSON's terms.

    ``ok`` is false where a shape differs or a value is not finite and, where ``exact``, beyond float32 rounding.
    """
    result = {}
    for name in OUTPUTS:
        comparison = TensorComparison(name, ONNX_AGAINST_TORCH_ON_PIXELS if exact else None, case="a demo scene")
        comparison.add(expected[name], found[name])
        parity = comparison.result().as_dict()
        shape = list(found[name].shape)
        result[name] = {"shape": shape, **{key: parity[key] for key in ("max_abs", "max_rel", "sqnr_db", "ok")}}
    return result


def _onnxruntime(path: Path, model: str, threads: int) -> Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {INPUT: image(model)}
    return Loaded(
        run=lambda: session.run(list(OUTPUTS), feeds), read=lambda values: dict(zip(OUTPUTS, values, strict=True))
    )


def _openvino(path: Path, model: str, threads: int, more: dict[str, Any]) -> Loaded:
    import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]  # of requirements-peers.txt

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, **more}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    feeds = {INPUT: image(model)}
    return Loaded(
        run=lambda: request.infer(feeds),
        read=lambda values: {name: np.array(values[name]) for name in OUTPUTS},
        floats=OPENVINO_FLOATS[compiled.get_property("INFERENCE_PRECISION_HINT").to_string()],
    )


def _torch(mode: str, model: str, threads: int) -> Loaded:
    import torch

    from hardnet_deploy.bench.torch_detections import Decoded
    from hardnet_deploy.workflows.export import load_model

    torch.set_num_threads(threads)
    spec = registry.get(model)
    assert spec.head is not None
    network, _ = load_model(spec, None, code_line=registry.CODE_LINES[0])
    detector = Decoded(network, spec.head).eval()
    pixels = torch.from_numpy(image(model))
    call: Callable[[Any], Any] = detector
    if mode != "eager":
        call = detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pixels = pixels.to(memory_format=torch.channels_last)
    if mode == "compile":
        call = torch.compile(call)

    def run() -> Any:
        with torch.inference_mode():
            return call(pixels)

    return Loaded(run=run, read=lambda pair: {name: one.numpy() for name, one in zip(OUTPUTS, pair, strict=True)})
