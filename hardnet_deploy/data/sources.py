"""What ``--data`` names: ``demo``, ``coco:ROOT`` and ``voc:ROOT`` as labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from hardnet_deploy.data import coco, voc
from hardnet_deploy.data.dataset import Dataset, Metric
from hardnet_deploy.data.listing import counted
from hardnet_deploy.errors import UsageError

Progress = Callable[[int, int], None]


def open_data(
    text: str,
    *,
    class_names: tuple[str, ...],
    default_split: str = "val",
    count: int | None = None,
    metric: Metric | None = None,
    for_training: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """The data set that ``text`` names, its labels as the model's classes.

    Args:
        text: ``demo[:SPLIT]``, ``coco:ROOT[:SPLIT]`` or ``voc:ROOT[:YEAR-SPLIT]``. SPLIT of the demo data is ``train``,
            ``calibration``, ``search`` or ``val``; the others default to ``val2017`` and ``2007-test``, for training to
            ``train2017`` and ``2007-trainval``.
        class_names: Of the model, background first. Labels are matched by name.
        default_split: Of the demo data, where ``text`` has none.
        count: Take only the first so many images; where that leaves some out, the name says so.
        metric: Instead of the layout's own: ``coco`` for demo and COCO, ``voc07`` up to VOC2009, then ``voc12``.
        for_training: Which splits are the defaults; of the demo data, only ``train`` is given out for it.
        progress: Told (scenes done, scenes in all) while the demo data are drawn for the first time.

    Raises:
        UsageError: No such kind of data or split, a count under 1, or objects of classes that the model lacks.
        InputFileError: Files that are missing, damaged or not what the layout wants; no image, or no object.
    """
    if count is not None and count < 1:
        raise UsageError(f"--count {count} leaves no image", wanted="1 or more")
    kind, _, rest = text.partition(":")
    if kind == "demo":
        split = rest or ("train" if for_training else default_split)
        if for_training and split != "train":
            raise UsageError(f"the demo data's split '{split}' is kept for measuring", next_step="train on demo:train")
        return _demo(split, class_names, count, metric, progress)
    if kind == "coco":
        root, split = coco.split_of(rest, default=coco.TRAINING_SPLIT if for_training else coco.DEFAULT_SPLIT)
        name = f"coco:{root}:{split}"
        return coco.read_coco(root, split, class_names=class_names, name=name, count=count, metric=metric or "coco")
    if kind == "voc":
        folder, year_split = voc.split_of(rest, default=voc.TRAINING_SPLIT if for_training else voc.DEFAULT_SPLIT)
        name = f"voc:{folder}:{year_split.year}-{year_split.split}"
        return voc.read_voc(folder, year_split, class_names=class_names, name=name, count=count, metric=metric)
    raise UsageError(
        f"'{text}' names no labelled data",
        wanted="demo[:SPLIT], coco:ROOT[:SPLIT] or voc:ROOT[:YEAR-SPLIT]",
        next_step="name the layout before the folder: coco:FOLDER or voc:FOLDER",
    )


def split_name(text: str, *, default_split: str = "val") -> str:
    """The split that ``text``, valid for :func:`open_data`, means: ``val``, ``val2017``, ``2007-test``."""
    kind, _, rest = text.partition(":")
    if kind == "coco":
        return coco.split_of(rest)[1]
    if kind == "voc":
        _, split = voc.split_of(rest)
        return f"{split.year}-{split.split}"
    return rest or default_split


def spells_split(text: str) -> bool:
    """Whether ``text``, valid for :func:`open_data`, has a split of its own, instead of its layout's default one."""
    kind, _, rest = text.partition(":")
    if kind == "demo":
        return bool(rest)
    _, _, split = rest.rpartition(":") if ":" in rest else ("", "", "")
    return bool(split) and not Path(rest).is_dir()


def _demo(
    split: str, class_names: tuple[str, ...], count: int | None, metric: Metric | None, progress: Progress | None
) -> Dataset:
    from hardnet_deploy.data.demo.ensure import ensure_split
    from hardnet_deploy.data.demo.splits import split_size

    drawn = ensure_split(split, count=count, progress=progress)
    name = counted(f"demo:{split}", drawn.count, split_size(split))
    dataset = coco.read_coco(drawn.root, split, class_names=class_names, name=name, metric=metric or "coco")
    return dataclasses.replace(dataset, digest=drawn.digest, notes=(*drawn.notes, *dataset.notes))
