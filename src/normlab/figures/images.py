"""Test images for galleries: from the data set, as small PNGs inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from normlab.data import describe, load
from normlab.data.download import offline
from normlab.errors import UserError
from normlab.figures.figure import NotDrawnError
from normlab.recipe import DATA
from normlab.recipe.data import Data
from normlab.records.plan import ArmRecord

_SIDE = 84  # pixels that an image has on the page


@dataclass(frozen=True)
class Images:
    """The test images of a recipe.

    Attributes:
        images: (N, C, H, W), 0 to `most`.
        labels: (N,).
        most: The largest value of a pixel.
    """

    images: npt.NDArray[np.uint8 | np.float32]
    labels: npt.NDArray[np.int64]
    most: int

    def png(self, index: int) -> str:
        """One image as a data URI: small ones enlarged without blurring, large ones reduced."""
        from PIL import Image

        pixels = np.round(self.images[index].astype(float) * (255 / self.most)).astype(np.uint8)
        made = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
        times = max(1, round(2 * _SIDE / max(made.size)))
        made = made.resize((times * made.width, times * made.height), Image.Resampling.NEAREST)
        made.thumbnail((4 * _SIDE, 4 * _SIDE))
        stream = io.BytesIO()
        made.save(stream, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def images_of(arm: ArmRecord) -> Images:
    """The test images of an arm of the plan, read where they lie; nothing is downloaded for it.

    Raises:
        NotDrawnError: They are not on this machine, or not those of the plan.
    """
    spec = _data(arm)
    try:
        with offline():
            found = load(spec)
    except UserError as error:
        raise NotDrawnError(f"the images of '{spec.kind}' cannot be shown: {error}") from None
    return Images(found.test_images, found.test_labels, found.max_value)


def class_names(arm: ArmRecord, count: int) -> list[str]:
    """Names of the classes of an arm's data, or their numbers where nobody knows them."""
    numbers = [str(number) for number in range(count)]
    try:
        names = list(arm.class_names or describe(_data(arm)).class_names)
    except (NotDrawnError, UserError):
        return numbers
    return names if len(names) >= count else numbers


def _data(arm: ArmRecord) -> Data:
    values = arm.recipe.get("data")
    if not isinstance(values, Mapping):
        raise NotDrawnError("the plan does not say which data its arms use")
    if values["kind"] not in DATA:
        raise NotDrawnError(
            f"the images of '{values['kind']}' are not shown: they are made by code of yours, and "
            "a report runs none"
        )
    return DATA[str(values["kind"])].parse(values)
