"""Slow, plain counterparts of the augmentations: one image, one pixel at a time, float64."""

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def plane(image: Array, y: int, x: int, fill: str, black: Array) -> Array:
    """The pixel (C,) at any place of the plane that goes on beyond the image (C, H, W)."""
    _, height, width = image.shape
    if 0 <= y < height and 0 <= x < width:
        return image[:, y, x]
    if fill == "black":
        return black
    if fill == "nearest":
        return image[:, min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
    while not 0 <= y < height:
        y = -y if y < 0 else 2 * (height - 1) - y
    while not 0 <= x < width:
        x = -x if x < 0 else 2 * (width - 1) - x
    return image[:, y, x]


def at(image: Array, place: tuple[float, float], fill: str, how: str, black: Array) -> Array:
    """The value at column u and row v, between pixels as `how` says."""
    u, v = place
    if how == "nearest":
        return plane(image, math.floor(v + 0.5), math.floor(u + 0.5), fill, black)
    y, x = math.floor(v), math.floor(u)
    p, q = v - y, u - x
    return (
        (1 - p) * (1 - q) * plane(image, y, x, fill, black)
        + (1 - p) * q * plane(image, y, x + 1, fill, black)
        + p * (1 - q) * plane(image, y + 1, x, fill, black)
        + p * q * plane(image, y + 1, x + 1, fill, black)
    )


def motion(
    size: tuple[int, int],
    *,
    degrees: float = 0,
    shear: float = 0,
    scale: float = 1,
    shift: tuple[float, float] = (0, 0),
) -> Array:
    """The 3x3 map of places (x, y, 1), y downwards: turned with the clock about the center."""
    (height, width), a = size, math.radians(degrees)
    x, y = (width - 1) / 2, (height - 1) / 2
    moved = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1.0]])
    center = np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])
    turned = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1.0]])
    leaning = np.array([[1, -math.tan(math.radians(shear)), 0], [0, 1, 0], [0, 0, 1.0]])
    scaled = np.diag([scale, scale, 1.0])
    result: Array = moved @ center @ turned @ leaning @ scaled @ np.linalg.inv(center)
    return result


def warped(image: Array, forward: Array, fill: str, how: str, black: Array) -> tuple[Array, Array]:
    """The image moved by a 3x3 map, and which pixels are clear of ties between two neighbors."""
    channels, height, width = image.shape
    back, out = np.linalg.inv(forward), np.empty_like(image)
    clear = np.empty((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            u, v, _ = back @ (x, y, 1)
            out[:, y, x] = at(image, (u, v), fill, how, black)
            clear[y, x] = all(abs((z + 0.5) % 1 - 0.5) < 0.499 for z in (u, v))
    assert channels == len(black)
    return out, clear if how == "nearest" else np.ones_like(clear)
