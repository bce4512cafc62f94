"""What a section of the page consists of: plain data, which the templates turn into HTML and escape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

Status = Literal["pass", "fail", "warn", "none"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column; figures are set flush right."""

    title: str
    figures: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell.

    Args:
        text: Its text, never empty: status and bars only repeat it.
        status: Sets a sign before the text.
        bar: In [0, 1], drawn beside the figure.
        code: Set as what one types.
        precision: Of a layer, for the cell's tint; None elsewhere.
    """

    text: str
    status: Status = "none"
    bar: float | None = None
    code: bool = False
    precision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first cell of a row names it."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()

    def without(self, text: str) -> Table:
        """The same table, less the columns that hold nothing but ``text``."""
        kept = [place for place in range(len(self.columns)) if any(row[place].text != text for row in self.rows)]
        return replace(
            self,
            columns=[self.columns[place] for place in kept],
            rows=[[row[place] for place in kept] for row in self.rows],
        )


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph; ``caution`` sets it apart, with the word before it."""

    kind: ClassVar[str] = "text"
    text: str
    caution: bool = False


@dataclass(frozen=True, kw_only=True)
class Absent:
    """What is not in the runs, and the command that makes it."""

    kind: ClassVar[str] = "absent"
    what: str
    command: str

    @property
    def typeable(self) -> bool:
        """False where words in capitals stand for what the reader has to fill in."""
        return not any(word.isalpha() and word.isupper() for word in self.command.split())


@dataclass(frozen=True, kw_only=True)
class Commands:
    """Command lines, each with what it made."""

    kind: ClassVar[str] = "commands"
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An embedded picture; ``uri`` is a data URI."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures one below the other."""

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A mark on an axis: place in the drawing, and its text."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point in the drawing.

    Args:
        x: Place in the drawing.
        y: Likewise.
        shape: What tells kinds of points apart, with or without colour.
        label: Beside it; empty for none.
        label_x: Where the label begins, or ends where ``label_end`` is set.
        label_y: Its base line.
        label_end: Whether the label ends at ``label_x``.
        interval: From ``(x1, y1)`` to ``(x2, y2)`` in the drawing; None for none.
        title: What a pointer resting on it shows.
    """

    x: float
    y: float
    shape: Literal["circle", "square", "diamond", "cross"]
    label: str = ""
    label_x: float = 0.0
    label_y: float = 0.0
    label_end: bool = False
    interval: tuple[float, float, float, float] | None = None
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing, in its own units.

    Args:
        ident: Unique on the page.
        title: What it shows.
        description: The same for who cannot see it: what stands where.
        lines: Each a list of points.
        key: Shape and what it means.
    """

    kind: ClassVar[str] = "plot"
    ident: str
    title: str
    description: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_label: str
    y_label: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    marks: Sequence[Mark]
    lines: Sequence[Sequence[tuple[float, float]]] = ()
    key: Sequence[tuple[str, str]] = ()


Block = Table | Text | Absent | Commands | Gallery | Plot


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Blocks below a line that opens and closes them; on paper they are open."""

    kind: ClassVar[str] = "fold"
    title: str
    blocks: Sequence[Block]
    opened: bool = False


@dataclass(kw_only=True)
class Section:
    """A part of the page with a heading."""

    ident: str
    title: str
    blocks: list[Block | Fold] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """True where it only says what is absent."""
        return all(isinstance(block, Absent) for block in self.blocks)
