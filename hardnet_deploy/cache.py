"""Where things that can be made again are kept between runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hardnet_deploy.errors import OutputFileError

VARIABLE: Final = "HARDNET_DEPLOY_CACHE"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder, which need not exist: ``$HARDNET_DEPLOY_CACHE``, else as the XDG Base Directory Specification says.

    That is ``$XDG_CACHE_HOME/hardnet-deploy`` where the variable holds an absolute path, else
    ``~/.cache/hardnet-deploy``.

    Raises:
        OutputFileError: None of the variables is set and there is no home folder.
    """
    if named := environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    base = Path(environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "hardnet-deploy"
    try:
        return Path.home() / ".cache" / "hardnet-deploy"
    except RuntimeError as error:
        raise OutputFileError(
            "there is no home folder to keep the cache in", next_step=f"set {VARIABLE} to a folder"
        ) from error


def refuse_unwritable_cache(folder: Path) -> None:
    """Make the folder, and fail where nothing can be written into it.

    Raises:
        OutputFileError: It cannot be made, or there is no permission.
    """
    advice = f"set {VARIABLE} to a folder that can be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFileError(
            f"the cache folder {folder} cannot be made", got=error.strerror, next_step=advice
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputFileError(f"the cache folder {folder} cannot be written", got="no permission", next_step=advice)
