"""The README of a kit: five steps for someone who stands before the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hardnet_deploy.artifacts import UNTRAINED
from hardnet_deploy.evaluate.tolerances import Tolerance
from hardnet_deploy.kit import trtexec_lines
from hardnet_deploy.kit.layout import MODEL, RUNNER
from hardnet_deploy.target_spec import MIB, Target

_POWER: Final = {
    "jetson-nano": """\
    sudo nvpmodel -m 0        # 10 W, all four cores; needs a supply of 5 V and 4 A at the barrel jack
    sudo jetson_clocks        # fixed clocks: without them times wander

The report keeps the power mode that it finds.""",
    "gtx-1080ti": """\
    sudo nvidia-smi -pm 1     # the driver stays loaded
    nvidia-smi -q -d CLOCK,PERFORMANCE,TEMPERATURE

Lock the clocks where card and driver let you (`sudo nvidia-smi -ac MEMORY,GRAPHICS`); GeForce cards of this
generation often do not. Then run nothing else on the card. Times that vary by more than 2.5 % are marked unstable.""",
}
_SWAP: Final = {
    "jetson-nano": """\
Its 4 GB are shared by CPU and GPU, and builds get killed without swap on disk:

    sudo systemctl disable --now nvzramconfig
    sudo fallocate -l 4G /var/swapfile && sudo chmod 600 /var/swapfile
    sudo mkswap /var/swapfile && sudo swapon /var/swapfile
    free -m""",
    "gtx-1080ti": """\
A desktop needs none as a rule; see that the estimate below is free:

    free -m; nvidia-smi --query-gpu=memory.free --format=csv""",
}


def readme(document: Mapping[str, Any], target: Target) -> str:
    """The text, from ``kit.json`` as it will stand beside it."""
    model, estimate = document["model"]["name"], document["estimate"]
    parts = [
        f"# {model} in {document['precision']} for {target.device}",
        f"""\
Made for {target.runtime}, Python {target.python}, CUDA {target.cuda}. Needs nothing to be installed beside NumPy and
TensorRT's Python package: pycuda is used where it is, else CUDA's own runtime library.""",
        _warnings(document),
        f"""\
All of steps 3 to 5 in one command, which also writes `report.json`:

    python3 {RUNNER} all

An earlier `report.json` becomes `report.previous.json`. From another folder: `python3 DIR/{RUNNER} all`; the script
takes the kit it lies in.

Back on your own machine, with this folder: `hardnet-deploy import-report report.json --kit .`""",
        f"## 1. Power mode\n\n{_POWER[target.name]}",
        f"""\
## 2. Memory and swap

{_SWAP[target.name]}

Estimated, not measured here; `{RUNNER} all` warns where less is free:

- {_memory(estimate)} while it builds: {estimate["memory_formula"]}
- {_mib(estimate["disk_bytes"])} of disk, this folder in it: {estimate["disk_formula"]}""",
        f"""\
## 3. Build

    python3 {RUNNER} build

Takes minutes, and begins only on the board and the TensorRT that the kit is for. The engine fits this TensorRT and this
kind of GPU alone. {_precision(document)}""",
        f"""\
## 4. Check

    python3 {RUNNER} parity

{_parity(document)}""",
        f"""\
## 5. Time

    python3 {RUNNER} bench

{_protocol(document)} {_trtexec(document)}""",
        _pitfalls(target),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _warnings(document: Mapping[str, Any]) -> str:
    lines = list(document["notes"])
    if not document["trained"]:
        lines.insert(
            0,
            f"The weights are **{UNTRAINED}** (drawn from a seed): what it detects means nothing. Times hold, but for"
            " the NMS, whose time depends on what is detected.",
        )
    return "\n".join(f"- {line}" for line in lines)


def _precision(document: Mapping[str, Any]) -> str:
    count, precision = len(document["settings"]["fp32_layers"]), document["precision"]
    if precision == "fp32":
        return "Every layer computes in FP32."
    text = f"{count} layers stay in FP32"
    if document["thresholds"]:
        text += ": L2Norm, softmax, decoding and NMS"
    if precision == "int8":
        text += (
            ", and convolutions whose accuracy is worth more than their time;"
            f" {len(document['settings']['fp32_outputs'])} more write FP32, being read by such. INT8 ranges come"
            " from `model.cache`, for tensors that the parser renamed from `model.ranges.json`"
        )
    text += "."
    if document["settings"]["may_stay_float"]:
        return text
    return (
        f"{text} Where TensorRT silently computes another one in FP32, the build ends with exit code 4 and names it:"
        " `--allow-fallback` takes such an engine, and the report says so."
    )


def _parity(document: Mapping[str, Any]) -> str:
    tolerances, samples = document["tolerances"], document["samples"]
    head = (
        f"Runs the samples ({samples['data']}), stored as the network's pixels before mean and scale,"
        " and compares with what PyTorch computed from the same pixels on a CPU in FP32."
    )
    lines = []
    if document["thresholds"]:
        head += (
            " PyTorch's boxes and scores went through the same NMS: EfficientNMS with score"
            f" {document['thresholds']['score']:g}, IoU {document['thresholds']['iou']:g} and"
            f" {document['candidate_cap']} candidates, as the plugin has on this GPU."
        )
    rules = (
        ("outputs", "every value of an output that is no detection"),
        ("logits", "the classes' values of each image"),
        ("detections", "all detections"),
        ("shown", f"detections scoring at least {tolerances['shown_score']:.3g}"),
    )
    for key, what in rules:
        rule = tolerances[key]
        if rule is None or (key == "outputs" and document["thresholds"]):  # then every output is a detection's
            continue
        if key == "outputs":
            bound = f"within {Tolerance(**rule)}"
        elif key == "logits":
            bound = (
                f"the error has at most {100 * rule['noise_share']:g} % of the energy of PyTorch's, whose best class is"
                f" among the engine's first {rule['rank']}"
            )
        else:
            bound = (
                f"{100 * rule['share']:g} % of each side have a partner: same class, IoU at least {rule['iou']:g},"
                f" scores within {rule['score']:g}"
            )
        lines.append(f"- {what}: {bound}; {rule['why']}")
    if document["precision"] != "fp32" and document["thresholds"]:
        lines.append("- all other figures are reported only: matching and, on your own data, mAP decide")
    return head + "\n\n" + "\n".join(lines)


def _protocol(document: Mapping[str, Any]) -> str:
    protocol = document["protocol"]
    return (
        f"CUDA events around each of {protocol['iterations']} runs after {protocol['warm_up_ms']:g} ms of warm-up, one"
        " run enqueued ahead, inputs resident, on a real sample; median, mean, 90th, 95th and 99th percentile and"
        " variation, with temperatures and clocks where they can be read."
    )


def _trtexec(document: Mapping[str, Any]) -> str:
    detects = document["thresholds"] is not None
    plugin = " (the NMS plugin is in TensorRT's own library: no `--plugins`)" if detects else ""
    text = f"""\
The same with `trtexec`{plugin}:

    {trtexec_lines.build_and_time(document)}
    {trtexec_lines.profile(document)}
    {trtexec_lines.import_line(document)}
"""
    if detects:
        text += """
`trtexec` feeds random numbers, of which the NMS sees other detections than of images."""
    if detects and document["family"] == "8.2" and document["precision"] != "fp32":
        text += f"""
The `trtexec` of 8.2 cannot keep a layer in FP32, and the plugin is broken in FP16 there: use its engine to time, never
to detect. `{RUNNER}` keeps {len(document["settings"]["fp32_layers"])} layers in FP32, the NMS among them."""
    return text


def _pitfalls(target: Target) -> str:
    lines = "\n".join(f"- {pitfall.text} ({pitfall.source})" for pitfall in target.pitfalls)
    last = f"An engine is native code: build it here from `{MODEL}`, and take none from elsewhere."
    return f"## What goes wrong on this device\n\n{lines}\n\n{last}"


def _memory(estimate: Mapping[str, Any]) -> str:
    gpu = estimate["gpu_memory_bytes"]
    return f"{_mib(estimate['build_memory_bytes'])} of memory" + (f" and {_mib(gpu)} of the GPU's" if gpu else "")


def _mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"
