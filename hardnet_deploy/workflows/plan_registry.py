"""Which TensorRT plans this user built on this machine: the only ones that are loaded without being asked to trust.

A plan is native code: "deserializing an engine from an untrusted source is equivalent to running untrusted native code"
(https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/security.html). The hash in a manifest tells that a file
changed by accident; whoever changes both on purpose is told by the plan being in no registry of this user.
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from hardnet_deploy.cache import cache_folder
from hardnet_deploy.files import atomic_output, write_durably

FOLDER: Final = "plans"
OTHERS_MAY_WRITE: Final = 0o022


def record_plan(sha256: str, *, plan: Path, tensorrt: str, gpu: str) -> Path:
    """Remember a plan that was just built here; the file that does, named by the plan's hash.

    Args:
        sha256: Of the plan.
        plan: Where it was written.
        tensorrt: Version that built it.
        gpu: On which GPU.

    Raises:
        OutputFileError: The registry cannot be written.
    """
    path = _entry(sha256)
    entry = {
        "sha256": sha256,
        "plan": os.fsencode(plan.absolute()).decode("utf-8", "backslashreplace"),
        "tensorrt": tensorrt,
        "gpu": gpu,
        "built": datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
    }
    with atomic_output(path) as temporary:
        with contextlib.suppress(OSError):
            path.parent.chmod(0o700)
        write_durably(temporary, (json.dumps(entry, indent=2) + "\n").encode())
        temporary.chmod(0o600)
    return path


def built_here(sha256: str) -> bool:
    """True for a plan that this user built on this machine.

    An entry that belongs to another user, or that others may write, counts for nothing: the folder may be shared.
    """
    path = _entry(sha256)
    try:
        folder, entry = path.parent.stat(), path.stat()
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    ours = {folder.st_uid, entry.st_uid} == {os.getuid()} if hasattr(os, "getuid") else True
    writable = (folder.st_mode | entry.st_mode) & OTHERS_MAY_WRITE
    return ours and not writable and isinstance(document, dict) and document.get("sha256") == sha256


def _entry(sha256: str) -> Path:
    return cache_folder() / FOLDER / f"{sha256}.json"
