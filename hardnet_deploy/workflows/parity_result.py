"""The outcome of a parity comparison: what was compared, what failed, and the exit code that says so."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hardnet_deploy.artifacts import versions
from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.data.image_lists import ImageList
from hardnet_deploy.errors import AccuracyBudgetError, HardnetDeployError, ParityError
from hardnet_deploy.evaluate.detections import DetectionsParity
from hardnet_deploy.files import atomic_output, write_durably
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.open_engine import OpenEngine
from hardnet_deploy.workflows.parity_metric import MetricParity
from hardnet_deploy.workflows.parity_options import ParityRequest
from hardnet_deploy.workflows.parity_pictures import SavedPicture
from hardnet_deploy.workflows.parity_side import Side
from hardnet_deploy.workflows.parity_tensors import TensorsParity
from hardnet_deploy.workflows.spelled import spelled

SCHEMA: Final = 1
KIND: Final = "parity"
PACKAGES: Final = ("torch", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "pycocotools")
_TOLD: Final = 2  # failures in the error message: the first output that is off, and the layer where it begins
Part = Literal["sides", "tensors", "detections", "metric"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One reason why the candidate does not pass.

    Args:
        part: Of the comparison.
        what: One sentence.
        exit_code: 5 for parity, 6 for the accuracy budget.
        next_step: What leads on, where that is known.
    """

    part: Part
    what: str
    exit_code: int = ParityError.exit_code
    next_step: str | None = None


@dataclass(frozen=True, kw_only=True)
class ParityResult:
    """Everything that was compared.

    Args:
        request: The options.
        reference: The side that is trusted.
        candidate: The side in question.
        dataset: What both were run on: labelled images; for backbones, images alone.
        tensors: The network's outputs and what is inside.
        detections: Matched detections; None for backbones.
        matched: Which post-processing made them; None for backbones.
        metric: mAP; None for backbones.
        failures: Why the candidate does not pass; empty where it does.
        notes: What is worth a line to the user.
        pictures: Of the worst images, worst first.
    """

    request: ParityRequest
    reference: Side
    candidate: Side
    dataset: Dataset | ImageList
    tensors: TensorsParity
    detections: DetectionsParity | None
    matched: str | None
    metric: MetricParity | None
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    pictures: tuple[SavedPicture, ...] = ()

    @property
    def passed(self) -> bool:
        """True where nothing failed."""
        return not self.failures

    @property
    def exit_code(self) -> int:
        """0, or 5 where anything but the accuracy budget failed, or 6."""
        if self.passed:
            return 0
        return min(failure.exit_code for failure in self.failures)

    def error(self) -> HardnetDeployError | None:
        """The failures as one message, to be shown once the report is out; None where there are none."""
        if self.passed:
            return None
        kind = ParityError if self.exit_code == ParityError.exit_code else AccuracyBudgetError
        what = {
            ParityError: f"{self.candidate.engine.label} does not do what {self.reference.engine.label} does",
            AccuracyBudgetError: f"{self.candidate.engine.label} detects less than {self.reference.engine.label}",
        }[kind]
        own = [failure for failure in self.failures if failure.exit_code == self.exit_code]
        got = "; ".join(failure.what for failure in own[:_TOLD])
        more = len(self.failures) - len(own[:_TOLD])
        return kind(
            what,
            got=f"{got}; and {more} more, all in the report" if more else got,
            next_step=next((failure.next_step for failure in own if failure.next_step), None),
        )

    def as_dict(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "command": command_of(self.request),
            "passed": self.passed,
            "exit_code": self.exit_code,
            "failures": [asdict(failure) for failure in self.failures],
            "notes": list(self.notes),
            "reference": _side(self.reference),
            "candidate": _side(self.candidate),
            "data": {
                "name": self.dataset.name,
                "digest": self.dataset.digest,
                "images": len(self.dataset),
                "metric": self.dataset.metric if isinstance(self.dataset, Dataset) else None,
                "notes": list(self.dataset.notes),
            },
            "tensors": self.tensors.as_dict(),
            "detections": self._detections(),
            "metric": self.metric.as_dict() if self.metric else None,
            "pictures": [str(picture.path) for picture in self.pictures],
            "pictures_sha256": [picture.sha256 for picture in self.pictures],
            "versions": versions(PACKAGES),
        }

    def _detections(self) -> dict[str, Any] | None:
        if self.detections is None:
            return None
        assert isinstance(self.dataset, Dataset)
        record = self.detections.as_dict()
        for image in record["worst_images"]:
            sample = self.dataset.samples[image["index"]]
            image |= {"image_id": sample.image_id, "path": str(sample.path)}
        return {"postprocess": self.matched, **record}

    def save(self, path: Path) -> None:
        """Write the JSON document.

        Raises:
            OutputFileError: No space or no permission.
        """
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with atomic_output(path) as temporary:
            write_durably(temporary, text.encode("utf-8", "backslashreplace"))


def command_of(request: ParityRequest) -> list[str]:
    """The command line that compares this."""
    options = {
        "--data": request.data,
        "--count": request.count,
        "--tensor-images": request.tensor_images,
        "--postprocess": request.postprocess,
        "--max-drop": request.limit,
        "--drop-type": request.drop_type,
        "--allow-other-thresholds": request.allow_other_thresholds,
        "--resamples": request.resamples,
        "--seed": request.seed,
        "--pictures": request.pictures,
        "--code-line": None if request.code_line == registry.CODE_LINES[0] else request.code_line,
        "--classes": request.classes,
        "--output": request.output,
        "--trust": request.trust,
    }
    return spelled("parity", [request.reference, request.candidate], options)


def _side(side: Side) -> dict[str, Any]:
    engine: OpenEngine = side.engine
    untrained = None if engine.trained is None else not engine.trained
    return {**engine.as_dict(), "precision": side.precision, "untrained": untrained}
