"""Safetensors: what is written comes back, with what it says of itself; damage and contradictions are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hardnet_deploy.errors import CheckpointError
from hardnet_deploy.models import registry
from hardnet_deploy.models.checkpoint_files import read_checkpoint
from hardnet_deploy.models.checkpoints import load_checkpoint
from hardnet_deploy.models.weight_files import read_weights, save_weights
from hardnet_deploy.train.start import draw_weights
from hardnet_deploy.workflows.export import load_model
from hardnet_deploy.workflows.open_engine import open_engine

MODEL = "ssd300-hardnet-demo"
ABOUT = {"model": MODEL, "class_names": ["background", "a"]}


@pytest.fixture
def model() -> nn.Module:
    made = registry.build(MODEL)
    draw_weights(made, seed=1)
    return made


@pytest.mark.parametrize("half", [False, True])
def test_weights_come_back(tmp_path: Path, model: nn.Module, *, half: bool) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(model, path, about=ABOUT, half=half)
    tensors, about = read_weights(path)
    assert about == ABOUT
    wanted = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}
    assert set(tensors) == set(wanted)
    for key, value in wanted.items():
        assert torch.equal(tensors[key], value.half() if half else value)


def test_the_same_weights_give_the_same_bytes(tmp_path: Path, model: nn.Module) -> None:
    for name in ("1", "2"):
        save_weights(model, tmp_path / name, about=ABOUT, half=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_format_is_told_by_content_not_by_name(tmp_path: Path, model: nn.Module) -> None:
    save_weights(model, tmp_path / "weights.pth", about=ABOUT, half=False)
    assert read_checkpoint(tmp_path / "weights.pth").about == ABOUT


def test_loading_refuses_weights_that_were_trained_as_something_else(tmp_path: Path, model: nn.Module) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(model, path, about=ABOUT, half=False)
    with pytest.raises(CheckpointError, match="another class names"):
        load_checkpoint(model, path, name=MODEL, expected={"class_names": ["background", "b"]})
    load_checkpoint(model, path, name=MODEL, expected={"class_names": ABOUT["class_names"], "code_line": "pingolh"})


@pytest.mark.parametrize("kept", [9, 100, 100_000])
def test_a_truncated_file_is_refused(tmp_path: Path, model: nn.Module, kept: int) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(model, path, about=ABOUT, half=False)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="truncated"):
        read_checkpoint(path)


def test_safetensors_of_another_program_say_nothing_of_themselves(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "w", metadata={"format": "pt"})
    assert read_checkpoint(tmp_path / "w").about == {}


def test_a_weight_beyond_float16_is_refused_not_stored_as_infinity(tmp_path: Path, model: nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters())[0] = 1e6
    with pytest.raises(CheckpointError, match=r"float16"):
        save_weights(model, tmp_path / "w", about=ABOUT, half=True)
    assert not (tmp_path / "w").exists()


def test_another_models_weights_are_refused_even_where_every_shape_fits(tmp_path: Path) -> None:
    voc, coco = (
        registry.with_classes(registry.get(f"ssd300-hardnet68-{name}"), ("a", "b")) for name in ("voc", "coco")
    )
    path = tmp_path / "w"
    about = {"model": voc.name, "class_names": list(voc.class_names), "code_line": "pingolh"}
    save_weights(registry.build(voc), path, about=about, half=True)
    load_model(voc, path, code_line="pingolh")
    with pytest.raises(CheckpointError, match="another model"):
        load_model(coco, path, code_line="pingolh")


def test_an_engine_has_the_classes_its_weights_were_trained_on(tmp_path: Path) -> None:
    spec = registry.with_classes(registry.get(MODEL), ("red", "blue"))
    path = tmp_path / "own.safetensors"
    model = registry.build(spec)
    draw_weights(model, seed=0)
    save_weights(model, path, about={"model": MODEL, "class_names": list(spec.class_names)}, half=False)
    engine = open_engine(f"{MODEL}={path}")
    assert engine.class_names == ("background", "red", "blue")
    assert engine.trained is True


def test_the_shipped_weights_say_what_they_are() -> None:
    spec = registry.get(MODEL)
    path = registry.shipped_weights(spec)
    assert path is not None
    about = read_checkpoint(path).about
    assert about["model"] == MODEL
    assert about["class_names"] == list(spec.class_names)
    assert about["data"].startswith("demo:train")
    model, weights = load_model(spec, None, code_line="pingolh")
    assert weights.trained
    assert not model.training
