"""A kit's folder: whole or not at all, never larger than said, and never at the cost of what was there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardnet_deploy.errors import OutputFileError, UsageError
from hardnet_deploy.kit.folder import entries, older_kit, refuse_large, staged
from hardnet_deploy.kit.layout import BEYOND_MODEL, INPUTS, MEGABYTE, MODEL, RANGES


def write(folder: Path, kept: Path | None = None) -> None:
    with staged(folder, kept) as temporary:
        (temporary / "kit.json").write_text('{"kind": "kit"}', encoding="utf-8")


def test_a_new_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "kit"
    assert older_kit(folder, force=False) is None
    write(folder)
    assert entries(folder)["kit.json"]["bytes"] == 15
    assert [path.name for path in folder.parent.iterdir()] == ["kit"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert older_kit(tmp_path / "kit", force=False) is None
    (tmp_path / "kit").mkdir()
    assert older_kit(tmp_path / "kit", force=False) is None
    write(tmp_path / "kit")


def test_an_older_kit_needs_force_and_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "kit"
    write(folder)
    (folder / "report.json").write_text("precious", encoding="utf-8")
    with pytest.raises(UsageError, match="is a kit already") as caught:
        older_kit(folder, force=False)
    assert "--force" in str(caught.value.next_step)
    for name in ("kit.old", "kit.old2"):
        kept = older_kit(folder, force=True)
        assert kept == tmp_path / name
        write(folder, kept)
    assert (tmp_path / "kit.old" / "report.json").read_text() == "precious"
    assert not (folder / "report.json").exists()


@pytest.mark.parametrize("force", [False, True])
def test_other_files_are_never_replaced(tmp_path: Path, force: bool) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is no kit"):
        older_kit(tmp_path, force=force)
    with pytest.raises(OutputFileError, match="is a file"):
        older_kit(tmp_path / "notes.txt", force=force)
    with pytest.raises(OutputFileError):
        older_kit(tmp_path / "notes.txt" / "kit", force=force)


def write_half(folder: Path, kept: Path | None, fault: type[BaseException]) -> None:
    with staged(folder, kept) as temporary:
        (temporary / "half").write_text("x", encoding="utf-8")
        raise fault("a test")


@pytest.mark.parametrize("fault", [KeyboardInterrupt, UsageError, OSError])
def test_a_fault_leaves_nothing_and_the_older_kit_alone(tmp_path: Path, fault: type[BaseException]) -> None:
    folder = tmp_path / "kit"
    write(folder)
    kept = older_kit(folder, force=True)
    with pytest.raises(OutputFileError if fault is OSError else fault):
        write_half(folder, kept, fault)
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]
    assert [path.name for path in folder.iterdir()] == ["kit.json"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "kit").symlink_to("real")
    write(tmp_path / "kit", older_kit(tmp_path / "kit", force=False))
    assert (tmp_path / "kit").is_symlink()
    assert (tmp_path / "real" / "kit.json").exists()


def test_the_size_limit_does_not_count_the_model() -> None:
    refuse_large({MODEL: 10**9, INPUTS: BEYOND_MODEL}, samples=1)


def test_a_kit_that_is_too_large_names_what_to_reduce() -> None:
    with pytest.raises(UsageError, match="nothing was written") as caught:
        refuse_large({MODEL: 5, INPUTS: 2 * BEYOND_MODEL, "x": MEGABYTE}, samples=100)
    assert caught.value.next_step == "use --samples 48"
    assert INPUTS in str(caught.value.got)
    with pytest.raises(UsageError) as caught:
        refuse_large({MODEL: 5, INPUTS: 10, RANGES: 2 * BEYOND_MODEL}, samples=100)
    assert caught.value.next_step == f"reduce {RANGES}"
