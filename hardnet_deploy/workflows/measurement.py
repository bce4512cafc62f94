"""One measurement of ranges, kept on disk as it goes on: what is interrupted is continued."""

from __future__ import annotations

import contextlib
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hardnet_deploy.artifacts import versions
from hardnet_deploy.data.image_lists import ImageList
from hardnet_deploy.data.loading import LoadedImage, load_inputs
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.files import atomic_output
from hardnet_deploy.workflows.calibrate_options import METHOD
from hardnet_deploy.workflows.open_engine import OpenEngine

if TYPE_CHECKING:
    from calibration.collect import RangeCollector
    from calibration.graph import GraphMap
    from calibration.table import CalibrationTable, Fingerprint, Method, Snapshot
    from hardnet_deploy.workflows.calibrate_options import CalibrateRequest

SAVE_EVERY: Final = 20.0  # seconds
_UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)
PACKAGES: Final = ("onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "Pillow")


def partial_file(output: Path) -> Path:
    """Where an unfinished measurement for ``output`` is kept."""
    return output.with_name(f".{output.name}.partial.npz")


class Measurement:
    """One measurement, kept on disk as it goes on: what is interrupted is continued."""

    def __init__(
        self,
        graph: GraphMap,
        engine: OpenEngine,
        images: ImageList,
        fingerprint: Fingerprint,
        output: Path,
        request: CalibrateRequest,
    ) -> None:
        from calibration.collect import RangeCollector

        self._engine, self._images, self._fingerprint, self._request = engine, images, fingerprint, request
        self._partial = partial_file(output)
        self._identity = json.dumps([asdict(fingerprint), versions(PACKAGES)], sort_keys=True)
        self._collector: RangeCollector = RangeCollector(graph, threads=request.threads)
        self._snapshots: dict[Method, list[Snapshot]] = {}
        self._through = 0
        self.before = 0
        self.seconds = 0.0

    def table(self, progress: Callable[[int, int], None]) -> CalibrationTable:
        """Measure what is missing."""
        from calibration.errors import CalibrationError
        from calibration.summary import snapshot, statistics, wants_snapshot
        from calibration.table import CalibrationTable

        if not self._request.restart:
            self._restore()
        self.before = self._through = self._collector.images
        total = len(self._images)
        paths = self._images.paths[self.before :]
        name = self._engine.runner.inputs[0].name
        progress(self.before, total)
        started = saved = time.monotonic()
        loaded = load_inputs(paths, self._engine.preprocess, workers=self._request.workers)
        with contextlib.closing(loaded), self._kept_if_interrupted():
            for path, image in zip(paths, loaded, strict=True):
                if not isinstance(image, LoadedImage):
                    raise image
                try:
                    self._collector.add({name: image.pixels[None]})
                except CalibrationError as error:
                    raise InputFileError(f"{path}: {error.what}", next_step=error.next_step) from error
                done = self._collector.images
                if wants_snapshot(done):
                    for method, row in snapshot(self._collector.measured, done).items():
                        self._snapshots.setdefault(method, []).append(row)
                self._through = done
                progress(done, total)
                if time.monotonic() - saved > SAVE_EVERY:
                    self._save()
                    saved = time.monotonic()
        self.seconds = time.monotonic() - started
        return CalibrationTable(
            method=self._request.method or METHOD,
            fingerprint=self._fingerprint,
            tensors=statistics(self._collector.measured),
            snapshots={method: tuple(rows) for method, rows in self._snapshots.items()},
            versions=versions(PACKAGES),
            command=self._request.command,
        )

    @contextlib.contextmanager
    def _kept_if_interrupted(self) -> Iterator[None]:
        """Saves every finished image on Ctrl-C; one that was being added as it came leaves the last save as it is."""
        try:
            yield
        except KeyboardInterrupt:
            if self._collector.whole and self.before < self._through == self._collector.images:
                self._save()
            raise

    def _save(self) -> None:
        rows = {method: [asdict(row) for row in rows] for method, rows in self._snapshots.items()}
        text = json.dumps({"identity": self._identity, "snapshots": rows})
        arrays: dict[str, Any] = {"record": np.frombuffer(text.encode(), np.uint8), **self._collector.state()}
        with atomic_output(self._partial) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)

    def _restore(self) -> None:
        """Go on from an interrupted run of the very same measurement; anything else is measured anew."""
        from calibration.errors import CalibrationError
        from calibration.table import Snapshot

        try:
            with self._partial.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                state = {name: stored[name] for name in stored.files}
            record = json.loads(state.pop("record").tobytes())
            if record["identity"] != self._identity:
                return
            snapshots = {method: [Snapshot(**row) for row in rows] for method, rows in record["snapshots"].items()}
            self._collector.restore(state)
            self._snapshots = snapshots
        except (*_UNREADABLE, CalibrationError):
            return
