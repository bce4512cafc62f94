"""``hardnet-deploy train`` as its user types it: trains, resumes, fine-tunes, refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import files
from drawn_boxes import drawn_boxes
from typer.testing import CliRunner

from hardnet_deploy.cli.main import app
from hardnet_deploy.data.dataset import Dataset
from hardnet_deploy.models import registry
from hardnet_deploy.models.checkpoint_files import read_checkpoint
from hardnet_deploy.models.checkpoints import load_checkpoint

MODEL = "ssd300-hardnet-demo"
SHORT = ("--epochs", "1", "--batch", "2", "--workers", "0", "--augmentation", "mirror", "--warmup", "0")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return drawn_boxes(tmp_path / "images", count=4)


@pytest.fixture
def coco(tmp_path: Path, dataset: Dataset) -> str:
    """The drawn boxes in COCO's layout."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    (folder / "train").symlink_to(tmp_path / "images")
    document: dict[str, Any] = {
        "images": [
            {"id": one.image_id, "file_name": one.path.name, "width": one.width, "height": one.height}
            for one in dataset.samples
        ],
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}],
        "annotations": [
            {
                "id": number,
                "image_id": one.image_id,
                "category_id": int(one.truth.labels[0]),
                "bbox": [*one.truth.boxes[0, :2], *(one.truth.boxes[0, 2:] - one.truth.boxes[0, :2])],
                "area": float(one.truth.areas[0]),
                "iscrowd": 0,
            }
            for number, one in enumerate(dataset.samples, start=1)
        ],
    }
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "names.txt").write_text("red\nblue\n", encoding="utf-8")
    return f"coco:{folder}:train"


def _run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, words)])


def test_it_trains_on_coco_data_and_leaves_weights_curve_and_record(tmp_path: Path, coco: str) -> None:
    out = tmp_path / "run"
    words = (MODEL, "--data", coco, "--classes", tmp_path / "names.txt", *SHORT, "-o", out, "--store", "fp16", "--json")
    done = _run(*words)
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 2
    assert set(files(out)) == {f"{MODEL}.safetensors", "curve.png", "train.json"}
    record = json.loads((out / "train.json").read_text(encoding="utf-8"))
    assert record["identity"]["recipe"]["seed"] == 0
    assert record["weights"]["sha256"] == result["sha256"]
    assert [point["step"] for point in record["curve"]] == [2]
    spec = registry.with_classes(registry.get(MODEL), ("red", "blue"))
    loaded = load_checkpoint(
        registry.build(spec), out / f"{MODEL}.safetensors", name=MODEL, expected={"class_names": list(spec.class_names)}
    )
    assert any("float16" in note for note in loaded.notes)

    again = _run(*words)
    assert again.exit_code == 2
    assert "finished run" in json.loads(again.stdout)["what"]
    anew = _run(*words, "--restart")
    assert json.loads(anew.stdout)["sha256"] == result["sha256"]


def test_fine_tuning_takes_all_but_class_heads_of_another_number(tmp_path: Path, coco: str) -> None:
    model = registry.build(MODEL)
    torch.save(model.state_dict(), tmp_path / "start.pth")
    out = tmp_path / "run"
    done = _run(
        MODEL, "--data", coco, "--classes", tmp_path / "names.txt", "--weights", tmp_path / "start.pth",
        *SHORT, "--lr", "1e-9", "-o", out, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert any("12 class heads" in note for note in json.loads(done.stdout)["notes"])
    state = read_checkpoint(out / f"{MODEL}.safetensors").state
    start = model.state_dict()
    for key in ("base.0.conv.weight", "loc.0.weight", "extras.3.conv.weight"):
        assert torch.allclose(state[key], start[key], atol=1e-6)  # a rate of 1e-9 moves nothing
    assert state["conf.0.weight"].shape[0] == 3 * 6


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("--data", "coco:nowhere", "hardnet68"), 2, "backbone"),
        (("--data", "coco:nowhere"), 2, "no model is named"),
        (("--data", "coco:nowhere", MODEL, "--epochs", "0"), 2, "--epochs"),
        (("--data", "coco:nowhere", MODEL, "--lr", "nan"), 2, "--lr"),
        (("--data", "coco:nowhere", MODEL, "--amp", "fp16", "--device", "cpu"), 2, "fp16"),
        (("--data", "coco:nowhere", MODEL, "--device", "tpu"), 2, "tpu"),
        (("--data", "coco:nowhere", MODEL, "--threads", "0"), 2, "--threads"),
        (("--data", "coco:nowhere", MODEL, "--workers", "-1"), 2, "--workers"),
        (("--data", "coco:nowhere", MODEL), 4, "nowhere"),
        (("--data", "folder", MODEL), 2, "names no labelled data"),
        (("--data", "demo:val"), 2, "kept for measuring"),
        (("--data", "demo", "--optimizer", "adamw", "--momentum", "0.9"), 2, "--momentum"),
        (("--data", "demo", "--weights", "nowhere.pth"), 4, "nowhere.pth"),
        (("--data", "demo", "--weights", "."), 4, "is a folder"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, words: tuple[str, ...], code: int, what: str
) -> None:
    done = _run(*words, "-o", tmp_path / "run", "--json")
    assert done.exit_code == code, done.stderr
    assert what in json.loads(done.stdout)["what"]
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, coco: str) -> None:
    torch.save(registry.build("ssd300-hardnet68-voc").state_dict(), tmp_path / "other.pth")
    done = _run(
        MODEL, "--data", coco, "--classes", tmp_path / "names.txt", "--weights", tmp_path / "other.pth", *SHORT,
        "-o", tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.exit_code == 4
    assert "does not fit" in json.loads(done.stdout)["what"]


def test_objects_that_the_model_has_no_class_for_are_refused(tmp_path: Path, coco: str) -> None:
    done = _run(MODEL, "--data", coco, *SHORT, "-o", tmp_path / "run", "--json")
    assert done.exit_code != 0
    assert "red" in done.stdout


def test_a_run_begun_anew_can_be_resumed_and_leaves_nothing_of_the_old_one(
    tmp_path: Path, coco: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardnet_deploy.train.loop.SAVE_EVERY", 0.0)
    out = tmp_path / "run"
    words = (MODEL, "--data", coco, "--classes", tmp_path / "names.txt", *SHORT, "-o", out, "--json")
    first = json.loads(_run(*words).stdout)

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("hardnet_deploy.models.weight_files.save_weights", kill)
        assert _run(*words, "--restart").exit_code == 130
    assert set(files(out)) == {"training.checkpoint"}
    resumed = _run(*words)
    assert resumed.exit_code == 0, resumed.stderr
    result = json.loads(resumed.stdout)
    assert result["sha256"] == first["sha256"]
    assert result["resumed_from"] == 2


def test_real_data_default_to_their_training_split(tmp_path: Path) -> None:
    (tmp_path / "data" / "annotations").mkdir(parents=True)
    done = _run("ssd300-hardnet68-coco", "--data", f"coco:{tmp_path / 'data'}", "-o", tmp_path / "run")
    assert done.exit_code == 4
    assert "train2017" in done.stderr
    assert "val2017" not in done.stderr
