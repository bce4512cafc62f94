"""Writing outputs: the whole file or none, and an older one untouched until the new one is complete."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hardnet_deploy.errors import OutputFileError
from hardnet_deploy.files import atomic_output, refuse_unwritable, sha256_bytes, sha256_file, write_durably

OLD, NEW = b"old", b"the new content"
LONGEST_NAME = "n" * 250 + ".onnx"  # 255 bytes, what Linux file systems take


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, content: bytes = NEW) -> None:
    with atomic_output(path) as temporary:
        write_durably(temporary, content)


def test_hashes_are_those_of_the_standard(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    assert sha256_file(path) == sha256_bytes(b"abc")
    assert sha256_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(bytes(3_000_001))
    assert sha256_file(path) == sha256_bytes(bytes(3_000_001))


@pytest.mark.parametrize("name", ["model.onnx", ".hidden", "ü 空.onnx", "caf\udce9.onnx", LONGEST_NAME])
def test_a_new_file_and_its_folders_appear(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a" / "b" / name
    refuse_unwritable(path)
    assert not (tmp_path / "a").exists()
    write(path)
    assert path.read_bytes() == NEW
    assert names(path.parent) == [name]


def test_an_old_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(OLD)
    with atomic_output(path) as temporary:
        temporary.write_bytes(NEW)
        assert temporary.parent == path.parent
        assert path.read_bytes() == OLD
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), SystemExit(3), ValueError("ours"), MemoryError()], ids=repr)
def test_a_fault_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: BaseException) -> None:
    path = tmp_path / "f"
    path.write_bytes(OLD)
    with pytest.raises(type(fault)) as caught, atomic_output(path) as temporary:  # noqa: PT012  the block is the test
        temporary.write_bytes(NEW[:4])
        raise fault
    assert caught.value is fault
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "no space left"), (errno.EIO, "cannot be written")],
)
def test_a_fault_of_the_file_system_is_one_sentence_with_the_file(tmp_path: Path, number: int, said: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(OLD)
    with pytest.raises(OutputFileError, match=said) as caught, atomic_output(path) as temporary:  # noqa: PT012  as above
        temporary.write_bytes(NEW[:4])
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_code == 4
    assert str(path) in caught.value.what
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["f"]


def test_an_interrupt_before_anything_is_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_output(tmp_path / "f"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_file_system_that_takes_no_more_bytes_leaves_the_old_file(tmp_path: Path) -> None:
    """Real refusals by the kernel: this process may write files of 10,000 bytes and no longer."""
    path = tmp_path / "f"
    path.write_bytes(OLD)
    code = (
        "import pathlib, resource, sys\n"
        "from hardnet_deploy.errors import OutputFileError\n"
        "from hardnet_deploy.files import atomic_output, write_durably\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    with atomic_output(pathlib.Path(sys.argv[1])) as temporary:\n"
        "        write_durably(temporary, bytes(1_000_000))\n"
        "except OutputFileError as error:\n"
        "    print(error)\n"
    )
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("needs a process that may limit its files by itself; here they are limited already")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{path} cannot be written" in done.stdout
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["f"]


def test_a_file_system_without_space_is_named(tmp_path: Path) -> None:
    """Really full: every write to /dev/full fails as on a full disk."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full; this system has none")
    with pytest.raises(OutputFileError, match="no space left"), atomic_output(tmp_path / "f") as temporary:  # noqa: PT012  as above
        temporary.symlink_to(full)
        write_durably(temporary, NEW)
    assert names(tmp_path) == []


def test_a_folder_in_the_place_of_the_file_is_refused_early_and_late(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.mkdir()
    with pytest.raises(OutputFileError, match="is a folder"):
        refuse_unwritable(path)
    with pytest.raises(OutputFileError, match="cannot be written"):
        write(path)
    assert names(tmp_path) == ["f"]
    assert names(path) == []


@pytest.mark.parametrize("below", ["g", "g/h/i"])
def test_a_file_in_the_place_of_the_folder_is_refused_early_and_late(tmp_path: Path, below: str) -> None:
    (tmp_path / "f").write_bytes(OLD)
    path = tmp_path / "f" / below
    with pytest.raises(OutputFileError, match="is not a folder"):
        refuse_unwritable(path)
    with pytest.raises(OutputFileError, match="cannot be written"):
        write(path)
    assert (tmp_path / "f").read_bytes() == OLD
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("target", ["nowhere/g", "self"])
def test_a_folder_that_is_a_broken_link_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "self").symlink_to(tmp_path / target)
    with pytest.raises(OutputFileError):
        refuse_unwritable(tmp_path / "self" / "f")


def test_a_name_that_is_too_long_is_refused_early_and_late(tmp_path: Path) -> None:
    path = tmp_path / ("n" + LONGEST_NAME)
    for attempt in (refuse_unwritable, write):
        with pytest.raises(OutputFileError) as caught:
            attempt(path)
        assert caught.value.got == "File name too long"
    assert names(tmp_path) == []


def test_a_pipe_or_device_is_refused(tmp_path: Path) -> None:
    """A rename would put an ordinary file in its place: with root's rights, for everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(OutputFileError, match="device or a pipe"):
            refuse_unwritable(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root, who runs these tests here")
def test_a_folder_without_permission_is_refused_early_and_late(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    for path in (folder / "f", folder / "g" / "f"):
        with pytest.raises(OutputFileError, match="no permission"):
            refuse_unwritable(path)
        with pytest.raises(OutputFileError, match="cannot be written"):
            write(path)


def test_refusing_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    refuse_unwritable(path)
    assert names(tmp_path) == []
    path.write_bytes(OLD)
    refuse_unwritable(path)
    assert path.read_bytes() == OLD
