"""The judgement by pycocotools of every image, class and area range in a few bytes a detection instead of a kilobyte.

``COCOeval.evaluate`` leaves a dictionary of arrays and lists for each of them in ``evalImgs``, which ``accumulate``
reads one by one, class by class. Here the same is kept packed, the ten IoU thresholds as bits, and unpacked as it is
read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.specs import F64

IOU_THRESHOLDS: Final = 10
_BITS: Final = np.arange(IOU_THRESHOLDS, dtype=np.uint16)

Judgement = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Packed:
    """One class and area range of a block of images; images without objects and detections of it are left out."""

    images: NDArray[np.int32]
    detections: NDArray[np.int32]
    scores: F64
    matched: NDArray[np.uint16]
    ignored: NDArray[np.uint16]
    objects: NDArray[np.int32]
    objects_ignored: NDArray[np.bool_]


class Judgements(Sequence["Judgement | None"]):
    """What stands in for ``evalImgs``: class after class, in it area range after area range, in it image after image.

    Args:
        groups: Classes times area ranges.
    """

    def __init__(self, groups: int) -> None:
        self._parts: list[list[_Packed]] = [[] for _ in range(groups)]
        self._images = 0
        self._unpacked: tuple[int, dict[int, Judgement]] = (-1, {})

    def add(self, judged: Sequence[Judgement | None], images: int) -> None:
        """Add the ``evalImgs`` of the next images."""
        for group, parts in enumerate(self._parts):
            mine = judged[group * images : (group + 1) * images]
            known = [(image, one) for image, one in enumerate(mine, start=self._images) if one is not None]
            if known:
                parts.append(_packed(known))
        self._images += images
        self._unpacked = (-1, {})

    def group(self, number: int) -> dict[int, Judgement]:
        """The judgement of one class and area range, by image, ascending; images without any are left out."""
        if self._unpacked[0] != number:
            self._unpacked = (number, {image: one for part in self._parts[number] for image, one in _unpacked(part)})
        return self._unpacked[1]

    def __len__(self) -> int:
        return len(self._parts) * self._images

    @overload
    def __getitem__(self, index: int) -> Judgement | None: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Judgement | None]: ...

    def __getitem__(self, index: int | slice) -> Judgement | Sequence[Judgement | None] | None:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        group, image = divmod(index, self._images)
        return self.group(group).get(image)


def _packed(known: list[tuple[int, Judgement]]) -> _Packed:
    rows = [one for _, one in known]
    return _Packed(
        images=np.array([image for image, _ in known], np.int32),
        detections=np.array([len(one["dtScores"]) for one in rows], np.int32),
        scores=np.concatenate([np.asarray(one["dtScores"], np.float64) for one in rows]),
        matched=_as_bits(np.concatenate([one["dtMatches"] > 0 for one in rows], axis=1)),
        ignored=_as_bits(np.concatenate([one["dtIgnore"].astype(np.bool_) for one in rows], axis=1)),
        objects=np.array([len(one["gtIgnore"]) for one in rows], np.int32),
        objects_ignored=np.concatenate([one["gtIgnore"].astype(np.bool_) for one in rows]),
    )


def _unpacked(part: _Packed) -> list[tuple[int, Judgement]]:
    matched, ignored = _as_rows(part.matched), _as_rows(part.ignored)
    found, there = (np.concatenate(([0], np.cumsum(counts))) for counts in (part.detections, part.objects))
    rows = []
    for place, image in enumerate(part.images.tolist()):
        detections = slice(found[place], found[place + 1])
        rows.append(
            (
                image,
                {
                    "dtScores": part.scores[detections],
                    "dtMatches": matched[:, detections],
                    "dtIgnore": ignored[:, detections],
                    "gtIgnore": part.objects_ignored[there[place] : there[place + 1]],
                },
            )
        )
    return rows


def _as_bits(flags: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Shape (10, n) to (n,)."""
    bits: NDArray[np.uint16] = np.bitwise_or.reduce(flags.astype(np.uint16) << _BITS[:, None], axis=0)
    return bits


def _as_rows(bits: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Shape (n,) to (10, n)."""
    return (bits[None] >> _BITS[:, None] & 1).astype(np.bool_)
