"""Images in every mode, depth, orientation and format against plain twins, pixel by pixel.

The odd ones are written here byte by byte where Pillow cannot write them; the twins are what the
numbers mean: 8 bits, upright, on white.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from normlab import data
from normlab.data.images.decode import decode
from normlab.data.images.options import options_of
from tests.data.made import noise, png, saved, spec, write

Array = npt.NDArray[Any]

SIDE = 8
GREY = noise(1, SIDE, SIDE)
COLOR = noise(2, SIDE, SIDE, 3)
WHITE = 255
SOLID = np.where(noise(3, SIDE, SIDE) > 100, 255, 0).astype(np.uint8)  # alpha: all or nothing
TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
"""How a stored image is to be shown, by its EXIF orientation."""


def packed(values: Array, bits: int, order: str = ">") -> Array:
    """Rows of values (N, M) as bytes, `bits` of each."""
    if bits == 16:
        return values.astype(f"{order}u2").view(np.uint8)
    if bits == 12:
        pairs = values.reshape(len(values), -1, 2).astype(np.uint32)
        both = pairs[..., 0] << 12 | pairs[..., 1]
        return (
            np.stack([both >> 16, both >> 8 & 255, both & 255], -1)
            .astype(np.uint8)
            .reshape(len(values), -1)
        )
    each = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
    return np.packbits(each.reshape(len(values), -1), axis=1)


def png_of(values: Array, bits: int, color: int, *chunks: tuple[bytes, bytes]) -> bytes:
    rows = packed(values.reshape(SIDE, -1), bits)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", SIDE, SIDE, bits, color, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in (
        (b"IHDR", head), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")
    ):  # fmt: skip
        parts += [struct.pack(">I", len(body)), name, body]
        parts.append(struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


def tiff_of(
    values: Array, bits: int, photometric: int, order: str = "<", more: tuple[Any, ...] = ()
) -> bytes:
    """An uncompressed TIFF file of one strip."""
    samples = 1 if values.ndim == 2 else values.shape[2]
    pixels = packed(values.reshape(SIDE, -1), bits, order).tobytes()
    body, extra = b"", 8
    tags = [
        (256, 3, [SIDE]), (257, 3, [SIDE]), (258, 3, [bits] * samples), (259, 3, [1]),
        (262, 3, [photometric]), (273, 4, [0]), (277, 3, [samples]), (278, 3, [SIDE]),
        (279, 4, [len(pixels)]), *more,
    ]  # fmt: skip
    entries = []
    for tag, kind, numbers in sorted(tags):
        raw = struct.pack(f"{order}{len(numbers)}{'HI'[kind - 3]}", *numbers)
        if len(raw) > 4:
            place = struct.pack(f"{order}I", extra + len(body))
            body += raw + b"\0" * (len(raw) % 2)
        else:
            place = raw.ljust(4, b"\0")
        entries.append((tag, kind, len(numbers), place))
    start = extra + len(body)
    offset = start + 2 + 12 * len(entries) + 4
    ifd = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, place in entries:
        place = struct.pack(f"{order}I", offset) if tag == 273 else place  # noqa: PLW2901
        ifd += struct.pack(f"{order}HHI", tag, kind, count) + place
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", start)
    return head + body + ifd + bytes(4) + pixels


def on_white(pixels: Array, alpha: Array) -> Array:
    alpha = alpha if pixels.ndim == 2 else alpha[..., None]
    return np.where(alpha == 255, pixels, WHITE).astype(np.uint8)


def scaled(values: Array, bits: int) -> Array:
    """Values of so many bits over the whole range of 8."""
    return np.round(values / (2**bits - 1) * 255).astype(np.uint8)


def draws(bits: int, *shape: int) -> Array:
    return np.random.RandomState(bits).randint(0, 2**bits, (SIDE, SIDE, *shape))


def pngs() -> Iterator[tuple[str, bytes, Array]]:
    for bits in (1, 2, 4, 8, 16):
        values = draws(bits)
        yield f"grey{bits}", png_of(values, bits, 0), scaled(values, bits)
        clear = int(values[2, 3])
        raw = png_of(values, bits, 0, (b"tRNS", struct.pack(">H", clear)))
        yield f"grey{bits}-clear", raw, np.where(values == clear, WHITE, scaled(values, bits))
    for bits in (8, 16):
        values = draws(bits, 3)
        values[:2, :2] = values[2, 3]
        values[2, 0] = values[2, 3] + [0, 0, -1 if values[2, 3, 2] else 1]  # nearly clear
        yield f"rgb{bits}", png_of(values, bits, 2), scaled(values, bits)
        clears = values[2, 3]
        raw = png_of(values, bits, 2, (b"tRNS", struct.pack(">HHH", *clears.tolist())))
        hit = (values == clears).all(-1, keepdims=True)
        yield f"rgb{bits}-clear", raw, np.where(hit, WHITE, scaled(values, bits))
        alpha = SOLID.astype(int) * (257 if bits == 16 else 1)
        grey, color = draws(bits), draws(bits, 3)
        yield (
            f"la{bits}", png_of(np.dstack([grey, alpha]), bits, 4),
            on_white(scaled(grey, bits), SOLID),
        )  # fmt: skip
        yield (
            f"rgba{bits}", png_of(np.dstack([color, alpha]), bits, 6),
            on_white(scaled(color, bits), SOLID),
        )  # fmt: skip
    for bits in (1, 2, 4, 8):
        values, palette = draws(bits), noise(bits, 2**bits, 3)
        table = (b"PLTE", palette.tobytes())
        yield f"palette{bits}", png_of(values, bits, 3, table), palette[values]
        raw = png_of(values, bits, 3, table, (b"tRNS", b"\xff\0"))
        yield f"palette{bits}-clear", raw, on_white(palette[values], 255 * (values != 1))


def tiffs() -> Iterator[tuple[str, bytes, Array]]:
    for order in "<>":
        for white in (0, 1):
            for bits in (1, 2, 4, 8, 12, 16):
                if bits == 12 and order == ">":
                    continue  # Pillow knows none
                values = draws(bits)
                shown = scaled(values, bits)
                name = f"tiff{bits}-{'wb'[white]}-{'IM'[order == '>']}"
                yield name, tiff_of(values, bits, white, order), shown if white else 255 - shown
        for bits in (8, 16):
            color, alpha = draws(bits, 3), SOLID.astype(int) * (257 if bits == 16 else 1)
            name = f"tiff-rgb{bits}-{'IM'[order == '>']}"
            yield name, tiff_of(color, bits, 2, order), scaled(color, bits)
            raw = tiff_of(np.dstack([color, alpha]), bits, 2, order, ((338, 3, [2]),))
            yield f"{name}a", raw, on_white(scaled(color, bits), SOLID)
    deep = draws(16, 3)
    for kind in ("tiff_lzw", "tiff_deflate", "packbits"):
        yield kind, saved(Image.fromarray(COLOR), "TIFF", compression=kind), COLOR
    yield "tiff-grey-lzw", saved(Image.fromarray(GREY), "TIFF", compression="tiff_lzw"), GREY
    grey16 = Image.fromarray(draws(16).astype(np.uint16))
    yield "tiff16-lzw", saved(grey16, "TIFF", compression="tiff_lzw"), scaled(draws(16), 16)
    bits = Image.fromarray(SOLID).convert("1")
    yield "group4", saved(bits, "TIFF", compression="group4"), SOLID
    yield "ppm16", b"P6 8 8 65535\n" + deep.astype(">u2").tobytes(), scaled(deep, 16)


def write_bytes(raw: bytes) -> Any:
    import io

    return io.BytesIO(raw)


def others() -> Iterator[tuple[str, bytes, Array]]:
    image, grey = Image.fromarray(COLOR), Image.fromarray(GREY)
    for kind in ("BMP", "PPM", "WEBP"):
        yield kind, saved(image, kind, lossless=True), COLOR
    alpha = Image.fromarray(np.dstack([COLOR, SOLID]))
    yield "webp-alpha", saved(alpha, "WEBP", lossless=True, exact=True), on_white(COLOR, SOLID)
    yield "bmp-grey", saved(grey, "BMP"), GREY
    yield "bmp-1", saved(grey.convert("1", dither=Image.Dither.NONE), "BMP"), 255 * (GREY > 127)
    for most in (15, 255, 1023, 65535):
        values = np.random.RandomState(most).randint(0, most + 1, (SIDE, SIDE))
        shown = np.round(values / most * 255)
        text = f"P2 8 8 {most}\n{' '.join(map(str, values.ravel()))}".encode()
        yield f"pgm-text{most}", text, shown
        body = values.astype(">u2" if most > 255 else np.uint8).tobytes()
        yield f"pgm{most}", f"P5 8 8 {most}\n".encode() + body, shown
    bits = (SOLID == 0).astype(np.uint8)  # of PBM 1 is black
    yield "pbm", b"P4 8 8\n" + np.packbits(bits, axis=1).tobytes(), SOLID
    palette = noise(4, 256, 3)
    looked_up = Image.fromarray(GREY)
    looked_up.putpalette(palette.tobytes())
    yield "gif", saved(looked_up, "GIF"), palette[GREY]
    clear = int(GREY[0, 0])
    raw = saved(looked_up, "GIF", transparency=clear)
    yield "gif-clear", raw, on_white(palette[GREY], 255 * (GREY != clear))
    raw = saved(image, "PNG", save_all=True, append_images=[grey.convert("RGB")])
    yield "apng", raw, COLOR
    ink = Image.fromarray(noise(5, SIDE, SIDE, 4), "CMYK")
    yield "cmyk", saved(ink, "TIFF"), np.asarray(ink.convert("RGB"))


def exif(entries: bytes, count: int, tail: bytes = b"") -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(4) + tail


def with_exif(raw: bytes, body: bytes) -> bytes:
    """A JPEG file with an EXIF block right behind its first bytes."""
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + raw[2:]


def photos() -> Iterator[tuple[str, bytes, Array]]:
    """Orientations, and EXIF data that only a lenient reader takes."""
    plain = saved(Image.fromarray(COLOR), "JPEG", quality=95)
    with Image.open(write_bytes(plain)) as image:
        pixels = np.asarray(image.convert("RGB"))
    for orientation, turn in TURNS.items():
        tags = Image.Exif()
        tags[0x0112] = orientation
        yield (
            f"jpeg{orientation}",
            saved(Image.fromarray(COLOR), "JPEG", quality=95, exif=tags),
            turn(pixels),
        )
        for kind in ("PNG", "WEBP", "TIFF"):
            raw = saved(Image.fromarray(COLOR), kind, lossless=True, exif=tags)
            yield f"{kind}{orientation}", raw, turn(COLOR)
        deep = tiff_of(draws(16), 16, 0, more=((274, 3, [orientation]),))
        yield f"white-is-zero{orientation}", deep, 255 - turn(scaled(draws(16), 16))
    six = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    odd = {
        "rational": exif(
            six + struct.pack("<HHII", 0x11A, 10, 1, 38), 2, struct.pack("<ii", -1, 0)
        ),
        "text": exif(six + struct.pack("<HHI", 0x11A, 2, 1) + b"A\0\0\0", 2),
        "beyond": exif(six + struct.pack("<HHII", 0x8769, 4, 1, 99_999), 2),
        "long": exif(struct.pack("<HHII", 0x112, 4, 1, 6), 1),
        "twice": exif(struct.pack("<HHIHH", 0x112, 3, 2, 6, 6), 1),
        "strange kind": exif(six + struct.pack("<HHII", 0x11B, 99, 1, 0), 2),
    }
    for name, body in odd.items():
        yield f"exif {name}", with_exif(plain, body), TURNS[6](pixels)
    upright = {
        "zero": exif(struct.pack("<HHIHH", 0x112, 3, 1, 0, 0), 1),
        "nine": exif(struct.pack("<HHIHH", 0x112, 3, 1, 9, 0), 1),
        "cut": exif(six, 1)[:20],
        "no": b"Exif\0\0nonsense",
        "words": exif(struct.pack("<HHI", 0x112, 2, 3) + b"up\0\0", 1),
    }
    for name, body in upright.items():
        yield f"exif {name}", with_exif(plain, body), pixels


ODD = [*pngs(), *tiffs(), *others(), *photos()]


def in_color(pixels: Array) -> npt.NDArray[np.uint8]:
    eight = np.asarray(pixels, np.uint8)
    return eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, -1)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of EXIF data: nobody sees them in a run
@pytest.mark.parametrize(("raw", "twin"), [odd[1:] for odd in ODD], ids=[odd[0] for odd in ODD])
def test_an_odd_image_equals_its_plain_twin(raw: bytes, twin: Array) -> None:
    found = decode(raw, options_of(spec("caltech25", size=SIDE))).transpose(1, 2, 0)
    np.testing.assert_array_equal(found, in_color(twin))


def test_a_folder_of_odd_images_is_the_folder_of_their_twins(tmp_path: Path) -> None:
    assert len(ODD) >= 60
    for number, (_, raw, twin) in enumerate(ODD):
        for split in ("train", "test"):
            kind = ("a", "b")[number % 2]
            write(tmp_path / "odd" / split / kind / f"{number:03}.png", raw)
            write(tmp_path / "plain" / split / kind / f"{number:03}.png", png(in_color(twin)))
    odd, plain = (
        data.load(spec("image-folder", path=str(tmp_path / name), size=SIDE))
        for name in ("odd", "plain")
    )
    assert len(odd.train_labels) == len(ODD)
    np.testing.assert_array_equal(odd.train_images, plain.train_images)
    np.testing.assert_array_equal(odd.train_labels, plain.train_labels)
    assert odd.digest == plain.digest
