"""Outputs about what there is: list, show and schema."""

from __future__ import annotations

from typing import ClassVar

from normlab.cli.outputs.output import Output, Part, Plain


class Catalogs(Output):
    """What there is, by name, each with a description. Only what was asked for is there.

    Attributes:
        studies: Bundled studies and their questions.
        norms: Kinds of norms.
        regularizers: Regularizers.
        augmentations: Kinds of augmentations.
        models: Kinds of models.
        data: Data sets.
    """

    sparse: ClassVar[bool] = True

    studies: dict[str, str] = {}
    norms: dict[str, str] = {}
    regularizers: dict[str, str] = {}
    augmentations: dict[str, str] = {}
    models: dict[str, str] = {}
    data: dict[str, str] = {}


class Layer(Part):
    """A layer of a model, in the order in which they run. Sizes are pixels; null: it has none.

    Attributes:
        name: In the model.
        kind: Such as `Conv2d`.
        kernel: Its side.
        padding: At each side.
        stride: In both directions.
        channels: Of its output.
        map_size: Side of its output's maps.
        receptive_field: Side of what a value of its output sees of the image.
        formula: How its parameters are counted.
        parameters: Trainable values.
        depth: Layers with weights on the longest path from the image to here.
    """

    name: str
    kind: str
    kernel: int | None
    padding: int | None
    stride: int | None
    channels: int
    map_size: int
    receptive_field: int
    formula: str
    parameters: int
    depth: int


class ModelShown(Output):
    """The layers of a model.

    Attributes:
        layers: In the order in which they run.
        parameters: Trainable values of all of them.
        notes: Where the model gets something other than the recipe wants.
    """

    layers: list[Layer]
    parameters: int
    notes: list[str]


class StudyShown(Output):
    """A study's file.

    Attributes:
        name: The study as it was named.
        text: The file as it is: YAML.
        study: What it says, as plain data.
    """

    name: str
    text: str
    study: Plain


class Schemas(Output):
    """What commands print with `--json`.

    Attributes:
        schemas: By command, such as `show model`: a JSON Schema, draft 2020-12.
    """

    schemas: dict[str, Plain]
