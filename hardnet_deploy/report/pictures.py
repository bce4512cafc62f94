"""Pictures inside the page: made smaller, as JPEG, and no more of them than the page may weigh."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Final

from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.report.blocks import Picture
from hardnet_deploy.report.documents import Document
from hardnet_deploy.report.texts import counted

WIDEST: Final = 1100  # pixels of a pair side by side
QUALITY: Final = 82
MOST_BYTES: Final = 3 << 20  # of all pictures as text; leaves 2 MB for the rest of the page
MOST_OF_ONE: Final = 6
_NAME: Final = re.compile(r"worst-\d+-.*\.png", re.DOTALL)


class Embedder:
    """Embeds until the page is full; one for a page."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._left = most_bytes

    def of_parity(self, document: Document) -> tuple[list[Picture], str]:
        """The pictures of a comparison, worst first, and what is to be said of those that are not shown.

        They are looked for beside the document, in a folder of the same name too, and then where it says. Another
        comparison may have written its own there, so only the very bytes that the document records are shown.
        """
        named = [Path(text) for text in document.content.texts("pictures")]
        hashes = document.content.texts("pictures_sha256")
        if named and len(hashes) != len(named):
            return [], (
                f"{counted(len(named), 'picture')} that the comparison drew: not shown, as it did not record their "
                "hashes, and others may have taken their place."
            )
        about = document.content.part("detections").parts("worst_images")
        found: list[Picture] = []
        missing = full = 0
        for place, (path, sha256) in enumerate(zip(named[:MOST_OF_ONE], hashes, strict=False)):
            uri = self._embedded(path, sha256, document)
            if uri is None:
                missing += 1
            elif len(uri[0]) > self._left:
                full += 1
            else:
                self._left -= len(uri[0])
                caption, alt = f"{place + 1}. {path.name}", f"Worst image {place + 1}, reference left, engine right"
                if place < len(about):
                    lost, invented = about[place].count("lost"), about[place].count("invented")
                    caption = f"{place + 1}. {path.name}; detections lost: {lost}, new: {invented}"
                    alt += f"; detections that only the reference has: {lost}, only the engine: {invented}"
                found.append(Picture(uri=uri[0], width=uri[1], height=uri[2], alt=alt, caption=caption))
        told = []
        if missing:
            told.append(
                f"{counted(missing, 'picture')} that the comparison drew: not here any more, or replaced by another"
            )
        if full:
            told.append(f"{full} more would make this page too large")
        if len(named) > MOST_OF_ONE:
            told.append(f"{counted(len(named) - MOST_OF_ONE, 'picture')} of less bad images: left out")
        return found, "; ".join(told) + ("." if told else "")

    @staticmethod
    def _embedded(path: Path, sha256: str, document: Document) -> tuple[str, int, int] | None:
        from PIL import Image

        if not _NAME.fullmatch(path.name):  # a document cannot make the page carry any other picture of this machine
            return None
        folder = document.path.parent
        places = (folder / path, folder / path.parent.name / path.name, path)
        known = (content for content in map(_content, places) if content is not None)
        drawn = next((content for content in known if sha256_bytes(content) == sha256), None)
        if drawn is None:
            return None
        try:
            with Image.open(io.BytesIO(drawn)) as opened:
                image = opened.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError):
            return None
        image.thumbnail((WIDEST, WIDEST))
        content = io.BytesIO()
        image.save(content, format="JPEG", quality=QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode(), image.width, image.height


def _content(path: Path) -> bytes | None:
    """Of a file; None where there is none that can be read."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None
