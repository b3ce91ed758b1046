"""Folders of images, read with Pillow: each image is a row, its subfolder the label."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, files_within
from latentmap.data.formats.unpacked import require_room
from latentmap.exceptions import DataError
from latentmap.messages import error_line

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
GREY = ("1", "L", "LA", "La", "I", "I;16", "F")
"""Pillow's modes without colour."""
MOST_LISTED = 20
LONGEST = 128
"""The most pixels of the longer side."""
MOST_PIXELS = 2**24
"""Pixels that an image of a few bytes may have."""
MOST_PACKED = 1024
"""How many pixels of a larger image a byte may stand for."""


class ImageFolderSource(ArraySource):
    """The images of a folder and its subfolders, in the order of their paths: bytes (n, height, width[, 3]).

    Subfolders are the labels, where every image lies in one. Images become grey if all of them are, else RGB, on white
    where they are transparent. If they differ in size, or are longer than 128 pixels, all of them get the median
    height and width, shrunk to that length. ``remark`` lists what was resized and, with ``skip_bad``, left out.
    """

    def __init__(self, folder: Path, labels: LabelSpec = None, *, skip_bad: bool = False) -> None:
        files, bad = image_files(folder), []
        if skip_bad:
            is_bad = np.array([_is_bad(file) for file in files], dtype=bool)
            self.numbers = np.flatnonzero(~is_bad) if is_bad.any() else None
            bad, files = (
                [file for file, skipped in zip(files, is_bad, strict=True) if skipped == side] for side in (True, False)
            )
            if not files:
                raise DataError(f"none of the {len(bad):,} images in {folder} can be read, {bad[0].name} for instance")
        modes, sizes = zip(*(_properties(file) for file in files), strict=True)
        width, height = (int(np.median(lengths)) for lengths in zip(*sizes, strict=True))
        shrink = min(1.0, LONGEST / max(width, height))
        size = max(1, round(shrink * width)), max(1, round(shrink * height))
        mode = "L" if all(mode in GREY for mode in modes) else "RGB"
        require_room(folder, len(files) * size[0] * size[1] * len(mode), "takes")
        rows = np.stack([_read(file, mode, size) for file in files])
        subfolders = ["/".join(file.relative_to(folder).parts[:-1]) for file in files]
        if labels is None and all(subfolders):
            labels = np.array(subfolders)
        super().__init__(rows, name=str(folder), labels=labels, label_name="folder")
        self.beside = {"file": np.array([str(file.relative_to(folder)) for file in files], dtype=object)}
        resized = sum(original != size for original in sizes)
        remarks = [f"{resized:,} of {len(files):,} images resized to {size[1]} x {size[0]}"] if resized else []
        if bad:
            listed = ", ".join(str(file.relative_to(folder)) for file in bad[:MOST_LISTED])
            more = f" and {len(bad) - MOST_LISTED:,} more" if len(bad) > MOST_LISTED else ""
            remarks.append(f"{len(bad):,} of {len(files) + len(bad):,} images cannot be read: {listed}{more}")
        self.remark = "; ".join(remarks) or None


def image_files(folder: Path) -> list[Path]:
    """List the images in a folder and its subfolders (see `files_within`)."""
    return files_within(folder, ENDINGS)


def _is_bad(file: Path) -> bool:
    """Return whether an image cannot be read to its last pixel."""
    try:
        _read(file, _properties(file)[0], (1, 1))
    except DataError:
        return True
    return False


def _properties(file: Path) -> tuple[str, tuple[int, int]]:
    """Return the mode of an image and its width and height, without reading its pixels."""
    with _reading_image(file), Image.open(file) as image:
        _require_filled(file, image)
        turned = image.getexif().get(0x0112, 1) >= 5  # the camera was held upright
        return image.mode, image.size[::-1] if turned else image.size


def _require_filled(file: Path, image: Image.Image) -> None:
    """Raise if a large image has far fewer bytes than any compression leaves of a photograph."""
    width, height = image.size
    if width * height > max(MOST_PIXELS, MOST_PACKED * file.stat().st_size):
        raise ValueError(f"it claims {width} x {height} pixels in {file.stat().st_size:,} bytes")
    require_room(file, 8 * width * height)  # two copies of four channels


def _read(file: Path, mode: str, size: tuple[int, int]) -> NDArray[Any]:
    with _reading_image(file), Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        image = opaque_bytes(image).convert(mode)
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        return np.asarray(image)


def opaque_bytes(image: Image.Image) -> Image.Image:
    """Return an image with bytes for deep grey values, on white where it is transparent."""
    if image.mode.startswith(("I", "F")):
        image = _bytes(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _bytes(values: NDArray[Any]) -> Image.Image:
    """Return deep grey values as bytes: those of 16 bits by the range of the type, others by their own."""
    low, high = (0.0, 65535.0) if values.dtype.kind in "iu" else (float(values.min()), float(values.max()))
    return Image.fromarray(np.uint8(np.clip(255 * (values - low) / max(high - low, 1e-12), 0, 255)))


@contextlib.contextmanager
def _reading_image(file: Path) -> Iterator[None]:
    """Turn any error while an image is read into one line that names it."""
    try:
        yield
    except Exception as error:
        why = "it is no image" if isinstance(error, UnidentifiedImageError) else error_line(error)
        advice = "take it out of the folder, or copy it again"
        raise DataError(f"{file} cannot be read as an image ({why}); {advice}") from error
