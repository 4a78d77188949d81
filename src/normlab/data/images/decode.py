"""One image file's bytes to pixels.

Orientation from EXIF is applied. Transparent pixels lie on white. 16 bits become 8 by division by
257, which takes the whole range to the whole range. Colors become grey by Pillow's weights (ITU-R
601). Of an animation the first frame is taken. Resizing is bilinear, and averages when it shrinks.

Pillow reads the formats; where it loses something it is asked otherwise. Of colors with 16 bits it
keeps the upper byte: a second reading gives the lower one. Of grey PNG files with 2, 4 and 16 bits
it holds the transparent value, which has the file's bits, against pixels of 8. Of TIFF files with
more than 8 bits it leaves "white is zero" as it is, or does not know them.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from normlab.data.dataset import Images
from normlab.data.images.options import Options

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What Pillow may read: of its other formats some run programs."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes an EXIF orientation."""
_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
"""By the byte order in which Pillow takes the upper byte of 16 bits: that which takes the lower."""
_PHOTOMETRIC = 262  # the TIFF tag that says whether zero is white
_SHORT = 3


def decode(raw: bytes, options: Options) -> Images:
    """The image as an array (C, H, W).

    Raises:
        Exception: Bytes that are no image or a broken one; Pillow raises many kinds.
    """
    return fitted(opened(raw), options)


def opened(raw: bytes) -> Image.Image:
    """The image, turned upright: mode "1", "L", "CMYK" and the like, always with 8 bits.

    Raises:
        Exception: As `decode`.
    """
    if not raw:
        raise ValueError("the file is empty")
    try:
        image = Image.open(io.BytesIO(raw), formats=FORMATS)
        inverted = False
    except UnidentifiedImageError:
        plain = _white_is_one(raw)
        if plain is None:
            raise ValueError("not an image, or of no known format") from None
        raw, inverted = plain, True
        image = Image.open(io.BytesIO(raw), formats=FORMATS)
    with image:
        stored = _stored_as(image)
        image.load()
        eight = _eight_bits(image, raw, stored, inverted=inverted)
        turn = _TURNS.get(_orientation(image))
    return eight.transpose(turn) if turn is not None else eight


def fitted(image: Image.Image, options: Options) -> Images:
    """The image as an array (C, H, W) of the wanted colors and size."""
    pixels = np.asarray(_resized(_colored(image, options.mode), options))
    return pixels[None] if options.mode == "L" else pixels.transpose(2, 0, 1)


def _stored_as(image: Image.Image) -> str:
    """Pillow's name of how a pixel lies in the file, as "L;4"; gone once the image is loaded."""
    args = image.tile[0][3] if getattr(image, "tile", None) else ""  # type: ignore[attr-defined]
    first = args[0] if isinstance(args, tuple | list) and args else args
    return first if isinstance(first, str) else ""


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, upright, where none can be read. Of TIFF Pillow has applied it."""
    if image.format == "TIFF":
        return 1
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data: any viewer shows the image as it is
        return 1
    first = value[0] if isinstance(value, tuple) and value else value
    return int(first) if isinstance(first, int | float) and first in _TURNS else 1


def _eight_bits(image: Image.Image, raw: bytes, stored: str, *, inverted: bool) -> Image.Image:
    """The image with 8 bits, and what of it is transparent."""
    clear = image.info.get("transparency")
    # As "I" Pillow reads 16 bits of PNG and PGM, but also 32 of TIFF, whose range nobody knows.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        values, most = np.asarray(image).astype(np.int64), 4095 if stored == "I;12" else 65535
        if inverted or (image.format == "TIFF" and _tags(image).get(_PHOTOMETRIC) == 0):
            values = most - values
        grey = Image.fromarray(_rounded(values, most))
        return _with_alpha(grey, values != clear) if isinstance(clear, int) else grey
    if image.mode in {"I", "F"}:
        raise ValueError(f"pixels of mode '{image.mode}', whose range is not known")
    if ";16" in stored and image.mode in {"RGB", "RGBA"}:
        return _sixteen_bit_colors(image, raw, stored)
    if inverted:
        return _inverted(image)
    if image.format == "PNG" and image.mode == "L" and isinstance(clear, int):
        bits = int(stored.partition(";")[2] or 8)
        most = (1 << bits) - 1
        return _with_alpha(image, np.asarray(image) != (clear & most) * (255 // most))
    return image


def _sixteen_bit_colors(image: Image.Image, raw: bytes, stored: str) -> Image.Image:
    """A loaded color image with 16 bits a channel, rounded instead of cut off."""
    if stored == "LA;16B":  # its four bytes as if they were four channels
        bytes_of = _read_as(raw, "RGBA")
        values = bytes_of[..., ::2].astype(np.int64) * 256 + bytes_of[..., 1::2]
        return Image.fromarray(_rounded(values))
    head, _, order = stored.partition(";16")
    if head not in {"RGB", "RGBA", "RGBX"} or order not in _OTHER_BYTE:
        return image
    low = _read_as(raw, f"{head};16{_OTHER_BYTE[order]}")
    values = np.asarray(image).astype(np.int64) * 256 + low
    rounded = Image.fromarray(_rounded(values))
    clear = image.info.get("transparency")
    return _with_alpha(rounded, (values != clear).any(-1)) if isinstance(clear, tuple) else rounded


def _read_as(raw: bytes, stored: str) -> npt.NDArray[np.uint8]:
    """The image's bytes, taken as if its pixels lay in the file in that way."""
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        image.tile = [
            tile._replace(args=(stored, *tile.args[1:]) if isinstance(tile.args, tuple) else stored)
            for tile in image.tile
        ]
        image.load()
        return np.asarray(image)


def _rounded(values: npt.NDArray[np.int64], most: int = 65535) -> npt.NDArray[np.uint8]:
    """Values from 0 to `most` as 8 bits."""
    return ((values * 255 + most // 2) // most).astype(np.uint8)


def _with_alpha(image: Image.Image, solid: npt.NDArray[np.bool_]) -> Image.Image:
    """The image with its other pixels transparent."""
    whole = image.copy()
    whole.info.pop("transparency", None)
    whole.putalpha(Image.fromarray(solid.astype(np.uint8) * 255))
    return whole


def _inverted(image: Image.Image) -> Image.Image:
    """A grey image whose zero is white, the right way round."""
    if image.mode == "LA":
        grey, alpha = image.split()
        return Image.merge("LA", (ImageOps.invert(grey), alpha))
    return ImageOps.invert(image.convert("L"))


def _tags(image: Image.Image) -> Mapping[int, object]:
    tags: Mapping[int, object] = getattr(image, "tag_v2", {})
    return tags


def _white_is_one(raw: bytes) -> bytes | None:
    """A plain TIFF file whose zero is white, saying the contrary: Pillow knows more of those."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(raw[:4])
    try:
        if order is None:
            return None
        (start,) = struct.unpack_from(f"{order}I", raw, 4)
        (count,) = struct.unpack_from(f"{order}H", raw, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", raw, entry)
            if tag == _PHOTOMETRIC and kind == _SHORT:
                place = entry + 8
                if struct.unpack_from(f"{order}H", raw, place) == (0,):
                    return raw[:place] + struct.pack(f"{order}H", 1) + raw[place + 2 :]
    except struct.error:
        pass
    return None


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
