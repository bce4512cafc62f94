"""Runs of the toy detector over small data sets, whole and interrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small_datasets import toy_images, write_coco
from tiny_detector import TOY, write_toy

from hardnet_deploy.data.coco import read_coco
from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.runners.base import Arrays
from hardnet_deploy.workflows.open_engine import OpenEngine, open_engine
from hardnet_deploy.workflows.run_engine import DetectionRun, detect_dataset


def make_data(root: Path, count: int) -> Dataset:
    write_coco(root, toy_images(count))
    return read_coco(root, "val2017", class_names=TOY.class_names, name="toy data")


def engine(folder: Path, **options: Any) -> OpenEngine:
    return open_engine(str(write_toy(folder / "toy.onnx", **options)))


def contents(run: DetectionRun) -> list[tuple[Any, Any, Any]]:
    return [(one.boxes.tolist(), one.scores.tolist(), one.classes.tolist()) for one in run.detections]


class Stops:
    """A runner that is interrupted before its image number ``at``."""

    def __init__(self, inner: Any, at: int, error: BaseException) -> None:
        self._inner, self._left, self._error = inner, at, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def infer(self, feeds: Mapping[str, Any]) -> Arrays:
        if not self._left:
            raise self._error
        self._left -= 1
        result: Arrays = self._inner.infer(feeds)
        return result


def interrupted(opened: OpenEngine, data: Dataset, at: int, **options: Any) -> None:
    stopping: Any = Stops(opened.runner, at, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        detect_dataset(dataclasses.replace(opened, runner=stopping), data, **options)
