"""The options that ``profile`` and ``roofline`` share: files to write, checked before anything long runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.bench.pictures import refuse_format
from hardnet_deploy.errors import UsageError
from hardnet_deploy.workflows.document_files import refuse_outputs


@dataclass(frozen=True, kw_only=True)
class LayerRequest:
    """Of either command, as typed.

    Args:
        output: Document as JSON.
        csv: Layers as CSV.
        picture: PNG or SVG.
        trust: Take an artifact whose manifest is missing or disagrees.
        command: The command line.
    """

    output: Path | None = None
    csv: Path | None = None
    picture: Path | None = None
    trust: bool = False
    command: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, str]:
        """What is to be written, by option."""
        named = {"output": self.output, "csv": self.csv, "picture": self.picture}
        return {name: str(path) for name, path in named.items() if path is not None}

    def refuse_files(self, *read: str | Path | None) -> None:
        """Refuse files that could not be written in the end.

        Args:
            read: What the command reads: a file, ``MODEL``, ``MODEL=CHECKPOINT`` or None.

        Raises:
            OutputFileError: Somewhere that cannot be written.
            UsageError: A picture that is neither PNG nor SVG, or a file that is read or written already.
        """
        paths = [Path(str(name).partition("=")[2] or name) for name in read if name is not None]
        outputs = {"-o": self.output, "--csv": self.csv, "--picture": self.picture}
        refuse_outputs(outputs, [other for path in paths if path.name for other in (path, manifest_path(path))])
        if self.picture is not None:
            refuse_format(self.picture)


def refuse_too_few(option: str, value: int | None) -> None:
    """Refuse a count below 1.

    Raises:
        UsageError: It is.
    """
    if value is not None and value < 1:
        raise UsageError(f"{option} {value} is too few", wanted="1 or more")
