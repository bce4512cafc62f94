from __future__ import annotations

import pickle  # noqa: TID251  the test writes the kind of file that must be refused
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from oracle_fill import fill
from torch import nn

from hardnet_deploy.errors import CheckpointError
from hardnet_deploy.models import registry
from hardnet_deploy.models.checkpoints import load_checkpoint

NAME = "hardnet39ds"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    model = registry.build(NAME)
    fill(model)
    return dict(model.state_dict())


def load(path: Path, name: str = NAME) -> tuple[nn.Module, tuple[str, ...]]:
    model = registry.build(name)
    return model, load_checkpoint(model, path, name=name).notes


def refused(path: Path, name: str = NAME) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        load(path, name)
    assert caught.value.exit_code == 4
    assert str(path) in caught.value.what
    assert "\n" not in caught.value.what
    return caught.value


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_every_usual_way_of_saving_loads(
    tmp_path: Path, state: dict[str, torch.Tensor], legacy: bool, prefix: str, wrap: str | None
) -> None:
    saved: object = {prefix + key: value for key, value in state.items()}
    if wrap:
        saved = {wrap: saved, "epoch": 3}
    torch.save(saved, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    model, notes = load(tmp_path / "w.pth")
    assert notes == ()
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_half_precision_is_converted_and_said(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(
        {key: value.half() if value.is_floating_point() else value for key, value in state.items()}, tmp_path / "w"
    )
    model, notes = load(tmp_path / "w")
    assert any("float16" in note for note in notes)
    assert model.state_dict()["base.0.conv.weight"].dtype == torch.float32


def test_counters_of_training_may_be_absent(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({key: value for key, value in state.items() if "num_batches" not in key}, tmp_path / "w.pth")
    _, notes = load(tmp_path / "w.pth")
    assert any("num_batches_tracked" in note for note in notes)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "no checkpoint" in refused(tmp_path / "absent.pth").what
    assert "folder" in refused(tmp_path).what


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        (b"\n  <html>moved</html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"just some words", "not a checkpoint"),
        (bytes(range(256)) * 40, "not a checkpoint"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    assert says in str(refused(path))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_checkpoint(tmp_path: Path, state: dict[str, torch.Tensor], legacy: bool, share: float) -> None:
    path = tmp_path / "w.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated or damaged" in refused(path).what


class Payload:
    """Its pickle runs code on loading."""

    ran = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (setattr, (Payload, "ran", True))


@pytest.mark.parametrize("plain", [False, True], ids=["torch.save", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, plain: bool) -> None:
    path = tmp_path / "w.pth"
    if plain:
        path.write_bytes(pickle.dumps({"x": Payload()}))
    else:
        torch.save({"x": Payload()}, path)
    what = refused(path).what
    assert "code" in what
    assert "is not loaded" in what
    assert not Payload.ran


def test_a_whole_pickled_module_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(nn.Linear(2, 2), path)
    error = refused(path)
    assert "holds code" in error.what
    assert "state_dict" in str(error)


@pytest.mark.parametrize(
    "content", [[1, 2], {"epoch": 3}, {}, torch.zeros(3)], ids=["list", "no tensors", "empty", "tensor"]
)
def test_a_checkpoint_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert "no state_dict" in refused(tmp_path / "w.pth").what


def test_all_faults_are_one_error_that_names_the_model_that_fits(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    torch.save(state, tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth", "hardnet68ds")
    assert "missing" in str(error)
    assert "hardnet39ds" in (error.next_step or "")


def test_each_kind_of_mismatch_is_listed(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    odd = dict(state)
    del odd["base.0.conv.weight"]
    odd["base.99.weight"] = torch.zeros(1)
    odd["base.14.3.bias"] = torch.zeros(7)
    torch.save(odd, tmp_path / "w.pth")
    got = refused(tmp_path / "w.pth").got or ""
    assert "1 missing (base.0.conv.weight)" in got
    assert "1 unexpected (base.99.weight)" in got
    assert "base.14.3.bias [7] instead of [1000]" in got


def test_another_class_count_points_to_the_class_list(tmp_path: Path) -> None:
    spec = registry.with_classes(registry.get("ssd300-hardnet68-voc"), ("cat", "dog"))
    torch.save(registry.build(spec).state_dict(), tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth", "ssd300-hardnet68-voc")
    assert "of 2 classes and background: name these with --classes FILE" in (error.next_step or "")


def test_the_class_list_is_no_remedy_where_more_than_the_class_heads_differ(tmp_path: Path) -> None:
    spec = registry.with_classes(registry.get("ssd300-hardnet68-voc"), ("cat", "dog"))
    for name in ("loc.0.bias", "conf.1.bias"):
        state = registry.build(spec).state_dict()
        state[name] = torch.zeros(7)
        torch.save(state, tmp_path / "w.pth")
        assert "--classes" not in (refused(tmp_path / "w.pth", "ssd300-hardnet68-voc").next_step or "")


def test_the_other_data_set_is_named(tmp_path: Path) -> None:
    torch.save(registry.build("ssd300-hardnet68-coco").state_dict(), tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth", "ssd300-hardnet68-voc")
    assert "ssd300-hardnet68-coco" in (error.next_step or "")
    assert "or name 80 classes of your own with --classes FILE" in (error.next_step or "")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("base.0.conv.weight", float("nan"), "NaN"),
        ("base.0.norm.bias", float("inf"), "NaN or infinite"),
        ("base.0.norm.running_var", -1.0, "negative variances"),
    ],
)
def test_values_that_no_training_leaves(
    tmp_path: Path, state: dict[str, torch.Tensor], key: str, value: float, says: str
) -> None:
    broken = {name: tensor.clone() for name, tensor in state.items()}
    broken[key].view(-1)[0] = value
    torch.save(broken, tmp_path / "w.pth")
    error = refused(tmp_path / "w.pth")
    assert says in error.what
    assert key in (error.got or "")


def test_a_refused_checkpoint_leaves_the_model_as_it_was(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    broken = dict(state)
    del broken["base.14.3.bias"]
    torch.save(broken, tmp_path / "w.pth")
    model = registry.build(NAME)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_checkpoint(model, tmp_path / "w.pth", name=NAME)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("content", [b"\x80", b"PK", b"\x80\x02"])
def test_files_of_a_byte_or_two(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    assert "truncated or damaged" in refused(tmp_path / "w.pth").what


def test_a_name_too_long_for_the_file_system(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / ("w" * 300)).what


def test_two_wrappings_are_opened(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({"state_dict": {"model": state}}, tmp_path / "w.pth")
    model, _ = load(tmp_path / "w.pth")
    assert torch.equal(model.state_dict()["base.0.conv.weight"], state["base.0.conv.weight"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: value.to(torch.complex64), "complex64"),
        (lambda value: value.to(torch.float8_e4m3fn), "float8"),
        (lambda value: value.to_sparse(), "sparse"),
        (lambda value: value.to(torch.int8), "int8"),
        (lambda value: value.to("meta"), "meta"),
    ],
)
def test_tensors_of_another_kind(
    tmp_path: Path, state: dict[str, torch.Tensor], change: Callable[[torch.Tensor], torch.Tensor], says: str
) -> None:
    torch.save({**state, "base.14.3.bias": change(state["base.14.3.bias"])}, tmp_path / "w.pth")
    assert says in (refused(tmp_path / "w.pth").got or "")


def test_values_beyond_float32_are_not_called_a_fault_of_folding(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    broken = {key: value.double() if value.is_floating_point() else value for key, value in state.items()}
    broken["base.14.3.bias"] = broken["base.14.3.bias"] + 1e300
    torch.save(broken, tmp_path / "w.pth")
    assert "infinite" in refused(tmp_path / "w.pth").what


@pytest.mark.filterwarnings("ignore")  # TorchScript is deprecated; files of it exist
def test_torchscript_is_named(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "w.pth"))
    assert "TorchScript" in refused(tmp_path / "w.pth").what
