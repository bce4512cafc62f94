"""The options of commands that open ``MODEL=CHECKPOINT``, beside exported files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Classes = Annotated[
    Path | None,
    typer.Option(
        "--classes", help="For MODEL=CHECKPOINT: your own class list, a name a line, without background, as for export."
    ),
]
