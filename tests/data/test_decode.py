"""One file to pixels, against what the file is known to show."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from normlab.data.images.decode import decode
from normlab.data.images.options import Options, options_of
from tests.data.made import noise, png, saved, spec

COLORS = noise(3, 8, 8, 3)


def to(size: int | tuple[int, int] = 8, resize: str = "crop", mode: str = "RGB") -> Options:
    return options_of(spec("caltech25", size=size, resize=resize, mode=mode))


def shown(raw: bytes, **how: Any) -> np.ndarray:  # type: ignore[type-arg]
    """Decoded, rows and columns first."""
    return decode(raw, to(**how)).transpose(1, 2, 0)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_as_they_are(kind: str) -> None:
    np.testing.assert_array_equal(shown(saved(Image.fromarray(COLORS), kind)), COLORS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_come_back_about_as_they_are(kind: str) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)[..., None] * [3, 2, 1]
    raw = saved(Image.fromarray(smooth.astype(np.uint8)), kind, quality=95)
    assert abs(shown(raw, size=32).astype(int) - smooth).mean() < 8


def test_a_grey_image_is_grey_in_color_and_color_in_grey_by_rec_601() -> None:
    grey = noise(0, 8, 8)
    np.testing.assert_array_equal(shown(png(grey)), np.repeat(grey[..., None], 3, 2))
    np.testing.assert_array_equal(shown(png(grey), mode="L")[..., 0], grey)
    weighted = COLORS @ [0.299, 0.587, 0.114]
    assert abs(shown(png(COLORS), mode="L")[..., 0] - weighted).max() <= 1


def test_16_bits_keep_their_range() -> None:
    values = np.array([[0, 257, 128, 129], [65535, 65406, 65407, 32768]], np.uint16)
    for raw in (
        saved(Image.fromarray(values), "PNG"),
        saved(Image.fromarray(values), "TIFF"),
        b"P5 4 2 65535\n" + values.astype(">u2").tobytes(),
    ):
        found = shown(raw, size=(2, 4), mode="L")[..., 0]
        assert found.tolist() == [[0, 1, 0, 1], [255, 254, 255, 128]]
        assert shown(raw, size=(2, 4))[1, 0].tolist() == [255, 255, 255]


def png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file by its chunks: some kinds Pillow reads and does not write."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in (*chunks, (b"IEND", b"")):
        parts += [struct.pack(">I", len(body)), name, body]
        parts.append(struct.pack(">I", zlib.crc32(name + body)))
    return b"".join(parts)


def test_16_bit_colors_become_8_bits() -> None:
    pixels = np.array([[[0xFFFF, 0x8000, 0]]], ">u2")
    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    raw = png_chunks((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" + pixels.tobytes())))
    assert shown(raw, size=1)[0, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_range_nobody_knows_is_refused(mode: str) -> None:
    raw = saved(Image.new(mode, (8, 8), 5), "TIFF")
    with pytest.raises(ValueError, match=f"mode '{mode}', whose range is not known"):
        shown(raw)


def test_one_bit_is_black_and_white() -> None:
    bits = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    for mode in ("RGB", "L"):
        assert set(shown(saved(bits, "PNG"), size=2, mode=mode).ravel()) == {0, 255}
    assert shown(saved(bits, "PNG"), size=2, mode="L")[..., 0].tolist() == [[0, 255], [255, 0]]


def test_cmyk_becomes_rgb() -> None:
    # Cyan, magenta, yellow, black of plain color: what each takes away is gone, the rest is whole.
    ink = np.zeros((4, 16, 16, 4), np.uint8)
    for channel in range(4):
        ink[channel, ..., channel] = 255
    expected = [[0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0]]
    for pixels, color in zip(ink, expected, strict=True):
        for kind in ("JPEG", "TIFF"):
            raw = saved(Image.fromarray(pixels, "CMYK"), kind)
            assert abs(shown(raw).reshape(-1, 3).astype(int) - color).max() <= 2
            assert shown(raw, mode="L").shape == (8, 8, 1)


def test_a_palette_is_looked_up() -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    expected = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]
    assert shown(saved(image, "PNG"), size=2).tolist() == expected
    assert shown(saved(image, "GIF"), size=2).tolist() == expected


def test_what_is_transparent_lies_on_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    raw = saved(image, "PNG", transparency=0)
    assert shown(raw, size=(1, 2)).tolist() == [[[255, 255, 255], [0, 255, 0]]]
    half = np.array([[[200, 0, 0, 0], [200, 0, 0, 51]]], np.uint8)  # 51 / 255 = a fifth
    assert shown(png(half), size=(1, 2)).tolist() == [[[255, 255, 255], [244, 204, 204]]]
    grey = Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA")
    assert shown(saved(grey, "PNG"), size=(1, 2), mode="L")[..., 0].tolist() == [[10, 255]]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2], [3, 4]]),
        (2, [[2, 1], [4, 3]]),
        (3, [[4, 3], [2, 1]]),
        (4, [[3, 4], [1, 2]]),
        (5, [[1, 3], [2, 4]]),
        (6, [[3, 1], [4, 2]]),
        (7, [[4, 2], [3, 1]]),
        (8, [[2, 4], [1, 3]]),
        (99, [[1, 2], [3, 4]]),
    ],
)
def test_the_camera_s_orientation_is_applied(orientation: int, expected: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.array([[1, 2], [3, 4]], np.uint8))
    assert shown(saved(image, "PNG", exif=exif), size=2, mode="L")[..., 0].tolist() == expected


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    raw = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert shown(raw, size=4)[0, 0].tolist() == [255, 0, 0]


WIDE = np.repeat(np.array([[10, 10, 20, 20, 30, 30]], np.uint8), 2, 0)  # 2 x 6


def test_crop_takes_the_middle_of_what_covers_the_size() -> None:
    assert shown(png(WIDE), size=2, mode="L")[..., 0].tolist() == [[20, 20], [20, 20]]
    assert shown(png(WIDE.T), size=2, mode="L")[..., 0].tolist() == [[20, 20], [20, 20]]
    assert shown(png(WIDE), size=(2, 6), mode="L")[..., 0].tolist() == WIDE.tolist()


def test_stretch_takes_all_of_it() -> None:
    found = shown(png(np.repeat(WIDE, 10, 1)), size=(2, 3), resize="stretch", mode="L")[..., 0]
    assert found[0, 0] < 12
    assert found[0, 1] == 20
    assert found[0, 2] > 28


def test_pad_fits_it_in_with_black_around() -> None:
    found = shown(png(WIDE), size=6, resize="pad", mode="L")[..., 0]
    assert found.tolist() == [[0] * 6, [0] * 6, *WIDE.tolist(), [0] * 6, [0] * 6]
    thin = shown(png(np.full((1, 1000), 9, np.uint8)), size=4, resize="pad", mode="L")[..., 0]
    assert thin.max(1).tolist() == [0, 9, 0, 0]


def test_shrinking_averages() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    found = shown(png(board), size=8, mode="L")
    assert abs(found.astype(int) - 127.5).max() < 12


def bomb() -> bytes:
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return png_chunks((b"IHDR", head), (b"IDAT", zlib.compress(b"")))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the file is empty"),
        (b"<html>not found</html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not an image"),
        (saved(Image.fromarray(COLORS), "JPEG")[:-40], "truncated"),
        (png(noise(0, 64, 64))[:600], "truncated|broken|not enough"),
        (bomb(), "decompression bomb"),
    ],
    ids=["empty", "html", "postscript", "jpeg", "png", "bomb"],
)
def test_a_broken_file_says_what_is_wrong(raw: bytes, message: str) -> None:
    with pytest.raises(Exception, match=message):
        shown(raw)


def test_the_result_has_the_options_shape() -> None:
    options = to(size=(5, 7), mode="L")
    assert decode(png(COLORS), options).shape == options.shape == (1, 5, 7)
