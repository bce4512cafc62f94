"""Whether the artifacts are still the files that their manifests describe."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from hardnet_deploy.files import sha256_file
from hardnet_deploy.report.documents import Document

UNCHANGED: Final = "unchanged"
CHANGED: Final = "changed since its manifest was written"
NOT_THERE: Final = "not beside its manifest"
MOST_FILES: Final = 256
"""Files whose hash is kept, so that one that several parts of a page ask about is read once."""


def file_state(manifest: Document) -> str:
    """Of the file beside ``manifest``: :data:`UNCHANGED`, :data:`CHANGED` or :data:`NOT_THERE`."""
    artifact = manifest.artifact
    try:
        known = artifact.stat()
        actual = _sha256(artifact, known.st_ino, known.st_size, known.st_mtime_ns)
    except OSError:
        return NOT_THERE
    return UNCHANGED if actual == manifest.content.text("sha256") else CHANGED


@lru_cache(maxsize=MOST_FILES)
def _sha256(path: Path, inode: int, size: int, modified_ns: int) -> str:
    """Of the file as it is at that size and time; another time is another file."""
    return sha256_file(path)
