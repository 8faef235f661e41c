"""Sheets of images with a label beside every row, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from textwrap import wrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthbank.errors import OptionError
from synthbank.records import UInt8Images

_GAP = 4
_TARGET = 96
"""Tiles are enlarged by a whole factor until they are about this wide."""
_INK = (40, 44, 52)
_PAPER = (250, 250, 248)
_LABEL_CHARS = 14


def labelled_grid(rows: Mapping[str, UInt8Images], *, scale: int | None = None) -> bytes:
    """One row of tiles for each entry, its label at the left.

    Args:
        rows: label to images, uint8 `[N, C, H, W]`; rows may differ in length, not in C, H and W.
        scale: whole factor of enlargement (nearest neighbour: pixels stay pixels); `None`: about 96 pixels a tile.

    Raises:
        OptionError: no image at all, or images of unlike shapes.
    """
    shapes = {images.shape[1:] for images in rows.values() if len(images)}
    if len(shapes) != 1:
        raise OptionError("A sheet needs images of one shape", got=sorted(shapes), allowed="one (C, H, W)")
    _, height, width = shapes.pop()
    scale = scale or max(1, _TARGET // width)
    step_x, step_y = width * scale + _GAP, height * scale + _GAP
    font = ImageFont.load_default(size=14)
    label_width = max(_text_width(line, font) for label in rows for line in _lines(label)) + 3 * _GAP
    columns = max(len(images) for images in rows.values())
    sheet = Image.new("RGB", (label_width + columns * step_x + _GAP, len(rows) * step_y + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for r, (label, images) in enumerate(rows.items()):
        top = _GAP + r * step_y
        text = "\n".join(_lines(label))
        draw.multiline_text((2 * _GAP, top + height * scale // 2), text, fill=_INK, font=font, anchor="lm")
        for c, image in enumerate(images):
            tile = Image.fromarray(as_rgb(image)).resize((width * scale, height * scale), Image.Resampling.NEAREST)
            sheet.paste(tile, (label_width + c * step_x, top))
    return png_bytes(sheet)


def image_grid(images: UInt8Images, *, columns: int, gap: int = 2) -> bytes:
    """Tiles in rows of `columns`, at their own size, without text; PNG bytes.

    Args:
        images: uint8 `[N, C, H, W]`, N >= 1.
        columns: tiles a row.
        gap: pixels between tiles.

    Raises:
        OptionError: no image, or no column.
    """
    if not len(images) or columns < 1:
        raise OptionError("A sheet needs images and columns", got=f"{len(images)} images, {columns} columns")
    n, _, height, width = images.shape
    columns = min(columns, n)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, -(-n // columns) * (height + gap) - gap), _PAPER)
    for i, image in enumerate(images):
        sheet.paste(Image.fromarray(as_rgb(image)), (i % columns * (width + gap), i // columns * (height + gap)))
    return png_bytes(sheet)


def as_rgb(image: UInt8Images) -> UInt8Images:
    """`[C, H, W]` uint8 as `[H, W, 3]`: grey is repeated, of more than three channels the first three are shown."""
    channels = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    return np.ascontiguousarray(channels.transpose(1, 2, 0))


def png_bytes(image: Image.Image) -> bytes:
    """The picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _lines(label: str) -> list[str]:
    return wrap(label.replace("_", " "), _LABEL_CHARS) or [""]


def _text_width(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return round(font.getlength(text))
