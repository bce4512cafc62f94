"""The matching ``trtexec`` command lines, in the spelling of the device's version."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from hardnet_deploy.kit.layout import CACHE, MODEL
from hardnet_deploy.target_spec import MIB

PLAN: Final = "trtexec.engine"
PROGRAM: Final = {"8.2": "/usr/src/tensorrt/bin/trtexec", "8.6": "trtexec"}


def build_and_time(document: Mapping[str, Any]) -> str:
    """Builds and times; writes what ``hardnet-deploy import-report --times`` reads.

    8.2 has ``--workspace`` in MiB and no way to set a layer's precision; 8.6 has ``--memPoolSize``,
    ``--layerPrecisions``, ``--layerOutputTypes`` and ``--precisionConstraints`` (NVIDIA/TensorRT,
    samples/common/sampleOptions.cpp of each).
    """
    family, settings, protocol = document["family"], document["settings"], document["protocol"]
    words = [PROGRAM[family], f"--onnx={MODEL}"]
    if settings["precision"] != "fp32":
        words.append(f"--{settings['precision']}")
    if settings["precision"] == "int8":
        words.append(f"--calib={CACHE}")
    if settings["workspace_bytes"]:
        mib = settings["workspace_bytes"] // MIB
        words.append(f"--workspace={mib}" if family == "8.2" else f"--memPoolSize=workspace:{mib}")
    constraints = [
        f"{option}={','.join(f'{name}:fp32' for name in settings[key])}"
        for option, key in (("--layerPrecisions", "fp32_layers"), ("--layerOutputTypes", "fp32_outputs"))
        if settings[key]
    ]
    if family != "8.2" and constraints:
        words += ["--precisionConstraints=obey", *constraints]
    words += [
        "--profilingVerbosity=detailed",
        f"--saveEngine={PLAN}",
        f"--warmUp={protocol['warm_up_ms']:g}",
        f"--iterations={protocol['iterations']}",
        "--exportTimes=times.json",
        "--exportLayerInfo=layers.json",
    ]
    return shlex.join(words)


def profile(document: Mapping[str, Any]) -> str:
    """Times each layer, in a run of its own: a profiled run is slower as a whole."""
    return shlex.join([PROGRAM[document["family"]], f"--loadEngine={PLAN}", "--exportProfile=profile.json"])


def import_line(document: Mapping[str, Any]) -> str:
    """Brings it home."""
    version = {"8.2": "8.2.1", "8.6": "8.6.1"}[document["family"]]
    return (
        f"hardnet-deploy import-report --times times.json --profile profile.json --layer-info layers.json "
        f"--tensorrt {version} --device NAME --date YYYY-MM-DD --engine {PLAN} --kit ."
    )
