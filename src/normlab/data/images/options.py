"""How a file becomes an array: the part of a data spec that decoding depends on."""

from __future__ import annotations

from typing import NamedTuple

from normlab.recipe.data import Data, Photos


class Options(NamedTuple):
    """How a file becomes an array; see `normlab.recipe.data.Photos`."""

    height: int
    width: int
    resize: str
    mode: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the result."""
        return len(self.mode), self.height, self.width


def options_of(spec: Data) -> Options:
    """The options of a spec; a set that has none is 32x32 in color."""
    if not isinstance(spec, Photos):
        return Options(32, 32, "crop", "RGB")
    height, width = (spec.size, spec.size) if isinstance(spec.size, int) else spec.size
    return Options(height, width, spec.resize, spec.mode)
