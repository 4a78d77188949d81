"""Where the training loop tells how far it is, for whoever times its parts."""

from __future__ import annotations


class Marks:
    """Told as each part of a step, and of an epoch, is done; this one does nothing with it.

    The loop tells these parts of a step, in this order: `input`, `forward`, `loss`, `backward`,
    `optimizer`, `metrics`; in an epoch whose liveness is watched also `liveness`. Of an epoch:
    `evaluation`, `liveness`, `diagnostics`.
    """

    def begin(self) -> None:
        """What runs from now on belongs to the part that is told next."""

    def done(self, part: str) -> None:
        """A part is done; the next one begins."""

    def stage(self, name: str) -> None:
        """A stage of the update within `optimizer` is done; see `Updater.step`."""
