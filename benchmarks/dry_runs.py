"""What ``build-engine --dry-run`` says for every target and precision, and what it refuses where, as Markdown.

    python benchmarks/dry_runs.py > docs/tensorrt-dry-runs.md

The machines are made up, so that the page is the same wherever it is written; nothing of the one that runs this is
read. Each command runs in a folder with two graphs of one convolution, for what depends on a file.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final
from unittest import mock

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from hardnet_deploy.artifacts import Manifest, describe_model, save_artifact
from hardnet_deploy.cli import main as cli
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.models import registry
from hardnet_deploy.target_spec import MIB
from hardnet_deploy.workflows.environment import Gpu, TensorRT
from hardnet_deploy.workflows.preflight_machine import Machine

TARGETS: Final = ("gtx-1080ti", "jetson-nano", "gpu", "cpu")
PRECISIONS: Final = ((), ("--fp16",), ("--int8",), ("--int8", "--fp16"))
GIB: Final = 1024 * MIB
PLUGIN: Final = "EfficientNMS_TRT"
FLOAT, NEWER, QUANTISED = "float.onnx", "opset17.onnx", "qdq.onnx"
BACKBONE: Final = "hardnet68ds"
MODEL: Final = registry.DEMO_MODEL

PASCAL: Final = Gpu(name="NVIDIA GeForce GTX 1080 Ti", driver="535", compute_capability=(6, 1), memory=11 * GIB)
TEGRA: Final = Gpu(name="NVIDIA Tegra X1", driver=None, compute_capability=(5, 3), memory=4 * GIB)
ADA: Final = Gpu(name="NVIDIA GeForce RTX 4090", driver="570", compute_capability=(8, 9), memory=24 * GIB)
BARE: Final = Machine(gpus=(), tensorrt=None, free_memory=32 * GIB, free_disk=32 * GIB)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A command that is refused.

    Args:
        where: The machine, in words.
        machine: It.
        words: Behind ``build-engine``.
        rehearsed: False for what is asked without ``--dry-run``, where a dry run would go through.
    """

    where: str
    machine: Machine
    words: tuple[str, ...]
    rehearsed: bool = True


def _with(gpu: Gpu, version: str, family: str, *, plugins: tuple[str, ...] = (PLUGIN,)) -> Machine:
    installed = TensorRT(version=version, family=family, plugins=plugins, problem=None)  # type: ignore[arg-type]  # of the four
    return replace(BARE, gpus=(gpu,), tensorrt=installed)


NANO: Final = replace(_with(TEGRA, "8.2.1.8", "8.2"), free_memory=6 * GIB)
HERE: Final = _with(PASCAL, "8.6.1", "8.6")
NOWHERE: Final = "with neither GPU nor TensorRT"
REFUSALS: Final = (
    Refusal(where=NOWHERE, machine=BARE, words=(NEWER, "--fp16", "--target", "jetson-nano")),
    Refusal(where=NOWHERE, machine=BARE, words=(QUANTISED, "--int8", "--target", "jetson-nano")),
    Refusal(where=NOWHERE, machine=BARE, words=(QUANTISED, "--fp16", "--target", "jetson-nano")),
    Refusal(
        where="with a Jetson Nano and TensorRT 8.0.1 (JetPack 4.6 without .1)",
        machine=_with(TEGRA, "8.0.1.6", "8.2"),
        words=(MODEL, "--fp16", "--target", "jetson-nano"),
    ),
    Refusal(
        where="with a Jetson Nano, TensorRT 8.2.1 and no EfficientNMS_TRT in its registry",
        machine=_with(TEGRA, "8.2.1.8", "8.2", plugins=()),
        words=(MODEL, "--fp16", "--target", "jetson-nano"),
    ),
    Refusal(
        where="with a Jetson Nano that has 700 MiB of memory and swap left",
        machine=replace(NANO, free_memory=700 * MIB),
        words=(MODEL, "--fp16", "--target", "jetson-nano"),
    ),
    Refusal(
        where="with a GTX 1080 Ti and 10 MiB of disk left",
        machine=replace(HERE, free_disk=10 * MIB),
        words=(MODEL, "--target", "gtx-1080ti"),
    ),
    Refusal(
        where="with a GTX 1080 Ti and TensorRT 10",
        machine=_with(PASCAL, "10.9.0.34", "10"),
        words=(MODEL, "--int8", "--target", "gtx-1080ti"),
    ),
    Refusal(
        where="with a GTX 1080 Ti and TensorRT 10",
        machine=_with(PASCAL, "10.9.0.34", "10"),
        words=(MODEL, "--int8", "--target", "gpu"),
    ),
    Refusal(
        where="with an RTX 4090 and TensorRT 11",
        machine=_with(ADA, "11.4.0.106", "11"),
        words=(MODEL, "--int8", "--fp16", "--target", "gpu"),
    ),
    Refusal(where=NOWHERE, machine=BARE, words=(MODEL, "--fp16", "--target", "jetson-nano"), rehearsed=False),
    Refusal(where=NOWHERE, machine=BARE, words=(MODEL, "--int8", "--target", "gtx-1080ti"), rehearsed=False),
    Refusal(where=NOWHERE, machine=BARE, words=(MODEL, "--target", "gpu"), rehearsed=False),
    Refusal(where=NOWHERE, machine=BARE, words=(FLOAT, "--fp16", "--target", "jetson-nano"), rehearsed=False),
    Refusal(where=NOWHERE, machine=BARE, words=(MODEL, "--batch", "1,4,8", "--target", "jetson-nano")),
    Refusal(where=NOWHERE, machine=BARE, words=(MODEL, "--batch", "1", "--target", "jetson-nano")),
    Refusal(
        where=NOWHERE,
        machine=BARE,
        words=(MODEL, "--int8", "--layer-precisions", "nosuch:fp32", "--target", "gtx-1080ti"),
    ),
    Refusal(where=NOWHERE, machine=BARE, words=(MODEL, "--target", "gtx-1080ti", "-o", "demo.onnx")),
    Refusal(where=NOWHERE, machine=BARE, words=(MODEL, "--int8", "--target", "cpu", "-o", "demo.engine")),
)


def write_graph(path: Path, *, opset: int, quantised: bool) -> None:
    """A convolution on a backbone's input, perhaps in Q/DQ, with its manifest."""
    spec = registry.get("hardnet68")
    size = spec.preprocess.size
    shapes = {"images": (1, 3, size, size), "logits": (1, 8, size, size)}
    images, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in shapes.items())
    constants = {"weight": np.zeros((8, 3, 1, 1), np.float32)}
    nodes = [helper.make_node("Conv", ["images", "weight"], ["logits"], name="conv", kernel_shape=[1, 1])]
    if quantised:
        constants |= {"scale": np.array(0.1, np.float32), "zero": np.array(0, np.int8)}
        nodes[0].input[0] = "dequantised"
        nodes = [
            helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["quantised"], name="quantise"),
            helper.make_node("DequantizeLinear", ["quantised", "scale", "zero"], ["dequantised"], name="dequantise"),
            *nodes,
        ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, spec.name, [images], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    checker.check_model(model)
    content = model.SerializeToString(deterministic=True)
    manifest = Manifest(
        kind="onnx",
        model=describe_model(spec, code_line=registry.CODE_LINES[0]),
        weights={"trained": False, "source": "made up"},
        preprocess=asdict(spec.preprocess),
        class_names=(),
        head=None,
        target=None,
        precision={"requested": "int8" if quantised else "fp32"},
        graph={"opset": opset, "thresholds": None},
        checks={},
        sha256=sha256_bytes(content),
        versions={},
        command=(),
    )
    save_artifact(path, content, manifest)


def run(words: tuple[str, ...], machine: Machine) -> Iterator[str]:
    """Exit code and everything that the command prints on that machine."""
    result, said = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch("hardnet_deploy.workflows.preflight.read_machine", return_value=machine),
        mock.patch.object(sys, "argv", ["hardnet-deploy", "build-engine", *words]),
        contextlib.redirect_stdout(result),
        contextlib.redirect_stderr(said),
    ):
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code
    yield f"Exit code {code}.\n"
    yield f"```\n{(result.getvalue() + said.getvalue()).strip()}\n```\n"


def page() -> Iterator[str]:
    """The page, in paragraphs."""
    yield "# build-engine --dry-run\n"
    yield (
        "As printed on machines that were made up for this page (`benchmarks/dry_runs.py`); a test holds it against"
        " what is printed today. Nothing was built, and no TensorRT took part.\n"
    )
    yield "## Every target and precision, on a machine with neither GPU nor TensorRT\n"
    for target, precision in itertools.product(TARGETS, PRECISIONS):
        words = (MODEL, *precision, "--target", target, "--dry-run")
        yield f"### `hardnet-deploy {shlex.join(('build-engine', *words))}`\n"
        yield from run(words, BARE)
    yield "## A backbone, which has nothing to be kept in fp32\n"
    for target in ("jetson-nano", "gpu"):
        words = (BACKBONE, "--fp16", "--target", target, "--dry-run")
        yield f"### `hardnet-deploy {shlex.join(('build-engine', *words))}`\n"
        yield from run(words, BARE)
    yield "## What is refused\n"
    yield (
        f"`{FLOAT}`, `{NEWER}` and `{QUANTISED}` are graphs of one convolution, which say that they are of"
        " `hardnet68`: of opset 13, of opset 17, and with Q/DQ.\n"
    )
    for refusal in REFUSALS:
        words = (*refusal.words, "--dry-run") if refusal.rehearsed else refusal.words
        yield f"### `hardnet-deploy {shlex.join(('build-engine', *words))}`, {refusal.where}\n"
        yield from run(words, refusal.machine)


def main() -> None:
    """Print the page."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_graph(Path(FLOAT), opset=13, quantised=False)
        write_graph(Path(NEWER), opset=17, quantised=False)
        write_graph(Path(QUANTISED), opset=13, quantised=True)
        sys.stdout.write("\n".join(page()))
        os.chdir("/")


if __name__ == "__main__":
    main()
