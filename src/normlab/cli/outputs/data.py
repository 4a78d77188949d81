"""Outputs about data sets."""

from __future__ import annotations

from normlab.cli.outputs.output import Output, Part


class DataBuilt(Output):
    """A data set that was made.

    Attributes:
        name: The data set's name.
        path: Its file.
    """

    name: str
    path: str


class ClassImages(Part):
    """Images of a class.

    Attributes:
        name: The class's name.
        train: Training images.
        test: Test images.
    """

    name: str
    train: int
    test: int


class PlannedData(Part):
    """A data set of a plan.

    Attributes:
        kind: Its kind, such as `digits` or `folder`.
        arms: Labels of the arms that are trained on it.
        shape: Channels, height and width of an image, in pixels.
        classes: Every class with its images.
        sizes: Width, height and number of the files' images, where they differ from the shape.
        digest: Hash of its images; null where it is not known before they are there.
        absent: Why it cannot be run here yet; null where it can.
    """

    kind: str
    arms: list[str]
    shape: list[int]
    classes: list[ClassImages]
    sizes: list[list[int]]
    digest: str | None
    absent: str | None
