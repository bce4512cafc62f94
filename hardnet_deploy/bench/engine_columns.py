"""What a network can be run by: the columns of ``bench --engines``, and which of them this machine has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from hardnet_deploy.errors import UsageError

Runtime = Literal["torch", "onnxruntime", "tensorrt"]


@dataclass(frozen=True, kw_only=True)
class EngineColumn:
    """One way to run a network.

    Args:
        name: On the command line and in documents.
        title: In words.
        runtime: What runs it.
        precision: Of the weights and of most of the arithmetic.
        options: Of a side of PyTorch.
        needs_cuda: True where PyTorch runs it on an NVIDIA GPU only.
    """

    name: str
    title: str
    runtime: Runtime
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    options: tuple[str, ...] = ()
    needs_cuda: bool = False


def _torch(name: str, title: str, *options: str, precision: Literal["fp32", "fp16", "bf16"] = "fp32") -> EngineColumn:
    cuda = name in {"fp16", "bf16", "cuda-graph"}
    return EngineColumn(name=name, title=title, runtime="torch", precision=precision, options=options, needs_cuda=cuda)


_ROWS: Final = (
    _torch("eager", "PyTorch as it is"),
    _torch("fused", "PyTorch, batch norms folded", "fused"),
    _torch("channels-last", "PyTorch, channels last in memory", "channels-last"),
    _torch("compile", "torch.compile", "compile"),
    _torch("fp16", "PyTorch, half precision", "fp16", precision="fp16"),
    _torch("bf16", "PyTorch, bfloat16", "bf16", precision="bf16"),
    _torch("cuda-graph", "PyTorch, CUDA graph", "cuda-graph"),
    EngineColumn(name="ort-fp32", title="ONNX Runtime", runtime="onnxruntime"),
    EngineColumn(name="ort-int8", title="ONNX Runtime, INT8", runtime="onnxruntime", precision="int8"),
    EngineColumn(name="trt-fp32", title="TensorRT", runtime="tensorrt"),
    EngineColumn(name="trt-fp16", title="TensorRT, FP16", runtime="tensorrt", precision="fp16"),
    EngineColumn(name="trt-int8", title="TensorRT, INT8", runtime="tensorrt", precision="int8"),
)
COLUMNS: Final[Mapping[str, EngineColumn]] = MappingProxyType({row.name: row for row in _ROWS})
EAGER: Final = "eager"
QUICK: Final = (EAGER, "channels-last", "ort-fp32", "ort-int8")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Why something cannot run here, in words; None where it can.

    Args:
        no_cuda: PyTorch on an NVIDIA GPU.
        no_tensorrt: TensorRT engines.
        no_compiler: ``torch.compile``, which compiles C++ for the CPU.
        tensorrt_target: Which target this machine is to TensorRT; None where it cannot run.
    """

    no_cuda: str | None
    no_tensorrt: str | None
    no_compiler: str | None
    tensorrt_target: str | None = None

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where PyTorch's columns run."""
        return "cuda" if self.no_cuda is None else "cpu"

    def why_not(self, column: EngineColumn) -> str | None:
        """Why a column cannot run here; None where it can."""
        if column.runtime == "tensorrt":
            return self.no_tensorrt
        if column.needs_cuda:
            return self.no_cuda
        return self.no_compiler if "compile" in column.options else None


def read_columns(text: str) -> tuple[EngineColumn, ...]:
    """``--engines``: names with commas between them, each once, in the order given.

    Raises:
        UsageError: An unknown name, one named twice, or none.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in COLUMNS:
            close = difflib.get_close_matches(name, COLUMNS, n=1)
            raise UsageError(
                f"--engines: there is no engine called '{name}'" if name else f"--engines '{text}' has an empty name",
                wanted=f"perhaps '{close[0]}'; there are {', '.join(COLUMNS)}" if close else ", ".join(COLUMNS),
            )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"--engines names these more than once: {', '.join(repeated)}", next_step="name each once")
    return tuple(COLUMNS[name] for name in names)


def usual_columns(machine: Machine, *, quick: bool) -> tuple[EngineColumn, ...]:
    """The columns where none are named.

    All of them, so that what cannot run here is said to be missing; with a GPU those of the CPU are left out, and with
    ``quick`` a few that run here.
    """
    on_gpu = machine.no_cuda is None
    if quick:
        names: tuple[str, ...] = (EAGER, "fp16", "cuda-graph", "trt-fp16") if on_gpu else QUICK
        return tuple(COLUMNS[name] for name in names if machine.why_not(COLUMNS[name]) is None)
    return tuple(column for column in COLUMNS.values() if not (on_gpu and column.runtime == "onnxruntime"))
