"""One image file's bytes to pixels.

Orientation from EXIF is applied. Transparent pixels lie on white. 16 bits become 8 by division by
257, which takes the whole range to the whole range. Colors become grey by Pillow's weights (ITU-R
601). Of an animation the first frame is taken. Resizing is bilinear, and averages when it shrinks.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from normlab.data.dataset import Images
from normlab.data.images.options import Options

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What Pillow may read: of its other formats some run programs."""


def decode(raw: bytes, options: Options) -> Images:
    """The image as an array (C, H, W).

    Raises:
        Exception: Bytes that are no image or a broken one; Pillow raises many kinds.
    """
    if not raw:
        raise ValueError("the file is empty")
    try:
        opened = Image.open(io.BytesIO(raw), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError("not an image, or of no known format") from None
    with opened:
        opened.load()
        known = _eight_bits(ImageOps.exif_transpose(opened), opened.format)
    image = _resized(_colored(known, options.mode), options)
    pixels = np.asarray(image)
    return pixels[None] if options.mode == "L" else pixels.transpose(2, 0, 1)


def _eight_bits(image: Image.Image, kind: str | None) -> Image.Image:
    """The image itself, or the 8-bit image of a grey one with 16 bits."""
    # As "I" Pillow reads 16 bits of PNG and PGM, but also 32 of TIFF, whose range nobody knows.
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in {"PNG", "PPM"}):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in {"I", "F"}:
        raise ValueError(f"pixels of mode '{image.mode}', whose range is not known")
    return image


def _colored(image: Image.Image, mode: str) -> Image.Image:
    if image.has_transparency_data:
        over = image.convert("RGBA")
        ground = Image.new("RGBA", over.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, over).convert("RGB")
    elif image.mode not in {"L", "1"}:
        image = image.convert("RGB")  # not every mode can become grey at once
    return image.convert(mode)


def _resized(image: Image.Image, options: Options) -> Image.Image:
    size = (options.width, options.height)
    if image.size == size:
        return image
    if options.resize == "stretch":
        return image.resize(size, Image.Resampling.BILINEAR)
    if options.resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    scale = min(options.width / image.width, options.height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    ground = Image.new(image.mode, size)
    place = ((options.width - inner[0]) // 2, (options.height - inner[1]) // 2)
    ground.paste(image.resize(inner, Image.Resampling.BILINEAR), place)
    return ground
