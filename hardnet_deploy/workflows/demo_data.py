"""The demo data as a folder of its own that any COCO tool can read."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hardnet_deploy.data.demo.ensure import checked_count
from hardnet_deploy.data.demo.layout import DemoSplit, UnusableSplitError, annotation_path, read_split, record_path
from hardnet_deploy.data.demo.splits import SPLIT_SIZES
from hardnet_deploy.data.demo.write import told_as_output_error, usual_workers, write_split
from hardnet_deploy.errors import OutputFileError

ALL_SPLITS: Final = tuple(SPLIT_SIZES)


def write_demo_data(
    output: Path,
    *,
    splits: Sequence[str] = ALL_SPLITS,
    count: int | None = None,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[DemoSplit, ...]:
    """Write splits of the demo data into ``output``; those it already holds, unchanged, are left as they are.

    Args:
        output: Made where it is not there; it may hold nothing but what this function wrote.
        splits: Names; a repeated one counts once.
        count: The first so many scenes of each; default all.
        seed: Of the scenes.
        progress: Called with a split's name, the scenes of it drawn so far and their number.

    Returns:
        The splits, in the order asked for.

    Raises:
        UsageError: No such split, or a number out of range.
        OutputFileError: The folder holds something else, or cannot be written. What it held is untouched.
    """
    counts = {split: checked_count(split, count=count, seed=seed) for split in splits}
    _refuse_other_content(output)
    there = {split: _existing(output, split, number, seed) for split, number in counts.items()}
    made = []
    for split, number in counts.items():
        found = there[split]
        if found is None:
            found = _draw(output, split, count=number, seed=seed, progress=progress)
        made.append(found)
    return tuple(made)


def _refuse_other_content(output: Path) -> None:
    if not os.path.lexists(output):
        return
    if not output.is_dir():
        raise OutputFileError(f"{output} is not a folder", wanted="a folder, new or empty")
    with told_as_output_error(output):
        own = {record_path(output, split) for split in ALL_SPLITS}
        own |= {output / split for split in ALL_SPLITS if record_path(output, split).is_file()}
        own |= {annotation_path(output, split) for split in ALL_SPLITS}
        inside = [path for path in output.iterdir() if path != output / "annotations"]
        if (output / "annotations").is_dir():
            inside += (output / "annotations").iterdir()
        foreign = sorted(path for path in inside if path not in own and not _is_temporary(path))
    if foreign:
        raise OutputFileError(
            f"{output} holds other things than demo data",
            got=str(foreign[0].relative_to(output)),
            wanted="a folder that is new, empty, or made by this command",
            next_step="choose another folder",
        )


def _existing(output: Path, split: str, count: int, seed: int) -> DemoSplit | None:
    parts = (output / split, annotation_path(output, split), record_path(output, split))
    if not any(os.path.lexists(path) for path in parts):
        return None
    try:
        return read_split(output, split, count=count, seed=seed)
    except UnusableSplitError as reason:
        names = ", ".join(str(path.relative_to(output)) for path in parts)
        raise OutputFileError(
            f"{output} holds another split '{split}', and nothing is overwritten",
            got=str(reason),
            next_step=f"choose another folder, or remove {names}",
        ) from reason


def _draw(
    output: Path, split: str, *, count: int, seed: int, progress: Callable[[str, int, int], None] | None
) -> DemoSplit:
    temporary = output / f".demo-data.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    tell = (lambda done, total: progress(split, done, total)) if progress else None
    moved: list[Path] = []
    ours = [output / "annotations"] if output.exists() else [output / "annotations", output]
    with told_as_output_error(output):
        try:
            output.mkdir(parents=True, exist_ok=True)
            write_split(temporary, split, count=count, seed=seed, progress=tell, workers=usual_workers(count))
            annotation_path(output, split).parent.mkdir(exist_ok=True)
            for place in (lambda root, name: root / name, annotation_path, record_path):  # the record last
                place(temporary, split).rename(place(output, split))
                moved.append(place(output, split))
            return read_split(output, split, count=count, seed=seed)
        except BaseException:
            for path in moved:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            for folder in ours:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # succeeds only where nothing came to lie in it


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".demo-data.") and path.suffix == ".tmp"
