"""Folders of images, read with Pillow: each image is a row, its subfolder the label."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, files_within
from latentmap.data.formats.unpacked import require_room
from latentmap.data.schema import Schema
from latentmap.exceptions import DataError
from latentmap.messages import counted, error_line

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
GREY = ("1", "L", "LA", "La")
"""Pillow's modes of 8 bits or less without colour."""
BYTES, WHOLE, FLOATS = "8 bits", "more than 8 bits", "floats"
"""Depths of images, each with units of its own."""
MOST_LISTED = 20
LONGEST = 128
"""The most pixels of the longer side."""
MOST_PIXELS = 2**24
"""Pixels that an image of a few bytes may have."""
MOST_PACKED = 1024
"""How many pixels of a larger image a byte may stand for."""


@dataclass(frozen=True)
class Properties:
    """What an image says of itself: Pillow's mode, its size upright, its frames, and whether Pillow drops bits."""

    mode: str
    size: tuple[int, int]
    frames: int
    narrowed: bool

    @property
    def depth(self) -> str:
        """The depth of its values."""
        return _depth(self.mode)

    @property
    def is_grey(self) -> bool:
        """Whether it has no colour."""
        return self.depth != BYTES or self.mode in GREY


class ImageFolderSource(ArraySource):
    """The images of a folder and its subfolders, in the order of their paths: (n, height, width[, 3]).

    Images of 8 bits are bytes, deeper ones and floats have their values as they are; a folder holds one of these
    depths. Subfolders are the labels, where every image lies in one. Images become grey if all of them are, else RGB,
    on white where they are transparent. If they differ in size, or are longer than 128 pixels, all of them get the
    median height and width, shrunk to that length; or the shape of a fit, if they are to be ``like`` its rows.
    ``remark`` says what was resized, made grey or RGB, read in part and, with ``skip_bad``, left out; ``converted``
    leaves out of it what would have been done without the fit. The path of one image is a folder of it.
    """

    def __init__(
        self, folder: Path, labels: LabelSpec = None, *, skip_bad: bool = False, like: Schema | None = None
    ) -> None:
        files, bad, root = image_files(folder), [], folder.parent if folder.is_file() else folder
        if not files:
            raise DataError(f"{folder} holds no images: expected files that end in {', '.join(ENDINGS)}")
        if skip_bad:
            is_bad = np.array([_is_bad(file) for file in files], dtype=bool)
            self.numbers = np.flatnonzero(~is_bad) if is_bad.any() else None
            bad, files = (
                [file for file, skipped in zip(files, is_bad, strict=True) if skipped == side] for side in (True, False)
            )
            if not files:
                raise DataError(f"none of the {len(bad):,} images in {folder} can be read, {bad[0].name} for instance")
        found = [_properties(file) for file in files]
        depth = _common_depth(folder, files, found)
        own = _common_shape(found)
        shape = own if like is None else _shape_of(like, own)
        if like is not None and shape == like.event_shape:
            _require_units(folder, depth, like)
        require_room(folder, len(files) * math.prod(shape) * (1 if depth == BYTES else 8), "takes")
        rows = np.stack([_read(file, shape) for file in files])
        if depth != BYTES and np.array_equal(single := rows.astype(np.float32), rows, equal_nan=True):
            rows = single
        subfolders = ["/".join(file.relative_to(root).parts[:-1]) for file in files]
        if labels is None and all(subfolders):
            labels = np.array(subfolders)
        super().__init__(rows, name=str(folder), labels=labels, label_name="folder")
        self.beside = {"file": np.array([str(file.relative_to(root)) for file in files], dtype=object)}
        changed, unread = _changed(found, shape), [*_partly(found), *_left_out(bad, root, len(files))]
        self.remark = _joined(*changed, *unread)
        self.converted = None if like is None else _joined(*(changed if shape != own else ()), *unread)


def image_files(folder: Path) -> list[Path]:
    """List the images in a folder and its subfolders (see `files_within`); that of a file is itself."""
    return [folder] if folder.is_file() else files_within(folder, ENDINGS)


def _common_depth(folder: Path, files: Sequence[Path], found: Sequence[Properties]) -> str:
    """Return the depth of all images; raise if they differ, so that their values have no common unit."""
    first = {one.depth: file for file, one in reversed(list(zip(files, found, strict=True)))}
    if len(first) > 1:
        listed = " and ".join(f"of {depth} ({file.relative_to(folder)})" for depth, file in sorted(first.items()))
        raise DataError(f"{folder} holds images {listed}, whose values differ in unit: save all of them alike")
    return next(iter(first))


def _common_shape(found: Sequence[Properties]) -> tuple[int, ...]:
    """Return the shape of rows that images get on their own: the median of their sizes, in colour if any is."""
    width, height = (int(np.median(lengths)) for lengths in zip(*(one.size for one in found), strict=True))
    shrink = min(1.0, LONGEST / max(width, height))
    colours = () if all(one.is_grey for one in found) else (3,)
    return max(1, round(shrink * height)), max(1, round(shrink * width)), *colours


def _shape_of(like: Schema, own: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the rows of a fit where these are images, grey or RGB; else their own."""
    fitted = like.event_shape
    return fitted if len(fitted) == 2 or (len(fitted) == 3 and fitted[-1] in (1, 3)) else own


def _is_grey(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or shape[-1] == 1


def _require_units(folder: Path, depth: str, like: Schema) -> None:
    """Raise if images do not have the units of the rows of a fit, which were bytes or not."""
    had_bytes = like.dtype in ("uint8", "bool")
    may_be_bytes = had_bytes or (like.within(0.0, 255.0) and not like.within(0.0, 1.0))
    alike = may_be_bytes if depth == BYTES else not had_bytes
    if not alike:
        fitted = "bytes" if had_bytes else f"values from {like.lowest:.6g} to {like.highest:.6g}"
        raise DataError(f"{folder} holds images of {depth}, and the fit had {fitted}: give such images, or fit again")


def _changed(found: Sequence[Properties], shape: tuple[int, ...]) -> list[str]:
    """Say how many images got another size or other colours."""
    resized = sum(one.size != shape[1::-1] for one in found)
    grey = _is_grey(shape)
    recoloured = sum(one.is_grey != grey for one in found)
    of = f"of {len(found):,} images"
    notes = [f"{resized:,} {of} resized to {shape[0]} x {shape[1]}"] if resized else []
    return [*notes, f"{recoloured:,} {of} made {'grey' if grey else 'RGB'}"] if recoloured else notes


def _partly(found: Sequence[Properties]) -> list[str]:
    """Say what of images is not read: frames after the first, and bits of deep colours."""
    several = [one.frames - 1 for one in found if one.frames > 1]
    narrowed = sum(one.narrowed for one in found)
    of = f"of {len(found):,} images"
    frames = f"{len(several):,} {of} have {counted(sum(several), 'frame')} after the first, which are not read"
    bits = f"{narrowed:,} {of} have 16 bits a colour, of which 8 are read"
    return [*([frames] if several else []), *([bits] if narrowed else [])]


def _left_out(bad: Sequence[Path], root: Path, n: int) -> list[str]:
    """List the images that cannot be read."""
    if not bad:
        return []
    listed = ", ".join(str(file.relative_to(root)) for file in bad[:MOST_LISTED])
    more = f" and {len(bad) - MOST_LISTED:,} more" if len(bad) > MOST_LISTED else ""
    return [f"{len(bad):,} of {n + len(bad):,} images cannot be read: {listed}{more}"]


def _joined(*notes: str) -> str | None:
    return "; ".join(notes) or None


def _is_bad(file: Path) -> bool:
    """Return whether an image cannot be read to its last pixel."""
    try:
        _properties(file)
        _read(file, (1, 1))
    except DataError:
        return True
    return False


def _properties(file: Path) -> Properties:
    """Return the properties of an image."""
    with _reading_image(file), Image.open(file) as image:
        _require_filled(file, image)
        stored = str([tile[3] for tile in getattr(image, "tile", ())])  # forgotten once pixels are read
        turned = image.getexif().get(0x0112, 1) >= 5  # the camera was held upright
        size = image.size[::-1] if turned else image.size
        mode = "L" if _has_grey_palette(image) else image.mode
        return Properties(mode, size, getattr(image, "n_frames", 1), ";16" in stored and not is_deep(image))


def _has_grey_palette(image: Image.Image) -> bool:
    """Return whether the colours of a palette are all grey, as those of animated images often are."""
    colours = np.reshape(image.getpalette("RGB") or (), (-1, 3))
    return image.mode == "P" and bool((colours == colours[:, :1]).all())


def _require_filled(file: Path, image: Image.Image) -> None:
    """Raise if a large image has far fewer bytes than any compression leaves of a photograph."""
    width, height = image.size
    if width * height > max(MOST_PIXELS, MOST_PACKED * file.stat().st_size):
        raise ValueError(f"it claims {width} x {height} pixels in {file.stat().st_size:,} bytes")
    require_room(file, 8 * width * height)  # two copies of four channels


def _read(file: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an image in a shape: bytes, or the values of a deep one in double precision."""
    with _reading_image(file), Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        size = shape[1], shape[0]
        if is_deep(image):
            values = deep_values(image, size)
            return np.broadcast_to(values.reshape(*shape[:2], *[1] * len(shape[2:])), shape)
        image = on_white(image).convert("L" if _is_grey(shape) else "RGB")
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        return np.asarray(image).reshape(shape)


def is_deep(image: Image.Image) -> bool:
    """Return whether grey values have more than 8 bits, or are floats."""
    return _depth(image.mode) != BYTES


def _depth(mode: str) -> str:
    """Return the depth of images of one of Pillow's modes."""
    return FLOATS if mode == "F" else WHOLE if mode.startswith("I") else BYTES


def deep_values(image: Image.Image, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return deep grey values of an image of any size, within its range."""
    values = np.asarray(image)
    if image.size != size:
        low, high = (end.reduce(values, axis=None) for end in (np.fmin, np.fmax))
        single = Image.fromarray(values.astype(np.float32))
        values = np.clip(np.asarray(single.resize(size, Image.Resampling.LANCZOS)), low, high)
    return values.astype(np.float64)


def on_white(image: Image.Image) -> Image.Image:
    """Return an image of 8 bits that is on white where it is transparent."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


@contextlib.contextmanager
def _reading_image(file: Path) -> Iterator[None]:
    """Turn any error while an image is read into one line that names it."""
    try:
        yield
    except Exception as error:
        why = "it is no image" if isinstance(error, UnidentifiedImageError) else error_line(error)
        advice = "take it out of the folder, or copy it again"
        raise DataError(f"{file} cannot be read as an image ({why}); {advice}") from error
