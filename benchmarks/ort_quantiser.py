"""ONNX Runtime's own quantiser, ``onnxruntime.quantization.quantize_static``, as the INT8 benchmarks run it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from hardnet_deploy.data.images import load_image
from hardnet_deploy.data.preprocess import preprocess_image
from hardnet_deploy.specs import Preprocess
from hardnet_deploy.tensor_names import INPUT

AT_ONCE = 10  # images whose inner tensors are in memory together


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What ``quantize_static`` is told; QDQ format and 8-bit weights throughout.

    Args:
        uint8: uint8 activations and weights per output channel; else its defaults, int8 and per tensor.
        operators: Operator types that it quantises; empty for all that it knows.
        method: How it calibrates.
        in_float: Nodes that it leaves out.
    """

    uint8: bool = True
    operators: tuple[str, ...] = ()
    method: Literal["MinMax", "Entropy", "Percentile"] = "MinMax"
    in_float: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For a results file."""
        kind = {"activations": "uint8", "per_channel": True} if self.uint8 else {"activations": "int8"}
        return {**asdict(self), **kind, "weights": "int8", "reduce_range": False, "format": "QDQ"}


# All that it knows takes in the concatenations of the boxes and of the heads' rows too, each on one scale of 8 bits,
# which costs percents of mAP. These two leave decoding in float; the blocks' concatenations between INT8 layers become
# INT8 all the same.
LAYERS = ("Conv", "Relu")


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Image files, one at a time, as the network's input."""

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self._paths, self._preprocess = paths, preprocess
        self._left: Iterator[Path] = iter(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these."""
        self._left = iter(self._paths[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        """One image [1, 3, S, S]; None at the end."""
        path = next(self._left, None)
        return None if path is None else {INPUT: preprocess_image(load_image(path), self._preprocess)[None]}


def prepare(source: Path, output: Path) -> None:
    """What ONNX Runtime recommends before quantisation: shapes inferred, the graph optimised."""
    quant_pre_process(str(source), str(output), skip_symbolic_shape=True)


def quantise(prepared: Path, output: Path, reader: Reader, settings: Settings, *, ranges: Path | None = None) -> None:
    """Write the INT8 graph.

    Args:
        prepared: What :func:`prepare` wrote.
        output: The INT8 graph.
        reader: Images to calibrate on.
        settings: Everything else.
        ranges: File in which the calibration is kept, and from which it is taken where it is there; only for the same
            images, method and operators.

    Raises:
        ValueError: A node to be left out is not in the graph, which ``quantize_static`` itself would pass over.
    """
    there = {node.name for node in onnx.load(prepared).graph.node}
    if absent := set(settings.in_float) - there:
        raise ValueError(f"the graph has no {', '.join(sorted(absent))}")
    kind = {"per_channel": True, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(
        str(prepared),
        str(output),
        reader,
        op_types_to_quantize=list(settings.operators),
        nodes_to_exclude=list(settings.in_float),
        calibrate_method=CalibrationMethod[settings.method],
        calibration_cache_path=ranges,
        extra_options={"CalibStridedMinMax": math.gcd(len(reader), AT_ONCE)},  # for every method, whatever its name
        **(kind if settings.uint8 else {}),
    )
