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
MODEL = "ssd512-hardnet68-coco"
OBJECTS = 3  # of an image
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

    The weights come from a seed, with the classes' logits scaled until boxes are found at all; what they find best in
    an image is what the labels say is there.
    """
    import torch
    from PIL import Image

    from hardnet_deploy.models import class_names, registry
    from hardnet_deploy.workflows.detect import ImageDetections, detect
    from hardnet_deploy.workflows.open_engine import open_engine

    draw = np.random.default_rng(0)
    photo = Image.fromarray(draw.integers(0, 255, (30, 40, 3), np.uint8)).resize((400, 300))
    photo.save(folder / "photo.jpg")
    network = registry.build(registry.get(MODEL))
    state = network.state_dict()
    for name, value in state.items():
        if name.startswith("conf.") and name.endswith("weight"):
            state[name] = value * 40
    torch.save(state, folder / CHECKPOINT)
    engine = open_engine(f"{MODEL}={folder / CHECKPOINT}")
    root = folder / "coco"
    (root / "annotations").mkdir(parents=True)
    for split, count in SPLITS.items():
        (root / split).mkdir()
        paths = [root / split / f"{number}.jpg" for number in range(len(split), len(split) + count)]
        for path in paths:
            pixels = draw.integers(0, 255, (6, 8, 3), np.uint8)
            Image.fromarray(pixels).resize((320, 240), Image.Resampling.BILINEAR).save(path)
        images, annotations = [], []
        for number, found in enumerate(detect(engine, paths), 1):
            assert isinstance(found, ImageDetections)
            images.append({"id": number, "file_name": paths[number - 1].name, "width": 320, "height": 240})
            for one in sorted(found.detections, key=lambda one: -one.score)[:OBJECTS]:
                x1, y1, x2, y2 = (float(side) for side in one.box)
                place = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
                kind = {"category_id": int(one.class_id), "image_id": number}
                annotations.append({"id": len(annotations) + 1, **place, **kind})
        categories = [{"id": number, "name": name} for number, name in enumerate(class_names.COCO, 1)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document), encoding="utf-8")


def placed(words: list[str], folder: Path) -> list[str]:
    """The words with the reader's data folder replaced by the one in ``folder``."""
    return [word.replace(DATA, str(folder / "coco")) for word in words]
