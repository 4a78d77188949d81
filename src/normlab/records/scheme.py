"""The scheme of a model: its blocks with their slots, and in which order they follow. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["convolution", "norm", "activation", "dropout", "depth", "scale", "pool", "linear"]


@dataclass(frozen=True)
class Part:
    """One layer of a block.

    Attributes:
        role: What it is.
        text: What a drawing says of it; widths are parts of C, the channels that the block makes.
        is_slot: Whether the recipe decides that it is there: norms, dropout, stochastic depth.
        is_filled: Whether it does something; an empty slot does nothing.
        values: The least and the greatest of a number that may differ between blocks of one kind,
            a probability or a factor.
    """

    role: Role
    text: str
    is_slot: bool = False
    is_filled: bool = True
    values: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """Text and values, in one line."""
        if self.values is None:
            return self.text
        low, high = self.values
        return f"{self.text}{low:.3g}" + (f" to {high:.3g}" if high != low else "")

    @property
    def kind(self) -> Part:
        """The part without its values: what blocks of one kind have in common."""
        return replace(self, values=None)

    def spread(self, other: Part) -> Part:
        """The part of both blocks, each of which has it."""
        if self.values is None or other.values is None:
            return self
        each = (*self.values, *other.values)
        return replace(self, values=(min(each), max(each)))


Parts = tuple[Part, ...]


@dataclass(frozen=True)
class Block:
    """One kind of block: leave(branch(enter(x)) + shortcut(x)), or `branch` alone.

    Attributes:
        name: What it is called here.
        enter: In front of the branch, in pre-activation blocks.
        branch: From the input to the addition, or to the output.
        shortcut: Beside the branch; None where nothing is added, empty where it is the identity.
        leave: Behind the addition.
        projects: Whether the shortcut takes what `enter` makes of the input.
    """

    name: str
    enter: Parts
    branch: Parts
    shortcut: Parts | None
    leave: Parts
    projects: bool = False

    @property
    def kind(self) -> Block:
        """What blocks of one kind have in common."""
        places = (self.enter, self.branch, self.shortcut or (), self.leave)
        enter, branch, shortcut, leave = (tuple(part.kind for part in place) for place in places)
        beside = None if self.shortcut is None else shortcut
        return Block(self.name, enter, branch, beside, leave, self.projects)

    def spread(self, other: Block) -> Block:
        """This block with the values of another of its kind, too."""

        def both(ours: Parts, theirs: Parts) -> Parts:
            return tuple(a.spread(b) for a, b in zip(ours, theirs, strict=True))

        return replace(
            self,
            enter=both(self.enter, other.enter),
            branch=both(self.branch, other.branch),
            shortcut=None if self.shortcut is None else both(self.shortcut, other.shortcut or ()),
            leave=both(self.leave, other.leave),
        )


@dataclass(frozen=True)
class Run:
    """Equal things that follow one another in a model.

    Attributes:
        what: A block's name, or a layer in words.
        is_block: Whether `what` is a block of the scheme's.
        count: How many.
        channels: That each of them makes.
        map_size: Pixels of a side of the map that each makes; 1 behind the last pool.
    """

    what: str
    is_block: bool
    count: int
    channels: int
    map_size: int


@dataclass(frozen=True)
class Scheme:
    """A model: `runs` from image to class, made of `blocks`.

    Attributes:
        shape: (C, H, W) of an image.
        num_classes: How many classes there are.
        runs: From the first to the last.
        blocks: Each kind once, in the order in which they occur.
    """

    shape: tuple[int, int, int]
    num_classes: int
    runs: tuple[Run, ...]
    blocks: tuple[Block, ...]
