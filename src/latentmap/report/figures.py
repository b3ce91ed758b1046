"""Figures of a report: their files, and their pictures in the page for wide and narrow screens, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from latentmap.data.files import write_bytes
from latentmap.plot.style import Display, Size, ThemeName, in_few_colours

MAX_BYTES = 480_000
"""Maximum size of all pictures of one figure: twelve of them, as text in the page, stay below 6 MB."""
DPI = (150, 110, 80)
FORMS: tuple[tuple[ThemeName, Size], ...] = (
    ("light", "wide"),
    ("light", "narrow"),
    ("dark", "wide"),
    ("dark", "narrow"),
)
MEDIA = {"narrow": "(max-width: 34rem)", "dark": "(prefers-color-scheme: dark)"}
"""What a screen must be for a picture to be shown in place of the wide light one; both may hold."""


@dataclass(frozen=True)
class Picture:
    """A picture of a figure: the screens that it is for, the file as text, its width in pixels of the page."""

    media: str
    data: str
    width: int


@dataclass(frozen=True)
class Section:
    """A figure of the report: name, heading, picture, those for other screens, caption, what is seen, and its rows."""

    name: str
    heading: str
    picture: Picture
    others: tuple[Picture, ...]
    caption: str
    alt: str
    rows: str

    @property
    def fits_phone(self) -> bool:
        """Whether narrow screens have a picture of their own."""
        return any(MEDIA["narrow"] in other.media for other in self.others)


def section(folder: Path, name: str, heading: str, display: Display, rows: str = "") -> Section:
    """Write the figure's file and return it as a section, at the highest resolution that its size allows."""
    for dpi in DPI:
        pictures = drawn = dict(_pictures(display, dpi))
        if _size(pictures) > MAX_BYTES:
            pictures = {media: in_few_colours(data) for media, data in drawn.items()}
        if _size(pictures) <= MAX_BYTES:
            break
    write_bytes(folder / "figures" / f"{name}.png", drawn[""] if dpi == DPI[0] else display.png(DPI[0]))
    main, *others = (_picture(media, data, dpi) for media, data in pictures.items())
    seen = display.alt or display.caption
    return Section(name, heading, main, tuple(others[::-1]), display.caption, f"{heading}: {seen}", rows)


def _pictures(display: Display, dpi: int) -> Iterator[tuple[str, bytes]]:
    """Yield the picture for a wide light screen, then those that differ from it, the most particular last."""
    seen: set[bytes] = set()
    forms: tuple[tuple[ThemeName, Size], ...] = (
        ("light", "wide"),
        ("light", "narrow"),
        ("dark", "wide"),
        ("dark", "narrow"),
    )
    for theme, width in forms:
        data = display.png(dpi, theme, width)
        if data not in seen:
            yield " and ".join(MEDIA[one] for one in (width, theme) if one in MEDIA), data
        seen.add(data)


def _size(pictures: dict[str, bytes]) -> int:
    return sum(map(len, pictures.values()))


def _picture(media: str, data: bytes, dpi: int) -> Picture:
    inches = int.from_bytes(data[16:20]) / dpi  # a PNG file holds its width in these bytes
    return Picture(media, base64.b64encode(data).decode(), round(108 * inches))
