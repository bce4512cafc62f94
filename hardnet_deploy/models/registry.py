"""Every model by name, and how to build it. Listing models imports no torch; building one does."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hardnet_deploy.errors import UsageError
from hardnet_deploy.models import class_names
from hardnet_deploy.specs import (
    BACKGROUND,
    DetectorHead,
    ModelSpec,
    PriorLayer,
    Published,
    classifier_preprocess,
    detector_preprocess,
)

if TYPE_CHECKING:
    from torch import nn

DEFAULT_MODEL: Final = "ssd512-hardnet68-coco"
DEMO_MODEL: Final = "ssd300-hardnet-demo"
CODE_LINES: Final = ("pingolh", "lzx1413")
MIN_BACKBONE_SIZE: Final = 32  # five stride-2 layers
MAX_BACKBONE_SIZE: Final = 4096

# Grid, stride and (size, next size) of each level; published in data/config.py of PingoLH/PytorchSSD-HarDNet.
_GRIDS = {300: (38, 19, 10, 5, 3, 1), 512: (64, 32, 16, 8, 4, 2, 1)}
_STRIDES = {300: (8, 16, 32, 64, 100, 300), 512: (8, 16, 32, 64, 128, 256, 512)}
_SIZES = {
    ("voc", 300): (30, 60, 111, 162, 213, 264, 315),
    ("coco", 300): (21, 45, 99, 153, 207, 261, 315),
    ("demo", 300): (16, 36, 80, 140, 200, 260, 315),  # ours: the drawn scenes have objects from 14 pixels upwards
    ("voc", 512): (35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8, 537.6),
    ("coco", 512): (20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72),
}
_LEVELS_WITH_ONE_RATIO = 2  # the last two levels have ratio 2 alone, the others 2 and 3

# PingoLH/Pytorch-HarDNet and PingoLH/PytorchSSD-HarDNet READMEs.
_BACKBONE_PUBLISHED = {
    "hardnet39ds": Published(params_m=3.5, gmacs=0.44, top1=72.1),
    "hardnet68ds": Published(params_m=4.2, gmacs=0.8, top1=74.3),
    "hardnet68": Published(params_m=17.6, gmacs=4.3, top1=76.5),
    "hardnet85": Published(params_m=36.7, gmacs=9.1, top1=78.0),
}
_DETECTOR_PUBLISHED = {
    "ssd512-hardnet68-coco": Published(coco_map=31.7),
    "ssd512-hardnet85-coco": Published(coco_map=35.1),
}


def _head(dataset: str, size: int, num_classes: int) -> DetectorHead:
    sizes = _SIZES[dataset, size]
    grids = _GRIDS[size]
    layers = tuple(
        PriorLayer(
            grid=grid,
            stride=_STRIDES[size][level],
            min_size=sizes[level],
            max_size=sizes[level + 1],
            aspect_ratios=(2.0,) if level >= len(grids) - _LEVELS_WITH_ONE_RATIO else (2.0, 3.0),
        )
        for level, grid in enumerate(grids)
    )
    return DetectorHead(input_size=size, num_classes=num_classes, layers=layers)


def _rows() -> Mapping[str, ModelSpec]:
    rows: list[ModelSpec] = []
    for size in (512, 300):
        for architecture in ("68", "85"):
            for dataset, names in (("coco", class_names.COCO), ("voc", class_names.VOC)):
                name = f"ssd{size}-hardnet{architecture}-{dataset}"
                rows.append(
                    ModelSpec(
                        name=name,
                        architecture=architecture,
                        preprocess=detector_preprocess(size),
                        head=_head(dataset, size, len(names) + 1),
                        class_names=(BACKGROUND, *names),
                        dataset="coco" if dataset == "coco" else "voc",
                        published=_DETECTOR_PUBLISHED.get(name, Published()),
                    )
                )
    rows.append(
        ModelSpec(
            name=DEMO_MODEL,
            architecture="demo",
            preprocess=detector_preprocess(300),
            head=_head("demo", 300, len(class_names.DEMO) + 1),
            class_names=(BACKGROUND, *class_names.DEMO),
            dataset="demo",
            published=Published(),
        )
    )
    rows += [
        ModelSpec(
            name=name,
            architecture=name.removeprefix("hardnet"),
            preprocess=classifier_preprocess(224),
            head=None,
            class_names=(),
            dataset="imagenet",
            published=published,
        )
        for name, published in _BACKBONE_PUBLISHED.items()
    ]
    return MappingProxyType({row.name: row for row in rows})


MODELS: Final[Mapping[str, ModelSpec]] = _rows()


def names() -> tuple[str, ...]:
    """Names of all models, detectors first."""
    return tuple(MODELS)


def get(name: str) -> ModelSpec:
    """The model called ``name``.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    if name in MODELS:
        return MODELS[name]
    close = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.5)
    raise UsageError(
        f"there is no model called '{name}'",
        wanted=f"perhaps '{close[0]}'" if close else f"a name such as '{DEFAULT_MODEL}'",
        next_step="hardnet-deploy models lists all of them",
    )


def shipped_weights(spec: ModelSpec) -> Path | None:
    """The trained weights that come with the package for exactly this model; None where there are none."""
    if MODELS.get(spec.name) != spec:
        return None  # other classes or another size
    path = Path(__file__).with_name("weights") / f"{spec.name}.safetensors"
    return path if path.exists() else None


def with_classes(spec: ModelSpec, classes: tuple[str, ...]) -> ModelSpec:
    """``spec`` for a user's own classes, given without background.

    Raises:
        UsageError: A backbone, no names, empty names or duplicates.
    """
    if spec.head is None:
        raise UsageError(f"{spec.name} is a backbone and has no class list", next_step="drop --classes")
    cleaned = tuple(name.strip() for name in classes)
    if cleaned and cleaned[0].lower() in {BACKGROUND, "__background__"}:
        cleaned = cleaned[1:]
    if not cleaned or not all(cleaned):
        raise UsageError("the class list is empty or has an empty name", wanted="one class name a line")
    if BACKGROUND in cleaned:
        raise UsageError("the class list has 'background' among the classes", wanted="it first, or left out")
    if len(set(cleaned)) != len(cleaned):
        repeated = sorted({name for name in cleaned if cleaned.count(name) > 1})
        raise UsageError(f"the class list names these more than once: {', '.join(repeated)}")
    head = dataclasses.replace(spec.head, num_classes=len(cleaned) + 1)
    return dataclasses.replace(spec, head=head, class_names=(BACKGROUND, *cleaned))


def with_size(spec: ModelSpec, size: int) -> ModelSpec:
    """A backbone for S x S inputs.

    Raises:
        UsageError: A detector (its size is part of its name), or a size under 32 or over 4096.
    """
    if spec.head is not None:
        raise UsageError(
            f"--size is for backbones; the size of {spec.name} is fixed by its default boxes",
            next_step="choose an ssd300-... or ssd512-... model",
        )
    if not MIN_BACKBONE_SIZE <= size <= MAX_BACKBONE_SIZE:
        raise UsageError(
            f"an input side of {size} is too {'small' if size < MIN_BACKBONE_SIZE else 'large'}",
            wanted=f"--size from {MIN_BACKBONE_SIZE} to {MAX_BACKBONE_SIZE}",
        )
    return dataclasses.replace(spec, preprocess=classifier_preprocess(size))


def build(model: str | ModelSpec, *, code_line: str = CODE_LINES[0], device: str = "cpu") -> nn.Module:
    """The network in eval mode, with torch's own unseeded initial weights: load or initialise it before use.

    Args:
        model: A name of :data:`MODELS`, or a spec derived from one.
        code_line: Which repository trained the weights, ``pingolh`` (the HarDNet fork) or ``lzx1413``: the same keys
            mean different networks. Backbones have only one.
        device: Where the parameters live; ``meta`` allocates nothing.

    Returns:
        A detector maps [N, 3, S, S] to (``loc`` [N, P, 4], ``conf`` logits [N, P, C]); a backbone to logits [N, 1000].

    Raises:
        UsageError: Unknown model or code line.
    """
    import torch

    from hardnet_deploy.models.hardnet import ARCHITECTURES, HarDNet
    from hardnet_deploy.models.ssd import CodeLine, SSDHarDNet

    spec = get(model) if isinstance(model, str) else model
    if code_line not in CODE_LINES:
        raise UsageError(f"unknown code line '{code_line}'", wanted=" or ".join(CODE_LINES))
    # Weights drawn here are replaced later; the caller's random state is not ours to advance.
    with torch.random.fork_rng(devices=[]), torch.device(device):
        if spec.head is None:
            network: nn.Module = HarDNet(ARCHITECTURES[spec.architecture])
        else:
            network = SSDHarDNet(
                spec.architecture,
                size=spec.head.input_size,
                boxes_per_cell=spec.head.boxes_per_cell,
                num_classes=spec.head.num_classes,
                code_line=CodeLine(code_line),
            )
    return network.eval()
