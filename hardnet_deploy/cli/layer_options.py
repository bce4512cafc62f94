"""The options that ``profile`` and ``roofline`` share: what is printed of the layers, and what is written of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Top = Annotated[int, typer.Option("--top", min=1, help="Layers to print; files hold all.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write the layers as CSV.")]
Picture = Annotated[Path | None, typer.Option("--picture", help="Draw it: F.png or F.svg.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the document as JSON.")]
