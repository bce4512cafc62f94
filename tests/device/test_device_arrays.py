"""What is no array, or no NumPy, is one sentence; nothing pickled is ever loaded."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle  # noqa: TID251 - what must never be loaded is made here
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from old_pythons import numpy_for_python36, old_python
from PIL import Image, ImageOps
from simulated_device import NANO, PASCAL, rehash, simulated, write_kit
from small_int8 import write_detector

from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import EngineError

SCRIPT = Path(run_engine.__file__)
NEEDS_NUMPY = {
    "run": ("run", "a.engine", "--input", "a.npy"),
    "detect": ("detect", "a.engine", "a.png"),
    "parity": ("parity",),
    "bench": ("bench",),
    "all": ("all",),
}


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def saved(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def saved_one(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def flipped(content: bytes) -> bytes:
    """One byte of the first member's numbers is another."""
    place = content.index(b"\n") + 5
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def bombs(folder: Path) -> dict[str, bytes]:
    bomb = Bomb(folder / "it was loaded")
    objects = np.array([bomb], object)
    return {
        "pickle": pickle.dumps(bomb),
        "objects": saved_one(objects),
        "objects in npz": zipped(images=saved_one(objects)),
        "pickle in npz": zipped(images=pickle.dumps(bomb)),
    }


IMAGES = np.ones((1, 3, 32, 32), np.float32)
DAMAGED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"no array at all",
    "header cut": lambda: saved_one(IMAGES)[:20],
    "header broken": lambda: saved_one(IMAGES).replace(b"'descr'", b"'descr("),
    "too many": lambda: saved_one(IMAGES).replace(b"(1, 3, 32, 32)", b"(9, 9, 99, 99)"),
    "numbers cut": lambda: saved_one(IMAGES)[:-5],
    "npz cut": lambda: saved(images=IMAGES)[:-30],
    "npz cut early": lambda: saved(images=IMAGES)[:5],
    "npz flipped": lambda: flipped(saved(images=IMAGES)),
    "member is text": lambda: zipped(images=b"no array"),
    "member is empty": lambda: zipped(images=b""),
}


@pytest.mark.parametrize("damage", [*DAMAGED, "pickle", "objects", "objects in npz", "pickle in npz"])
def test_a_file_that_holds_no_numbers_is_one_sentence_and_nothing_of_it_is_loaded(tmp_path: Path, damage: str) -> None:
    content = DAMAGED[damage]() if damage in DAMAGED else bombs(tmp_path)[damage]
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"a\.npz cannot be read: ") as caught:
        run_engine.read_arrays(path)
    assert caught.value.code == 4
    assert "numpy.save" in str(caught.value.next_step)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npz"]


def test_the_bombs_would_have_gone_off(tmp_path: Path) -> None:
    for name in ("pickle", "objects"):
        np.load(io.BytesIO(bombs(tmp_path)[name]), allow_pickle=True)
        (tmp_path / "it was loaded").unlink()


def test_arrays_are_read(tmp_path: Path) -> None:
    (tmp_path / "none.npz").write_bytes(saved())
    assert run_engine.read_arrays(tmp_path / "none.npz") == {}
    (tmp_path / "a.npy").write_bytes(saved_one(IMAGES))
    (tmp_path / "a.npz").write_bytes(saved(images=IMAGES))
    np.testing.assert_array_equal(run_engine.read_arrays(tmp_path / "a.npy"), IMAGES)
    np.testing.assert_array_equal(run_engine.read_arrays(tmp_path / "a.npz")["images"], IMAGES)


def test_the_commands_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_detector(Path("a.onnx"))
    Path("empty.npy").write_bytes(b"")
    Path("many.npy").write_bytes(saved(images=IMAGES))
    with simulated(monkeypatch, *PASCAL):
        assert run_engine.main(["build", "a.onnx"]) == 0
        for arguments, said in (
            (("run", "a.engine", "--input", "empty.npy"), "empty.npy cannot be read: it is empty"),
            (("run", "a.engine", "--input", "missing.npy"), "missing.npy cannot be read"),
            (("detect", "a.engine", "empty.npy"), "empty.npy cannot be read: it is empty"),
            (("detect", "a.engine", "many.npy"), "many.npy holds 1 arrays, not an image"),
        ):
            capsys.readouterr()
            assert run_engine.main([*arguments]) == 4
            assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"other": np.zeros((1, 3, 32, 32), np.uint8)}, "no samples"),
        ({"pixels": np.zeros((0, 3, 32, 32), np.uint8)}, "no samples"),
        ({"pixels": np.zeros((1, 3, 32, 32), np.float32)}, "no samples"),
        (np.zeros(3), "holds one array"),
    ],
    ids=["other name", "none", "float", "one"],
)
@pytest.mark.parametrize("command", ["all", "parity", "bench"])
def test_a_kit_with_other_samples_is_told_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: Any, said: str, command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    kit = write_kit(tmp_path / "kit", settings={"precision": "fp32"})
    path = kit / "samples" / "inputs.npz"
    path.write_bytes(saved(**arrays) if isinstance(arrays, dict) else saved_one(arrays))
    rehash(kit)
    with simulated(monkeypatch, *PASCAL):
        if command != "all":
            assert run_engine.main(["build", "--kit", str(kit)]) == 0
        assert run_engine.main([command, "--kit", str(kit)]) == 8
    assert said in capsys.readouterr().err
    assert (kit / "model.engine").exists() == (command != "all")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_by_an_old_pillow_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orientation: int
) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8))
    tags = picture.getexif()
    tags[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=tags.tobytes(), quality=95)
    wanted = run_engine.read_image(str(tmp_path / "a.jpg"))
    monkeypatch.delattr(ImageOps, "exif_transpose")
    np.testing.assert_array_equal(run_engine.read_image(str(tmp_path / "a.jpg")), wanted)
    assert wanted.shape[:2] == ((3, 5) if orientation < 5 else (5, 3))


@pytest.mark.parametrize("command", NEEDS_NUMPY)
def test_without_numpy_each_command_says_so_before_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = write_kit(tmp_path / "kit", settings={"precision": "fp32"})
    monkeypatch.chdir(kit)
    importing = builtins.__import__

    def no_numpy(name: str, *given: Any, **options: Any) -> Any:
        if name == "numpy":
            raise ImportError("\nNo module named 'numpy'\nand a page of advice")
        return importing(name, *given, **options)

    monkeypatch.setattr(builtins, "__import__", no_numpy)
    code = run_engine.main([*NEEDS_NUMPY[command], "--json"])
    monkeypatch.undo()
    streams = capsys.readouterr()
    assert code == 3
    assert "error: NumPy cannot be imported: No module named 'numpy'\n" in streams.err
    assert "python3-numpy" in json.loads(streams.out)["next"]


def started(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYENV"))}
    environment = {**kept, "PYTHONDONTWRITEBYTECODE": "1", "HARDNET_DEPLOY_CUDART": "/nowhere.so", **variables}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=120
    )


def test_a_bare_python_3_6_says_that_numpy_is_missing_and_still_helps_and_informs(tmp_path: Path) -> None:
    kit = write_kit(tmp_path / "kit", settings={"precision": "fp32"})
    script = shutil.copyfile(SCRIPT, kit / "run_engine.py")
    program = old_python("3.6")
    for command in (("all",), ("parity",), ("bench", "--json")):
        found = started(program, "-I", str(script), *command)
        assert found.returncode == 3
        assert "NumPy cannot be imported: No module named 'numpy'" in found.stderr
        assert "Traceback" not in found.stderr
    assert started(program, "-I", str(script), "--help").returncode == 0
    informed = started(program, "-I", str(script), "info", "--json")
    assert informed.returncode == 0
    assert json.loads(informed.stdout)["numpy"] == {"problem": "ModuleNotFoundError: No module named 'numpy'"}


READ_ALL = """
import runpy, sys
from pathlib import Path
module = runpy.run_path(sys.argv[1], run_name="device")
for path in sorted(Path(sys.argv[2]).glob("*.npz")):
    try:
        module["read_arrays"](path)
    except module["EngineError"] as error:
        print(path.name, error.code)
"""


def test_damaged_files_are_told_by_the_numpy_of_python_3_6_too(tmp_path: Path) -> None:
    for name, content in {**{name: make() for name, make in DAMAGED.items()}, **bombs(tmp_path)}.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    program, numpy = old_python("3.6"), numpy_for_python36()
    found = started(program, "-W", "error", "-c", READ_ALL, str(SCRIPT), str(tmp_path), PYTHONPATH=str(numpy))
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == [f"{path.name} 4" for path in sorted(tmp_path.glob("*.npz"))]
    assert not (tmp_path / "it was loaded").exists()


def test_a_build_asks_for_no_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_detector(tmp_path / "a.onnx")
    monkeypatch.setattr(run_engine, "need_numpy", lambda: pytest.fail("a build needs no NumPy of ours"))
    with simulated(monkeypatch, *NANO):
        assert run_engine.main(["build", str(tmp_path / "a.onnx")]) == 0
