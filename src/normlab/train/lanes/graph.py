"""What a model does, as operations on maps: the form that is turned into code for lanes.

A stored map holds what an operation wrote, before the norm, the activation and the dropout behind
it. These are its *view*: they are applied as a reader loads the map, so that a normalized map is
never stored. A map can also be read raw (the shortcut of a pre-activation block).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Mask:
    """A layer that drops something: its name, and what it drops as one."""

    name: str
    unit: Literal["element", "map", "image"]


@dataclass(frozen=True)
class Map:
    """A stored map of shape (N, H, C, W, lanes).

    Attributes:
        number: Its place among the maps; 0 are the images.
        channels: C.
        height: H.
        width: W.
        rectified: It is stored behind a ReLU.
        norm: Name of the norm of its view.
        relu: Whether a ReLU follows in the view.
        mask: What is dropped in the view, behind the ReLU.
    """

    number: int
    channels: int
    height: int
    width: int
    rectified: bool = False
    norm: str | None = None
    relu: bool = False
    mask: Mask | None = None

    @property
    def size(self) -> int:
        """Values of one image."""
        return self.channels * self.height * self.width

    @property
    def is_plain(self) -> bool:
        """Whether its view is the map itself."""
        return self.norm is None and not self.relu and self.mask is None


@dataclass(frozen=True)
class Read:
    """How an operation reads a map.

    Attributes:
        map: Which.
        raw: As it is stored, without its view.
        is_first: This operation is the first to write the map's gradient: the others add to it.
    """

    map: Map
    raw: bool = False
    is_first: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether the values are read as they are stored."""
        return self.raw or self.map.is_plain


@dataclass(frozen=True)
class Conv:
    """A convolution, or a linear layer, which is one over a whole map.

    Attributes:
        source: What it reads.
        out: What it writes.
        kernel: Rows and columns of it.
        stride: Pixels from one window to the next.
        padding: Rows and columns of zeros around the map.
        weight: Row of its weight in the parameters, (O, C, rows, columns); `bias` likewise.
    """

    source: Read
    out: Map
    kernel: tuple[int, int]
    stride: int
    padding: tuple[int, int]
    weight: int
    bias: int | None


@dataclass(frozen=True)
class Pool:
    """Maximum or average over windows that do not overlap."""

    source: Read
    out: Map
    window: tuple[int, int]
    is_max: bool


@dataclass(frozen=True)
class Add:
    """The sum of a branch and a shortcut.

    Attributes:
        source: The branch.
        shortcut: What is added: every `stride`-th pixel of it, zeros for channels it has not.
        out: What it writes.
        stride: 1 where the shapes agree.
    """

    source: Read
    shortcut: Read
    out: Map
    stride: int = 1


Operation = Conv | Pool | Add


@dataclass(frozen=True)
class Graph:
    """A model.

    Attributes:
        maps: All maps; the last operation's is the logits, of 1 x 1 pixels.
        operations: In the order they run.
        parameters: Name and shape of each parameter, in the order of their rows.
        masks: The layers that may drop, with the map they act on.
    """

    maps: tuple[Map, ...]
    operations: tuple[Operation, ...]
    parameters: tuple[tuple[str, tuple[int, ...]], ...]
    masks: tuple[tuple[Mask, Map], ...] = field(default=())

    @property
    def logits(self) -> Map:
        """What the loss reads."""
        return self.operations[-1].out
