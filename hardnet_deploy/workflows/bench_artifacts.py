"""The files that the rows of a bench time: exported graphs, INT8 engines, TensorRT engines."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

from hardnet_deploy.artifacts import Manifest, save_artifact, versions
from hardnet_deploy.bench.engine_columns import COLUMNS, EngineColumn
from hardnet_deploy.bench.sides import NETWORK
from hardnet_deploy.export.options import Outputs
from hardnet_deploy.files import atomic_output, sha256_bytes, write_durably
from hardnet_deploy.specs import classifier_preprocess
from hardnet_deploy.target_spec import NmsKind
from hardnet_deploy.tensor_names import INPUT, LOGITS
from hardnet_deploy.workflows.bench_data import BenchData
from hardnet_deploy.workflows.bench_plan import PlannedRow
from hardnet_deploy.workflows.bench_subjects import Subject
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest
from hardnet_deploy.workflows.calibration_faults import calibration_faults
from hardnet_deploy.workflows.export import run_export
from hardnet_deploy.workflows.export_options import ExportRequest
from hardnet_deploy.workflows.open_engine import open_engine

COMMAND: Final = ("hardnet-deploy", "bench")
FOLDING_SIZE: Final = 64  # of the example that a rival is folded on; what is folded does not depend on it
OWN: Final = "hardnet-deploy's own definition"
METHOD: Final = "minmax"  # of one or a few inputs nothing else can be said


class ArtifactMaker:
    """Makes the files of the rows, each once.

    Args:
        data: What the rows are fed with; INT8 ranges are measured on it.
        folder: For the files.
        code_line: Of checkpoints.
        tensorrt_target: Of TensorRT engines.

    ``sources`` says by the subject's label where an exported network comes from.
    """

    def __init__(self, data: BenchData, folder: Path, code_line: str, tensorrt_target: str | None) -> None:
        self._data, self._folder, self._code_line = data, folder, code_line
        self._tensorrt_target = tensorrt_target
        self._exports: dict[tuple[str, str], Path] = {}
        self._tables: dict[Path, Path] = {}
        self.sources: dict[str, str] = {}

    def artifact(self, row: PlannedRow) -> tuple[Path | None, tuple[str, ...]]:
        """The file of a row, None for PyTorch; and what belongs beside its times.

        Raises:
            HardnetDeployError: As of exports and builds.
            SideError: A rival's network that cannot be written as ONNX at that size.
        """
        if row.subject.file is not None:
            return row.subject.file.path, row.subject.file.notes
        column = COLUMNS[row.column]
        if column.runtime == "torch":
            return None, ()
        graph = self._graph(row, "efficient" if column.runtime == "tensorrt" else "onnx")
        if column.runtime == "onnxruntime" and column.precision == "fp32":
            return graph, ()
        return self._build(row, column, graph)

    def _graph(self, row: PlannedRow, nms: NmsKind) -> Path:
        """The float graph, exported and verified."""
        subject = row.subject
        outputs: Outputs = "raw" if row.boundary == NETWORK else "detections"
        limits = subject.thresholds if outputs == "detections" else None
        key = (subject.label, f"{outputs}-{nms}" if subject.detects and outputs == "detections" else "raw")
        if key not in self._exports:
            path = self._folder / f"{len(self._exports)}.onnx"
            if subject.spec is None:
                self.sources[subject.label] = _write_rival(subject, row.batch, path)
            else:
                request = ExportRequest(
                    model=subject.network,
                    weights=subject.weights,
                    code_line=self._code_line if subject.detects else ExportRequest.code_line,
                    classes=subject.classes,
                    size=None if subject.detects else subject.size,
                    batch=str(row.batch),
                    output=path,
                    command=COMMAND,
                    outputs=outputs if subject.detects else None,
                    nms=nms if subject.detects and outputs == "detections" else None,
                    score_threshold=limits.score if limits else None,
                    iou_threshold=limits.iou if limits else None,
                    max_detections=limits.max_detections if limits else None,
                )
                run_export(request, lambda *_: None)
                self.sources[subject.label] = OWN
            self._exports[key] = path
        return self._exports[key]

    def _build(self, row: PlannedRow, column: EngineColumn, graph: Path) -> tuple[Path, tuple[str, ...]]:
        tensorrt = column.runtime == "tensorrt"
        output = graph.with_suffix(f".{column.precision}.{'engine' if tensorrt else 'onnx'}")
        calib: Path | None = None
        notes: tuple[str, ...] = ()
        if column.precision == "int8":
            calib = self._table(graph)
            notes = (f"INT8 ranges of {self._data.text}: for timing only",)
        request = BuildRequest(
            source=str(graph),
            int8=column.precision == "int8",
            fp16=column.precision == "fp16",
            target=self._tensorrt_target if tensorrt else "cpu",
            calib=calib,
            output=output,
            command=COMMAND,
        )
        built = run_build(request, lambda *_: None)
        return output, (*notes, *built.notes)

    def _table(self, graph: Path) -> Path:
        """Ranges of what is timed, beside the graph."""
        from calibration.collect import RangeCollector
        from calibration.graph import GraphMap
        from calibration.summary import statistics
        from calibration.table import CalibrationTable, Fingerprint

        if graph in self._tables:
            return self._tables[graph]
        engine = open_engine(str(graph))
        assert engine.model is not None
        with calibration_faults():
            mapped = GraphMap(engine.model)
            collector = RangeCollector(mapped)
            for images in self._data.inputs(engine.preprocess, engine.batch or 1):
                collector.add({engine.runner.inputs[0].name: images})
            structure, weights = mapped.fingerprint()
            table = CalibrationTable(
                method=METHOD,
                fingerprint=Fingerprint(
                    graph=structure,
                    weights=weights,
                    preprocess=asdict(engine.preprocess),
                    data=self._data.text,
                    images=self._data.digest(),
                    count=collector.images,
                    seed=None,
                ),
                tensors=statistics(collector.measured),
                snapshots={},
                versions=versions(("onnx", "onnxruntime", "numpy")),
                command=COMMAND,
            )
        path = graph.with_suffix(".calib.json")
        with atomic_output(path) as temporary:
            write_durably(temporary, table.to_json().encode())
        self._tables[graph] = path
        return path


def _write_rival(subject: Subject, batch: int, path: Path) -> str:
    """A rival's network as ONNX, batch norms folded as in our own exports, with a manifest; where it comes from."""
    import torch

    from fusion.torch_fold import fold_module
    from hardnet_deploy.bench.rival_onnx import OPSET, rival_onnx
    from hardnet_deploy.bench.rivals import load_network
    from hardnet_deploy.bench.torch_columns import state_sha256

    network, source = load_network(subject.network)
    weights = state_sha256(network)
    folded = fold_module(network, torch.zeros(1, 3, FOLDING_SIZE, FOLDING_SIZE)).model
    content = rival_onnx(folded, name=subject.network, size=subject.size, batch=batch).SerializeToString(
        deterministic=True
    )
    manifest = Manifest(
        kind="onnx",
        model={"name": subject.network, "architecture": subject.network, "dataset": "imagenet", "code_line": None},
        weights={"trained": False, "source": f"{source}, weights from a seed", "sha256": None, "state_sha256": weights},
        preprocess=asdict(classifier_preprocess(subject.size)),
        class_names=(),
        head=None,
        target=None,
        precision={"requested": "fp32", "achieved": {}},
        graph={"opset": OPSET, "input": INPUT, "outputs": [LOGITS], "batch": batch, "nms": None, "thresholds": None},
        checks={},
        sha256=sha256_bytes(content),
        versions=versions(("torch", "onnx", "onnxruntime", "numpy")),
        command=COMMAND,
    )
    save_artifact(path, content, manifest)
    return source
