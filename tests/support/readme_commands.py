"""The commands that a Markdown file shows in its code blocks, in order, and a folder in which they can be run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PROGRAMS = ("hardnet-deploy", ".venv/bin/hardnet-deploy", "python3", ".venv/bin/python", "make", "sudo")
CHECKPOINT = "SSD512_HarDNet68_COCO.pth"
DATA = "/data/coco"
SPLITS = {"train2017": 4, "val2017": 3}  # images; those that calibrate and those that judge are others


def shown_commands(text: str) -> list[list[str]]:
    """Every command in the code blocks of ``text`` as words, comments dropped, continued lines joined."""
    found = []
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            words = shlex.split(line, comments=True) if line.strip().startswith(PROGRAMS) else []
            if words and words[0] in PROGRAMS:
                found.append(words)
    return found


def inline_commands(text: str) -> Iterator[list[str]]:
    """Words of every `hardnet-deploy ...` that stands in backticks within a sentence or a table."""
    without_blocks = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`((?:\.venv/bin/)?hardnet-deploy [^`]+)`", without_blocks):
        yield shlex.split(span)


def prepare(folder: Path) -> None:
    """A checkpoint, a photograph and COCO data in ``folder``, small stand-ins of what a reader has.

    The weights come from a seed, with the classes' logits scaled until boxes are found at all.
    """
    import torch
    from PIL import Image

    from hardnet_deploy.models import class_names, registry

    draw = np.random.default_rng(0)
    photo = Image.fromarray(draw.integers(0, 255, (30, 40, 3), np.uint8)).resize((400, 300))
    photo.save(folder / "photo.jpg")
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names.COCO, 1)]
    root = folder / "coco"
    (root / "annotations").mkdir(parents=True)
    for split, count in SPLITS.items():
        (root / split).mkdir()
        images, annotations = [], []
        for _ in range(count):
            number = len(images) + 100 * len(split)
            pixels = draw.integers(0, 255, (6, 8, 3), np.uint8)
            Image.fromarray(pixels).resize((320, 240), Image.Resampling.BILINEAR).save(root / split / f"{number}.jpg")
            images.append({"id": number, "file_name": f"{number}.jpg", "width": 320, "height": 240})
            place = {"bbox": [40, 40, 100, 80], "area": 8000, "iscrowd": 0, "category_id": 1, "image_id": number}
            annotations.append({"id": number, **place})
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document), encoding="utf-8")
    network = registry.build(registry.get("ssd512-hardnet68-coco"))
    state = network.state_dict()
    for name, value in state.items():
        if name.startswith("conf.") and name.endswith("weight"):
            state[name] = value * 40
    torch.save(state, folder / CHECKPOINT)


def placed(words: list[str], folder: Path) -> list[str]:
    """The words with the reader's data folder replaced by the one in ``folder``."""
    return [word.replace(DATA, str(folder / "coco")) for word in words]
